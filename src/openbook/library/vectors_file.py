"""A safetensors file with one float16 matrix, written and read a few rows at a time."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

NAME = "vectors"
_LENGTH = struct.Struct("<Q")
_LONGEST_HEADER = 1 << 20


def write_vectors(file: IO[bytes], count: int, dimension: int, rows: Iterable[bytes]) -> None:
    """Writes `count` rows of `dimension` float16 each. Raises `ValueError` when there are more or fewer."""
    size = count * dimension * 2
    header = json.dumps({NAME: {"dtype": "F16", "shape": [count, dimension], "data_offsets": [0, size]}}).encode()
    header += b" " * (-len(header) % 8)
    file.write(_LENGTH.pack(len(header)) + header)
    written = 0
    for row in rows:
        file.write(row)
        written += len(row)
    if written != size:
        raise ValueError(f"{written} bytes of vectors, {count} of dimension {dimension} have {size}")


class VectorsFile:
    """The matrix in `path`, (N, E) float16. Raises `ValueError` when the file is not one; `close` when done."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        try:
            (length,) = _LENGTH.unpack(self._file.read(_LENGTH.size).ljust(_LENGTH.size, b"\xff"))
            if length > _LONGEST_HEADER:
                raise ValueError(f"{path.name} is no safetensors file")
            about: dict[str, Any] = json.loads(self._file.read(length))[NAME]
            self.count, self.dimension = (int(number) for number in about["shape"])
            self._begin = _LENGTH.size + length + about["data_offsets"][0]
            size = path.stat().st_size - self._begin
            if (
                about["dtype"] != "F16"
                or min(self.count, self.dimension) < 0
                or size != self.count * self.dimension * 2
            ):
                raise ValueError(f"{path.name} holds {about['dtype']} of shape {about['shape']} in {size} bytes")
        except BaseException:
            self._file.close()
            raise

    def rows(self, first: int, last: int) -> NDArray[np.float16]:
        """(last - first, E): the rows of that span; `IndexError` when there are not so many."""
        if not 0 <= first <= last <= self.count:
            raise IndexError(f"rows {first} to {last} of {self.count}")
        self._file.seek(self._begin + first * self.dimension * 2)
        data = self._file.read((last - first) * self.dimension * 2)
        return np.frombuffer(data, np.float16).reshape(last - first, self.dimension)

    def close(self) -> None:
        self._file.close()
