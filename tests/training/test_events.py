"""Event files against the example of the format's checksum, and against TensorBoard where it is installed."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from openbook.training import events
from openbook.training.events import EventFile


def test_the_checksum_is_that_of_the_standard() -> None:
    """CRC-32C of "123456789" is E3069283 (RFC 3720, appendix B.4), here turned by 15 bits and moved."""
    (found,) = struct.unpack("<I", events._checksum(b"123456789"))
    crc = 0xE3069283
    assert found == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_records_are_whole(tmp_path: Path) -> None:
    file = EventFile(tmp_path)
    file.write(300, {"loss": 1.5, "rate": 1e-3})
    file.close()
    (path,) = (tmp_path / "tensorboard").iterdir()
    data, records = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        assert data[8:12] == events._checksum(data[:8])
        records.append(data[12 : 12 + length])
        assert data[12 + length : 16 + length] == events._checksum(records[-1])
        data = data[16 + length :]
    assert b"brain.Event:2" in records[0]
    assert b"\x10\xac\x02" in records[1]  # field 2, 300 in two bytes
    assert b"loss\x15" + struct.pack("<f", 1.5) in records[1]


def test_tensorboard_reads_them(tmp_path: Path) -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    file = EventFile(tmp_path)
    file.write(7, {"loss": 2.25})
    file.close()
    (path,) = (tmp_path / "tensorboard").iterdir()
    _, event = loader.RawEventFileLoader(str(path)).Load()
    assert event
