"""Tokenised samples in a folder of memory-mapped files: written once, read at any place without being loaded.

`ids.bin`: all ids end to end, uint16 or uint32; `learned.bin`: a byte for each, 1 where the loss counts it; `ends.bin`: int64,
where each sample ends; `shards.json`: what they were made of. A folder appears whole or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import BadData

_FORMAT = 1
_FILES = ("ids", "learned", "ends")
_DTYPES: dict[str, type[np.generic]] = {"uint16": np.uint16, "uint32": np.uint32}


class Sample(NamedTuple):
    """`learned`: of each id, whether the loss counts it; None for all."""

    ids: list[int]
    learned: list[bool] | None = None


class Shards:
    """The samples of a folder that `write_shards` made. `made_of`: what the writer said."""

    def __init__(self, folder: Path) -> None:
        try:
            said = json.loads((folder / "shards.json").read_text("utf-8"))
            dtype = _DTYPES[said["dtype"]]
            self.made_of: Mapping[str, Any] = said["made_of"]
            self._ends = _mapped(folder / "ends.bin", np.int64)
            self._ids, self._learned = _mapped(folder / "ids.bin", dtype), _mapped(folder / "learned.bin", np.uint8)
            whole = int(self._ends[-1]) if len(self._ends) else 0
            if said["format"] != _FORMAT or not len(self._ids) == len(self._learned) == whole:
                raise ValueError("another format, or a file that was cut")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadData(
                f"{folder} holds no tokenised samples: {error}", "remove it, so that it is made again"
            ) from None

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def num_tokens(self) -> int:
        return len(self._ids)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(S,) tokens of each sample."""
        return np.diff(self._ends, prepend=0)

    def ids(self, sample: int) -> NDArray[np.int64]:
        begin, end = self._bounds(sample)
        return self._ids[begin:end].astype(np.int64)

    def learned(self, sample: int) -> NDArray[np.bool_]:
        """(T,) of each id, whether the loss counts it."""
        begin, end = self._bounds(sample)
        return self._learned[begin:end].astype(np.bool_)

    def window(self, start: int, length: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Ids and whether each is learned, from any token on, wherever samples end."""
        end = start + length
        return self._ids[start:end].astype(np.int64), self._learned[start:end].astype(np.bool_)

    def part(self, begin: int, end: int) -> Shards:
        """The tokens [begin, end) as they lie in the files, nothing copied; a sample that is cut there is one by itself."""
        if not 0 <= begin < end <= self.num_tokens:
            raise ValueError(f"a part [{begin}, {end}) of {self.num_tokens} tokens")
        own = object.__new__(Shards)
        own.made_of = self.made_of
        own._ids, own._learned = self._ids[begin:end], self._learned[begin:end]
        own._ends = np.append(self._ends[(self._ends > begin) & (self._ends < end)], end) - begin
        return own

    def _bounds(self, sample: int) -> tuple[int, int]:
        return int(self._ends[sample - 1]) if sample else 0, int(self._ends[sample])


def write_shards(samples: Iterable[Sample], folder: Path, vocab_size: int, made_of: Mapping[str, Any]) -> Shards:
    """Writes beside and renames, so that an interrupted run leaves nothing half made."""
    beside = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    dtype = np.uint16 if vocab_size <= 1 << 16 else np.uint32
    try:
        end = 0
        with ExitStack() as stack:
            ids, learned, ends = (stack.enter_context((beside / f"{name}.bin").open("wb")) for name in _FILES)
            for sample in samples:
                end += len(sample.ids)
                ids.write(np.array(sample.ids, dtype).tobytes())
                counted = [True] * len(sample.ids) if sample.learned is None else sample.learned
                learned.write(np.array(counted, np.uint8).tobytes())
                ends.write(np.int64(end).tobytes())
        said = {"format": _FORMAT, "dtype": np.dtype(dtype).name, "made_of": dict(made_of)}
        (beside / "shards.json").write_text(json.dumps(said, indent=1), "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Shards(folder)


def _mapped(path: Path, dtype: type[np.generic]) -> NDArray[Any]:
    """An empty file cannot be mapped."""
    return np.memmap(path, dtype, "r") if path.stat().st_size else np.empty(0, dtype)
