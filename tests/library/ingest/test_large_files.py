"""Large files through the whole library: one document, made visible in one transaction, checked, mended, moved."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from doubles import HashEmbedder
from openbook.assistant.desk import Library
from openbook.core.errors import OpenbookError
from openbook.library.catalogue import reads
from openbook.library.exchange import import_library
from openbook.library.split.settings import SplitSettings

PART = 1_500


def large_text(seed: int = 0, paragraphs: int = 120) -> str:
    return "".join(
        f"Paragraph {n} of text {seed} speaks of box {seed * 1_000 + n}, and no more.\n\n" for n in range(paragraphs)
    )


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A folder with a text, a table and a Markdown file, each of which is read in parts of 1,500 bytes."""
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "log.txt").write_text(large_text())
    rows = [f'{n},"Widget {n}, in a\nbox",{n / 4}' for n in range(300)]
    (folder / "prices.csv").write_text("Number,Thing,Price\n" + "\n".join(rows) + "\n")
    section = "## Section {0}\n\nThe keeper of tower {0} is called Nemo{0}.\n\n### Detail {0}\n\nIts lamp is red.\n"
    sections = [section.format(n) for n in range(60)]
    (folder / "towers.md").write_text("# Towers\n\n" + "\n".join(sections))
    return folder


def test_a_file_in_parts_is_one_document_like_the_one_read_whole(open_library, large):
    whole, parts = open_library("whole"), open_library("parts")
    whole.add(large)
    report = parts.add(large, part_bytes=PART)
    assert report.failures == []
    assert parts.check() == []
    for one, other in zip(whole.documents(), parts.documents(), strict=True):
        assert one._replace(receipt="") == other._replace(receipt="")
        assert whole.text(f"d{one.id}") == parts.text(f"d{other.id}")
        first, second = json.loads(one.receipt), json.loads(other.receipt)
        assert {**first, "seconds": 0} == {**second, "seconds": 0}
    with parts.store.catalogue.read() as connection:
        assert min(reads.part_count(connection, row.id) for row in parts.documents()) > 3
    for query in ("box 57", "Widget 123", "keeper Nemo41"):
        found, expected = parts.search(query, 1, mode="bm25")[0], whole.search(query, 1, mode="bm25")[0]
        assert query.split()[-1] in found.text
        assert found.path == expected.path
        assert found.text == parts.text(found.document_id)[found.start : found.end]


def test_rows_and_headings_of_later_parts_know_what_is_above_them(open_library, large):
    library = open_library()
    library.add(large, part_bytes=PART)
    row = library.search("Widget 222", 1, mode="bm25")[0]
    assert {anchor.cell for anchor in row.anchors} >= {"A224", "B224", "C224"}
    with library.store.catalogue.read() as connection:
        prefixes = {
            row[0] for row in connection.execute("SELECT prefix FROM chunks WHERE document_id = 2 AND start > 30")
        }
        assert prefixes == {"prices\nNumber | Thing | Price\n"}
    hit = library.search("Nemo55", 1, mode="bm25")[0]
    assert tuple(hit.heading)[:2] == ("Towers", "Section 55")


def test_the_old_version_answers_until_the_new_one_is_whole_and_a_broken_one_changes_nothing(open_library, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("Name,Note\n" + "heron,old\n" * 400)
    library = open_library(embedder="none")
    library.add(path, part_bytes=PART)
    before = library.text("rows.csv")
    path.write_text("Name,Note\n" + "heron,new\n" * 400 + "x," * 20_000 + "\n")
    report = library.add(path, part_bytes=PART)
    assert [Path(name).name for name, _ in report.failures] == ["rows.csv"]
    assert "16,384" in report.failures[0][1]
    assert library.text("rows.csv") == before
    path.write_text("Name,Note\n" + "heron,new\n" * 400)
    assert library.add(path, part_bytes=PART).failures == []
    assert "new" in library.text("rows.csv")
    assert library.document("rows.csv").version == 2
    assert library.check() == []


def test_a_large_file_that_changes_between_plan_and_reading_is_refused(open_library, tmp_path, monkeypatch):
    from openbook.library.ingest import plan

    path = tmp_path / "log.txt"
    path.write_text(large_text())
    real = plan.file_sha256

    def then_changed(one: Path) -> str:
        digest = real(one)
        one.write_text(large_text(1))
        return digest

    monkeypatch.setattr(plan, "file_sha256", then_changed)
    library = open_library(embedder="none")
    assert "changed while" in library.add(path, part_bytes=PART).failures[0][1]
    assert library.documents() == []


@pytest.mark.parametrize("splitter", ["recursive", "discourse", "semantic"])
def test_every_splitter_splits_parts_again(open_library, large, splitter):
    library = open_library(split=SplitSettings(splitter=splitter, chunk_tokens=24), embedder=HashEmbedder())
    library.add(large, part_bytes=PART)
    assert library.check() == []
    with library.store.catalogue.write() as connection:
        connection.execute("DELETE FROM term_counts WHERE chunk_id % 5 = 0")
    library.repair(library.check())
    assert library.check() == []


def test_reembed_gives_the_chunks_that_adding_gives(open_library, large, tmp_path):
    fresh = open_library("fresh", embedder="none", split=SplitSettings(chunk_tokens=64))
    fresh.add(large, part_bytes=PART)
    library = open_library("again", embedder="none", split=SplitSettings(chunk_tokens=20))
    library.add(large, part_bytes=PART)
    library.reembed("none", split=SplitSettings(chunk_tokens=64))
    assert library.check() == []
    for name, one in (("fresh", fresh), ("again", library)):
        one.export(tmp_path / f"out-{name}")
    assert (tmp_path / "out-fresh/chunks.jsonl").read_bytes() == (tmp_path / "out-again/chunks.jsonl").read_bytes()


def test_what_cannot_be_split_again_in_time_is_named_and_changes_nothing(open_library, large, monkeypatch):
    from openbook.library import reindex

    library = open_library(embedder="none")
    library.add(large, part_bytes=PART)
    before = library.search("Widget 222", 3, mode="bm25")
    monkeypatch.setattr(reindex, "SPLIT_TIMEOUT_S", 1e-9)
    with pytest.raises(OpenbookError, match=r"d\d cannot be split: it took longer"):
        library.reembed("none", split=SplitSettings(chunk_tokens=64))
    assert [hit.id for hit in library.search("Widget 222", 3, mode="bm25")] == [hit.id for hit in before]
    assert library.check() == []


def test_export_and_import_keep_the_parts(open_library, large, tmp_path):
    library = open_library(embedder="none")
    library.add(large, part_bytes=PART)
    library.export(tmp_path / "first")
    assert import_library(tmp_path / "other", tmp_path / "first") == 3
    with Library.open(tmp_path / "other", create=False) as other:
        assert other.check() == []
        other.export(tmp_path / "second")
        assert other.add(large, part_bytes=PART).totals()["unchanged"] == 3
    for name in ("documents.jsonl", "chunks.jsonl"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


CORRUPTIONS = {
    "a part is missing": "DELETE FROM parts WHERE id = (SELECT max(id) FROM parts WHERE document_id = 1)",
    "a part's text was changed": "UPDATE parts SET text = replace(text, 'box', 'bag') WHERE document_id = 1 AND start > 0",
    "a part's blocks are garbage": "UPDATE parts SET blocks = x'00' WHERE document_id = 2 AND start > 0",
    "a part's opening is garbage": "UPDATE parts SET opening = 'x' WHERE document_id = 2 AND start > 0",
    "a later chunk is missing": "DELETE FROM chunks WHERE id = (SELECT max(id) FROM chunks WHERE document_id = 1)",
    "the full text lacks a later chunk": "DELETE FROM phrases WHERE rowid = (SELECT max(id) FROM chunks)",
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_of_a_part_is_seen_and_mended(open_library, large, name):
    library = open_library(embedder="none")
    library.add(large, part_bytes=PART)
    texts = [library.text(f"d{row.id}") for row in library.documents()]
    with library.store.catalogue.write() as connection:
        connection.execute(CORRUPTIONS[name])
    problems = library.check()
    assert problems, name
    library.repair(problems)
    assert library.check() == []
    assert [library.text(f"d{row.id}") for row in library.documents()] == texts


ADD = """
import sys
from openbook.assistant.desk import Library
from openbook.core import faults
with Library.open(sys.argv[1], create=False) as library:
    report = library.add(sys.argv[2], part_bytes=1500)
    assert not report.failures, report.failures
print(faults._passed)
"""


@pytest.mark.parametrize("share", [0.02, 0.4, 0.9])
def test_killed_in_the_middle_of_a_large_file_it_leaves_the_old_version_or_the_new(tmp_path, large, share):
    def run(name: str, fault: str) -> subprocess.CompletedProcess[str]:
        with Library.open(tmp_path / name, embedder="none", split=SplitSettings(chunk_tokens=24)) as library:
            library.add(large, part_bytes=PART)
        for path in large.iterdir():
            path.write_text(path.read_text() + "\n\nThe end of it all.\n")
        command = [sys.executable, "-c", ADD, str(tmp_path / name), str(large)]
        done = subprocess.run(
            command, env=os.environ | {"OPENBOOK_FAULT": fault}, capture_output=True, text=True, check=False
        )
        for path in large.iterdir():
            path.write_text(path.read_text().removesuffix("\n\nThe end of it all.\n"))
        return done

    whole = run("whole", "any:1000000000")
    assert whole.returncode == 0, whole.stderr
    killed = run("killed", f"any:{int(int(whole.stdout) * share)}")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert {one.name.partition(".")[0] for one in (tmp_path / "killed").iterdir()} <= {"library", "derived"}
    for path in large.iterdir():
        path.write_text(path.read_text() + "\n\nThe end of it all.\n")
    with Library.open(tmp_path / "killed", create=False) as library:
        assert library.check() == []
        library.add(large, part_bytes=PART)
        library.export(tmp_path / "second")
    with Library.open(tmp_path / "whole", create=False) as library:
        library.add(large, part_bytes=PART)
        library.export(tmp_path / "first")
    for name in ("documents.jsonl", "chunks.jsonl"):
        first, second = ((tmp_path / one / name).read_text() for one in ("first", "second"))
        assert [_without_time(line) for line in first.splitlines()] == [
            _without_time(line) for line in second.splitlines()
        ]


def _without_time(line: str) -> object:
    plain = json.loads(line)
    for path in plain.get("paths", ()):
        path.pop("mtime_ns")
    return plain


MEMORY = """
import resource, sys, threading, time
from pathlib import Path
from openbook.assistant.desk import Library
peak = 0
def children():
    found = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            if fields[1] == str(__import__("os").getpid()):
                found += int(fields[21]) * resource.getpagesize()
        except OSError:
            pass
    return found
def watch():
    global peak
    while True:
        own = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        peak = max(peak, own + children())
        time.sleep(0.05)
threading.Thread(target=watch, daemon=True).start()
with Library.open(sys.argv[1], embedder="none") as library:
    report = library.add(sys.argv[2], max_file_bytes=10**10)
    assert not report.failures, report.failures
print(peak)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_file_four_times_as_large_takes_no_more_memory(tmp_path):
    peaks = []
    for size in (25, 100):
        path = tmp_path / f"log{size}.txt"
        with path.open("w") as file:
            for seed in range(size * 1_000_000 // len(large_text())):
                file.write(large_text(seed))
        command = [sys.executable, "-c", MEMORY, str(tmp_path / f"library{size}"), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.15 * peaks[0], peaks
