"""Bad input through the whole library: each is named with its remedy, the others are added, and nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from openbook.assistant.desk import Library


def test_every_bad_file_fails_alone_and_by_name(open_library, tmp_path):
    root = tmp_path / "docs"
    root.mkdir()
    (root / "good.txt").write_text("A heron stands by the weir.")
    (root / "binary.txt").write_bytes(bytes(range(256)) * 40)
    (root / "invalid.txt").write_bytes(b"caf\xe9 \xff\xfe and more words of a plain text")
    (root / "empty.md").write_bytes(b"")
    (root / "broken.pdf").write_bytes(b"%PDF-1.7\n" + b"\x00" * 200)
    (root / "broken.docx").write_bytes(b"PK\x03\x04 not a zip")
    with zipfile.ZipFile(root / "bomb.docx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", b" " * 300_000_000)
    (root / "table.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 600)
    (root / "loop").symlink_to(root)
    (root / "outside.txt").symlink_to("/etc/hostname")
    os.mkfifo(root / "pipe.txt")
    library = open_library(embedder="none")
    report = library.add(root)
    failed = {Path(path).name: reason for path, reason in report.failures}
    assert {"broken.pdf", "broken.docx", "bomb.docx", "table.xls", "binary.txt"} <= set(failed)
    assert all(len(reason) > 20 for reason in failed.values())
    skipped = {one.path.name for plan in report.plans for one in plan.skipped}
    assert {"loop", "outside.txt", "pipe.txt"} <= skipped
    assert [Path(hit.path).name for hit in library.search("heron", mode="bm25")] == ["good.txt"]
    assert library.search("words of a plain text", mode="bm25")
    assert library.check() == []


def test_a_long_text_without_line_breaks_is_read_split_and_found(open_library, tmp_path):
    text = "The word lanternfish stands here once. " + "harbour pilot boat quay " * 100_000
    (tmp_path / "long.txt").write_text(text)
    library = open_library(embedder="none", split=None)
    library.add(tmp_path / "long.txt")
    assert "lanternfish" in library.search("lanternfish", 1, mode="bm25")[0].text
    assert library.check() == []


def test_an_empty_folder_adds_nothing_and_says_so(open_library, tmp_path):
    (tmp_path / "empty").mkdir()
    report = open_library().add(tmp_path / "empty")
    assert sum(report.totals().values()) == 0


def test_a_file_over_the_limit_is_refused_by_name_and_read_when_it_is_raised(open_library, tmp_path):
    (tmp_path / "big.txt").write_text("kingfisher " * 1_000)
    library = open_library(embedder="none")
    report = library.add(tmp_path / "big.txt", max_file_bytes=1_000)
    refused = [one for plan in report.plans for one in plan.skipped if one.refused]
    assert [one.path.name for one in refused] == ["big.txt"]
    assert "max_file_bytes" in refused[0].reason
    assert library.add(tmp_path / "big.txt", max_file_bytes=100_000).totals()["read"] == 1


LIMITED = """
import resource, sys
from openbook.assistant.desk import Library
from openbook.core.errors import OpenbookError
library = Library.open(sys.argv[1], create=False)
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
try:
    library.add(sys.argv[2])
except OpenbookError as error:
    print("SAID", error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_FSIZE")
def test_a_full_disk_in_the_middle_of_adding_is_said_and_loses_nothing(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.txt").write_text("A kingfisher was here first.")
    with Library.open(tmp_path / "library", embedder="none") as library:
        library.add(folder)
    for number in range(30):
        (folder / f"b{number:02}.txt").write_text(
            f"Text {number}. " + f"word{number} and many others in a row. " * 1_500
        )
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "library"), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("SAID"), done.stderr
    with Library.open(tmp_path / "library", create=False) as library:
        assert library.check() == []
        assert library.search("kingfisher", mode="bm25")
        before = len(library.documents())
        library.add(folder)
        assert library.check() == []
        assert before < len(library.documents()) == 31


def test_indexes_that_cannot_be_written_are_held_in_memory(open_library, folder, monkeypatch):
    library = open_library(embedder="none")
    library.add(folder)
    for path in (library.store.directory / "derived").iterdir():
        path.write_bytes(b"damaged")
    library.store.indexes.forget()

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("openbook.library.retrieve.indexes.Bm25Index.build", full)
    assert library.search("ticket", mode="bm25")


def test_a_file_that_changes_while_it_is_read_is_said_and_read_the_next_time(open_library, folder, monkeypatch):
    from openbook.library.ingest import plan

    library = open_library(embedder="none")
    real = plan.file_sha256

    def then_changed(path: Path) -> str:
        digest = real(path)
        if path.name == "hall.txt":
            path.write_text("The hall is being painted.")
        return digest

    monkeypatch.setattr(plan, "file_sha256", then_changed)
    report = library.add(folder)
    assert [Path(path).name for path, _ in report.failures] == ["hall.txt"]
    assert "changed while" in report.failures[0][1]
    monkeypatch.undo()
    assert library.add(folder).failures == []
    assert library.search("painted", mode="bm25")


@pytest.mark.parametrize(
    "text", ["BMW released a car.", "GIF89a is a format.", "A file begins with %PDF-1.7 or so.", "II* and MM."]
)
def test_a_text_that_begins_like_another_format_is_read_as_text(open_library, tmp_path, text):
    (tmp_path / "note.txt").write_text(text)
    library = open_library(embedder="none")
    assert library.add(tmp_path / "note.txt").failures == []
    assert library.text("note.txt") == text
