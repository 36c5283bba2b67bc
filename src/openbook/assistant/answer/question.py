"""What a question asks for: its weighted terms, its names and numbers, and the kind of answer that it expects."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from openbook.library.lexical.bm25 import Among, Bm25Index
from openbook.library.lexical.fold import fold, simplify
from openbook.library.lexical.language import detect_language
from openbook.library.lexical.stopwords import STOPWORDS
from openbook.library.lexical.tokenize import query_terms, sequence, terms

AnswerKind = Literal["who", "when", "where", "number", "why", "how", "other"]
KINDS: tuple[AnswerKind, ...] = ("who", "when", "where", "number", "why", "how", "other")

_ASKS: tuple[tuple[AnswerKind, re.Pattern[str]], ...] = (
    ("number", re.compile(r"多少|几(?!乎|何)|多长|多久|多远|多高|多大|多重|多快|百分之")),
    ("when", re.compile(r"什么时候|何时|何年|哪一?年|哪一?天|哪个?月|哪个世纪|时间")),
    ("where", re.compile(r"哪里|哪儿|何处|何地|什么地方|哪个(?:国家|城市|省|市|县|区|地方|地区|州|洲)|位于|在哪")),
    ("who", re.compile(r"谁|何人|什么人|哪位|哪一位|哪个人")),
    ("why", re.compile(r"为什么|为何|原因|因何")),
    ("how", re.compile(r"怎么|怎样|如何")),
    ("number", re.compile(r"\bhow (?:many|much|long|old|far|tall|large|big|often|high|deep|fast|soon|wide)\b")),
    ("number", re.compile(r"\bwhat (?:percent\w*|number|year|share|amount|price|rate|size|age)\b|\bat what time\b")),
    ("when", re.compile(r"\bwhen\b|\b(?:what|which) (?:year|date|day|month|century|decade|time)\b|\bby when\b")),
    ("where", re.compile(r"\bwhere\b|\b(?:what|which) (?:city|country|state|place|location|town|region|continent)\b")),
    ("who", re.compile(r"\bwho(?:m|se)?\b|\b(?:what|which) (?:person|man|woman|king|president|author|people)\b")),
    ("why", re.compile(r"\bwhy\b|\bwhat (?:caused|reason)\b")),
    ("how", re.compile(r"\bhow\b")),
)
_NAME = re.compile(r"(?<![.?!:]\s)(?<!^)(?<![\"“'])\b[A-Z][\w'’-]*")
_QUOTED = re.compile(r"[\"“«《「『]([^\"”»》」』]+)[\"”»》」』]")
_CODE = re.compile(r"\d")
_QUESTION_WORD = re.compile(
    r"什么时候|什么地方|什么人|什么|为什么|为何|何时|何地|何处|何年|何人|何种|何|谁|多少|几|哪一?[个些位种年天家所部]?|怎么样?|怎样|如何"
    r"|\b(?:how (?:many|much|long|old|far|often)|which|what|whom?|whose|when|where|why|how)\b",
    re.IGNORECASE,
)
_BESIDE = 4


@dataclass(frozen=True)
class Question:
    """`terms` (T,) distinct, in order, without stop words; `shares` (T,) of the idf mass, adding up to 1; `known`
    (T,) whether the library has the term at all; `is_name` (T,) whether it is part of a name, number or code;
    `rarity`: mean idf over the highest that the library could give. `order`: its pieces without the question word, as
    `pieces` gives them; `left` and `right`: the grams beside that word.
    """

    text: str
    language: str
    kind: AnswerKind
    terms: tuple[str, ...]
    shares: NDArray[np.float64]
    known: NDArray[np.bool_]
    is_name: NDArray[np.bool_]
    rarity: float
    pairs: frozenset[tuple[str, str]]
    folded: str
    order: tuple[str, ...]
    left: frozenset[str]
    right: frozenset[str]

    def coverage(self, found: set[str]) -> float:
        """The share of the idf mass that `found` terms hold."""
        return float(sum(share for term, share in zip(self.terms, self.shares.tolist(), strict=True) if term in found))

    def rare_coverage(self, found: set[str]) -> float:
        """As `coverage`, by the fourth power of the share: the rarest terms alone decide."""
        powers: list[float] = (self.shares**4).tolist()
        return sum(p for term, p in zip(self.terms, powers, strict=True) if term in found) / sum(powers)


def analyse(text: str, lexical: Bm25Index | Among) -> Question:
    """The question against the statistics of one library's index, or of the part of it that a reader sees."""
    ordered = query_terms(text)
    unique = tuple(dict.fromkeys(ordered))
    total = lexical.count()
    frequencies = np.array([len(lexical.search([term], max(1, total))[0]) for term in unique], np.float64)
    idf = np.log1p((total - frequencies + 0.5) / (frequencies + 0.5))
    names = {term for run in (*_NAME.findall(text), *_QUOTED.findall(text)) for term in terms(run)} - STOPWORDS
    is_name = np.array([term in names or bool(_CODE.search(term)) for term in unique], bool)
    most = np.log1p((total + 0.5) / 0.5)
    language = detect_language(text)
    word = question_word(text)
    before, after = (text[: word[0]], text[word[1] :]) if word else (text, "")
    left, right = pieces(before, language), pieces(after, language)
    return Question(
        text=text,
        language=language,
        kind=answer_kind(text),
        terms=unique,
        shares=idf / idf.sum(),
        known=frequencies > 0,
        is_name=is_name,
        rarity=float(idf.mean() / most),
        pairs=frozenset(pairwise(ordered)),
        folded=simplify(fold(text)),
        order=(*left, *right),
        left=grams(left[-_BESIDE:], language),
        right=grams(right[:_BESIDE], language),
    )


def question_word(text: str) -> tuple[int, int] | None:
    """Where the question word stands; None when there is none."""
    word = _QUESTION_WORD.search(simplify(text))
    return word.span() if word else None


def pieces(text: str, language: str) -> tuple[str, ...]:
    """The text in order, piece by piece: characters of Chinese, stemmed words without stop words of the others."""
    if language == "zh":
        return tuple(sequence(text))
    return tuple(term for term in terms(text) if term not in STOPWORDS)


def grams(run: tuple[str, ...], language: str) -> frozenset[str]:
    """Pairs of neighbours for Chinese, the words themselves for the others."""
    return frozenset(a + b for a, b in pairwise(run)) if language == "zh" else frozenset(run)


def answer_kind(text: str) -> AnswerKind:
    """What the question word asks for, in English and Chinese; "other" when it does not tell."""
    lower = simplify(text.lower())
    return next((kind for kind, pattern in _ASKS if pattern.search(lower)), "other")


_UNIT = "[个人名位年月日天岁次座层米公千种所家部集条万亿元分度只艘架辆级世成倍点小时届章首册卷本场项站平方第期支队员张间栋%％]"
_HAN_NUMBER = f"[〇零一二三四五六七八九十百千万亿两]+{_UNIT}|[百千万亿两]"
_NUMBER_WORD = (
    r"\d+(?:[.,]\d+)*|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty"
    rf"|hundred|thousand|million|billion|dozen|half|twice|first|second|third)\b|{_HAN_NUMBER}"
)
_DATE = (
    r"\b(?:1\d{3}|20\d\d)\b|\b\d{1,4}s\b|\b(?:january|february|march|april|may|june|july|august|september|october"
    r"|november|december|monday|tuesday|wednesday|thursday|friday|saturday|sunday|century|year|day|month|week)s?\b"
    r"|[\d〇一二三四五六七八九十]+ ?(?:年|月|日|世纪|点|时|岁)|[清明宋唐元汉]朝|初年|末年|期间|时期|年代"
)
_PLACE = r"..[省市县区国州洲岛山河江湖镇村路街港城站]|[东西南北中]部|\b(?:in|at|near|from|to|of|on) (?:the )?[A-Z]"
_SURNAMES = (
    "王李张刘陈杨黄赵周吴徐孙朱胡郭何林罗郑梁谢宋唐许邓冯韩曹曾彭萧蔡潘田董袁于余叶蒋杜苏魏程吕丁沈任姚卢傅"
    "钟姜崔谭廖范汪陆石戴贾韦邱"
)
_PERSON = (
    r"\b[A-Z][a-z]+ (?:[A-Z]\.? )?[A-Z][a-z]+|\b(?:Dr|Mr|Mrs|Sir|King|Queen|President|Pope|Emperor)\b|·"
    rf"|[{_SURNAMES}][\u4e00-\u9fff]{{1,2}}|先生|教授|博士|皇帝|总统|国王|导演|[\u4e00-\u9fff]{{2}}[帝王]"
)
_REASON = (
    r"\b(?:because|due to|since|result|reason|caused?|so that|in order|therefore|to avoid)\b"
    r"|因为|因|由于|所以|原因|导致|为了|以致|使得"
)
_MANNER = r"\bby \w+ing\b|\b(?:through|using|via|with|method|process)\b|通过|透过|以|用|方式|方法|经由"
_EVIDENCE: dict[AnswerKind, re.Pattern[str]] = {
    "number": re.compile(_NUMBER_WORD, re.IGNORECASE),
    "when": re.compile(_DATE, re.IGNORECASE),
    "where": re.compile(_PLACE),
    "who": re.compile(_PERSON),
    "why": re.compile(_REASON, re.IGNORECASE),
    "how": re.compile(_MANNER, re.IGNORECASE),
}


def shows_kind(question: Question, text: str) -> bool | None:
    """Whether `text` holds something of the expected kind that the question does not say itself; None if any will do."""
    pattern = _EVIDENCE.get(question.kind)
    if pattern is None:
        return None
    return any(fold(match[0]) not in question.folded for match in pattern.finditer(simplify(text)))
