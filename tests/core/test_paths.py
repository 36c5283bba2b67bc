"""Names of libraries, and files that are replaced whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from openbook.core.errors import UsageError
from openbook.core.paths import library_path, replacing, settle


def test_a_bare_name_lives_under_home_and_a_path_is_a_path(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENBOOK_HOME", str(tmp_path))
    assert library_path(None) == tmp_path / "default"
    assert library_path("work") == tmp_path / "work"
    assert library_path("./work") == Path.cwd() / "work"
    assert library_path(tmp_path / "x") == tmp_path / "x"
    with pytest.raises(UsageError):
        library_path("a b?")


def test_a_failed_replacement_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"new")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    with replacing(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_gets_its_name_and_takes_the_place_of_another(tmp_path):
    (tmp_path / "beside").write_bytes(b"new")
    (tmp_path / "file").write_bytes(b"old")
    settle(tmp_path / "beside", tmp_path / "file")
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("file", b"new")]
