"""Asking: the quotation is a slice of the text, abstentions are honest and speak the language of the question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from doubles import HashEmbedder
from openbook.assistant.answer.confidence import threshold
from openbook.assistant.desk import Library
from openbook.core.errors import UsageError

FERRY = (
    "The ferry to Hamar leaves at 08:15 from pier 3. It returns at noon. A ticket costs 12 euros.\n\n"
    "The hall is painted blue. Its key is kept by the warden Anna Lund.\n"
)
CROSSING = "渡轮早上八点从三号码头出发。船票每张十二元。大厅的钥匙由管理员王小明保管。\n"


def made(root: Path, texts: dict[str, str], embedder: object) -> Library:
    docs = root / "docs"
    docs.mkdir(parents=True)
    for name, text in texts.items():
        (docs / name).write_text(text)
    library = Library.open(root / "library", embedder=embedder)  # type: ignore[arg-type]
    library.add(docs)
    return library


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Library]:
    with made(tmp_path, {"ferry.txt": FERRY, "渡轮.txt": CROSSING}, "none") as library:
        yield library


@pytest.mark.parametrize(
    ("question", "name", "said"),
    [
        ("When does the ferry to Hamar leave?", "ferry.txt", "08:15"),
        ("Who keeps the key of the hall?", "ferry.txt", "Anna Lund"),
        ("渡轮从几号码头出发？", "渡轮.txt", "三号码头"),
        ("大厅的钥匙由谁保管？", "渡轮.txt", "王小明"),
    ],
)
def test_the_quotation_is_a_slice_of_the_document(both, question, name, said):
    answer = both.ask(question, max_wrong=1.0)
    citation = answer.citations[0]
    assert citation.path.endswith(name)
    assert said in citation.quote
    assert both.text(name)[citation.start : citation.end] == citation.quote == answer.answer
    assert answer.mode == "extractive"
    assert [(s.start, s.end, s.citations) for s in answer.sentences] == [(0, len(answer.answer), (1,))]


class Longest:
    """A reranker that prefers the longest text."""

    name = "longest"

    def rank(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([len(text) for text in texts], np.float32)


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("When does the ferry to Hamar leave?", "thresholds of max_wrong were fitted without"),
        ("渡轮从几号码头出发？", "阈值"),
    ],
)
def test_thresholds_that_were_fitted_without_reranking_are_told(both, question, told):
    library = Library.open(both.store.directory, embedder="none", reranker=Longest())
    with library:
        for max_wrong in (0.01, 1.0):  # where it answers, and where it does not
            answer = library.ask(question, max_wrong=max_wrong, rerank=True)
            assert sum(told in one for one in answer.warnings) == 1
            assert answer.to_json()["warnings"] == list(answer.warnings)
        assert not any(told in one for one in library.ask(question, rerank=False).warnings)


def test_it_abstains_exactly_below_the_operating_point(both):
    for question in ("When does the ferry to Hamar leave?", "What colour is the harbour?", "谁发明了电灯？"):
        for max_wrong in (0.01, 0.05, 0.1, 0.5):
            answer = both.ask(question, max_wrong=max_wrong)
            fit = "zh-words" if "？" in question else "en-words"
            assert answer.abstained == (answer.confidence < threshold(fit, max_wrong))


@pytest.mark.parametrize(
    ("question", "said"),
    [("Which opera did Verdi write first?", "The library has no answer"), ("谁发明了电灯泡？", "没有这个问题的答案")],
)
def test_an_abstention_says_so_and_shows_what_came_near(both, question, said):
    answer = both.ask(question)
    assert answer.abstained
    assert said in answer.answer
    assert not answer.citations
    assert not answer.sentences
    assert len(answer.nearest) <= 3


@pytest.mark.parametrize(
    ("name", "text", "question"),
    [("ferry.txt", FERRY, "渡轮 ferry 几点 leaves 出发？"), ("渡轮.txt", CROSSING, "When does the 渡轮 ferry leave?")],
)
def test_a_question_in_a_language_that_no_document_is_in_is_not_answered(tmp_path, name, text, question):
    with made(tmp_path, {name: text}, HashEmbedder(languages=frozenset({"en"}))) as library:
        answer = library.ask(question, max_wrong=1.0)
    assert answer.abstained
    assert answer.confidence == 0.0
    names = [{"Chinese", "English"}, {"中文", "英文"}]
    assert any(all(name in line for name in pair) for line in answer.warnings for pair in names)


@pytest.mark.parametrize(
    ("text", "stray", "question", "names"),
    [
        (CROSSING, "ferry 12 km/h, pier, quay, harbour", "When does the ferry leave?", ("English", "Chinese")),
        (FERRY, "渡轮，码头，港口", "渡轮几点出发？", ("中文", "英文")),
    ],
)
def test_an_abstention_over_documents_in_another_language_always_says_why(tmp_path, text, stray, question, names):
    """Also when a stray passage in the language of the question is found, or nothing at all."""
    files = {f"{number}.txt": text.replace("08:15", str(number)) + str(number) for number in range(12)}
    for found in ({}, {"stray.txt": stray}):
        with made(tmp_path / str(len(found)), files | found, HashEmbedder(languages=frozenset({"en"}))) as library:
            answer = library.ask(question, max_wrong=0.001)
        assert answer.abstained
        assert any(all(name in line for name in names) for line in answer.warnings), answer.warnings
    with made(tmp_path / "own", {"a.txt": FERRY, "b.txt": CROSSING}, HashEmbedder(languages=frozenset({"en"}))) as one:
        assert not any(all(name in line for name in names) for line in one.ask(question, max_wrong=0.001).warnings)


def test_an_embedder_of_both_languages_may_answer_across_them(tmp_path):
    with made(tmp_path, {"渡轮.txt": CROSSING}, HashEmbedder()) as library:
        answer = library.ask("When does the ferry leave?", max_wrong=1.0)
    assert not answer.abstained


def test_the_default_embedder_says_that_it_has_no_chinese(tmp_path, minilm):
    with made(tmp_path, {"ferry.txt": FERRY}, None) as library:
        answer = library.ask("渡轮几点出发？")
    assert answer.abstained
    assert any("不懂中文" in line for line in answer.warnings)


def test_an_empty_library_has_no_answer(tmp_path):
    with Library.open(tmp_path / "library", embedder="none") as library:
        answer = library.ask("When does the ferry leave?")
    assert answer.abstained
    assert answer.confidence == 0.0
    assert answer.nearest == ()


@pytest.mark.parametrize("max_wrong", [0.0, -0.1, 1.5])
def test_a_share_out_of_range_is_refused(both, max_wrong):
    with pytest.raises(UsageError, match="max_wrong"):
        both.ask("When does the ferry leave?", max_wrong=max_wrong)


def test_a_follow_up_is_searched_for_as_it_stands_alone(both):
    history = [("When does the ferry to Hamar leave?", "At 08:15.")]
    answer = both.ask("And when does it return?", history=history, max_wrong=1.0)
    assert answer.question == "And when does it return?"
    assert answer.standalone != answer.question
    assert "Hamar" in answer.standalone
    assert "noon" in answer.answer


def test_stages_are_timed(both):
    timings = both.ask("When does the ferry leave?").timings_ms
    assert {"search", "weigh", "quote", "total"} <= set(timings)


LAW = "第一条 本法适用于渡轮。\n\n第二条 违反第一条的，处以罚款五百元。\n\n第三条 渡轮应当每年检验一次。"


def test_an_article_that_is_named_is_the_one_that_is_quoted(tmp_path):
    with made(tmp_path, {"法.md": LAW}, "none") as library:
        assert "每年检验" in library.ask("第三条规定了什么？", max_wrong=1.0).citations[0].quote
        assert "第一条" in library.ask("第一条的内容是什么？", max_wrong=1.0).citations[0].quote
