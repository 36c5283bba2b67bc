"""Walks through the header of a GGUF file before anything believes it: every length must fit into what is left of the file."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from openbook.core.errors import ModelUnavailable

_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""GGUF's number of a scalar type -> its bytes."""
_STRING, _ARRAY = 8, 9
_MAX_COUNT = 10_000_000
_MAX_DIMENSIONS = 4


def check_header(path: Path) -> None:
    """Raises ModelUnavailable when the file is no GGUF file of version 2 or 3, is cut off, or claims what it does not hold."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _Header(data).walk()
    except (ValueError, struct.error, UnicodeDecodeError) as error:
        raise ModelUnavailable(f"{path} is no valid GGUF file: {error}", "get a complete copy") from None
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read: {error}", "name a GGUF file") from None


class _Header:
    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at = data, 0

    def walk(self) -> None:
        if self.data[:4] != b"GGUF":
            raise ValueError("it does not begin as one")
        self.at = 4
        version = self.number("<I")
        if version not in (2, 3):
            raise ValueError(f"its version is {version}, 2 and 3 are read")
        tensors, keys = self.count(), self.count()
        for _ in range(keys):
            self.text()
            self.value(self.number("<I"))
        for _ in range(tensors):
            self.text()
            dimensions = self.number("<I")
            if not 1 <= dimensions <= _MAX_DIMENSIONS:
                raise ValueError(f"a tensor has {dimensions} dimensions")
            self.skip(8 * dimensions + 4 + 8)

    def value(self, kind: int) -> None:
        if kind in _SIZES:
            self.skip(_SIZES[kind])
        elif kind == _STRING:
            self.text()
        elif kind == _ARRAY:
            inner, length = self.number("<I"), self.count()
            if inner in _SIZES:
                self.skip(_SIZES[inner] * length)
            elif inner == _STRING:
                for _ in range(length):
                    self.text()
            else:
                raise ValueError(f"it holds an array of type {inner}")
        else:
            raise ValueError(f"it holds a value of type {kind}")

    def text(self) -> None:
        self.skip(self.number("<Q"))

    def count(self) -> int:
        count = self.number("<Q")
        if count > _MAX_COUNT:
            raise ValueError(f"it claims {count:,} entries")
        return count

    def number(self, form: str) -> int:
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.skip(struct.calcsize(form))
        return int(value)

    def skip(self, size: int) -> None:
        self.at += size
        if self.at > len(self.data):
            raise ValueError("it is cut off")
