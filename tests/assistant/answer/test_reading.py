"""A reader in `ask`: which sentence is quoted, which words of it answer, how sure that makes, and where none is asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import small_groups
from openbook.assistant.answer import ask as asking
from openbook.assistant.answer import reading, scorer
from openbook.assistant.answer.ask import ask
from openbook.assistant.answer.evidence import gather
from openbook.assistant.desk import Library
from openbook.core.errors import ModelUnavailable
from openbook.library.retrieve.search import search
from openbook.library.store import LibraryStore
from openbook.lm.reader import Located

ROW = {
    "sentences": 1.0,
    "confidence": {"network": 0.0, "margin": 1.0, "offset": 0.0},
    "max_wrong": {"share": [0.0, 0.1, 1.0], "threshold": [1.0, 0.5, 0.0]},
}


class Finding:
    """Reads for one word: that answers with this margin, and nothing else does."""

    def __init__(self, word: str, margin: float) -> None:
        self.word, self.margin = word, margin
        self.read: list[str] = []

    def locate(self, pairs: Sequence[tuple[str, str]]) -> list[Located]:
        found = []
        for _, text in pairs:
            self.read.append(text)
            words = list(re.finditer(r"\w+", text))
            logits = np.array([self.margin / 2 if one[0] == self.word else -6.0 for one in words], np.float32)
            starts, ends = (np.array([getattr(one, name)() for one in words], np.int64) for name in ("start", "end"))
            found.append(Located(starts, ends, logits, logits))
        return found


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    text = "The program was named by Silverstein in 1960. It was paid for by Kennedy. Nobody liked the name of it then."
    (tmp_path / "a.txt").write_text(text, "utf-8")
    with Library.open(tmp_path / "library", embedder="none") as library:
        library.add(tmp_path / "a.txt")
    table = {**scorer.fitted(), "en-reader": ROW}
    for module in (scorer, reading):
        monkeypatch.setattr(module, "fitted", lambda: table)
    monkeypatch.setattr("openbook.assistant.answer.evidence.fitted", lambda: table)
    monkeypatch.setattr("openbook.assistant.answer.confidence.fitted", lambda: table)
    monkeypatch.setattr("openbook.assistant.answer.evidence.fitted_for", lambda *_: "en-tokens")
    opened = LibraryStore(tmp_path / "library")
    yield opened
    opened.close()


def _asked(store: LibraryStore, monkeypatch: pytest.MonkeyPatch, word: str, margin: float) -> Any:
    monkeypatch.setattr(asking, "shipped_reader", lambda: Finding(word, margin))
    return ask(store, "Who named the program?", sentences=1)


@pytest.mark.parametrize("word", ["Silverstein", "Kennedy", "Nobody"])
def test_the_sentence_that_the_reader_holds_for_the_answer_is_quoted(
    store: LibraryStore, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    answer = _asked(store, monkeypatch, word, 12.0)
    (citation,) = answer.citations
    assert word in citation.quote and answer.confidence > 0.99
    start, end = citation.words
    assert citation.quote[start - citation.start : end - citation.start] == word
    assert citation.to_json()["words"] == [start, end]


def test_what_it_does_not_find_is_no_answer(store: LibraryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = _asked(store, monkeypatch, "Apollo", 12.0)
    assert answer.abstained and answer.confidence < 0.01


def test_words_that_are_below_none_are_not_told(store: LibraryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ROW["confidence"], "offset", 20.0)  # type: ignore[arg-type]
    answer = _asked(store, monkeypatch, "Kennedy", -2.0)
    assert not answer.abstained and answer.citations[0].words is None


def test_each_passage_is_read_once(store: LibraryStore) -> None:
    reader = Finding("Kennedy", 3.0)
    result = search(store, "Who paid for the program?", 10)
    found = gather(store, "Who paid for the program?", result, reader=lambda: reader)  # type: ignore[arg-type,return-value]
    assert len(reader.read) == len({unit.hit for unit in found.units})
    assert found.read is not None and len(found.read.margins) == len(found.units)
    best = int(np.argmax(found.read.margins))
    assert "Kennedy" in found.units[best].text and found.read.margins[best] == pytest.approx(3.0)


def test_other_languages_and_fits_are_not_read(store: LibraryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openbook.assistant.answer.evidence.fitted_for", lambda *_: "en-words")
    opened: list[object] = []
    result = search(store, "Who paid for the program?", 10)
    assert gather(store, "Who paid?", result, reader=lambda: opened.append(1)).read is None  # type: ignore[arg-type,func-returns-value]
    assert not opened


def test_a_broken_reader_of_the_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = small_groups.base(tmp_path)
    reading.shipped_reader.cache_clear()
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "target_modules": ["query"]}', "utf-8")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"half of it")
    for name, value in (("default_directory", base), ("shipped", tmp_path), ("check_default", None)):
        monkeypatch.setattr(reading, name, lambda *_, found=value: found)
    monkeypatch.setattr(reading, "why_not_int8", lambda: "")
    monkeypatch.setattr(reading, "fitted", lambda: {"en-reader": ROW})
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        reading.shipped_reader()
    reading.shipped_reader.cache_clear()


def test_without_the_encoder_there_is_no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    reading.shipped_reader.cache_clear()
    monkeypatch.setattr(reading, "default_directory", lambda: None)
    assert reading.shipped_reader() is None
    reading.shipped_reader.cache_clear()
