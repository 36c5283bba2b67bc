"""Reads a SentencePiece `.model`: the fields of its protobuf that matter, with limits, and nothing that can run.

Source: the format, https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto, and the encoding,
https://protobuf.dev/programming-guides/encoding/. Unknown fields are skipped, as protobuf wants it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from openbook.core.errors import ModelUnavailable

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
UNIGRAM, BPE = 1, 2
MAX_FILE_BYTES = 200_000_000
MAX_PIECE_CHARACTERS = 2_000
_MAX_PIECES = 4_000_000
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Piece(NamedTuple):
    text: str
    score: float
    kind: int


@dataclass(frozen=True)
class SentencePieceModel:
    """`charsmap`: the compiled normalisation, b"" for none. Field names are the format's."""

    pieces: list[Piece] = field(default_factory=list)
    model_type: int = UNIGRAM
    byte_fallback: bool = False
    unk_id: int = 0
    charsmap: bytes = b""
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True


def read_model(path: Path) -> SentencePieceModel:
    """ModelUnavailable for a file that is none, that lies about its lengths, or that is beyond the limits."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"it has {path.stat().st_size:,} bytes, the limit is {MAX_FILE_BYTES:,}")
        return _model(path.read_bytes())
    except (OSError, ValueError, struct.error) as error:
        raise ModelUnavailable(f"{path} is no SentencePiece model: {error}", "copy the checkpoint again") from None


def _model(data: bytes) -> SentencePieceModel:
    pieces: list[Piece] = []
    trainer: dict[int, bytes | int] = {}
    normalizer: dict[int, bytes | int] = {}
    for number, value in _fields(data):
        if number == 1:
            pieces.append(_piece(_as_bytes(value), len(pieces)))
            if len(pieces) > _MAX_PIECES:
                raise ValueError(f"it has more than {_MAX_PIECES:,} pieces")
        elif number == 2:
            trainer |= dict(_fields(_as_bytes(value)))
        elif number == 3:
            normalizer |= dict(_fields(_as_bytes(value)))
    if not pieces:
        raise ValueError("it has no pieces")
    unk_id = _as_int(trainer.get(40, 0))
    if not 0 <= unk_id < len(pieces):
        raise ValueError(f"its unk_id is {unk_id}, it has {len(pieces)} pieces")
    return SentencePieceModel(
        pieces,
        _as_int(trainer.get(3, UNIGRAM)),
        bool(trainer.get(35, False)),
        unk_id,
        _as_bytes(normalizer.get(2, b"")),
        bool(normalizer.get(3, True)),
        bool(normalizer.get(4, True)),
    )


def _piece(data: bytes, place: int) -> Piece:
    fields = dict(_fields(data))
    text = _as_bytes(fields.get(1, b"")).decode("utf-8")
    score = struct.unpack("<f", _as_bytes(fields.get(2, bytes(4))))[0]
    if not text or len(text) > MAX_PIECE_CHARACTERS:
        raise ValueError(f"piece {place} has {len(text)} characters, allowed are 1 to {MAX_PIECE_CHARACTERS}")
    if not math.isfinite(score):
        raise ValueError(f"piece {place} has the score {score}")
    return Piece(text, score, _as_int(fields.get(3, NORMAL)))


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """(number, value) of each field: an int for a varint, else the bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"field {number} has the wire type {wire}")
        if number == 0 or at + size > len(data):
            raise ValueError(f"field {number} claims {size} bytes at {at} of {len(data)}")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError(f"a number is cut off at {at}")
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _as_bytes(value: bytes | int) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number stands where bytes should")
    return value


def _as_int(value: bytes | int) -> int:
    """A signed 32-bit number, as protobuf's int32 is written in 64 bits."""
    if not isinstance(value, int):
        raise ValueError("bytes stand where a number should")
    return value - (1 << 64) if value >= 1 << 63 else value
