"""Solutions as samples: a label where each step ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openbook.core.errors import BadData
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.training.data.reading import data_files
from openbook.training.data.samples import SampleSettings
from openbook.training.data.solutions import SHORTENED, Solutions, solutions
from openbook.training.data.tokenised import receipt_of
from small_preferences import written

ROWS: list[dict[str, Any]] = [
    {"prompt": "1 + 2 + 3?", "steps": ["1 + 2 = 3", "3 + 3 = 6"], "labels": [True, 0.5]},
    {"prompt": "2?", "completions": ["two"], "labels": [False]},
]


def made(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> Solutions:
    files = data_files([written(folder / "rows.jsonl", rows)])
    return solutions(files, default_tokenizer(400), SampleSettings(**settings), folder / "cache")


def test_a_step_ends_at_one_token(tmp_path: Path) -> None:
    data, tokenizer = made(tmp_path, ROWS), default_tokenizer(400)
    assert str(data) == "2 solutions of 3 steps"
    assert data.labels_of(0).tolist() == [1.0, 0.5] and data.labels_of(1).tolist() == [0.0]
    ids, ends = data.shards.ids(0), data.shards.learned(0).nonzero()[0]
    assert len(ends) == 2 and ends[-1] == len(ids) - 1
    assert tokenizer.decode(ids[: ends[0] + 1]).endswith("1 + 2 = 3\n")
    assert tokenizer.decode(ids[ends[0] + 1 :]) == "3 + 3 = 6\n"


def test_what_is_held_out_keeps_its_labels(tmp_path: Path) -> None:
    first, second = made(tmp_path, ROWS).parted(0.5)
    assert first.labels.tolist() == [1.0, 0.5] and second.labels_of(0).tolist() == [0.0]


def test_a_long_solution_loses_its_last_steps(tmp_path: Path) -> None:
    whole = made(tmp_path, ROWS[:1])
    most = int(whole.shards.lengths[0]) - 1
    data = made(tmp_path, ROWS[:1], max_len=most)
    receipt = receipt_of(data.shards)
    assert receipt is not None and receipt.shortened[SHORTENED] == 1
    assert data.labels.tolist() == [1.0] and data.shards.learned(0)[-1]
    with pytest.raises(BadData, match="nothing is left"):
        made(tmp_path, ROWS[:1], max_len=most, too_long="drop")
    with pytest.raises(BadData, match=f"a row {most}"):
        made(tmp_path, ROWS[:1], max_len=most, too_long="error")
    with pytest.raises(BadData, match="nothing is left"):
        made(tmp_path, ROWS[:1], max_len=4)


def test_other_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="a preference has no steps"):
        made(tmp_path, [{"prompt": "a", "chosen": "b", "rejected": "c"}])
