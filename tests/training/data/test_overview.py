"""What is shown of preferences and of solutions: both answers of a pair, and where scores are taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openbook.core.errors import BadData
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.training.data.overview import Overview, overview
from openbook.training.data.reading import data_files
from openbook.training.data.samples import SampleSettings
from openbook.training.data.tokenised import ReadSettings
from small_preferences import liked, pairs, solutions, written


def seen(folder: Path, rows: list[dict[str, Any]]) -> Overview:
    files = data_files([written(folder / "rows.jsonl", rows)])
    return overview(files, default_tokenizer(400), SampleSettings(), ReadSettings())


def test_both_answers_of_a_pair(tmp_path: Path) -> None:
    tokenizer, found = (
        default_tokenizer(400),
        seen(tmp_path, [*pairs(3), {"prompt": "a", "chosen": "b", "rejected": "b"}]),
    )
    assert list(found.samples) == ["the better answer", "the worse answer"]
    for sample, side in zip(found.samples.values(), ("chosen", "rejected"), strict=True):
        assert sample.learned is not None
        said = [number for number, learned in zip(sample.ids, sample.learned, strict=True) if learned]
        assert tokenizer.decode(said) == f"{pairs(3)[0][side]}<|im_end|>"
    assert found.lengths is not None
    assert found.receipt.samples == 6 and found.receipt.dropped.total() == 1


def test_an_answer_by_itself(tmp_path: Path) -> None:
    assert list(seen(tmp_path, liked(3)).samples) == ["the better answer"]


def test_where_scores_of_steps_are_taken(tmp_path: Path) -> None:
    rows = solutions(3)
    (sample,) = seen(tmp_path, rows).samples.values()
    assert sample.learned is not None and sum(sample.learned) == len(rows[0]["steps"]) and sample.learned[-1]


def test_rows_of_two_kinds_are_told(tmp_path: Path) -> None:
    written(tmp_path / "one.jsonl", pairs(2))
    written(tmp_path / "two.jsonl", [{"text": "a text"}])
    with pytest.raises(BadData, match="not learned from word by word"):
        overview(data_files([tmp_path]), default_tokenizer(400), SampleSettings(), ReadSettings())
