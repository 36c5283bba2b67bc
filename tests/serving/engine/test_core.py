"""Whatever the schedule, the tokens are those of the plain loop; and no block is ever lost."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openbook.core.errors import ModelUnavailable, UsageError
from openbook.core.messages import SamplingParams
from openbook.lm.generate import generate
from openbook.lm.load import new_model
from openbook.serving.engine.core import EngineCore
from serving.engine.models import KINDS, check_blocks, model

MODELS = {kind: model(kind) for kind in KINDS}
PROMPTS = st.lists(st.lists(st.integers(0, 299), min_size=1, max_size=20), min_size=1, max_size=6)


@settings(max_examples=60)
@given(
    name=st.sampled_from(sorted(MODELS)),
    prompts=PROMPTS,
    answer=st.integers(1, 8),
    block_size=st.sampled_from([1, 2, 4, 16]),
    spare=st.integers(0, 8),
    seats=st.integers(1, 6),
    budget=st.integers(1, 40),
)
def test_every_schedule_gives_the_tokens_of_the_plain_loop(
    name: str, prompts: list[list[int]], answer: int, block_size: int, spare: int, seats: int, budget: int
) -> None:
    model = MODELS[name]
    least = max(-(-(len(prompt) + answer) // block_size) for prompt in prompts)
    engine = EngineCore(
        model, num_blocks=least + spare, block_size=block_size, max_num_seqs=seats, max_step_tokens=budget
    )
    numbers = [engine.add(prompt, SamplingParams(max_tokens=answer)) for prompt in prompts]
    found: dict[int, list[int]] = {number: [] for number in numbers}
    steps = 0
    while not engine.is_idle:
        for event in engine.step():
            found[event.number].append(event.chosen.token)
        check_blocks(engine)
        steps += 1
        assert steps < 5_000, "the schedule does not come to an end"
    assert engine.blocks.num_in_use == 0
    assert [found[number] for number in numbers] == [generate(model, [prompt], answer)[0] for prompt in prompts]


@given(prompts=PROMPTS, seed=st.integers(0, 50), data=st.data())
def test_a_draw_depends_on_the_seed_and_not_on_the_company(
    prompts: list[list[int]], seed: int, data: st.DataObject
) -> None:
    params = SamplingParams(temperature=1.0, top_p=0.9, max_tokens=6, seed=seed)
    together = EngineCore(MODELS["llama"], num_blocks=30, block_size=4, max_num_seqs=3).generate(prompts, params)
    place = data.draw(st.integers(0, len(prompts) - 1))
    alone = SamplingParams(temperature=1.0, top_p=0.9, max_tokens=6, seed=seed + place)
    assert (
        EngineCore(MODELS["llama"], block_size=16).generate([prompts[place]], alone)[0].tokens == together[place].tokens
    )


def test_a_prefix_that_was_computed_is_not_computed_again() -> None:
    engine = EngineCore(MODELS["llama"], num_blocks=64, block_size=4)
    prompt = list(range(40))
    first = engine.generate([prompt], SamplingParams(max_tokens=3))[0]
    again = engine.generate([prompt], SamplingParams(max_tokens=3))[0]
    assert (first.num_cached, again.num_cached) == (0, 36)
    assert again.tokens == first.tokens
    numbers = [engine.add(prompt, salt=b"one"), engine.add(prompt, salt=b"other")]
    assert [engine._sequences[number].num_cached for number in numbers] == [0, 0]
    engine.step()
    assert engine._sequences[numbers[1]].num_cached == 0, "what one user asked is not found by another"


def test_forks_share_blocks_and_go_their_own_ways() -> None:
    engine = EngineCore(MODELS["llama"], num_blocks=40, block_size=4)
    parent = engine.add(list(range(10)), SamplingParams(max_tokens=9))
    engine.step()
    used = engine.blocks.num_in_use
    child = engine.fork(parent)
    assert engine.blocks.num_in_use == used
    found: dict[int, list[int]] = {parent: [], child: []}
    while not engine.is_idle:
        for event in engine.step():
            found[event.number].append(event.chosen.token)
        check_blocks(engine)
    want = generate(MODELS["llama"], [list(range(10))], 9)[0]
    assert found[parent] == found[child] == want[1:]


def test_an_abort_gives_the_blocks_back_at_once() -> None:
    engine = EngineCore(MODELS["llama"], num_blocks=20, block_size=2)
    numbers = [engine.add([1, 2, 3], SamplingParams(max_tokens=10)) for _ in range(3)]
    engine.step()
    for number in numbers:
        engine.abort(number)
        engine.abort(number)
        check_blocks(engine)
    assert engine.is_idle
    assert engine.blocks.num_in_use == 0


def test_end_tokens_end_an_answer_and_are_no_part_of_it() -> None:
    plain = generate(MODELS["llama"], [[5, 6, 7]], 6)[0]
    engine = EngineCore(MODELS["llama"], end_tokens=[plain[3]])
    out = engine.generate([[5, 6, 7]], SamplingParams(max_tokens=6))[0]
    assert (out.tokens, out.finish_reason) == (plain[: plain.index(plain[3])], "stop")
    whole = engine.generate([[5, 6, 7]], SamplingParams(max_tokens=6, ignore_eos=True))[0]
    assert (whole.tokens, whole.finish_reason) == (plain, "length")
    own = engine.generate([[5, 6, 7]], SamplingParams(max_tokens=6, ignore_eos=True, stop_token_ids=(plain[1],)))[0]
    assert own.tokens == plain[: plain.index(plain[1])]


@pytest.mark.parametrize(
    ("prompt", "params", "cause"),
    [
        ([], {}, "empty"),
        ([300], {}, r"not in 0\.\.299"),
        ([-1], {}, r"not in 0\.\.299"),
        ([1] * 64, {}, "64 tokens, the limit is 64"),
        ([1], {"max_tokens": 0}, "max_tokens is 0"),
        ([1] * 20, {"max_tokens": 30}, "50 tokens, the cache has room for 40"),
    ],
)
def test_what_can_never_be_served_is_refused_with_the_limit(prompt: list[int], params: dict, cause: str) -> None:
    engine = EngineCore(MODELS["llama"], num_blocks=10, block_size=4)
    with pytest.raises(UsageError, match=cause) as raised:
        engine.add(prompt, SamplingParams(**params))
    assert raised.value.remedy
    assert engine.is_idle


def test_a_model_that_is_no_decoder_is_refused() -> None:
    from openbook.lm.presets import new_config

    with pytest.raises(ModelUnavailable, match="bert"):
        EngineCore(new_model(new_config("bert", "1m", 50, 32)))


def test_sixteen_bit_keys_under_float32() -> None:
    engine = EngineCore(MODELS["llama"], kv_dtype=torch.bfloat16)
    out = engine.generate([[5, 6, 7], [8, 9]], SamplingParams(max_tokens=3))
    assert all(len(one.tokens) == 3 for one in out)


@pytest.mark.parametrize("spare", [0, 1, 2])
@pytest.mark.parametrize("budget", [1, 3])
def test_forks_of_a_prompt_that_is_half_computed_find_their_blocks(spare: int, budget: int) -> None:
    prompt, answer = [5, 9, 200, 3, 77, 41, 8, 100, 2], 3
    engine = EngineCore(MODELS["llama"], num_blocks=12 + spare, block_size=1, max_step_tokens=budget)
    number = engine.add(prompt, SamplingParams(max_tokens=answer))
    found: dict[int, list[int]] = {number: []}
    while not engine.is_idle:
        for event in engine.step():
            found[event.number].append(event.chosen.token)
        if len(found) < 4 and engine.scheduler.running and not any(found.values()):
            found[engine.fork(engine.scheduler.running[0].number)] = []
        check_blocks(engine)
    assert list(found.values()) == generate(MODELS["llama"], [prompt], answer) * len(found)
    assert len(found) == (4 if budget == 1 else 3)
