"""The file form of a derived index: named numpy arrays behind a checked header, memory-mapped when read.

Layout: magic, header length and CRC-32 (20 bytes), JSON header, padding to 16 KiB, then the sections at multiples of
64 bytes. The header holds the caller's `meta` (watermarks, parameters) and of each section its dtype, shape and CRC-32.
A derived file can always be made again from the catalogue, so every error's remedy is `openbook check --repair`.
"""

from __future__ import annotations

import json
import mmap
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import CorruptLibrary
from openbook.core.paths import replacing

Meta = Mapping[str, Any]
"""JSON values: the owner's watermarks and the index's parameters."""
_MAGIC = b"OBDERIV1"
_HEAD = struct.Struct("<8sQI")
_DATA_START = 16_384
_ALIGNMENT = 64
_REMEDY = "rebuild it with `openbook check --repair`"


class DerivedFile(NamedTuple):
    """`arrays` are read-only views of the mapped file; they stay valid after the file was replaced or removed."""

    kind: str
    meta: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    checksums: dict[str, int]

    def damaged_sections(self) -> list[str]:
        """Names of the sections whose bytes do not have the recorded CRC-32 (reads the whole file)."""
        return [name for name, array in self.arrays.items() if zlib.crc32(array.data) != self.checksums[name]]


def write_derived(path: Path, kind: str, meta: Meta, sections: Iterable[tuple[str, Iterable[NDArray[Any]]]]) -> None:
    """Writes `sections` one after another, each as the concatenation of its arrays; atomic (`replacing`).

    Every section has at least one array, which may be empty and gives the dtype.
    """
    with replacing(path) as file:
        file.seek(_DATA_START)
        described = {name: _write_section(file, arrays) for name, arrays in sections}
        file.truncate()  # up to the position: an empty last section has only been sought to
        header = json.dumps({"kind": kind, "meta": dict(meta), "sections": described}).encode()
        if _HEAD.size + len(header) > _DATA_START:
            raise ValueError(f"the header of {path.name} needs {len(header)} bytes: give it a smaller meta")
        file.seek(0)
        file.write(_HEAD.pack(_MAGIC, len(header), zlib.crc32(header)) + header)


def _write_section(file: IO[bytes], arrays: Iterable[NDArray[Any]]) -> dict[str, Any]:
    file.seek(-(-file.tell() // _ALIGNMENT) * _ALIGNMENT)
    offset, checksum, count, dtype, tail = file.tell(), 0, 0, "", []
    for array in arrays:
        data = np.ascontiguousarray(array)
        dtype, tail = data.dtype.str, list(data.shape[1:])
        count += len(data)
        checksum = zlib.crc32(data.data, checksum) if data.size else checksum
        file.write(data.data if data.size else b"")
    return {"offset": offset, "dtype": dtype, "shape": [count, *tail], "crc32": checksum}


def open_derived(path: Path, kind: str) -> DerivedFile:
    """Maps the file. Raises `CorruptLibrary` when the header or the size is wrong, `FileNotFoundError` when absent."""
    with open(path, "rb") as file:
        size = path.stat().st_size
        if size < _DATA_START:
            raise CorruptLibrary(f"{path.name} has {size} bytes, less than its header", _REMEDY)
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    header = _header(path, mapped)
    if header.get("kind") != kind:
        raise CorruptLibrary(f"{path.name} is a {header.get('kind')!r} file, not {kind!r}", _REMEDY)
    arrays = {name: _view(path, mapped, section) for name, section in header["sections"].items()}
    checksums = {name: section["crc32"] for name, section in header["sections"].items()}
    return DerivedFile(kind, header["meta"], arrays, checksums)


def _header(path: Path, mapped: mmap.mmap) -> dict[str, Any]:
    magic, length, checksum = _HEAD.unpack_from(mapped)
    text = mapped[_HEAD.size : _HEAD.size + min(length, _DATA_START)]
    if magic != _MAGIC or zlib.crc32(text) != checksum:
        raise CorruptLibrary(f"the header of {path.name} is damaged or of another version", _REMEDY)
    header: dict[str, Any] = json.loads(text)
    return header


def _view(path: Path, mapped: mmap.mmap, section: Mapping[str, Any]) -> NDArray[Any]:
    dtype, shape = np.dtype(section["dtype"]), tuple(section["shape"])
    count = int(np.prod(shape, dtype=np.int64))
    if section["offset"] + count * dtype.itemsize > len(mapped):
        raise CorruptLibrary(f"{path.name} is shorter than its header says", _REMEDY)
    return np.frombuffer(mapped, dtype, count, section["offset"]).reshape(shape) if count else np.empty(shape, dtype)
