"""A reader at work: the best span by brute force, places in the text, windows of long passages, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import small_groups
from openbook.core.errors import ModelUnavailable
from openbook.lm import reader as module
from openbook.lm.heads import load_with_head
from openbook.lm.load import save_model
from openbook.lm.reader import Reader, best_span, open_reader

LOGITS = st.lists(st.integers(-50, 50), min_size=1, max_size=12)


@given(LOGITS, st.data(), st.integers(1, 13))
def test_the_best_span_is_that_of_a_search_through_all(begin: list[int], data: st.DataObject, most: int) -> None:
    end = data.draw(st.lists(st.integers(-50, 50), min_size=len(begin), max_size=len(begin)))
    first, last, score = best_span(np.array(begin, np.float32), np.array(end, np.float32), most)
    spans = [(i, j) for i in range(len(begin)) for j in range(i, min(i + most, len(begin)))]
    assert score == max(begin[i] + end[j] for i, j in spans)
    assert (first, last) in spans and begin[first] + end[last] == score


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = small_groups.base(tmp_path)
    model = load_with_head(folder, "ForQuestionAnswering", seed=3).model
    assert model.classifier is not None
    model.classifier.weight.data *= 40
    saved = tmp_path / "reader"
    save_model(model, saved)
    for name in ("vocab.txt", "tokenizer_config.json", "tokenizer.json"):
        if (folder / name).is_file():
            (saved / name).write_bytes((folder / name).read_bytes())
    return saved


PASSAGE = "The cat is of to for. The dog is in on are. The mat is that and was."


def test_spans_are_places_in_the_text_in_any_company(base: Path) -> None:
    reader = open_reader(base)
    pairs = [("What is the dog?", PASSAGE), ("What is the mat?", PASSAGE[:20]), ("the cat", "")]
    found = reader.read(pairs)
    assert 0 <= found[0].start < found[0].end <= len(PASSAGE)
    assert found[2].start == found[2].end == 0 and found[2].margin == float("-inf")
    for pair, together in zip(pairs, found, strict=True):
        (alone,) = reader.read([pair])
        assert alone[:2] == together[:2] and alone.margin == pytest.approx(together.margin, abs=1e-4)


def test_a_part_of_the_passage_can_be_asked_for(base: Path) -> None:
    (located,) = open_reader(base).locate([("What is the dog?", PASSAGE)])
    start, end = PASSAGE.index("The dog"), PASSAGE.index(" The mat")
    part = located.best(start, end)
    assert start <= part.start < part.end <= end
    assert part.margin <= located.best().margin


def test_long_passages_are_read_in_windows(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = " ".join([PASSAGE] * 4)
    monkeypatch.setattr(module, "STRIDE", 7)
    monkeypatch.setattr(module, "_LEAST_ROOM", 8)
    reader = open_reader(base)
    reader._size = 24
    parts = list(reader._parts(0, [1, 2], list(range(50))))
    assert [one.first for one in parts] == [0, 7, 14, 21, 28, 31]
    (located,) = reader.locate([("What is the dog?", long)])
    assert np.isfinite(located.begin).all() and np.isfinite(located.end).all()


def test_a_model_without_a_head_for_spans_is_refused(tmp_path: Path) -> None:
    folder = small_groups.base(tmp_path)
    with pytest.raises(ModelUnavailable, match="no head for spans"):
        open_reader(folder)
    with pytest.raises(ModelUnavailable, match="no head for spans"):
        Reader(load_with_head(folder, "Model").model, folder)
