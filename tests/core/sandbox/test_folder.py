"""Private folders: filled, counted while something hostile writes, removed whatever is left in them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from openbook.core.sandbox.folder import make_folder, measure, remove_folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return make_folder({"a/b/c": "text", "d": b"\xff"}, None)


def test_it_holds_what_is_given_for_its_owner_alone(folder: Path) -> None:
    assert (folder / "a" / "b" / "c").read_text() == "text"
    assert (folder / "d").read_bytes() == b"\xff"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_all_of_it_is_counted(folder: Path) -> None:
    used, count = measure(folder, 100)
    assert count == 4
    assert used >= 2 * 512
    assert measure(folder, 3)[1] == 4


def test_links_are_not_followed(folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    (folder / "link").symlink_to(kept)
    (folder / "a" / "up").symlink_to("..")
    assert measure(folder, 100)[1] == 6
    remove_folder(folder)
    assert (kept / "file").read_text() == "x"
    assert not folder.exists()


def test_any_depth_and_any_mode_is_removed(folder: Path) -> None:
    before = Path.cwd()
    os.chdir(folder)
    try:
        for _ in range(1500):
            Path("directory").mkdir()
            os.chdir("directory")
        Path("file").touch()
    finally:
        os.chdir(before)
    (folder / "locked").mkdir(0)
    (folder / "without_read").mkdir(0o300)
    (folder / "without_read" / "file").touch()
    os.mkfifo(folder / "pipe")
    assert measure(folder, 1000)[1] == 1001
    assert measure(folder, 10_000)[1] == 10_001  # deeper than a path can say
    remove_folder(folder)
    assert not folder.exists()


def test_what_is_gone_already_is_no_fault(folder: Path) -> None:
    remove_folder(folder)
    remove_folder(folder)
