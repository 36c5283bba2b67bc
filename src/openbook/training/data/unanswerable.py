"""Questions that a passage does not answer, built from questions that it does.

Four kinds: another passage of the same article, a passage of another article, the own passage without the sentences that
answer, and the own passage under a question that was changed in one thing (a number, a name, a word's opposite). The last kind is
what people write when they are asked for questions that only look answerable (Rajpurkar et al. 2018,
https://arxiv.org/abs/1806.03822, table 1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from random import Random

from openbook.training.data.sentences import sentence_spans

_NUMBER = re.compile(r"\b\d[\d,.]*\d\b|\b\d\b")
_NAME = re.compile(r"\b[A-Z][\w'-]*(?: (?:(?:of|the|de|von|and) )?[A-Z][\w'-]*)*")
_QUESTION_WORDS = frozenset(
    "what which who whom whose when where why how in on at to for from by of during the a an".split()
)
_OPPOSITES = (
    "first last|most least|largest smallest|biggest smallest|highest lowest|best worst|oldest youngest|"
    "oldest newest|before after|more fewer|more less|increase decrease|increased decreased|north south|"
    "northern southern|east west|eastern western|early late|beginning end|began ended|start end|"
    "started ended|above below|won lost|win lose|longest shortest|higher lower|larger smaller|always never|"
    "with without|inside outside|maximum minimum|major minor|many few|allowed forbidden|legal illegal|"
    "accepted rejected|support oppose|supported opposed|birth death|born buried|old new|same different|"
    "good bad|strong weak|rich poor|internal external|public private|male female|men women|father mother|"
    "son daughter|brother sister|husband wife|upper lower|left right|closed opened|majority minority|"
    "common rare|positive negative|increased reduced|former latter|previous next|earliest latest|"
    "fastest slowest"
)
_NEGATED = re.compile(r"\b(is|are|was|were|does|do|did|can|could|has|have|had|will|would|should)\b(?! not\b)")


def _both_ways(pairs: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pair in pairs.split("|"):
        one, other = pair.split()
        found.setdefault(one, []).append(other)
        found.setdefault(other, []).append(one)
    return found


OPPOSITES = _both_ways(_OPPOSITES)


def kept_sentences(passage: str, answers: Iterable[str]) -> list[tuple[int, int]] | None:
    """(start, end) of the sentences in which no answer stands; None where all do, or none does."""
    wanted = {one.lower() for one in answers if one}
    spans = list(sentence_spans(passage))
    kept = [(start, end) for start, end in spans if not any(one in passage[start:end].lower() for one in wanted)]
    return kept if 0 < len(kept) < len(spans) else None


def changed_question(question: str, passage: str, others: Sequence[str], random: Random) -> str | None:
    """The question with one thing in it changed, so that the passage no longer answers it; None where nothing can be changed.

    `passage`: what it is asked about, `others`: passages of the same article, which give names and numbers of the same kind.
    """
    ways = [_other_number, _other_name, _opposite, _negated]
    weights = [3.0, 3.0, 3.0, 1.0]
    while ways:
        (way,) = random.choices(ways, weights)
        if (changed := way(question, passage, others, random)) is not None:
            return changed
        place = ways.index(way)
        del ways[place], weights[place]
    return None


def _other_number(question: str, passage: str, others: Sequence[str], random: Random) -> str | None:
    """A number of as many digits from the same article, or one nearby."""
    found = list(_NUMBER.finditer(question))
    if not found:
        return None
    match = random.choice(found)
    digits = len(re.sub(r"\D", "", match[0]))
    there = {one for text in (passage, *others) for one in _NUMBER.findall(text)}
    alike = sorted(one for one in there if len(re.sub(r"\D", "", one)) == digits and one != match[0])
    if alike and random.random() < 0.7:
        new = random.choice(alike)
    elif match[0].isdigit() and digits < 7:
        new = str(max(int(match[0]) + random.choice((-1, 1)) * random.randint(1, max(2, int(match[0]) // 40)), 0))
    else:
        return None
    return question[: match.start()] + new + question[match.end() :] if new != match[0] else None


def _other_name(question: str, passage: str, others: Sequence[str], random: Random) -> str | None:
    """Another name of the article in the place of one that the passage says."""
    names = [one for one in _names(question) if one[1].lower() not in _QUESTION_WORDS]
    if not names:
        return None
    start, old = random.choice(names)
    known = old.lower().split()
    pool = {
        name for text in (passage, *others) for _, name in _names(text) if not set(name.lower().split()) & set(known)
    }
    alike = sorted(
        one for one in pool if abs(len(one.split()) - len(known)) < 2 and one.lower() not in question.lower()
    )
    alike = [one for one in alike if one.split()[0].lower() not in _QUESTION_WORDS]
    return question[:start] + random.choice(alike) + question[start + len(old) :] if alike else None


def _names(text: str) -> list[tuple[int, str]]:
    """Words with capitals, but not where a sentence begins: there every word has one."""
    found = []
    for match in _NAME.finditer(text):
        before = text[: match.start()].rstrip()
        if before and before[-1] not in ".!?\"'“(":
            found.append((match.start(), match[0]))
    return found


def _opposite(question: str, passage: str, others: Sequence[str], random: Random) -> str | None:
    words = [one for one in re.finditer(r"[A-Za-z]+", question) if one[0].lower() in OPPOSITES]
    if not words:
        return None
    match = random.choice(words)
    new = random.choice(OPPOSITES[match[0].lower()])
    new = new.capitalize() if match[0][0].isupper() else new
    return question[: match.start()] + new + question[match.end() :]


def _negated(question: str, passage: str, others: Sequence[str], random: Random) -> str | None:
    found = list(_NEGATED.finditer(question))
    if not found or found[0].start() == 0 or random.random() < 0.6:  # rare: "not" alone must not decide
        return None
    match = found[0]
    if match[0] in ("is", "are", "was", "were", "can", "could", "will", "would", "should", "has", "had", "have"):
        return (
            f"{question[: match.end()]} not{question[match.end() :]}"
            if random.random() < 0.5
            else _never(question, match)
        )
    return _never(question, match)


def _never(question: str, match: re.Match[str]) -> str:
    """The word before what is done; or, where a helping verb stands, its short form."""
    short = {"can": "can't", "will": "won't"}.get(match[0], f"{match[0]}n't")
    return question[: match.start()] + short + question[match.end() :]
