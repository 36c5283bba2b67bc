"""Bytes to text: byte order marks, UTF-8, UTF-16, then the legacy encodings of Chinese, Japanese, Korean and Latin.

A legacy multi-byte encoding is recognised by *where* its characters lie: each of these standards put the frequent
characters first (GB 2312 level 1, Big5 level 1, JIS level 1), so text read in the wrong one is spread over the rare
areas. charset-normalizer decides what these rules leave open; on short Chinese text it is often wrong by itself.
"""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE_BYTES = 65_536
_COMMON = frozenset(
    "的一是不了在人有我他这這个個们們中来來上大为為和国國地到以说說时時要就出会會可也你对對生能而子那得于於着著下自之年"
    "过過发發后後作里裡用道行所然家种種事成方多经經么麼去法学學如都同现現当當没沒动動面起看定天分还還进進好小部其些主样樣"
    "理心她本前开開但因只从從想实實日月第条條、。，：；！？「」『』（）《》“”　"
)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


class Decoded(NamedTuple):
    """`invalid`: bytes that are no character in `encoding` and were replaced by U+FFFD. `uncertain`: what a receipt should
    say of a guess that the bytes alone do not settle, "" otherwise.
    """

    text: str
    encoding: str
    invalid: int = 0
    uncertain: str = ""


def is_binary(data: bytes) -> bool:
    """Whether `data` is no text in any encoding (UTF-16 and UTF-32, which are full of NUL bytes, are text)."""
    head = data[:_SAMPLE_BYTES]
    if not head or head.startswith(tuple(mark for mark, _ in _BOMS)):
        return False
    controls = len(_CONTROL.findall(head))
    return controls > len(head) * 0.02 and _utf16(head) is None


def decode(data: bytes) -> Decoded:
    """The text of a text file, line breaks as "\\n". Never fails: what is invalid is replaced and counted."""
    decoded = _decode(data)
    text = decoded.text
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return decoded._replace(text=text)


def _decode(data: bytes) -> Decoded:
    for mark, name in _BOMS:
        if data.startswith(mark):
            return _lenient(data, name)
    try:
        if b"\x00" not in data:
            return Decoded(data.decode(), "utf-8")
    except UnicodeDecodeError:
        pass
    if (wide := _utf16(data[:_SAMPLE_BYTES])) is not None:
        return _lenient(data, wide)
    lenient = _lenient(data, "utf-8")
    multibyte = sum(byte >= 0xC0 for byte in data[:_SAMPLE_BYTES])
    if lenient.invalid <= max(1, multibyte // 10) and multibyte > 2 * lenient.invalid:
        return lenient
    guessed = _lenient(data, _legacy(data) or "cp1252")
    return guessed._replace(uncertain=_doubt(data[:_SAMPLE_BYTES], guessed.encoding))


_LATIN = {"cp1252": "cp1250", "cp1250": "cp1252", "latin_1": "cp1250", "iso8859_1": "cp1250", "iso8859_2": "cp1252"}
"""Western and Central European, which put different letters on the same bytes."""


def _doubt(sample: bytes, encoding: str) -> str:
    """Which letters would be others in the sister encoding, where that has a letter for every one of them."""
    other = _LATIN.get(encoding.lower().replace("-", "_"))
    if other is None:
        known = encoding in _FREQUENT
        return "" if known else f"its encoding is guessed: read as {encoding}; save it as UTF-8 to be sure"
    here, there = sample.decode(encoding, "replace"), sample.decode(other, "replace")
    pairs = {(a, b) for a, b in zip(here, there, strict=False) if a != b}
    if not pairs or len(here) != len(there) or not all(a.isalpha() and b.isalpha() for a, b in pairs):
        return ""
    shown = ", ".join(f"{a} or {b}" for a, b in sorted(pairs)[:3])
    return f"its encoding is guessed: read as {encoding}, it may be {other} ({shown}); save it as UTF-8 to be sure"


def _lenient(data: bytes, name: str) -> Decoded:
    try:
        return Decoded(data.decode(name), name)
    except UnicodeDecodeError:
        text = data.decode(name, errors="replace")
        return Decoded(text, name, text.count("\ufffd"))


def _utf16(head: bytes) -> str | None:
    """The byte order of UTF-16 without a mark, or None: one half of the bytes takes few values (0, or 4E..9F)."""
    head = head[: len(head) // 2 * 2]
    if len(head) < 4 or (b"\x00" not in head and _CONTROL.search(head) is None):
        return None
    best, name = 0.0, None
    for candidate in ("utf-16-le", "utf-16-be"):
        try:
            text = head.decode(candidate)
        except UnicodeDecodeError as error:
            if error.start < len(head) - 4:
                continue
            text = head[: error.start].decode(candidate)
        good = sum(c in _COMMON or c == "\n" or " " <= c <= "~" for c in text)
        plausible = sum("一" <= c <= "鿿" for c in text)
        if good / len(text) > best and good + plausible > 0.8 * len(text) and good > 0.15 * len(text):
            best, name = good / len(text), candidate
    return name


def _legacy(data: bytes) -> str | None:
    """The best single- or multi-byte legacy encoding of `data`, which is not UTF-8; None when nothing is plausible."""
    sample = data[:_SAMPLE_BYTES]
    scores = {"cp1252": _latin_score(sample)}
    for name in _FREQUENT:
        scores[name] = _multibyte_score(sample, name, complete=len(sample) == len(data))
    best = max(scores, key=lambda name: scores[name])
    if scores[best] >= 0.5:
        return best
    from charset_normalizer import from_bytes

    match = from_bytes(sample).best()
    return match.encoding if match is not None else None


_FREQUENT: dict[str, tuple[tuple[int, int], int]] = {
    # encoding: lead bytes of its frequent characters, least trail byte of them
    "gb18030": ((0xB0, 0xD7), 0xA1),
    "big5": ((0xA4, 0xC6), 0x40),
    "shift_jis": ((0x88, 0x97), 0x40),
    "euc_jp": ((0xB0, 0xCF), 0xA1),
    "euc_kr": ((0xB0, 0xC8), 0xA1),
}


def _multibyte_score(sample: bytes, name: str, complete: bool) -> float:
    """Between 0 and 2: the share of characters in the frequent area plus the share of very common ones."""
    try:
        text = sample.decode(name)
    except UnicodeDecodeError as error:
        if complete or error.start < len(sample) - 4:
            return 0.0
        text = sample[: error.start].decode(name)
    wide = [c for c in text if c > "\x7f"][:4000]
    if not wide:
        return 0.0
    (low, high), trail = _FREQUENT[name]
    frequent = common = 0
    for c in wide:
        code = c.encode(name)
        kana = "\u3041" <= c <= "\u30fe" and name in ("shift_jis", "euc_jp")
        hangul = "가" <= c <= "힣" and name == "euc_kr"
        common += kana or hangul or (c in _COMMON and name != "euc_kr")
        frequent += kana or (len(code) == 2 and low <= code[0] <= high and code[1] >= trail) or c in _COMMON
    japanese = name in ("shift_jis", "euc_jp") and not any("\u3041" <= c <= "\u30fe" for c in wide)
    return (frequent + common) / len(wide) * (0.5 if japanese else 1.0)


def _latin_score(sample: bytes) -> float:
    """Share of bytes above 7F that stand alone between ASCII letters or spaces, as accents and typographic marks do."""
    high = len(re.findall(rb"[\x80-\xff]", sample))
    alone = len(re.findall(rb"(?:(?<=[\x20-\x7e\n\r])|^)[\x80-\xff](?=[\x20-\x7e\n\r]|$)", sample))
    undefined = len(re.findall(rb"[\x81\x8d\x8f\x90\x9d]", sample))
    return 0.0 if undefined or not high else 0.95 * alone / high
