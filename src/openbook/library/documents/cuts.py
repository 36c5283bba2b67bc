"""Where a large text can be cut: at a heading, a blank line, a line end, a space, and at last between two characters.

Line ends and spaces are one byte in every encoding that is read in parts but UTF-16 and UTF-32, and never a part of
another character there; so the n-th line end of the decoded text is the n-th of the bytes.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from openbook.library.documents.encoding import decode

How = Literal["heading", "blank", "line", "fence", "space", "anywhere"]
_STATEFUL = re.compile(r"iso2022|iso-2022|hz|utf[-_]?7|punycode|idna|unicode_escape", re.IGNORECASE)
_WIDTHS = {"utf-16-le": 2, "utf-16-be": 2, "utf-32-le": 4, "utf-32-be": 4}
_BLANK = re.compile(r"\n[ \t\r\u3000]*\n")
_BLANK_BEFORE_TEXT = re.compile(r"\n[ \t\r\u3000]*\n(?=[^\s\-*+•>|<`~\d])")
_BLANK_BEFORE_CODE = re.compile(r"\n[ \t\r]*\n(?=\S)")
_HEADING = re.compile(r"\n[ \t\r]*\n(?= {0,3}#{1,6}[ \t])")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})(.*)$", re.MULTILINE)
_SPACE = re.compile(r"(?<=\S) (?=\S)")
_LONG_LINE = 100_000


class Encoding(NamedTuple):
    """`shown` is the name in the receipt; `skip` the bytes of the mark at the beginning. `newline` is "\\r" in old files;
    `uncertain`: what the receipt says of a guess.
    """

    codec: str
    shown: str
    skip: int
    newline: str
    uncertain: str = ""

    @property
    def width(self) -> int:
        """Bytes of which every character has a multiple: 1, 2 or 4."""
        return _WIDTHS.get(self.codec, 1)


class Cut(NamedTuple):
    """A place in bytes. `fence`: the mark of the code block that is open there, "" for none."""

    at: int
    how: How
    fence: str = ""


def encoding_of(sample: bytes, is_utf8: bool) -> Encoding | None:
    """How a large file is decoded, from its head (or where it is not ASCII first) and whether all of it is UTF-8.

    None when the encoding cannot be cut, because its bytes mean what escapes before them say.
    """
    shown, uncertain = "utf-8", ""
    if not is_utf8 or sample.startswith(codecs.BOM_UTF8):
        decoded = decode(sample)
        shown, uncertain = decoded.encoding, decoded.uncertain
    codec, skip = shown, 0
    if shown == "utf-8-sig":
        codec, skip = "utf-8", len(codecs.BOM_UTF8)
    elif shown == "utf-16":
        codec, skip = ("utf-16-le" if sample.startswith(codecs.BOM_UTF16_LE) else "utf-16-be"), 2
    elif shown == "utf-32":
        codec, skip = ("utf-32-le" if sample.startswith(codecs.BOM_UTF32_LE) else "utf-32-be"), 4
    if _STATEFUL.match(codec) or (codec not in _WIDTHS and codec.replace("_", "-").startswith(("utf-16", "utf-32"))):
        return None
    text = sample[skip:].decode(codec, "replace")
    return Encoding(codec, shown, skip, "\r" if "\r" in text and "\n" not in text else "\n", uncertain)


def cut(data: bytes, target: int, encoding: Encoding, kind: str, fence: str = "") -> Cut | None:
    """The best place of `data[target:]`, whose beginning is that of a part which begins inside `fence`.

    None when a line must be whole (JSON lines) and none ends there.
    """
    target -= target % encoding.width
    if kind == "markdown":
        target = _line_start(data, target, encoding)
    text = data[target:].decode(encoding.codec, "replace").replace("\r" if encoding.newline == "\r" else "\n", "\n")
    if kind == "markdown":
        state = _fence_after(data[:target].decode(encoding.codec, "replace"), fence)
        found = _markdown_place(text, state)
    else:
        found = _place(text, kind)
    if found is None and kind == "jsonl":
        return None
    if found is None:
        return Cut(_between_characters(data, target, encoding), "anywhere", fence)
    place, how, state = found
    return Cut(target + _bytes_before(text, place, data, target, encoding), how, state)


def _line_start(data: bytes, target: int, encoding: Encoding) -> int:
    """Where the line begins in which `target` lies, so that no mark of a code block is taken apart; `target` if far away."""
    mark = encoding.newline.encode(encoding.codec)
    at = target
    while (at := data.rfind(mark, max(target - _LONG_LINE, 0), at)) > 0:
        if at % encoding.width == 0:
            return at + encoding.width
    return target


def _place(text: str, kind: str) -> tuple[int, How, str] | None:
    blank = {"text": _BLANK, "code": _BLANK_BEFORE_CODE}.get(kind)
    if blank is not None and (match := blank.search(text)) is not None:
        return match.end(), "blank", ""
    if (line := text.find("\n")) >= 0:
        return line + 1, "line", ""
    if kind != "jsonl" and (match := _SPACE.search(text)) is not None:
        return match.end(), "space", ""
    return None


def _markdown_place(text: str, fence: str) -> tuple[int, How, str] | None:
    """A heading, else a blank line before plain text, both outside of code; else a line end, where code may be open."""
    for pattern, how in ((_HEADING, "heading"), (_BLANK_BEFORE_TEXT, "blank")):
        for place in _outside_code(text, pattern, fence):
            return place, how, ""  # type: ignore[return-value]
    if (line := text.find("\n")) < 0:
        match = _SPACE.search(text)
        return (match.end(), "space", fence) if match is not None else None
    state = _fence_after(text[: line + 1], fence)
    return line + 1, "fence" if state else "line", state


def _outside_code(text: str, pattern: re.Pattern[str], fence: str) -> Iterator[int]:
    position = 0
    for match in pattern.finditer(text):
        fence = _fence_after(text[position : match.end()], fence)
        position = match.end()
        if not fence:
            yield position


def _fence_after(text: str, fence: str) -> str:
    """The mark of the code block that is open after `text`, when that of `fence` is before it."""
    for match in _FENCE.finditer(text):
        if not fence:
            fence = match[1]
        elif match[1].startswith(fence) and not match[2].strip():
            fence = ""
    return fence


def _bytes_before(text: str, place: int, data: bytes, target: int, encoding: Encoding) -> int:
    """How many bytes `text[:place]` has, which ends with a line end or a space."""
    if encoding.width > 1:
        return len(text[:place].encode(encoding.codec, "surrogatepass"))
    mark = text[place - 1]
    wanted = (encoding.newline if mark == "\n" else mark).encode("ascii")
    at = target - 1
    for _ in range(text.count(mark, 0, place)):
        at = data.index(wanted, at + 1)
    return at + 1 - target


def _between_characters(data: bytes, target: int, encoding: Encoding) -> int:
    """The last border of two characters at or before `target`."""
    decoder = codecs.getincrementaldecoder(encoding.codec)("replace")
    decoder.decode(data[:target])
    pending = decoder.getstate()[0]
    return target - len(pending) if len(pending) < target else target
