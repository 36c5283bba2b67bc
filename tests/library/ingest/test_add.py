"""Adding, syncing and removing: what is read, what is left, and what a search finds afterwards."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from openbook.core.errors import LibraryLocked, UsageError


def found(library, query: str) -> list[str]:
    return [Path(hit.path).name for hit in library.search(query, mode="bm25")]


def test_adding_a_folder_makes_its_text_found_in_both_languages(open_library, folder):
    library = open_library()
    report = library.add(folder)
    assert report.totals()["read"] == 3
    assert found(library, "ticket price euros")[0] == "ferry.md"
    assert found(library, "几点出发")[0] == "渡轮.md"


def test_adding_again_reads_only_what_changed(open_library, folder):
    library = open_library()
    library.add(folder)
    (folder / "hall.txt").write_text("The hall is painted green now.")
    totals = library.add(folder).totals()
    assert (totals["read"], totals["changed"], totals["unchanged"]) == (1, 1, 2)
    assert library.document("hall.txt").version == 2
    assert found(library, "green") == ["hall.txt"]
    assert found(library, "blue") == []


def test_a_file_that_was_only_touched_is_not_read_again(open_library, folder):
    library = open_library()
    library.add(folder)
    os.utime(folder / "hall.txt", (1, 1))
    totals = library.add(folder).totals()
    assert totals["read"] == 0
    assert library.search("blue", mode="bm25")[0].stale is False


def test_a_renamed_file_keeps_its_document_and_is_not_read_again(open_library, folder):
    library = open_library()
    library.add(folder)
    before = library.document("ferry.md").id
    (folder / "ferry.md").rename(folder / "boat.md")
    totals = library.sync().totals()
    assert (totals["moved"], totals["read"], totals["removed"]) == (1, 0, 0)
    assert library.document("boat.md").id == before
    assert found(library, "ticket") == ["boat.md"]


def test_the_same_bytes_in_two_places_are_one_document_with_two_paths(open_library, folder):
    library = open_library()
    library.add(folder)
    (folder / "copy.md").write_bytes((folder / "ferry.md").read_bytes())
    totals = library.add(folder).totals()
    assert (totals["copied"], totals["read"]) == (1, 0)
    hit = library.search("ticket", mode="bm25")[0]
    assert [Path(path).name for path in (hit.path, *hit.also_in)] == ["copy.md", "ferry.md"]
    (folder / "ferry.md").unlink()
    library.sync()
    assert found(library, "ticket") == ["copy.md"]


def test_changing_one_of_two_copies_leaves_the_other(open_library, folder):
    library = open_library()
    (folder / "copy.md").write_bytes((folder / "ferry.md").read_bytes())
    library.add(folder)
    (folder / "copy.md").write_text("# Ferry\n\nA ticket costs 15 euros.")
    library.add(folder)
    assert len(library.documents()) == 4
    assert sorted(found(library, "ticket")) == ["copy.md", "ferry.md"]


def test_sync_removes_what_is_gone_and_nothing_of_a_root_that_is_missing(open_library, folder):
    library = open_library()
    library.add(folder)
    (folder / "hall.txt").unlink()
    assert library.sync().totals()["removed"] == 1
    assert found(library, "warden") == []
    away = folder.rename(folder.with_name("away"))
    report = library.sync()
    assert report.totals()["removed"] == 0
    assert "is missing" in report.plans[0].kept
    assert found(library, "ticket") == ["ferry.md"]
    folder.mkdir()
    assert "is empty" in library.sync().plans[0].kept
    assert found(library, "ticket") == ["ferry.md"]
    folder.rmdir()
    away.rename(folder)
    assert library.sync().totals()["unchanged"] == 2


def test_a_removed_document_does_not_come_back_with_sync(open_library, folder):
    library = open_library()
    library.add(folder)
    library.remove("hall.txt")
    assert found(library, "warden") == []
    library.sync()
    assert found(library, "warden") == []
    library.add(folder / "hall.txt")
    assert found(library, "warden") == ["hall.txt"]
    library.sync()
    assert found(library, "warden") == ["hall.txt"]


def test_a_changed_file_that_cannot_be_read_keeps_its_old_version(open_library, folder):
    library = open_library()
    page = folder / "page.pdf"
    from fpdf import FPDF

    pdf = FPDF()
    pdf.add_page()
    pdf.set_font("helvetica")
    pdf.cell(0, 10, "The lighthouse has 212 steps.")
    pdf.output(str(page))
    library.add(folder)
    page.write_bytes(b"%PDF-1.7 broken")
    report = library.add(folder)
    assert [Path(path).name for path, _ in report.failures] == ["page.pdf"]
    hit = library.search("lighthouse", mode="bm25")[0]
    assert hit.stale and "212 steps" in hit.text


def test_a_dry_run_changes_nothing(open_library, folder):
    library = open_library()
    report = library.add(folder, dry_run=True)
    assert report.totals()["added"] == 3
    assert library.documents() == []
    assert library.sync().totals() == {**dict.fromkeys(library.sync().totals(), 0)}


def test_records_are_documents_of_their_own(open_library, tmp_path):
    library = open_library()
    corpus = tmp_path / "corpus.jsonl"
    rows = [{"id": f"r{i}", "title": f"Row {i}", "text": f"Number {i} is kept in box {i * 7}."} for i in range(50)]
    corpus.write_text("\n".join(json.dumps(row) for row in rows) + "\nnot json\n")
    report = library.add(corpus, records=True)
    assert report.totals()["read"] == 50
    assert [one.reason for plan in report.plans for one in plan.skipped] == [
        'line 51 is not a record with "id" and "text"'
    ]
    assert found(library, '"box 49"')[0] == "corpus.jsonl#r7"
    rows[7]["text"] = "Number 7 was lost."
    corpus.write_text("\n".join(json.dumps(row) for row in rows[:40]))
    totals = library.sync().totals()
    assert (totals["changed"], totals["removed"], totals["unchanged"]) == (1, 10, 39)
    assert not any("box 49." in hit.text for hit in library.search("box 49", mode="bm25"))


def test_collections_are_searched_apart(open_library, folder, tmp_path):
    library = open_library()
    library.add(folder / "ferry.md", collection="public")
    library.add(folder / "hall.txt", collection="inner")
    assert library.search("warden key ticket", collections=["public"], mode="bm25")[0].collection == "public"
    assert [hit.collection for hit in library.search("warden", collections=["public"], mode="bm25")] == []


def test_only_one_process_adds_at_a_time(open_library, folder):
    library = open_library()
    other = open_library()
    with library.store.catalogue.ingest_lease(), pytest.raises(LibraryLocked, match=f"process {os.getpid()}"):
        other.add(folder)


def test_a_missing_path_adds_nothing(open_library, folder):
    library = open_library()
    with pytest.raises(UsageError, match="does not exist"):
        library.add(folder, folder / "nowhere")
    assert library.documents() == []
