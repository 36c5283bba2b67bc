"""What a request may ask for: anything else is refused before it is taken, and stops nobody else."""

from __future__ import annotations

import re
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from lm.checkpoints import TINY
from openbook.core.errors import UsageError
from openbook.core.messages import SamplingParams
from openbook.lm.load import new_model
from openbook.serving.engine.core import EngineCore
from openbook.serving.engine.engine import Engine

MODEL = new_model(TINY, seed=3).requires_grad_(False)
PROMPT = [1, 2, 3]


def answer(**params: Any) -> list[int]:
    engine = EngineCore(MODEL, num_blocks=16, block_size=4)
    return engine.generate([PROMPT], SamplingParams(**{"max_tokens": 4, "temperature": 1.0, "seed": 1} | params))[
        0
    ].tokens


@pytest.mark.parametrize(
    "limit",
    [
        *(
            {name: value}
            for name in ("max_seq_len", "max_num_seqs", "max_step_tokens")
            for value in (0, -1, nan, 2.5, True)
        ),
        *({name: None} for name in ("max_num_seqs", "max_step_tokens")),
        *({"kv_cache_gb": value} for value in (0, -1.0, nan, inf, True, "8")),
    ],
    ids=str,
)
def test_a_limit_of_an_engine_that_cannot_be_is_refused_by_name_before_anything_is_loaded(
    limit: dict[str, Any], tmp_path: Path
) -> None:
    ((name, value),) = limit.items()
    with pytest.raises(UsageError, match=re.escape(f"{name} is {value!r}")) as raised:
        Engine.load(tmp_path / "no model", **limit)
    assert raised.value.remedy


@pytest.mark.parametrize(
    "params",
    [
        {"max_tokens": 0},
        {"max_tokens": 2.5},
        {"top_k": -1},
        {"top_k": 1.5},
        {"logprobs": -1},
        {"seed": 1.5},
        *({name: value} for name in ("top_p", "min_p", "typical_p") for value in (-0.1, 1.1, nan)),
        *({"temperature": value} for value in (-1.0, nan, inf)),
        *({"repetition_penalty": value} for value in (0.0, -1.0, nan, inf)),
        *({name: value} for name in ("presence_penalty", "frequency_penalty") for value in (nan, inf, -1e39)),
        *({"logit_bias": ((token, 1.0),)} for token in (-1, 300, 10**30, 1.0)),
        *({"logit_bias": ((1, value),)} for value in (nan, inf, 1e39)),
        {"logit_bias": tuple((token, -inf) for token in range(300))},
    ],
    ids=lambda params: str(params)[:40],
)
def test_a_parameter_that_cannot_be_is_refused_by_name(params: dict[str, Any]) -> None:
    engine = EngineCore(MODEL, num_blocks=16, block_size=4)
    with pytest.raises(UsageError, match=next(iter(params))) as raised:
        engine.add(PROMPT, SamplingParams(**params))
    assert raised.value.remedy
    assert engine.is_idle


@pytest.mark.parametrize("prompt", [[-1], [300], [1.0, 2.0], ["a"]])
def test_a_token_that_is_none_is_refused(prompt: list[Any]) -> None:
    with pytest.raises(UsageError, match="a token of the prompt"):
        EngineCore(MODEL).add(prompt)


@pytest.mark.parametrize("seed", [-1, 2**64, 2**128, -(2**200)])
def test_any_whole_number_is_a_seed(seed: int) -> None:
    assert len(answer(seed=seed)) == 4


@pytest.mark.parametrize("temperature", [1e-5, 1e-30, 1e-45, 1e-320])
def test_hardly_any_temperature_is_greedy(temperature: float) -> None:
    assert answer(temperature=temperature) == answer(temperature=0.0)


@pytest.mark.parametrize(
    "params",
    [{"repetition_penalty": 1.3}, {"presence_penalty": 0.5}, {"frequency_penalty": 0.5}, {"logit_bias": ((7, 2.0),)}],
    ids=str,
)
def test_penalties_and_biases_do_not_stop_the_engine(params: dict[str, Any]) -> None:
    assert len(answer(**params)) == 4


def test_a_bias_decides_and_forbids() -> None:
    assert answer(logit_bias=((7, 1e4),)) == [7] * 4
    assert answer(logit_bias=tuple((token, -inf) for token in range(300) if token != 9)) == [9] * 4


def test_a_refused_prompt_leaves_no_other_behind() -> None:
    engine = EngineCore(MODEL, num_blocks=16, block_size=4)
    with pytest.raises(UsageError, match="empty"):
        engine.generate([PROMPT, []], SamplingParams())
    assert engine.is_idle
