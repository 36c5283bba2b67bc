"""Several answers to one prompt: it is computed once, and each answer is what it would be alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm.checkpoints import tiny
from openbook.core.errors import UsageError
from openbook.core.messages import SamplingParams
from openbook.serving import Engine
from openbook.serving.engine.core import EngineCore
from serving.engine.models import check_blocks, finish, model

DRAWN = SamplingParams(temperature=1.0, max_tokens=6, seed=5, repetition_penalty=1.1)


def alone(prompt: list[int], seed: int, max_tokens: int = 6) -> list[int]:
    params = SamplingParams(temperature=1.0, max_tokens=max_tokens, seed=seed, repetition_penalty=1.1)
    return EngineCore(model("llama")).generate([prompt], params)[0].tokens


@given(
    prompt=st.lists(st.integers(0, 299), min_size=1, max_size=20),
    n=st.integers(1, 5),
    seats=st.integers(1, 6),
    budget=st.integers(1, 30),
    spare=st.integers(0, 6),
    block_size=st.sampled_from([1, 4, 16]),
)
def test_each_answer_is_that_of_its_seed_alone(
    prompt: list[int], n: int, seats: int, budget: int, spare: int, block_size: int
) -> None:
    least = -(-(len(prompt) + 6) // block_size)
    engine = EngineCore(
        model("llama"), num_blocks=least + spare, block_size=block_size, max_num_seqs=seats, max_step_tokens=budget
    )
    number = engine.add(prompt, DRAWN, n=n)
    assert finish(engine) == {(number, i): alone(prompt, 5 + i) for i in range(n)}
    assert engine.blocks.num_in_use == 0
    assert not engine._members


def test_the_prompt_is_computed_once() -> None:
    engine = EngineCore(model("llama"), num_blocks=64, block_size=4, max_num_seqs=8)
    engine.add(list(range(40)), DRAWN, n=8)
    engine.step()
    assert engine.blocks.num_in_use == 10
    assert len(engine.scheduler.running) == 8
    engine.step()
    assert engine.blocks.num_in_use == 18, "each has a block of its own for what is its own"


def test_no_more_run_than_there_are_seats() -> None:
    engine = EngineCore(model("llama"), num_blocks=64, block_size=4, max_num_seqs=3)
    engine.add(list(range(10)), DRAWN, n=7)
    engine.add([1], DRAWN)
    while not engine.is_idle:
        engine.step()
        assert len(engine.scheduler.running) <= 3
        check_blocks(engine)


def test_an_abort_ends_all_answers() -> None:
    engine = EngineCore(model("llama"), num_blocks=64, block_size=4, max_num_seqs=3)
    number = engine.add(list(range(10)), DRAWN, n=5)
    engine.step()
    engine.abort(number)
    assert engine.is_idle
    assert engine.blocks.num_in_use == 0
    assert not engine._members
    assert not engine._sequences


@pytest.mark.parametrize("n", [0, -1, 1.5, True])
def test_a_number_of_answers_that_cannot_be(n: int) -> None:
    with pytest.raises(UsageError, match="n is"):
        EngineCore(model("llama")).add([1], n=n)


def test_a_waiting_request_can_be_forked_and_one_that_ended_cannot() -> None:
    engine = EngineCore(model("llama"), max_num_seqs=1)
    running, waiting = (engine.add([1, 2, 3], DRAWN) for _ in range(2))
    engine.step()
    twin = engine.fork(waiting, seed=9)
    found = finish(engine)
    assert found[twin, 0] == alone([1, 2, 3], 9)
    with pytest.raises(UsageError, match="not under way"):
        engine.fork(running)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    tiny(tmp_path, seed=3)
    with Engine.load(tmp_path, max_num_seqs=3) as one:
        yield one  # type: ignore[misc]


def test_the_best_of_several_are_the_likeliest(engine: Engine) -> None:
    every = engine.sample([1, 2, 3], SamplingParams(temperature=1.0, max_tokens=5, seed=1, logprobs=0), 6)
    best = engine.sample([1, 2, 3], SamplingParams(temperature=1.0, max_tokens=5, seed=1), 2, best_of=6)
    assert [one.tokens for one in best] == [one.tokens for one in sorted(every, key=lambda one: -one.mean_logprob)[:2]]
    with pytest.raises(UsageError, match="best_of is 1, n is 2"):
        engine.sample([1], SamplingParams(), 2, best_of=1)


def test_a_fork_over_threads_goes_on_from_where_its_parent_was(engine: Engine) -> None:
    params = SamplingParams(max_tokens=40, ignore_eos=True)
    ticket = engine.submit([1, 2, 3], params)
    next(iter(ticket))
    twin = engine.fork(ticket)
    whole = engine.generate([[1, 2, 3]], params)[0].tokens
    assert 1 <= len(twin.begun) < 40
    assert twin.begun + [event.chosen.token for event in twin] == whole
    for _ in ticket:
        pass
    with pytest.raises(UsageError, match="has ended"):
        engine.fork(ticket)
