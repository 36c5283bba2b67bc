"""What a question or an answer speaks of: its names, its phrases, the things that it lists. By rules, without a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from openbook.library.lexical.stopwords import STOPWORDS

_FUNCTION = frozenset(
    "what which who whom whose when where why how is are was were be been am do does did has have had can could may might "
    "must shall should will would the a an and or but so in on at of for to from by with about into after before under over "
    "during between since until if that this these those it its he his him she her they their them there then than as not no "
    "we our us i my you your please also only even any some each every all both one ones up out per much many long i'm "
    "let's going back tell me say said mentioned above earlier again yes everybody everyone nobody whoever".split()
)
MONTHS = "January February March April May June July August September October November December".split()
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_CALENDAR = frozenset(word.lower() for word in (*MONTHS, *WEEKDAYS))
_CAPITALISED = r"[A-ZÀ-ÖØ-Þ][\w'’&.-]{0,60}\w|[A-Z]"
_NAME = re.compile(
    rf"(?:{_CAPITALISED})(?:[ ](?:(?:of|de|von|van|the|del|di)[ ](?:the[ ])?)?(?:{_CAPITALISED}|\d{{1,3}}\b|[IVX]+\b))*"
)
_DETERMINED = re.compile(r"\b(?:the|a|an|my|our|your)\s+((?:[a-z-]+\s+){0,4})$")
_PHRASE = re.compile(r"\b(?:the|a|an|my|our|your)\s+((?:[\w-]+\s*){1,5})", re.IGNORECASE)
_WORD = re.compile(r"[\w&.-]{0,60}\w")
_HAN = re.compile("[\u3400-\u9fff]")


class Word(NamedTuple):
    """A Chinese word with its part of speech, as jieba names it: n, nr, ns, v, r, ..."""

    text: str
    kind: str


def is_chinese(text: str) -> bool:
    return _HAN.search(text) is not None


def is_function_word(word: str) -> bool:
    """Whether an English word is no name, however it is written: "The", "He", "Monday"."""
    return word.lower() in _FUNCTION or word.lower() in STOPWORDS or word.lower() in _CALENDAR


def english_names(text: str, *, strict: bool = False) -> list[str]:
    """Capitalised sequences and codes, in order; the first word of a sentence only where something else tells it is a
    name: inner capitals, digits, or a second capitalised word. In a text of at most
    four words it counts as well, unless `strict`: "Venom." answers a question.
    """
    found: list[str] = []
    for match in _NAME.finditer(text):
        name = match[0].removesuffix("'s").removesuffix("’s").rstrip(".")
        words = name.split()
        at_start = not text[: match.start()].strip() or text[: match.start()].rstrip()[-1] in '.?!:"“”'
        while words and words[0].lower() in _FUNCTION | _CALENDAR and not words[0].isupper():
            words.pop(0)
            at_start = False
        if not words or words[0].isdigit() or (len(words) == 1 and words[0] in ("I", "AM", "PM")):
            continue
        name = " ".join(words)
        marked = len([word for word in words if not word.isdigit()]) > 1 or match[0].endswith(("'s", "’s"))
        marked = marked or re.search(r"\d|.[A-Z]", words[0]) is not None
        if at_start and not marked and (strict or len(text.split()) > 4):
            continue
        if name not in found:
            found.append(name)
    return found


def noun_phrase(text: str, name: str) -> str:
    """`name` with the words before it up to an article: "charging plug LF-C80" of "the charging plug LF-C80"."""
    before = _DETERMINED.search(text[: text.find(name)]) if name in text else None
    words = before[1].split() if before else []
    return f"{before[1]}{name}" if before and words and not _FUNCTION.intersection(words) else name


def phrases(text: str) -> list[str]:
    """Phrases that begin with an article, which stays: "the trial period" of "How long is the trial period for ...?"."""
    found = []
    for match in _PHRASE.finditer(text):
        words: list[str] = []
        for word in match[1].split():
            if word.lower() in _FUNCTION:
                break
            words.append(word)
        if words:
            found.append(f"{match[0].split()[0].lower()} {' '.join(words)}")
    return found


def content_words(text: str) -> list[str]:
    """Words that carry meaning, in order, each once: no function words, no stop words."""
    if is_chinese(text):
        words = _joined(
            [word for word in tagged(text) if word.kind[0] in "nvabjmltsq" or word.kind in ("eng", "vn")], text
        )
        found = [word for word in words if word not in STOPWORDS and word not in _ASKED and len(word) > 1]
    else:
        found = [
            word
            for word in (token.removesuffix("'s") for token in _WORD.findall(text.replace("’", "'")))
            if word.lower() not in _FUNCTION and word.lower() not in STOPWORDS
        ]
    return list(dict.fromkeys(found))


def _joined(words: Sequence[Word], text: str) -> list[str]:
    """The words; single characters that follow one another in `text` as one (年 + 假)."""
    found: list[str] = []
    alone = False
    for word in words:
        is_alone = len(word.text) == 1 and word.kind[0] in "nmtj"
        if is_alone and alone and found[-1] + word.text in text:
            found[-1] += word.text
        else:
            found.append(word.text)
        alone = is_alone
    return found


_ASKED = frozenset(
    "怎么办 怎样 几天 几年 几次 什么 多少 哪里 哪儿 哪个 怎么 如何 为什么 多久 几个 "
    "是否 没有 可以 需要 应该 时候 一个 第一个".split()
)


@lru_cache(maxsize=512)
def _tags(text: str) -> tuple[Word, ...]:
    import rjieba  # reads its word list, about 0.1 s: not for a text without Chinese

    return tuple(Word(word, kind) for word, kind in rjieba.tag(text))


def tagged(text: str) -> Sequence[Word]:
    """The words of a Chinese text with their parts of speech."""
    return _tags(text)


_LATIN_NAME = re.compile(r"[A-Za-z][\w&＆'’.-]*(?:\s+[A-Za-z][\w&＆'’.-]*)*")
_QUOTED = re.compile(r"[《“「『]([^》”」』]{1,30})[》”」』]")
_DOTTED = re.compile("[\u4e00-\u9fff]{1,6}(?:[·•・][\u4e00-\u9fff]{1,8})+")


def chinese_names(text: str) -> list[str]:
    """Titles in 《》 and quotes, dotted foreign names, Latin names, and runs of words that jieba takes for names."""
    found = [match[1] for match in _QUOTED.finditer(text)]
    rest = _QUOTED.sub("，", text)
    dotted = [match[0] for match in _DOTTED.finditer(rest)]
    rest = _DOTTED.sub("，", rest)
    latin = [match[0] for match in _LATIN_NAME.finditer(rest) if len(match[0]) > 1]
    run = ""
    runs = []
    has_name = False
    for word in (*tagged(rest), Word("", "x")):
        if word.kind in ("nr", "ns", "nt", "nz", "nrt", "nrfg") or (run and word.kind in ("n", "j", "nl")):
            has_name = has_name or word.kind not in ("n", "j", "nl")
            run += word.text
            continue
        if run and has_name and len(run) > 1:
            runs.append(run)
        run, has_name = "", False
    return list(dict.fromkeys([*found, *dotted, *latin, *runs]))


_ORGANISATION = re.compile("(?:公司|集团|大学|学院|医院|银行|法院|工厂|厂|委员会|协会|研究院|研究所|频道|铁路|部|局)$")
_GENERIC = re.compile("[大小本该全新老][\u4e00-\u9fff]$")
"""大桥, 本校: words that jieba takes for names of places."""
_PROPER = ("nr", "ns", "nt", "nz", "nrt", "nrfg")


def proper_names(text: str) -> list[str]:
    """Names of a Chinese text, without the common nouns beside them, but organisations whole: 云溪市轨道集团."""
    found = [match[1] for match in _QUOTED.finditer(text)]
    rest = _QUOTED.sub("，", text)
    found += [match[0] for match in _DOTTED.finditer(rest)]
    rest = _DOTTED.sub("，", rest)
    found += [match[0] for match in _LATIN_NAME.finditer(rest) if len(match[0]) > 1 and not match[0].islower()]
    run: list[Word] = []
    for word in (*tagged(rest), Word("", "x")):
        if word.kind in _PROPER or (run and word.kind in ("n", "j", "nl", "b", "vn", "zg", "ng")):
            run.append(word)
            continue
        ends = [place for place, one in enumerate(run) if _ORGANISATION.search(one.text)]
        if ends:
            whole = "".join(one.text for one in run[: ends[-1] + 1])
            found.append(re.sub("^.*[由被向](?=..)", "", whole))  # jieba takes 该线由 for a name
        else:
            found += [
                one.text for one in run if one.kind in _PROPER and len(one.text) > 1 and not _GENERIC.match(one.text)
            ]
        run = []
    return list(dict.fromkeys(found))


def listed(text: str) -> list[str]:
    """The items of a list in a sentence ("A, B and C"; "甲、乙和丙"); empty when there are fewer than two."""
    body = text.strip().rstrip(".。！!？?")
    if is_chinese(body):
        body = re.sub(r"^(?:[^、]*?(?:包括|分别是|有|是|为|：))", "", body, count=1) if "、" in body else body
        parts = re.split(r"、|(?<=[\u4e00-\u9fff])(?:以及|和|与|及)(?=[\u4e00-\u9fff])", body)
        return [part.strip("，, ") for part in parts] if len(parts) > 1 and all(0 < len(p) < 20 for p in parts) else []
    parts = re.split(r",\s*(?:and\s+|or\s+)?|;\s*|\s+and\s+", body)
    parts = [re.sub(r"^(?:the|a|an)\s+", "", part.strip(), flags=re.IGNORECASE) for part in parts]
    return parts if len(parts) > 1 and all(0 < len(part.split()) < 9 for part in parts) else []
