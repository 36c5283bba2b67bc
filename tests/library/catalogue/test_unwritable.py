"""A library that may not be written to: read as it lies there, changed by nobody."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from openbook.core.errors import OpenbookError
from openbook.library.catalogue import connection
from openbook.library.catalogue.catalogue import Catalogue
from openbook.library.retrieve import indexes

_DROP_FROM_BOUNDING_SET, _OVERRIDE = 24, 1


def everything(directory: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(directory)): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in [directory, *directory.rglob("*")]
    }


def test_an_unwritable_library_is_searched_asked_listed_and_exported_and_stays_as_it_was(
    open_library, folder, tmp_path, monkeypatch
):
    library = open_library()
    library.add(folder)
    library.close()
    directory = library.store.directory
    before = everything(directory)
    monkeypatch.setattr(connection, "may_be_written", lambda directory, path: False)
    library = open_library()
    assert library.search("ferry ticket")[0].title == "Ferry"
    assert library.ask("What does a ticket cost?").question
    assert len(library.documents()) == 3
    assert "pier 3" in library.text("ferry.md")
    assert library.export(tmp_path / "out") == 3
    assert library.check() == []
    library.close()
    assert everything(directory) == before


def test_adding_to_an_unwritable_library_is_an_error_that_names_it(open_library, folder, monkeypatch):
    library = open_library()
    library.add(folder)
    library.close()
    monkeypatch.setattr("openbook.library.catalogue.unwritable.may_be_written", lambda directory, path: False)
    library = open_library()
    for change in (lambda: library.add(folder), library.sync, lambda: library.remove("ferry.md")):
        with pytest.raises(OpenbookError, match="may not be written to") as raised:
            change()
        assert "--library" in raised.value.remedy


def test_indexes_that_are_missing_or_behind_are_made_in_memory(open_library, folder, monkeypatch):
    library = open_library()
    library.add(folder)
    with library.store.catalogue.read() as reader:
        library.store.indexes.rebuild(reader, library.store.generation())
    (folder / "late.md").write_text("A late walrus.")
    library.add(folder)
    library.close()
    directory = library.store.directory
    monkeypatch.setattr(connection, "may_be_written", lambda directory, path: False)
    monkeypatch.setattr(indexes, "MOST_IN_MEMORY", 1)

    def refused(path: Path) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("openbook.library.derived.replacing", refused)
    behind = open_library()
    assert behind.search("late walrus", mode="bm25")[0].text == "A late walrus."
    behind.close()
    shutil.rmtree(directory / "derived")
    (directory / "derived").mkdir()
    missing = open_library()
    assert [hit.text for hit in missing.search("late walrus", 1)] == ["A late walrus."]
    assert not list((directory / "derived").iterdir())


def test_a_writers_log_is_read_and_a_log_that_cannot_be_read_is_said(tmp_path, monkeypatch):
    writer = Catalogue(tmp_path / "live", create=True)
    with writer.write() as one:
        one.execute("INSERT INTO collections (name) VALUES ('fresh')")
    shutil.copytree(tmp_path / "live", tmp_path / "copied", ignore=shutil.ignore_patterns("*-shm"))
    monkeypatch.setattr(connection, "may_be_written", lambda directory, path: False)
    reader = Catalogue(tmp_path / "live")
    with reader.read() as one:
        assert one.execute("SELECT count(*) FROM collections").get == 2
    reader.close()
    writer.close()
    copied = Catalogue(tmp_path / "copied")
    with pytest.raises(OpenbookError, match="last changes") as raised, copied.read():
        pass
    assert "copy the whole folder" in raised.value.remedy


def _obey_modes() -> None:
    """In the child: root without the right to override permissions is refused like anybody else."""
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(_DROP_FROM_BOUNDING_SET, _OVERRIDE, 0, 0, 0) != 0:
        os._exit(77)


@pytest.mark.skipif(sys.platform != "linux", reason="permissions of root are dropped in the way of Linux")
def test_chmod_a_w_leaves_a_library_that_can_be_read(open_library, folder):
    library = open_library(embedder="none")
    library.add(folder)
    library.close()
    directory = library.store.directory
    tree = [directory, *directory.rglob("*")]
    for path in tree:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        codes = {
            arguments[0]: subprocess.run(
                [sys.executable, "-m", "openbook", *arguments, "-L", str(directory)],
                preexec_fn=_obey_modes,
                capture_output=True,
                check=False,
            ).returncode
            for arguments in (["search", "ferry"], ["ls"], ["add", str(folder)])
        }
    finally:
        for path in tree:
            path.chmod(0o755 if path.is_dir() else 0o644)
    if 77 in codes.values():
        pytest.skip("this root may not give up its rights")
    assert codes == {"search": 0, "ls": 0, "add": 1}
