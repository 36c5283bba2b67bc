"""What every splitter keeps: no character lost, order, size, headings, table rows; the same each time."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from library.split.documents import documents, headings_above, plain, texts, uncovered
from openbook.core.errors import UsageError
from openbook.library.documents.model import Block, Document
from openbook.library.split.chunk import Chunk
from openbook.library.split.group import grouped
from openbook.library.split.measure import TokenMeasure
from openbook.library.split.settings import SplitSettings
from openbook.library.split.split import split
from openbook.library.split.units import Unit
from openbook.lm.tokenizers.approximate import ApproximateTokens

TOKENS = ApproximateTokens()
SPLITTERS = ("recursive", "discourse", "semantic")


class LengthScorer:
    """A `Scorer` without meaning: a number in [0, 1] from the lengths, and how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        self.calls += 1
        return np.array([(len(a) * 7 + len(b) * 3) % 10 / 10 for a, b in pairs], np.float32)


def chunks_of(document: Document, splitter: str = "recursive", tokens: int = 24, overlap: int = 0) -> list[Chunk]:
    settings = SplitSettings.model_validate({"splitter": splitter, "chunk_tokens": tokens, "overlap_tokens": overlap})
    return split(document, settings, TOKENS, LengthScorer())


sizes = st.tuples(st.integers(16, 64), st.integers(0, 8))


@pytest.mark.parametrize("splitter", SPLITTERS)
@given(documents(), sizes)
def test_no_character_is_lost_and_chunks_are_in_order(splitter: str, document: Document, size: tuple[int, int]) -> None:
    chunks = chunks_of(document, splitter, *size)
    assert uncovered(document, chunks) == ""
    assert all(a.start < b.start and a.end < b.end for a, b in pairwise(chunks))
    assert all(chunk.index_text.endswith(document.text[chunk.start : chunk.end]) for chunk in chunks)


@pytest.mark.parametrize("splitter", SPLITTERS)
@given(documents(), sizes)
def test_chunks_hold_at_most_chunk_tokens(splitter: str, document: Document, size: tuple[int, int]) -> None:
    measure = TokenMeasure(document.text, 0, len(document.text), TOKENS)
    for chunk in chunks_of(document, splitter, *size):
        assert chunk.tokens <= size[0]
        assert chunk.tokens == measure.count(chunk.start, chunk.end)


@pytest.mark.parametrize("splitter", SPLITTERS)
@given(documents(), sizes)
def test_no_chunk_loses_its_heading_path(splitter: str, document: Document, size: tuple[int, int]) -> None:
    """A chunk's path is that of the headings above its last character, and its index text names each."""
    for chunk in chunks_of(document, splitter, *size):
        assert chunk.heading == headings_above(document, chunk.end - 1)
        if not any(block.kind == "heading" and block.start < chunk.end < block.end for block in document.blocks):
            indexed = " ".join(chunk.index_text.split())
            assert all(heading in indexed for heading in chunk.heading)
        assert not document.title or document.title in chunk.index_text


@pytest.mark.parametrize("splitter", SPLITTERS)
@given(documents(), sizes)
def test_splitting_is_deterministic(splitter: str, document: Document, size: tuple[int, int]) -> None:
    assert chunks_of(document, splitter, *size) == chunks_of(document, splitter, *size)


@given(texts(400), st.integers(1, 8))
def test_overlap_repeats_whole_sentences_up_to_its_size(text: str, overlap: int) -> None:
    document = Document(text=text, blocks=(Block("paragraph", 0, len(text)),))
    measure = TokenMeasure(text, 0, len(text), TOKENS)
    bare = chunks_of(document, tokens=24)
    chunks = chunks_of(document, tokens=24, overlap=overlap)
    assert uncovered(document, chunks) == "" == uncovered(document, bare)
    for before, after in pairwise(chunks):
        assert measure.count(min(before.end, after.start), before.end) == 0 or before.end > after.start
        assert measure.count(after.start, max(before.end, after.start)) <= overlap
    assert all(a.end <= b.start for a, b in pairwise(bare))


def test_overlap_is_there() -> None:
    text = " ".join(f"Sentence number {number} is about ferries." for number in range(40))
    document = Document(text=text, blocks=(Block("paragraph", 0, len(text)),))
    chunks = chunks_of(document, tokens=32, overlap=8)
    assert all(b.start < a.end for a, b in pairwise(chunks))
    assert all(text[chunk.start :].startswith("Sentence number") for chunk in chunks)


def test_overlap_counts_as_part_of_a_chunk() -> None:
    text = "Two red boats. " * 40
    document = Document(text=text.strip(), blocks=(Block("paragraph", 0, len(text) - 1),))
    chunks = chunks_of(document, tokens=16, overlap=4)
    assert {chunk.tokens for chunk in chunks[:-1]} <= {12, 16}
    assert all(b.start < a.end for a, b in pairwise(chunks))


def test_a_heading_has_room_before_a_paragraph_that_fills_a_chunk() -> None:
    document = plain("# Our boats\n\n" + "Two red boats. " * 3 + "Two red boats.")
    assert [chunk.tokens for chunk in chunks_of(document, tokens=16)] == [15, 4]


def test_a_run_is_cut_at_its_weakest_link_and_where_links_are_too_weak() -> None:
    text = " ".join("abcdefghijklmnopqrstuvwxyz")
    block = Block("paragraph", 0, len(text))
    units = [Unit((place, place + 1), 1, block) for place in range(0, len(text), 2)]
    measure = TokenMeasure(text, 0, len(text), TOKENS)
    links = [0.9] * 25
    links[8], links[21] = 0.6, 0.2  # behind i and behind v
    cuts = grouped(text, units, links, 0.5, SplitSettings(chunk_tokens=16), measure)
    assert [text[cut.span[0] : cut.span[1] : 2] for cut in cuts] == ["abcdefghi", "jklmnopqrstuv", "wxyz"]


@pytest.mark.parametrize("splitter", SPLITTERS)
def test_headings_stay_with_what_follows(splitter: str) -> None:
    body = "The pack is charged at the pier within nine minutes. " * 3
    document = plain(f"# Batteries\n\n## Charging\n\n{body.strip()}\n\n## Disposal\n\nOld packs go back.")
    chunks = chunks_of(document, splitter, tokens=32)
    texts_ = [document.text[chunk.start : chunk.end] for chunk in chunks]
    assert texts_[0].startswith("# Batteries\n\n## Charging\n\nThe pack")
    assert texts_[-1] == "## Disposal\n\nOld packs go back."
    assert not any(text.startswith("#") and "\n" not in text for text in texts_)


@pytest.mark.parametrize("splitter", SPLITTERS)
def test_pieces_of_a_table_carry_its_header_and_whole_rows(splitter: str) -> None:
    rows = [f"Ferry {number} | {number * 7} kWh | yard {number % 3}" for number in range(40)]
    text = "Intro to the table.\n" + "\n".join(["Name | Battery | Yard", *rows]) + "\nAfter the table."
    start = text.index("Name")
    document = Document(
        text=text,
        blocks=(
            Block("paragraph", 0, start - 1),
            Block("table", start, text.index("\nAfter"), header_end=start + len("Name | Battery | Yard")),
            Block("paragraph", text.index("After"), len(text)),
        ),
    )
    chunks = chunks_of(document, splitter, tokens=40)
    assert len(chunks) > 3
    for chunk in chunks:
        lines = text[chunk.start : chunk.end].split("\n")
        assert all(
            line in (*rows, "Name | Battery | Yard", "Intro to the table.", "After the table.") for line in lines
        )
        if any(row in lines for row in rows):
            assert chunk.index_text.count("Name | Battery | Yard") == 1
        if all(line in rows for line in lines):
            assert len(TOKENS.spans(chunk.index_text)) <= 40


def test_chinese_is_cut_behind_its_marks() -> None:
    text = "渡轮的电池在码头充电，每次九分钟。冬天充电较慢；夏天较快！船长每天检查电池两次，并作记录。" * 6
    document = Document(text=text, blocks=(Block("paragraph", 0, len(text)),))
    chunks = chunks_of(document, tokens=40)
    assert len(chunks) > 3
    assert all(text[chunk.end - 1] in "。！；" for chunk in chunks)
    assert {chunk.language for chunk in chunks} == {"zh"}


def test_code_is_cut_between_lines() -> None:
    lines = [f"    value_{number} = compute(value_{number - 1}, {number})" for number in range(1, 60)]
    text = "\n".join(["def main():", *lines])
    document = Document(text=text, blocks=(Block("code", 0, len(text)),))
    chunks = chunks_of(document, tokens=64)
    assert len(chunks) > 3
    assert all(
        line.strip() in text.split("\n") or line in text.split("\n") or f"    {line}" in lines
        for chunk in chunks
        for line in text[chunk.start : chunk.end].split("\n")
    )


@pytest.mark.parametrize("text", ["word " * 40_000, "字" * 200_000, "x" * 400_000, "\u200b" * 200_000 + "x"])
def test_a_long_text_without_line_breaks_takes_bounded_memory(text: str) -> None:
    text = text.strip()
    document = Document(text=text, blocks=(Block("paragraph", 0, len(text)),))
    tracemalloc.start()
    chunks = split(document, SplitSettings(chunk_tokens=192), TOKENS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert uncovered(document, chunks) == ""
    assert peak < 40 * len(text) + 20_000_000
    assert max(chunk.end - chunk.start for chunk in chunks) <= 192 * 64


@pytest.mark.slow
def test_twenty_megabytes_of_discourse() -> None:
    text = "The ferry sails at noon. However, it waits for the mail. " * 350_000
    document = Document(text=text.strip(), blocks=(Block("paragraph", 0, len(text) - 1),))
    for splitter in ("recursive", "discourse"):
        chunks = chunks_of(document, splitter, tokens=192)
        assert uncovered(document, chunks) == ""


def test_semantic_scores_a_document_in_one_call() -> None:
    document = plain("\n\n".join(f"# Part {n}\n\nOne paragraph.\n\nAnother paragraph." for n in range(30)))
    scorer = LengthScorer()
    split(document, SplitSettings(splitter="semantic"), TOKENS, scorer)
    assert scorer.calls == 1


def test_semantic_without_a_scorer_is_an_error_with_its_cure() -> None:
    with pytest.raises(UsageError, match="needs a scorer"):
        split(plain("One.\n\nTwo."), SplitSettings(splitter="semantic"), TOKENS)


def test_a_document_without_blocks_has_no_chunks() -> None:
    assert chunks_of(Document(text="", blocks=())) == []
