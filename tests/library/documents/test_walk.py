"""What is found under a folder, in which order, and why the rest is left out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from openbook.core.errors import UsageError
from openbook.library.catalogue.catalogue import Catalogue
from openbook.library.documents.walk import Found, Skipped, walk


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")


def found(root: Path, *exclude: str) -> list[str]:
    return [str(each.path.relative_to(root)) for each in walk([root], exclude=exclude) if isinstance(each, Found)]


def skipped(root: Path, *exclude: str) -> dict[str, str]:
    walked = walk([root], exclude=exclude)
    return {str(each.path.relative_to(root)): each.reason for each in walked if isinstance(each, Skipped)}


def test_files_come_sorted_with_size_and_root(tmp_path: Path) -> None:
    write(tmp_path, "b.md", "a/z.md", "a/y.md", "中文.md")
    assert found(tmp_path) == ["a/y.md", "a/z.md", "b.md", "中文.md"]
    first = next(iter(walk([tmp_path])))
    assert isinstance(first, Found)
    assert (first.root, first.size) == (tmp_path, 1)
    assert first.mtime_ns == first.path.stat().st_mtime_ns


def test_hidden_machine_and_secret_files_are_left_out_with_a_reason(tmp_path: Path) -> None:
    write(tmp_path, ".git/config", "node_modules/a.js", "venv/pyvenv.cfg", "venv/a.py", "~$a.docx", ".DS_Store")
    write(tmp_path, ".env", "id_rsa", "server.pem", "prod.env", "__pycache__/a.py", "ok.md")
    assert found(tmp_path) == ["ok.md"]
    reasons = skipped(tmp_path)
    assert reasons[".git"] == reasons[".DS_Store"] == "hidden"
    assert reasons["node_modules"] == "node_modules"
    assert reasons["venv"] == "a virtual environment"
    assert "lock file" in reasons["~$a.docx"]
    for name in (".env", "id_rsa", "server.pem", "prod.env"):
        assert "keys or passwords" in reasons[name]


def test_ignore_files_hold_for_their_folder_and_the_nearest_decides(tmp_path: Path) -> None:
    write(tmp_path, "a.log", "keep.log", "sub/b.log", "sub/keep.log", "build/x.md", "sub/build/x.md", "draft.md")
    (tmp_path / ".gitignore").write_text("*.log\n!keep.log\n/build/\n")
    (tmp_path / "sub" / ".gitignore").write_text("!b.log\nkeep.log\n")
    (tmp_path / ".openbookignore").write_text("draft.*\n")
    assert found(tmp_path) == ["keep.log", "sub/b.log", "sub/build/x.md"]
    assert skipped(tmp_path)["draft.md"] == "ignored by an ignore file"


def test_exclude_patterns(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "b.txt", "sub/c.txt", "old/d.md")
    assert found(tmp_path, "*.txt", "old/") == ["a.md"]
    assert skipped(tmp_path, "*.txt")["b.txt"].startswith("excluded by --exclude")


def test_links_stay_inside_and_loops_end(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    write(root, "a.md", "sub/b.md")
    write(outside, "secret.md")
    (root / "out").symlink_to(outside)
    (root / "out.md").symlink_to(outside / "secret.md")
    (root / "sub" / "up").symlink_to(root)
    (root / "loop").symlink_to(root / "loop")
    (root / "twice.md").symlink_to(root / "a.md")
    assert found(root) == ["a.md", "sub/b.md"]
    reasons = skipped(root)
    assert reasons["out"] == reasons["out.md"] == "a link out of the folder"
    assert "link" in reasons["sub/up"]
    assert "circular" in reasons["loop"]
    assert "twice" in reasons["twice.md"]


def test_devices_large_files_and_missing_paths(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "big.txt").write_bytes(b"x" * 11)
    reasons = {each.path.name: each.reason for each in walk([tmp_path], max_file_bytes=10) if isinstance(each, Skipped)}
    assert "pipe" in reasons["pipe"]
    assert "max_file_bytes" in reasons["big.txt"]
    with pytest.raises(UsageError, match="does not exist"):
        list(walk([tmp_path / "none"]))


def test_a_file_that_is_named_is_found_even_if_hidden_and_once(tmp_path: Path) -> None:
    write(tmp_path, ".hidden.md", "a.md")
    named = [each.path.name for each in walk([tmp_path / ".hidden.md", tmp_path]) if isinstance(each, Found)]
    assert named == [".hidden.md", "a.md"]


def test_a_link_that_sorts_before_its_target_does_not_take_its_place(tmp_path: Path) -> None:
    write(tmp_path, "b/real.md", "z.md", ".store/kept.md")
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "a.md").symlink_to(tmp_path / "z.md")
    (tmp_path / "c.md").symlink_to(tmp_path / ".store" / "kept.md")
    assert found(tmp_path) == ["b/real.md", "z.md", "c.md"]  # what only a link leads to is found by it
    assert "link" in skipped(tmp_path)["a"]
    assert "linked" in skipped(tmp_path)["a.md"]


def test_a_library_inside_the_folder_is_left_out_and_counted(tmp_path: Path) -> None:
    write(tmp_path, "docs/a.md", "docs/music/library.sqlite3", "docs/music/song.md", "docs/empty/new.md")
    Catalogue(tmp_path / "docs" / "lib", create=True).close()
    write(tmp_path, "docs/lib/derived/1.bm25", "docs/lib/library.sqlite3-journal")
    assert found(tmp_path / "docs") == ["a.md", "empty/new.md", "music/library.sqlite3", "music/song.md"]
    assert skipped(tmp_path / "docs") == {"lib": "an Openbook library"}
    own = [each for each in walk([tmp_path / "docs"], library=tmp_path / "docs" / "empty") if isinstance(each, Skipped)]
    assert [each.path.name for each in own] == ["empty", "lib"]
