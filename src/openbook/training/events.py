"""Event files that TensorBoard reads, written without it: records of protocol buffers with two checksums each.

The format: https://www.tensorflow.org/tutorials/load_data/tfrecord (records), `event.proto` and `summary.proto` of TensorFlow.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from pathlib import Path

_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), reflected
_DOUBLE, _VARINT, _BYTES, _FLOAT = 1, 0, 2, 5


class EventFile:
    """One file of scalars. `first_step`: where a run goes on, which tells its files apart."""

    def __init__(self, run: Path, first_step: int = 0) -> None:
        folder = run / "tensorboard"
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / f"events.out.tfevents.{first_step:010d}.openbook").open("wb")
        self._record(_field(1, _DOUBLE, _now()) + _field(3, _BYTES, b"brain.Event:2"))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """A scalar for each name."""
        summary = b"".join(
            _field(1, _BYTES, _field(1, _BYTES, name.encode()) + _field(2, _FLOAT, struct.pack("<f", value)))
            for name, value in values.items()
        )
        self._record(_field(1, _DOUBLE, _now()) + _field(2, _VARINT, _varint(step)) + _field(5, _BYTES, summary))

    def close(self) -> None:
        self._file.close()

    def _record(self, data: bytes) -> None:
        length = struct.pack("<Q", len(data))
        self._file.write(length + _checksum(length) + data + _checksum(data))
        self._file.flush()


def _now() -> bytes:
    return struct.pack("<d", time.time())


def _field(number: int, wire: int, value: bytes) -> bytes:
    """A field of a message: its number and kind, for bytes their count, the value."""
    return _varint(number << 3 | wire) + (_varint(len(value)) if wire == _BYTES else b"") + value


def _varint(number: int) -> bytes:
    """Seven bits a byte, the least first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _table() -> list[int]:
    found = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
        found.append(byte)
    return found


_CRC = _table()


def _checksum(data: bytes) -> bytes:
    """CRC-32C, turned and moved as records want it, so that a checksum of checksums is sound."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
