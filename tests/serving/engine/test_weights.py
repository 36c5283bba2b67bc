"""New weights in a running engine, and an engine that gives its memory back for a while."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lm.checkpoints import tiny
from openbook.core.errors import ModelUnavailable, UsageError
from openbook.core.messages import SamplingParams
from openbook.lm.adapters.attach import attach
from openbook.lm.adapters.files import save_adapter
from openbook.lm.adapters.settings import PrefixSettings
from openbook.lm.generate import generate
from openbook.lm.load import load_model, save_model
from openbook.lm.state import gathered
from openbook.serving import Engine
from openbook.serving.engine.core import EngineCore
from openbook.serving.engine.speculate.draft import DraftProposer
from serving.engine.models import KINDS, check_blocks, finish, model, model_of

LONG = SamplingParams(max_tokens=30, ignore_eos=True)
SIZES = {"hidden_size": 64, "intermediate_size": 128}


def saved(directory: Path, seed: int, **changes: Any) -> Path:
    save_model(model_of(seed=seed, **(SIZES | changes)), directory)
    return directory


@pytest.mark.parametrize("quantize", [None, "int8", "int4"])
@pytest.mark.parametrize("how", ["directory", "theirs", "ours"])
def test_answers_are_those_of_an_engine_with_the_new_weights(tmp_path: Path, quantize: Any, how: str) -> None:
    old, new = saved(tmp_path / "old", 3), saved(tmp_path / "new", 4)
    prompts = [list(range(40)), [1, 2, 3]]
    with Engine.load(new, quantize=quantize) as engine:
        want = [one.tokens for one in engine.generate(prompts, SamplingParams(max_tokens=9, ignore_eos=True))]
    plain = load_model(new)
    source: dict[str, Any] = {
        "directory": new,
        "theirs": dict[str, Tensor](gathered(plain)),
        "ours": dict(plain.named_parameters()),
    }
    with Engine.load(old, quantize=quantize) as engine:
        before = [one.tokens for one in engine.generate(prompts, SamplingParams(max_tokens=9, ignore_eos=True))]
        engine.update_weights(source[how])
        found = engine.generate(prompts, SamplingParams(max_tokens=9, ignore_eos=True))
        assert found[0].num_cached == 0, "what was cached was made with other weights"
        assert [one.tokens for one in found] == want != before


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_requests_under_way_keep_what_they_wrote_and_go_on(kind: str) -> None:
    other = model_of(seed=5, **KINDS[kind])
    engine = EngineCore(model(kind), block_size=4, num_blocks=40, max_num_seqs=2)
    numbers = [engine.add(prompt, SamplingParams(max_tokens=8)) for prompt in ([7, 8, 9], [1, 2], [3])]
    for _ in range(3):
        engine.step()
    kept = [engine.output_of(number) for number in numbers]
    engine.replace_model(other)
    check_blocks(engine)
    found = finish(engine)
    for prompt, number, begun in zip(([7, 8, 9], [1, 2], [3]), numbers, kept, strict=True):
        rest = generate(other, [[*prompt, *begun]], 8 - len(begun))[0]
        assert found[number, 0] == rest


def test_weights_that_do_not_fit_change_nothing(tmp_path: Path) -> None:
    old = saved(tmp_path / "old", 3)
    weights = dict(load_model(old).named_parameters())
    with Engine.load(old) as engine:
        want = engine.generate([[1, 2]], LONG)[0].tokens
        for source, cause in (
            ({}, "no new weights"),
            ({name: one for name, one in weights.items() if name != "norm.weight"}, "lack norm.weight"),
            (weights | {"norm.weight": torch.ones(3)}, "norm.weight of the new weights is"),
            ({"what": torch.ones(3)}, "lacks"),
            (saved(tmp_path / "other", 3, num_hidden_layers=1), "another config.json"),
            (tmp_path / "none", "none"),
        ):
            with pytest.raises((ModelUnavailable, UsageError), match=cause):
                engine.update_weights(source)
        assert engine.generate([[1, 2]], LONG)[0].tokens == want


def test_a_sleeping_engine_holds_no_keys_and_goes_on_when_it_wakes(tmp_path: Path) -> None:
    directory = saved(tmp_path, 3)
    with Engine.load(directory, quantize="int8", speculate="ngram") as engine:
        want = engine.generate([[1, 2, 3]], LONG)[0].tokens
        ticket = engine.submit([1, 2, 3], LONG)
        events = iter(ticket)
        begun = [next(events).chosen.token]
        engine.sleep()
        engine.sleep()
        assert engine.summary().kv_bytes == 0
        later = engine.submit([1, 2, 3], LONG)
        engine.wake()
        engine.wake()
        assert engine.summary().kv_bytes > 0
        assert begun + [event.chosen.token for event in events] == want
        assert [event.chosen.token for event in later] == want


def test_what_a_sleeping_engine_cannot_do_is_said() -> None:
    engine = EngineCore(model("llama"), max_adapters=1)
    engine.sleep()
    number = engine.add([1], SamplingParams(max_tokens=2))
    assert engine.is_idle
    assert engine.step() == []
    for work in (lambda: engine.generate([[1]], LONG), lambda: engine.load_adapter("x", Path("x"))):
        with pytest.raises(UsageError, match="sleeps"):
            work()
    engine.abort(number)
    engine.wake()
    assert engine.is_idle


def test_virtual_tokens_are_there_again_after_sleep(tmp_path: Path) -> None:
    base = tiny(tmp_path / "base")
    attach(base, PrefixSettings(6), "prefix")
    save_adapter(base, "prefix", tmp_path / "prefix")
    with Engine.load(tmp_path / "base", adapters={"prefix": tmp_path / "prefix"}) as engine:

        def answer() -> list[int]:
            return [event.chosen.token for event in engine.submit([1, 2], LONG, adapter="prefix")]

        want = answer()
        engine.sleep()
        engine.wake()
        assert answer() == want
        with pytest.raises(UsageError, match="the adapters prefix belong"):
            engine.update_weights(tmp_path / "base")


def test_a_draft_sleeps_and_wakes_too(tmp_path: Path) -> None:
    directory = saved(tmp_path, 3)
    with Engine.load(directory) as engine:
        want = engine.generate([[1, 2, 3]], LONG)[0].tokens
    with Engine.load(directory, speculate=directory) as engine:
        speculation = engine.loop.engine.speculation
        assert speculation is not None
        assert isinstance(speculation.proposer, DraftProposer)
        speculation.proposer.cost = 0.0  # as large as the model, it would never be worth asking
        assert engine.generate([[1, 2, 3]], LONG)[0].tokens == want
        engine.sleep()
        assert engine.summary().kv_bytes == 0
        engine.wake()
        assert engine.generate([[1, 2, 3]], LONG)[0].tokens == want
        assert speculation.num_accepted > 0.8 * speculation.num_proposed > 0
