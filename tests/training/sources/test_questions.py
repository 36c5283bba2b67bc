"""Steps of questions: spans where the answers are, windows that hold them, the same questions for every split."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import torch

import small_groups
import small_questions
from openbook.core.errors import BadData
from openbook.lm.tokenizers.pair_layout import PairLayout
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.data.squad import Squad, read_squad
from openbook.training.sources.questions import Asked, Questions, Shares


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    return Tokenizer.load(small_groups.base(tmp_path))


@pytest.fixture
def data(tmp_path: Path) -> Squad:
    return read_squad([small_questions.written(tmp_path / "train.json", 8)])


def source(data: Squad, tokenizer: Tokenizer, **changes: Any) -> Questions:
    shape = {"batch_size": 6, "micro_batch_size": 6, "max_seq_len": 40, "seed": 1, "stride": 8} | changes
    return Questions(data, tokenizer, **shape)


def spans(micro: Asked) -> list[tuple[list[int], list[int]]]:
    """Of each sequence: its ids, and the ids of its span."""
    starts = [0, *accumulate(micro.lengths)]
    return sorted(
        (micro.ids[start:end].tolist(), micro.ids[int(begin) : int(last) + 1].tolist())
        for start, end, begin, last in zip(starts[:-1], starts[1:], micro.begin, micro.end, strict=True)
    )


def test_the_span_is_the_answer(data: Squad, tokenizer: Tokenizer) -> None:
    asked = {one.text: None for one in data.questions}
    assert asked
    (micro,) = source(data, tokenizer, batch_size=48, micro_batch_size=48).next_step()
    answers = {
        tokenizer.decode(tokenizer.encode(one.answers[0].text, add_special_tokens=False)) for one in data.questions
    }
    for ids, span in spans(micro):
        assert tokenizer.decode(span) in answers
        text = tokenizer.decode(ids)
        name = text.split("what is the ")[1].split("?")[0].strip()
        assert f"the {name} is {tokenizer.decode(span)}" in text


def test_spans_may_be_at_the_first_token_and_in_the_passage(data: Squad, tokenizer: Tokenizer) -> None:
    (micro,) = source(data, tokenizer).next_step()
    starts = torch.tensor([0, *accumulate(micro.lengths)][:-1])
    assert micro.lengths == sorted(micro.lengths, reverse=True)
    for place in range(6):
        rows = micro.rows[micro.sequences == place]
        assert int(rows[0]) == int(starts[place])
        assert set(micro.segments[rows[1:]].tolist()) == {1}
        assert int(micro.begin[place]) in rows.tolist() and int(micro.end[place]) in rows.tolist()


@pytest.mark.parametrize("kind", Shares._fields)
def test_questions_that_are_built_have_no_answer(data: Squad, tokenizer: Tokenizer, kind: str) -> None:
    (micro,) = source(data, tokenizer, batch_size=40, micro_batch_size=40, shares=Shares(**{kind: 0.999})).next_step()
    bare = sum(span == [ids[0]] for ids, span in spans(micro))
    assert bare >= 36


def test_no_built_passage_says_the_answer(data: Squad, tokenizer: Tokenizer) -> None:
    """Neighbours and others are drawn from those that do not."""
    questions = source(data, tokenizer)
    from random import Random

    for question in data.questions:
        chosen = questions._without_answer(range(len(data.passages)), question, Random(1))
        assert chosen is not None and question.answers[0].text.lower() not in data.passages[chosen].lower()


def test_every_split_and_rank_sees_the_same(data: Squad, tokenizer: Tokenizer) -> None:
    shares = Shares(0.2, 0.1, 0.2, 0.2)
    whole = source(data, tokenizer, shares=shares)
    parts = source(data, tokenizer, shares=shares, micro_batch_size=2)
    ranks = [source(data, tokenizer, shares=shares, rank=rank, world_size=2) for rank in range(2)]
    for _ in range(12):
        wanted = sorted(one for micro in whole.next_step() for one in spans(micro))
        assert sorted(one for micro in parts.next_step() for one in spans(micro)) == wanted
        assert sorted(one for rank in ranks for micro in rank.next_step() for one in spans(micro)) == wanted


def test_it_goes_on_where_it_was(data: Squad, tokenizer: Tokenizer) -> None:
    one, other = (source(data, tokenizer, shares=Shares(changed=0.5)) for _ in range(2))
    for _ in range(9):
        one.next_step()
    other.resume(one.state())
    assert spans(one.next_step()[0]) == spans(other.next_step()[0])


def test_long_passages_are_windows_that_hold_the_answer(data: Squad, tokenizer: Tokenizer) -> None:
    short = source(data, tokenizer, max_seq_len=24, stride=4, batch_size=40, micro_batch_size=40)
    (micro,) = short.next_step()
    assert max(micro.lengths) == 24
    assert all(span != [ids[0]] for ids, span in spans(micro))


def test_all_windows_together_are_the_passage(data: Squad, tokenizer: Tokenizer) -> None:
    short = source(data, tokenizer, max_seq_len=24, stride=4)
    layout = PairLayout.of(tokenizer.backend)
    for place in short.kept:
        passage = tokenizer.encode(data.passages[data.questions[place].passage], add_special_tokens=False)
        windows = [one.ids[one.first : one.last] for one in short.all_windows([place])]
        seen = {
            (at, number) for ids in windows for at in range(len(passage)) for number in [passage[at]] if number in ids
        }
        assert len(seen) == len(passage)
        assert windows[-1][-1] == passage[-1] and windows[0][0] == passage[0]
        assert any(one.begin for one in short.all_windows([place]))
    assert layout.specials == 3


def test_questions_that_leave_no_room_are_left_out(data: Squad, tokenizer: Tokenizer) -> None:
    with pytest.raises(BadData, match="no question leaves room"):
        source(data, tokenizer, max_seq_len=12, stride=16)
