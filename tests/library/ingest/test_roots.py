"""Several roots, some within others: what is moved, copied or added by its name survives every sync."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from doubles import HashEmbedder
from openbook.assistant.desk import Library
from openbook.core.errors import UnreadableFile
from openbook.library.ingest import add


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    for name in "ab":
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "x.md").write_text("The zebra costs 100 euros.")
    (tmp_path / "a" / "y.md").write_text("Another animal.")
    (tmp_path / "b" / "z.md").write_text("A third one.")
    return tmp_path / "a", tmp_path / "b"


def found(library: Library, query: str) -> list[str]:
    return sorted(Path(hit.path).name for hit in library.search(query, mode="bm25"))


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_file_moved_from_one_root_to_another_is_kept(open_library, two, order):
    a, b = two
    library = open_library(embedder="none")
    library.add(*(two if order == "ab" else two[::-1]))
    before = library.document("x.md").id
    (a / "x.md").rename(b / "x.md")
    library.sync()
    assert found(library, "zebra") == ["x.md"]
    assert library.document("b/x.md").id == before
    assert library.check() == []
    assert library.sync().totals()["unchanged"] == 3


def test_a_file_replaced_by_two_copies_is_found_at_both(open_library, two):
    a, _ = two
    library = open_library(embedder="none")
    library.add(a)
    text = (a / "x.md").read_text()
    (a / "x.md").unlink()
    for name in ("x1.md", "x2.md"):
        (a / name).write_text(text)
    library.sync()
    hit = library.search("zebra", mode="bm25")[0]
    assert [Path(path).name for path in (hit.path, *hit.also_in)] == ["x1.md", "x2.md"]


def test_a_copy_of_what_has_changed_meanwhile_keeps_its_own_text(open_library, two):
    a, b = two
    library = open_library(embedder="none")
    library.add(a, b)
    (b / "x-2025.md").write_bytes((a / "x.md").read_bytes())
    (a / "x.md").write_text("The zebra costs 999 euros.")
    library.sync()
    assert library.text("x-2025.md") == "The zebra costs 100 euros."
    assert library.text("a/x.md") == "The zebra costs 999 euros."


def test_records_hidden_files_and_excluded_folders_that_were_added_by_name_survive_a_sync(open_library, two):
    a, _ = two
    (a / "c.jsonl").write_text(json.dumps({"id": "r/1", "text": "A record of a quagga."}))
    (a / ".hidden.md").write_text("A hidden okapi.")
    (a / "private").mkdir()
    (a / "private" / "p.md").write_text("A private tapir.")
    library = open_library(embedder="none")
    library.add(a / "c.jsonl", records=True)
    library.add(a, exclude=["private", "*.jsonl"])
    library.add(a / ".hidden.md")
    library.add(a / "private")
    for _ in range(2):
        library.sync()
        assert [found(library, word) for word in ("quagga", "okapi", "tapir", "zebra")] == [
            ["1"],
            [".hidden.md"],
            ["p.md"],
            ["x.md"],
        ]
    (a / ".hidden.md").unlink()
    library.sync()
    assert found(library, "okapi") == []


def test_a_folder_whose_name_begins_with_another_and_a_hash_is_another_folder(open_library, tmp_path):
    for name in ("C", "C#"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "n.md").write_text(f"Notes on the language {name} and its lynx.")
    library = open_library(embedder="none")
    library.add(tmp_path / "C", tmp_path / "C#")
    library.sync()
    assert len(found(library, "lynx")) == 2
    library.remove(str(tmp_path / "C"))
    assert len(found(library, "lynx")) == 1


def test_a_record_is_stale_only_when_its_file_has_changed(open_library, tmp_path):
    folder = tmp_path / "q#q"
    folder.mkdir()
    corpus = folder / "c.jsonl"
    corpus.write_text('{"id": 1, "text": "A quagga."}\n')
    library = open_library(embedder="none")
    library.add(corpus, records=True)
    assert not library.search("quagga", mode="bm25")[0].stale
    corpus.write_text(corpus.read_text() + '{"id": 2, "text": "An okapi."}\n')
    assert library.search("quagga", mode="bm25")[0].stale
    library.sync()
    assert not library.search("quagga", mode="bm25")[0].stale
    assert library.text("1") == "A quagga."


def test_odd_records_and_names_do_not_stop_the_others(open_library, tmp_path):
    lines = [
        '{"id": "nul", "text": "zebra one\\u0000 and its tail"}',
        '{"id": "half \\ud800", "title": "\\ud800", "text": "zebra two"}',
        '{"id": 5, "text": ' + "[" * 100_000 + "}",
        '{"id": ' + "9" * 5_000 + ', "text": "zebra three"}',
        '{"id": "good", "text": "zebra four"}',
    ]
    (tmp_path / "c.jsonl").write_text("\n".join(lines))
    library = open_library(embedder="none")
    library.add(tmp_path / "c.jsonl", records=True)
    hits = library.search("zebra", mode="bm25")
    assert len(hits) >= 3
    for hit in hits:
        assert library.text(hit.document_id)[hit.start : hit.end] == hit.text
    assert library.check() == []
    folder = tmp_path / "names"
    folder.mkdir()
    (folder / "good.md").write_text("An okapi.")
    (folder / os.fsdecode(b"\xff.md")).write_text("A tapir.")
    report = library.add(folder)
    assert found(library, "okapi") == ["good.md"]
    assert [one.reason for plan in report.plans for one in plan.skipped if one.refused] == [
        "its name is not UTF-8: rename it"
    ]


def test_two_first_additions_at_once_make_one_library(tmp_path):
    failures: list[BaseException] = []
    barrier = threading.Barrier(4)

    def first() -> None:
        try:
            barrier.wait()
            Library.open(tmp_path / "library", embedder=HashEmbedder()).close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=first) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with Library.open(tmp_path / "library", embedder=HashEmbedder()) as library:
        assert library.check() == []
        with library.store.catalogue.read() as connection:
            assert connection.execute("SELECT count(*) FROM generations").get == 1


def test_a_library_whose_making_was_cut_off_is_completed(tmp_path):
    from openbook.library.catalogue.catalogue import Catalogue

    Catalogue(tmp_path / "library", create=True).close()
    with Library.open(tmp_path / "library", embedder="none") as library:
        assert library.check() == []


def test_derived_files_that_are_newer_than_the_catalogue_are_made_again(open_library, folder):
    library = open_library(embedder="none")
    library.add(folder)
    path = library.store.catalogue.path
    library.close()
    old = path.read_bytes()
    library = open_library(embedder="none")
    for one in folder.glob("*.md"):
        one.write_text("# Changed\n\nEverything is different now.\n")
    library.add(folder)
    with library.store.catalogue.read() as connection:
        library.store.indexes.rebuild(connection, library.store.generation())
    library.close()
    for name in ("library.sqlite3-wal", "library.sqlite3-shm"):
        path.with_name(name).unlink(missing_ok=True)
    path.write_bytes(old)
    library = open_library(embedder="none")
    assert found(library, "ticket") == ["ferry.md"]
    assert library.check() == []


def test_what_was_removed_stays_removed_whatever_is_added_beside_it(open_library, two):
    a, _ = two
    (a / "sub").mkdir()
    (a / "sub" / "x.md").write_text("A capybara.")
    (a / "c.jsonl").write_text('{"id": 1, "text": "A quagga."}\n{"id": 2, "text": "An okapi."}\n')
    library = open_library(embedder="none")
    library.add(a)
    library.add(a / "c.jsonl", records=True)
    library.remove("a/x.md", "c.jsonl#1")
    library.add(a, exclude=["*.log", "*.jsonl"])
    library.add(a / "sub")
    library.sync()
    assert [found(library, word) for word in ("zebra", "quagga", "okapi", "capybara")] == [
        [],
        [],
        ["c.jsonl#2"],
        ["x.md"],
    ]


def test_an_unmounted_share_below_a_root_loses_nothing(open_library, two):
    a, _ = two
    (a / "share" / "deep").mkdir(parents=True)
    (a / "gone").mkdir()
    for name in ("share/deep/s.md", "share/t.md", "gone/g.md"):
        (a / name).write_text(f"The walrus of {name}.")
    library = open_library(embedder="none")
    library.add(a)
    for path in (a / "share" / "deep", a / "gone"):
        shutil.rmtree(path)
    (a / "share" / "t.md").unlink()
    (a / "y.md").unlink()
    report = library.sync()
    assert str(a / "share") in report.plans[0].kept
    assert "rm" in report.plans[0].kept
    assert {Path(row.path).name for row in report.plans[0].removed} == {"g.md", "y.md"}
    assert found(library, "walrus") == ["s.md", "t.md"]
    (a / "share").rmdir()
    assert library.sync().totals()["removed"] == 2


def test_the_last_file_moved_out_of_a_folder_is_a_move(open_library, two):
    a, _ = two
    (a / "in").mkdir()
    (a / "in" / "w.md").write_text("A walrus.")
    library = open_library(embedder="none")
    library.add(a)
    (a / "in" / "w.md").rename(a / "w.md")
    report = library.sync()
    assert (report.totals()["moved"], report.plans[0].kept) == (1, "")
    assert library.search("walrus", mode="bm25")[0].path == str(a / "w.md")


def test_an_emptied_or_unreadable_file_of_records_loses_nothing(open_library, two, tmp_path, monkeypatch):
    a, _ = two
    records = tmp_path / "r.jsonl"
    records.write_text('{"id": "1", "text": "A walrus."}\n')
    library = open_library(embedder="none")
    library.add(records, records=True)
    library.add(a)
    records.write_text("\n")
    assert "no record" in library.sync().plans[0].kept
    (a / "new.md").write_text("A second walrus.")

    def refused(root):
        raise UnreadableFile(f"{root.path} cannot be read: Input/output error", "check it")
        yield

    monkeypatch.setattr("openbook.library.ingest.records.read_records", refused)
    report = library.sync()
    assert "cannot be read" in report.plans[0].kept
    assert report.plans[0].skipped[0].refused
    assert found(library, "walrus") == ["new.md", "r.jsonl#1"]


def test_a_library_inside_the_folder_that_it_holds_is_not_read(open_library, tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.md").write_text("A walrus.")
    library = open_library("docs/lib", embedder="none")
    for _ in range(2):
        report = library.add(docs)
        assert not report.failures
        assert [one.reason for one in report.plans[0].skipped] == ["an Openbook library"]
    assert len(library.documents()) == 1


def test_a_record_edited_between_plan_and_reading_fails_by_name(open_library, tmp_path, monkeypatch):
    records = tmp_path / "r.jsonl"
    lines = [json.dumps({"id": str(i), "text": f"The walrus number {i}."}) for i in range(3)]
    records.write_text("\n".join(lines))
    library = open_library(embedder="none")
    plan = add._plan

    def planned(*arguments, **options):
        made = plan(*arguments, **options)
        records.write_text("\n".join([lines[0], lines[1].replace("walrus", "zebra")]))
        return made

    monkeypatch.setattr(add, "_plan", planned)
    report = library.add(records, records=True)
    assert [Path(path).name for path, _ in report.failures] == ["r.jsonl#1", "r.jsonl#2"]
    assert all("since it was planned" in reason for _, reason in report.failures)
    monkeypatch.setattr(add, "_plan", plan)
    library.sync()
    assert found(library, "zebra") == ["r.jsonl#1"]
    assert found(library, "walrus") == ["r.jsonl#0"]
