"""Adapters by request: each gets the tokens of a model with its adapter alone, whatever runs beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.checkpoints import TINY
from openbook.core.errors import UsageError
from openbook.core.messages import SamplingParams
from openbook.lm.adapters.attach import activate, adapter_parameters, attach, detach
from openbook.lm.adapters.files import load_adapter, save_adapter
from openbook.lm.adapters.settings import (
    BottleneckSettings,
    LoraSettings,
    PrefixSettings,
    PromptSettings,
    Settings,
)
from openbook.lm.families.base import Family
from openbook.lm.generate import generate
from openbook.lm.load import load_model, save_model
from openbook.serving import Engine
from openbook.serving.engine.core import EngineCore
from serving.engine.models import check_blocks, model_of

KINDS: dict[str, Settings] = {
    "r2": LoraSettings(r=2, alpha=8.0),
    "r8": LoraSettings(r=8, target_modules=("all-linear",), is_rank_stabilized=True),
    "dora": LoraSettings(r=4, is_dora=True, target_modules=("q_proj", "mlp.down")),
    "prefix": PrefixSettings(6),
    "prompt": PromptSettings(4, initial_ids=(5, 6, 7)),
}
NAMES = [None, *KINDS]
REFUSED: dict[str, tuple[Settings, str]] = {
    "houlsby": (BottleneckSettings(size=4), "bottleneck"),
    "whole": (LoraSettings(r=2, trained_modules=("norm",)), "whole"),
    "head": (LoraSettings(r=2, target_modules=("lm_head",)), "does not see every token"),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and its adapters, whose changes are as large as the weights."""
    root = tmp_path_factory.mktemp("adapters")
    base = model_of(model_type="qwen2", hidden_size=64, intermediate_size=128)
    save_model(base, root / "base")
    for place, (name, chosen) in enumerate([*KINDS.items(), *((n, s) for n, (s, _) in REFUSED.items())]):
        attach(base, chosen, name, seed=place)
        generator = torch.Generator().manual_seed(place)
        with torch.no_grad():
            for parameter in adapter_parameters(base, name):
                parameter += 0.3 * torch.empty(parameter.shape).normal_(generator=generator)
        save_adapter(base, name, root / name)
        activate(base, None)
        detach(base, name)
    return root


@pytest.fixture(scope="module")
def base(files: Path) -> Family:
    return load_model(files / "base")


def alone(base: Family, files: Path, name: str | None, prompt: list[int], count: int) -> list[int]:
    """By the plain loop, on the model with this adapter alone."""
    if name is None:
        return generate(base, [prompt], count)[0]
    load_adapter(base, files / name, name)
    try:
        return generate(base, [prompt], count)[0]
    finally:
        detach(base, name)


@settings(max_examples=12)
@given(
    asked=st.lists(
        st.tuples(st.sampled_from(NAMES), st.lists(st.integers(0, 299), min_size=1, max_size=12)),
        min_size=1,
        max_size=6,
    ),
    block_size=st.sampled_from([1, 4, 16]),
    spare=st.integers(0, 10),
    seats=st.integers(1, 6),
    budget=st.integers(1, 30),
)
def test_each_request_has_the_tokens_of_its_adapter_alone(
    files: Path,
    base: Family,
    asked: list[tuple[str | None, list[int]]],
    block_size: int,
    spare: int,
    seats: int,
    budget: int,
) -> None:
    want = [alone(base, files, name, prompt, 5) for name, prompt in asked]
    virtual = -(-6 // block_size) + -(-4 // block_size)
    engine = EngineCore(
        base,
        num_blocks=virtual + -(-(6 + 12 + 5) // block_size) + spare,
        block_size=block_size,
        max_num_seqs=seats,
        max_step_tokens=budget,
        max_adapters=5,
    )
    try:
        for name in KINDS:
            engine.load_adapter(name, files / name)
        in_use = engine.blocks.num_in_use
        numbers = [engine.add(prompt, SamplingParams(max_tokens=5), adapter=name) for name, prompt in asked]
        found: dict[int, list[int]] = {number: [] for number in numbers}
        while not engine.is_idle:
            for event in engine.step():
                found[event.number].append(event.chosen.token)
            check_blocks(engine)
        assert engine.blocks.num_in_use == in_use == virtual
    finally:
        for name in engine.adapters.names:
            engine.unload_adapter(name)
    assert [found[number] for number in numbers] == want
    assert engine.blocks.num_in_use == 0


@pytest.fixture
def engine(files: Path) -> Iterator[Engine]:
    with Engine.load(files / "base", adapters={name: files / name for name in ("r2", "prefix")}, max_adapters=3) as one:
        yield one


def answer(engine: Engine, name: str | None, prompt: list[int] = [1, 2, 3], **params: Any) -> list[int]:  # noqa: B006
    ticket = engine.submit(prompt, SamplingParams(**{"max_tokens": 8, "ignore_eos": True} | params), adapter=name)
    return [event.chosen.token for event in ticket]


@pytest.mark.parametrize("name", [None, "r2", "prefix"])
def test_from_a_directory(engine: Engine, files: Path, name: str | None) -> None:
    want = alone(load_model(files / "base"), files, name, [1, 2, 3], 8)
    assert answer(engine, name) == want


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_on_a_quantized_base(files: Path, quantize: Any) -> None:
    several = {name: files / name for name in ("r2", "r8", "dora", "prefix")}
    prompts = [[1, 2, 3], [9] * 5]
    with Engine.load(files / "base", quantize=quantize, adapters=several) as engine:
        tickets = [
            engine.submit(prompt, SamplingParams(max_tokens=6, ignore_eos=True), adapter=name)
            for name in (None, *several)
            for prompt in prompts
        ]
        together = [[event.chosen.token for event in ticket] for ticket in tickets]
        apart = [answer(engine, None, prompt, max_tokens=6) for prompt in prompts]
    assert together[:2] == apart
    for place, name in enumerate(several):
        with Engine.load(files / "base", quantize=quantize, adapters={name: files / name}) as engine:
            own = [answer(engine, name, prompt, max_tokens=6) for prompt in prompts]
        assert together[2 * place + 2 : 2 * place + 4] == own
        assert own != apart


def test_prefixes_of_one_adapter_are_not_those_of_another(engine: Engine) -> None:
    prompt = list(range(40))

    def cached(name: str | None) -> int:
        ticket = engine.submit(prompt, SamplingParams(max_tokens=1), adapter=name)
        return next(iter(ticket)).num_cached

    assert [cached(name) for name in (None, "r2", "prefix")] == [0, 0, 0]
    assert [cached(name) for name in (None, "r2", "prefix")] == [32, 32, 26]


def test_an_adapter_in_use_is_not_taken_off(engine: Engine, files: Path) -> None:
    ticket = engine.submit([1, 2, 3], SamplingParams(max_tokens=50, ignore_eos=True), adapter="r2")
    next(iter(ticket))
    with pytest.raises(UsageError, match="1 requests that use adapter 'r2' are under way"):
        engine.unload_adapter("r2")
    for _ in ticket:
        pass
    before = answer(engine, "r2")
    engine.unload_adapter("r2")
    with pytest.raises(UsageError, match="no adapter 'r2'"):
        answer(engine, "r2")
    engine.load_adapter("r2", files / "r8")
    assert answer(engine, "r2") not in (before, answer(engine, None))


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_cannot_be_served_beside_others_is_refused_by_name(engine: Engine, files: Path, name: str) -> None:
    before = answer(engine, None)
    with pytest.raises(UsageError, match=f"'{name}' .*{REFUSED[name][1]}"):
        engine.load_adapter(name, files / name)
    assert engine.loop.engine.adapters.names == ["r2", "prefix"]
    assert answer(engine, None) == before


def test_there_is_room_for_so_many(engine: Engine, files: Path) -> None:
    engine.load_adapter("r8", files / "r8")
    with pytest.raises(UsageError, match="there are 3 adapters"):
        engine.load_adapter("dora", files / "dora")
    with pytest.raises(UsageError, match="max_adapters is -1"):
        Engine.load(files / "base", max_adapters=-1)


def test_penalties_scores_and_guesses_do_not_see_virtual_tokens(files: Path) -> None:
    params = {"repetition_penalty": 1.3, "prompt_logprobs": 0}
    prompt = [1, 2, 3, 1, 2, 3]
    found = []
    for speculate in (None, "ngram"):
        with Engine.load(files / "base", adapters={"prefix": files / "prefix"}, speculate=speculate) as engine:
            found.append(answer(engine, "prefix", prompt, max_tokens=20, **params))
            ticket = engine.submit(prompt, SamplingParams(max_tokens=1, prompt_logprobs=0), adapter="prefix")
            assert [one.token for one in next(iter(ticket)).prompt] == prompt[1:]
    assert found[0] == found[1]


def test_virtual_tokens_count_against_the_limit(engine: Engine) -> None:
    limit = TINY["max_position_embeddings"]
    assert len(answer(engine, "prefix", [5] * (limit - 7))) == 1
    with pytest.raises(UsageError, match=f"{limit - 6} tokens and 6 of the adapter, the limit is {limit}"):
        answer(engine, "prefix", [5] * (limit - 6))
