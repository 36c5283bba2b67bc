"""Where a completion says its answer: \\boxed{...}, behind ####, in <answer> tags, behind "the answer is", or its last number."""

from __future__ import annotations

import re

from openbook.training.rewards.settings import Place

_PHRASE = re.compile(
    r"(?:\banswer\s*(?:is|:|=)|\banswer\s+is\s*:|答案\s*(?:是|为|：|:)|答\s*[：:])\s*:?\s*", re.IGNORECASE
)
_SENTENCE = re.compile(r"(?<!\bMrs)(?<!\bMr)(?<!\bMs)(?<!\bDr)(?<!\bSt)(?<!\b[ap]\.m)\.(?=\s|$)|[。；;\n]")
_LAST = re.compile(
    r"(?<![\w.])-?\s?\d*\\[dtc]?frac\s*\{[^{}]{1,40}\}\s*\{[^{}]{1,40}\}"
    r"|(?:(?<![\w.)\]])-)?(?<![\d.])(?:\d+(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:/\d+)?"
)


def final_answer(text: str, place: Place = "any") -> str | None:
    """The answer of a completion; None where it says none. `any`: the first of the kinds above that there is; of one kind the
    last. `last`: the last number, which is also taken where nothing marks the answer.
    """
    match place:
        case "boxed":
            return boxed(text)
        case "hashes":
            return after_hashes(text)
        case "tag":
            return tagged(text)
        case "last":
            return last_number(text)
    for find in (boxed, after_hashes, tagged, after_phrase, last_number):
        if (found := find(text)) is not None:
            return found
    return None


def marked_answer(text: str) -> str | None:
    """What a reference marks as its answer."""
    return next((found for find in (boxed, after_hashes, tagged) if (found := find(text)) is not None), None)


def boxed(text: str) -> str | None:
    """What the last \\boxed or \\fbox holds; None also where its brace is not closed."""
    begin = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    if begin < 0:
        return None
    at = begin + (6 if text.startswith("\\boxed", begin) else 5)
    rest = text[at:].lstrip()
    if not rest.startswith("{"):
        return re.split(r"[\s$.]", rest, maxsplit=1)[0] or None
    depth = 0
    for place, sign in enumerate(rest):
        depth += (sign == "{") - (sign == "}")
        if depth == 0:
            return rest[1:place].strip()
    return None


def after_hashes(text: str) -> str | None:
    """GSM8K's form: what follows the last "####" on its line."""
    _, found, rest = text.rpartition("####")
    return rest.strip().partition("\n")[0].strip() or None if found else None


def tagged(text: str) -> str | None:
    """What stands in the last <answer>...</answer>."""
    before, found, _ = text.rpartition("</answer>")
    _, begun, inside = before.rpartition("<answer>")
    return inside.strip() if found and begun else None


def after_phrase(text: str) -> str | None:
    """What follows the last "the answer is", to the end of the sentence."""
    places = [match.end() for match in _PHRASE.finditer(text)]
    return _SENTENCE.split(text[places[-1] :].strip(), maxsplit=1)[0].strip(" *") or None if places else None


def last_number(text: str) -> str | None:
    """A number, fraction or mixed number; a minus belongs to it unless something stands before."""
    found = None
    for found in _LAST.finditer(text):  # noqa: B007  (only the last one is wanted)
        pass
    return found[0] if found else None
