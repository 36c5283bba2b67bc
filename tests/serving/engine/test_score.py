"""The log-probabilities of a prompt are those of `lm/score.py`, whatever its chunks and company."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from openbook.core.errors import UsageError
from openbook.core.messages import SamplingParams
from openbook.lm.nn.batch import Batch
from openbook.lm.score import token_logprobs
from openbook.serving.engine import scheduler
from openbook.serving.engine.core import EngineCore
from openbook.serving.engine.events import NO_TOKEN, Event
from serving.engine.models import finish, model

PROMPTS = st.lists(st.lists(st.integers(0, 299), min_size=1, max_size=24), min_size=1, max_size=4)


def events_of(engine: EngineCore) -> list[Event]:
    found = []
    while not engine.is_idle:
        found += engine.step()
    return found


@given(
    kind=st.sampled_from(["llama", "mistral", "gpt2"]),
    prompts=PROMPTS,
    budget=st.integers(1, 30),
    rows=st.integers(1, 30),
    spare=st.integers(0, 4),
    max_tokens=st.integers(0, 3),
)
def test_every_schedule_gives_the_log_probabilities_of_the_score(
    kind: str, prompts: list[list[int]], budget: int, rows: int, spare: int, max_tokens: int
) -> None:
    before = scheduler.SCORED_ROWS
    scheduler.SCORED_ROWS = rows
    try:
        least = max(-(-(len(prompt) + max_tokens) // 4) for prompt in prompts)
        engine = EngineCore(model(kind), num_blocks=least + spare, block_size=4, max_step_tokens=budget)
        params = SamplingParams(max_tokens=max_tokens, prompt_logprobs=2)
        numbers = [engine.add(prompt, params) for prompt in prompts]
        events = events_of(engine)
    finally:
        scheduler.SCORED_ROWS = before
    for number, prompt in zip(numbers, prompts, strict=True):
        mine = [event for event in events if event.number == number]
        assert len(mine) == max(max_tokens, 1)
        assert not any(event.prompt for event in mine[1:])
        scores = mine[0].prompt
        assert [one.token for one in scores] == prompt[1:]
        want = token_logprobs(model(kind), torch.tensor(prompt), Batch.of([len(prompt)]))[1:]
        assert torch.allclose(torch.tensor([one.logprob for one in scores]), want, atol=1e-4)
        for one in scores:
            assert len(one.likeliest) == 2
            assert one.logprob is not None
            assert one.likeliest[0][1] >= max(one.likeliest[1][1], one.logprob) - 1e-4
    assert engine.blocks.num_in_use == 0


def test_the_cache_of_prefixes_does_not_hide_logits_and_is_filled() -> None:
    engine = EngineCore(model("llama"), block_size=4)
    prompt, plain = list(range(30)), SamplingParams(max_tokens=1)
    engine.generate([prompt], plain)
    scored = engine.generate([prompt], SamplingParams(max_tokens=1, prompt_logprobs=0))[0]
    assert scored.num_cached == 0
    assert len(scored.prompt) == 29
    assert engine.generate([prompt], plain)[0].num_cached == 28


def test_a_request_for_no_token_ends_behind_its_prompt() -> None:
    engine = EngineCore(model("llama"), block_size=4)
    number = engine.add([5] * 64, SamplingParams(max_tokens=0, prompt_logprobs=0))
    (event,) = events_of(engine)
    assert (event.number, event.chosen.token, event.finish_reason, event.is_end) == (number, NO_TOKEN, "length", True)
    assert len(event.prompt) == 63
    with pytest.raises(UsageError, match="max_tokens is 0"):
        engine.add([5], SamplingParams(max_tokens=0))
    with pytest.raises(UsageError, match="65 tokens, the limit is 64"):
        engine.add([5] * 65, SamplingParams(max_tokens=0, prompt_logprobs=0))


def test_scored_prompts_leave_those_beside_them_as_they_are() -> None:
    engine = EngineCore(model("qwen2"), block_size=4, max_step_tokens=9)
    plain = [engine.add([7, 8, 9], SamplingParams(max_tokens=9)) for _ in range(2)]
    for _ in range(3):
        engine.add(list(range(40)), SamplingParams(max_tokens=2, prompt_logprobs=1))
    found = finish(engine)
    assert (
        found[plain[0], 0]
        == found[plain[1], 0]
        == EngineCore(model("qwen2")).generate([[7, 8, 9]], SamplingParams(max_tokens=9))[0].tokens
    )
