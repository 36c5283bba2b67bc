"""Derived files: round trip, damage, replacement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openbook.core.errors import CorruptLibrary
from openbook.library.derived import open_derived, write_derived


def test_sections_and_meta_come_back(tmp_path: Path) -> None:
    path = tmp_path / "file"
    parts = [np.arange(5, dtype=np.int32), np.arange(3, dtype=np.int32)]
    matrix = np.ones((2, 3), np.float32)
    write_derived(path, "test", {"n": 1}, [("a", parts), ("b", [matrix]), ("empty", [np.empty(0, np.int64)])])
    file = open_derived(path, "test")
    assert file.meta == {"n": 1}
    assert file.arrays["a"].tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert file.arrays["b"].shape == (2, 3)
    assert file.arrays["empty"].dtype == np.int64
    assert not file.arrays["a"].flags.writeable
    assert file.damaged_sections() == []


def test_a_changed_byte_is_found_in_its_section(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_derived(path, "test", {}, [("a", [np.arange(100)]), ("b", [np.arange(100)])])
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert open_derived(path, "test").damaged_sections() == ["b"]


def test_another_kind_is_refused(tmp_path: Path) -> None:
    write_derived(tmp_path / "file", "test", {}, [("a", [np.arange(3)])])
    with pytest.raises(CorruptLibrary, match="'test'"):
        open_derived(tmp_path / "file", "other")


def test_a_failure_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_derived(path, "test", {"n": 1}, [("a", [np.arange(3)])])

    def failing() -> list[np.ndarray]:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_derived(path, "test", {"n": 2}, ((name, failing()) for name in "ab"))
    assert open_derived(path, "test").meta == {"n": 1}
    assert [found.name for found in tmp_path.iterdir()] == ["file"]
