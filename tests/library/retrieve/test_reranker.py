"""Which reranker a search has, on by default or asked for; and what it does to a library's hits and answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import small_groups
from doubles import HashEmbedder
from openbook.assistant.answer.ask import ask
from openbook.core.errors import ModelUnavailable, UsageError
from openbook.library.embed.default import check_default, default_directory
from openbook.library.retrieve import reranker, weights
from openbook.library.retrieve.rerank import RerankNote
from openbook.library.retrieve.reranker import NAME, Chosen, Wanted, choose_reranking, shipped_reranker
from openbook.library.retrieve.search import rank_documents, search
from openbook.lm.weights import shipped

HASH = HashEmbedder().hash
CONFIG = '{"peft_type": "LORA", "target_modules": ["query"], "r": 4, "lora_alpha": 4}'


class Shortest:
    """A reranker that prefers the shortest text."""

    name = "shortest"

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []

    def logits(self, query: str, texts: Sequence[str]) -> np.ndarray:
        self.calls.append((query, list(texts)))
        return np.array([-len(text) for text in texts], np.float32)

    rank = logits


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The row of the package's reranker over the double's vectors."""
    row: dict[str, Any] = {"weight": 1.0}
    monkeypatch.setattr(weights, "_fitted", lambda: {HASH: {"en": 0.5, NAME: row}})
    monkeypatch.setattr(reranker, "why_not_int8", lambda: "")
    yield row


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch, table: dict[str, Any]) -> Shortest:
    """In place of the package's."""
    found = Shortest()
    monkeypatch.setattr(reranker, "why_no_reranker", lambda: "")
    monkeypatch.setattr(reranker, "shipped_reranker", lambda: found)
    return found


def chosen(wanted: Wanted, language: str = "en", given: Any = None, has_vectors: bool = True) -> Chosen:
    return choose_reranking(wanted, given, HASH, language, has_vectors=has_vectors)


@pytest.mark.parametrize("purpose", ["search", "ask"])
def test_the_default_is_what_was_measured(scripted: Shortest, table: dict[str, Any], purpose: Any) -> None:
    assert chosen(Wanted(purpose=purpose)) == Chosen()
    table["ask" if purpose == "search" else "search"] = True
    assert chosen(Wanted(purpose=purpose)) == Chosen(), "the one says nothing of the other"
    table[purpose] = True
    found = chosen(Wanted(purpose=purpose)).reranking
    assert found is not None and (found.name, found.weight, found.depth) == (NAME, 1.0, 20)
    assert chosen(Wanted(False, purpose=purpose)) == Chosen()
    assert chosen(Wanted(purpose=purpose), has_vectors=False) == Chosen(), "it was measured beside vectors"


def test_the_default_never_waits_for_torch(
    scripted: Shortest, table: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    table["search"] = True
    monkeypatch.setattr(reranker, "why_not_int8", lambda: "needs another processor")
    assert chosen(Wanted()) == Chosen()
    assert chosen(Wanted(True)).reranking is not None


def test_over_other_vectors_it_is_off_and_counts_half(scripted: Shortest, table: dict[str, Any]) -> None:
    table["search"] = True
    assert choose_reranking(Wanted(), None, "other", "en", has_vectors=True) == Chosen()
    for embedder_hash in ("other", None):
        found = choose_reranking(Wanted(True), None, embedder_hash, "en", has_vectors=False).reranking
        assert found is not None and found.weight == 0.5


def test_another_language_is_not_reranked_and_nothing_is_opened(
    table: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reranker, "why_no_reranker", lambda: "")
    monkeypatch.setattr(reranker, "shipped_reranker", lambda: pytest.fail("opened"))
    found = chosen(Wanted(True), "zh")
    assert found.reranking is None and found.warning == ""
    assert found.note is not None and "'zh'" in found.note.skipped and found.note.to_json()["scored"] == 0


def test_one_that_is_not_there_is_told_only_where_it_was_asked_for(
    table: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reranker, "default_directory", lambda: None)
    table["search"] = True
    assert chosen(Wanted()) == Chosen()
    assert "openbook setup embedder" in chosen(Wanted(True)).warning
    with pytest.raises(ModelUnavailable, match="not installed"):
        shipped_reranker.__wrapped__()


def test_a_package_without_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: dict[str, Any]) -> None:
    monkeypatch.setattr(reranker, "default_directory", lambda: tmp_path)
    monkeypatch.setattr(reranker, "check_default", lambda _: None)
    monkeypatch.setattr("openbook.lm.weights._HERE", tmp_path)
    assert "reranker-en is not in this package" in chosen(Wanted(True)).warning


@pytest.mark.parametrize("depth", [0, -1, 101])
def test_a_depth_that_a_search_does_not_have(depth: int) -> None:
    with pytest.raises(UsageError, match="cannot be reranked"):
        chosen(Wanted(True, depth))


def test_a_broken_one_of_the_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = small_groups.base(tmp_path)
    (tmp_path / "adapter_config.json").write_text(CONFIG, "utf-8")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"half of it")
    for name, value in (("default_directory", base), ("shipped", tmp_path), ("check_default", None)):
        monkeypatch.setattr(reranker, name, lambda *_, found=value: found)
    monkeypatch.setattr("openbook.library.embed.adapted.is_shipped", lambda _: True)
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        shipped_reranker.__wrapped__()


def test_an_adapter_without_its_head_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = small_groups.base(tmp_path)
    (tmp_path / "adapter_config.json").write_text(CONFIG, "utf-8")
    save_file({}, tmp_path / "adapter_model.safetensors")
    for name, value in (("default_directory", base), ("shipped", tmp_path), ("check_default", None)):
        monkeypatch.setattr(reranker, name, lambda *_, found=value: found)
    monkeypatch.setattr("openbook.library.embed.adapted.is_shipped", lambda _: True)
    with pytest.raises(ModelUnavailable, match="0 labels"):
        shipped_reranker.__wrapped__()


TEXTS = {
    "long": "The ferry leaves at eight from pier three and its price is twelve euros for each grown person.",
    "middle": "The ferry price is twelve euros for each person.",
    "short": "The ferry price.",
}


@pytest.fixture
def library(open_library: Any, tmp_path: Path, scripted: Shortest) -> Any:
    found = open_library()
    for name, text in TEXTS.items():
        (tmp_path / f"{name}.txt").write_text(text)
    found.add(*(tmp_path / f"{name}.txt" for name in TEXTS))
    return found


def names(hits: Sequence[Any]) -> list[str]:
    return [Path(hit.path).stem for hit in hits]


QUESTION = "What is the price of the ferry for each person?"


def test_search_shows_what_the_reranker_said(library: Any, scripted: Shortest) -> None:
    plain = library.search_result(QUESTION, rerank=False)
    assert plain.rerank is None and plain.to_json()["rerank"] is None and "rerank" not in plain.timings_ms
    assert all(hit.scores["rerank"] is None and hit.score == hit.scores["fused"] for hit in plain.hits)
    found = library.search_result(QUESTION, rerank=True)
    assert names(found.hits) == ["short", "middle", "long"] and [hit.rank for hit in found.hits] == [1, 2, 3]
    assert [hit.score for hit in found.hits] == sorted((hit.score for hit in found.hits), reverse=True)
    assert found.rerank == RerankNote(NAME, 1.0, 3) and found.to_json()["rerank"]["scored"] == 3
    assert {"open_reranker", "rerank"} <= set(found.timings_ms)
    fused = {hit.id: hit.scores["fused"] for hit in plain.hits}
    assert {hit.id: hit.scores["fused"] for hit in found.hits} == fused, "the search's own score stays"
    read = dict(zip(*scripted.calls[0][1:], scripted.calls[0][1], strict=True))
    assert all(hit.text in "".join(read) for hit in found.hits)
    for hit in found.hits:
        (text,) = (one for one in read if hit.text in one)
        assert hit.scores["rerank"] == -len(text)
    assert library.search_result(QUESTION).rerank is None, "off where nothing was measured"


def test_what_is_below_the_depth_follows_in_the_order_of_the_search(library: Any, scripted: Shortest) -> None:
    plain = names(library.search(QUESTION, rerank=False))
    found = library.search_result(QUESTION, 3, rerank=True, rerank_depth=2)
    assert sorted(names(found.hits)[:2]) == sorted(plain[:2]) and names(found.hits)[2] == plain[2]
    assert found.hits[2].scores["rerank"] is None and len(scripted.calls[0][1]) == 2
    first = library.search_result(QUESTION, 1, rerank=True)
    assert names(first.hits) == ["short"], "the best of the depth, however few are wanted"


def test_the_title_and_the_query_without_marks_are_what_it_reads(library: Any, scripted: Shortest) -> None:
    library.search(f"{QUESTION} -submarine", rerank=True)
    ((query, texts),) = scripted.calls
    assert query == QUESTION
    assert texts and all(text.split("\n")[0] in TEXTS or text in TEXTS.values() for text in texts)


def test_what_a_filter_leaves_out_is_not_read(library: Any, scripted: Shortest) -> None:
    hits = library.search(QUESTION, filters=["path=*dle.txt"], rerank=True)
    assert names(hits) == ["middle"] and len(scripted.calls[0][1]) == 1
    assert not any(TEXTS["short"] == text.splitlines()[-1] for text in scripted.calls[0][1])


def test_nothing_found_is_nothing_read(library: Any, scripted: Shortest) -> None:
    found = library.search_result("submarine", mode="bm25", rerank=True)
    assert found.hits == [] and scripted.calls == [] and found.rerank == RerankNote(NAME, 1.0, 0)


def test_a_chinese_question_is_searched_for_as_before(library: Any, scripted: Shortest) -> None:
    found = library.search_result("渡轮的票价是多少？", rerank=True)
    assert scripted.calls == [] and found.rerank is not None and found.rerank.skipped
    assert not any("rerank" in warning for warning in found.warnings)


def test_documents_are_ranked_with_it_too(library: Any, scripted: Shortest) -> None:
    plain = rank_documents(library.store, QUESTION, reranking=Wanted(False))
    reranked = rank_documents(library.store, QUESTION, reranking=Wanted(True))
    assert sorted(plain) == sorted(reranked)
    assert library.document(f"d{reranked[0]}").paths[0].endswith("short.txt")


def test_ask_has_a_default_of_its_own(library: Any, scripted: Shortest, table: dict[str, Any]) -> None:
    table["search"] = True
    search(library.store, QUESTION)
    assert len(scripted.calls) == 1
    assert "search.rerank" not in ask(library.store, QUESTION).timings_ms and len(scripted.calls) == 1
    assert "search.rerank" in library.ask(QUESTION, rerank=True).timings_ms and len(scripted.calls) == 2
    table["ask"] = True
    assert "search.rerank" in library.ask(QUESTION).timings_ms


def _encoder() -> Path | None:
    base = default_directory()
    try:
        if base is not None:
            check_default(base)
            shipped(NAME)
    except ModelUnavailable:
        return None
    return base


@pytest.mark.skipif(_encoder() is None, reason="needs the default encoder and the package's reranker")
def test_that_of_the_package_reads_english() -> None:
    passages = [
        "The amplitude of the waves is greatest near the shore.",
        "Normandy was given to the Viking leader Rollo in 911 by Charles the Simple.",
        "The Normans were known for their cuisine.",
    ]
    scores = shipped_reranker().logits("Who was given Normandy by Charles the Simple?", passages)
    assert int(np.argmax(scores)) == 1 and np.isfinite(scores).all()


def test_a_row_of_the_table_is_what_the_code_reads() -> None:
    """What `benchmarks/rerank.py --write` leaves must be readable: an unknown key would be an error at every search."""
    for row in weights._fitted().values():
        for name in set(row) - {"en"}:
            assert json.dumps(weights.RerankWeights(**row[name])._asdict())
            assert 0.0 <= row[name]["weight"] <= 1.0
