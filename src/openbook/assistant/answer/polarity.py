"""Whether a clause affirms or denies: the number of its negations, odd or even, without idioms that only bound an amount."""

from __future__ import annotations

import re

_IDIOMS = re.compile(
    r"\b(?:no|not) (?:later|more|less|fewer|earlier|longer) than\b|\bnot only\b|\bno\.\s?\d|\bwhether or not\b|\bif not\b"
    r"|\bcosts? nothing\b"
    r"|(?:\bnot|n['’]t)(?: \w+){1,5} (?:until|before)\b|不(?:收费|要钱|花钱|另收)"
    r"|\bat no (?:extra|additional) (?:cost|charge)\b"
    r"|不得?(?:超过|少于|多于|低于|高于|晚于|早于|迟于|小于|大于|足)|不能(?:超过|少于|多于|低于|高于)|不(?:仅|但|过|同|断|久|论|管|锈|动产|定期|满)"
    r"|是不是|能不能|要不要|可不可以|有没有|会不会|差不多|了不起|无(?:线|锡|偿|息|限|人机|论)|未(?:来|满)|非(?:常|洲)|莫非|没收|分别|特别|区别|级别|"
    r"性别|个别|别(?:的|人|墅|名|称)",
    re.IGNORECASE,
)
_MODIFIER = re.compile(
    r"\b(?:what|which|that|who|whatever) (?:was|is|were|are|has been|have been)(?: not|n['’]t) \w+\b"
    r"|(?:没有?(?![经受获得])|未(?![经受获得])|尚未)[\u4e00-\u9fff]{1,4}的(?=[\u4e00-\u9fff])"
    r"|(?:没有?(?![经受获得])|未(?![经受获得])|不)[\u4e00-\u9fff]{1,3}者",
    re.IGNORECASE,
)
"""A denial inside a modifier ("what was not used", 没有休完的) says which thing is meant, not whether."""
_NEGATION = re.compile(
    r"\b(?:not|never|no|none|nobody|nothing|neither|nor|nowhere|without|unless|except|non-\w+|cannot|refus\w+|prohibit\w*|forbid\w*|forbidden"
    r"|ban(?:ned|s)?|fail(?:s|ed)? to|denied|den(?:y|ies)|lacks?|lacked"
    r"|hardly|barely|scarcely|excluded?s?|excluding|absent|ineffective|insufficient|inadequate|impossible"
    r"|invalid|illegal|unlawful|incorrect|improper|irrelevant|unable"
    r"|(?:is|are|was|were|be|been|remain(?:s|ed)?|stay(?:s|ed)?|left) "
    r"un(?!der|ited|ique|if|iv|til)\w{3,}(?:ed|able|ible|t|en))\b|n['’]t\b"
    r"|缺席|闭馆|停业|忌(?=[\u4e00-\u9fff])|禁止|严禁|谢绝|拒绝|禁|勿|别(?=再|让|把|去)|不|没有?|未|无|非(?=[\u4e00-\u9fff]*[人员工])",
    re.IGNORECASE,
)


_NEITHER = re.compile(r"\b(neither|not|no|never|cannot|n['’]t)\b([^,;]{1,60}?)\bnor\b", re.IGNORECASE)
"""One denial of two things."""


def negations(clause: str) -> int:
    """How many negations the clause has."""
    text = _NEITHER.sub(r"\1\2", _MODIFIER.sub(" ", _IDIOMS.sub(" ", clause)))
    return len(_NEGATION.findall(text))


def denies(clause: str) -> bool:
    """An odd number of negations: "not without" affirms."""
    return negations(clause) % 2 == 1


def cues(clause: str) -> list[tuple[int, int]]:
    """Where the negations of the clause stand."""
    blank = _MODIFIER.sub(_blanked, _IDIOMS.sub(_blanked, clause))
    return [match.span() for match in _NEGATION.finditer(blank)]


def _blanked(match: re.Match[str]) -> str:
    return " " * len(match[0])
