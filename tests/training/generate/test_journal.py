"""What was done is there after any stop, once, and of one job."""

from __future__ import annotations

from pathlib import Path

import pytest

from openbook.core.errors import BadData, UsageError
from openbook.training.generate.journal import Journal, journal_of

JOB = {"version": 1, "teacher": "x"}


def test_entries_are_there_again_and_a_line_that_was_cut_is_not(tmp_path: Path) -> None:
    path = journal_of(tmp_path / "folder" / "out.jsonl")
    with Journal(path, JOB) as journal:
        assert journal.entries == []
        journal.add({"at": 1})
        journal.add({"at": "二"})
    with open(path, "ab") as file:
        file.write(b'{"at": 3, "cut')
    with Journal(path, JOB) as journal:
        assert journal.entries == [{"at": 1}, {"at": "二"}]
        journal.add({"at": 4})
    with Journal(path, JOB) as journal:
        assert journal.entries == [{"at": 1}, {"at": "二"}, {"at": 4}]
        journal.remove()
    assert not path.exists()


def test_half_a_character_is_no_fault(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", JOB) as journal:
        journal.add({"said": "so \ud83d"})
    with Journal(tmp_path / "j", JOB) as journal:
        assert journal.entries == [{"said": "so ?"}]


def test_another_job_another_process_and_a_broken_file_are_told(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path, JOB) as journal:
        with pytest.raises(UsageError, match="another process"):
            Journal(path, JOB)
        journal.add({"at": 1})
    with pytest.raises(UsageError, match="teacher changed"):
        Journal(path, JOB | {"teacher": "y"})
    path.write_bytes(path.read_bytes() + b"{no json\n")
    with pytest.raises(BadData, match="j:3 is broken"):
        Journal(path, JOB)
