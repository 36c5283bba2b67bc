"""A step is the same for every split of its rows; a run that is resumed is the one that was not interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from openbook.core.errors import ModelUnavailable, RunStopped
from openbook.lm.families.base import Family
from openbook.lm.load import load_model, new_model
from openbook.training import checkpoint
from openbook.training.data.shards import Sample, Shards, write_shards
from openbook.training.loop import Loop, Pace
from openbook.training.loss import LossSum
from openbook.training.objectives.next_token import NextToken
from openbook.training.optimizer import Kind, Optimization
from openbook.training.sources.files import Packed, Windows
from openbook.training.sources.step import Source, Tokens

TINY = {
    "model_type": "llama",
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
}


@pytest.fixture
def shards(tmp_path: Path) -> Shards:
    """Samples of uneven length, of which a part is learned; the same steps lead through them."""
    draw = torch.Generator().manual_seed(4)
    samples = []
    for _ in range(60):
        length = int(torch.randint(4, 30, (), generator=draw))
        first = int(torch.randint(60, (), generator=draw))
        ids = [(first + 7 * place) % 60 for place in range(length)]
        samples.append(Sample(ids, [place > length // 3 for place in range(length)]))
    return write_shards(samples, tmp_path / "shards", 60, {})


def model() -> Family:
    return new_model(TINY, seed=1).requires_grad_(True)


def packed(shards: Shards, micro: int = 8, *, packing: bool = True, rank: int = 0, world: int = 1) -> Packed:
    return Packed(
        shards,
        batch_size=8,
        micro_batch_size=micro,
        max_seq_len=32,
        seed=5,
        packing=packing,
        rank=rank,
        world_size=world,
    )


def loop(source: Source[Tokens], steps: int = 20, kind: Kind = "adamw", **pace: object) -> Loop[Tokens]:
    settings = Pace(steps, warmup_steps=2, **pace)  # type: ignore[arg-type]
    return Loop(model(), source, NextToken(), Optimization(kind, lr=3e-3), settings)


@pytest.mark.parametrize("packing", [True, False])
def test_the_split_into_micro_batches_changes_nothing(shards: Shards, packing: bool) -> None:
    """The gradient of a step in one piece, in eight, and in three uneven ones."""
    gradients = []
    for micro in (8, 1, 3):
        one = loop(packed(shards, micro, packing=packing))
        weight = 0.0
        for tokens in one.source.next_step():
            one.objective.loss(one.model, tokens).total.backward()  # type: ignore[no-untyped-call]
            weight += tokens.weight
        gradients.append([parameter.grad / weight for parameter in one.trained if parameter.grad is not None])
    for other in gradients[1:]:
        for expected, found in zip(gradients[0], other, strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_ranks_share_a_step(shards: Shards) -> None:
    whole = packed(shards).next_step()
    halves = [packed(shards, rank=rank, world=2).next_step() for rank in range(2)]
    assert sum(one.weight for one in whole) == sum(one.weight for half in halves for one in half)
    assert sum(len(one.ids) for one in whole) == sum(len(one.ids) for half in halves for one in half)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_it_learns(shards: Shards, kind: Kind) -> None:
    losses = [step.loss for step in loop(packed(shards), 60, kind, least_rate=0.1).steps()]
    assert losses[0] == pytest.approx(4.09, abs=0.1)  # ln 60
    assert losses[-1] < 2.5


@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("windows", [False, True])
def test_a_resumed_run_is_the_same_to_the_bit(shards: Shards, tmp_path: Path, kind: Kind, windows: bool) -> None:
    def source() -> Source[Tokens]:
        if windows:
            return Windows(shards, batch_size=4, micro_batch_size=2, max_seq_len=16, seed=5)
        return packed(shards, 3)

    whole = loop(source(), 20, kind)
    whole.run()
    first = loop(source(), 20, kind)
    for _ in range(9):
        first.step()
    folder = checkpoint.save(first, tmp_path / "run")
    second = loop(source(), 20, kind)
    torch.manual_seed(99)
    checkpoint.resume(second, folder)
    second.run()
    for expected, found in zip(whole.trained, second.trained, strict=True):
        assert torch.equal(expected, found)


def test_the_last_checkpoints_and_the_best_stay(shards: Shards, tmp_path: Path) -> None:
    one = loop(packed(shards))
    for step in one.steps():
        if step.number in (2, 4, 6, 8):
            checkpoint.save(one, tmp_path, keep=2, best=2)
    assert [path.name for path in checkpoint.checkpoints(tmp_path)] == [
        "step-00000002",
        "step-00000006",
        "step-00000008",
    ]
    assert load_model(tmp_path / "step-00000008").config.vocab_size == 60


def test_a_save_that_fails_leaves_the_older_one(
    shards: Shards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = loop(packed(shards))
    one.step()
    checkpoint.save(one, tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    one.step()
    with pytest.raises(OSError, match="space"):
        checkpoint.save(one, tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name != "shards"] == ["step-00000001"]


def test_the_checkpoint_of_another_run_is_refused(shards: Shards, tmp_path: Path) -> None:
    one = loop(packed(shards))
    one.step()
    folder = checkpoint.save(one, tmp_path)
    with pytest.raises(ModelUnavailable, match="no checkpoint of this run"):
        checkpoint.resume(loop(packed(shards), kind="muon"), folder)


def test_a_loss_that_is_no_number_stops_it(shards: Shards) -> None:
    one = loop(packed(shards))
    with torch.no_grad():
        one.trained[0][:] = torch.nan
    with pytest.raises(RunStopped, match="nan"):
        one.step()


def test_nothing_to_learn_stops_it(tmp_path: Path) -> None:
    empty = write_shards([Sample([1, 2, 3], [False] * 3)] * 9, tmp_path / "none", 60, {})
    with pytest.raises(RunStopped, match="nothing is learned"):
        loop(packed(empty)).step()


class Scaled(NextToken):
    """The loss times a number that is learned beside the model."""

    def __init__(self, factor: torch.nn.Parameter) -> None:
        self.factor = factor

    def loss(self, model: Family, micro: Tokens) -> LossSum:
        found = super().loss(model, micro)
        return LossSum(found.total * self.factor, found.weight, found.metrics)


class Seeing(Packed):
    """Keeps what it was told of steps."""

    def saw(self, metrics: Mapping[str, float]) -> None:
        self.seen = metrics


def test_what_is_trained_beside_the_model_goes_on_to_the_bit(shards: Shards, tmp_path: Path) -> None:
    def begun() -> Loop[Tokens]:
        beside = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.ones_(beside.weight)
        settings = Optimization("adamw", lr=3e-3)
        return Loop(model(), packed(shards), Scaled(beside.weight[0, 0]), settings, Pace(6), beside=beside)  # type: ignore[arg-type]

    def taken(one: Loop[Tokens], steps: int) -> Loop[Tokens]:
        for _ in range(steps):
            assert one.beside is not None
            one.objective = Scaled(next(one.beside.parameters())[0, 0])  # type: ignore[arg-type]
            one.step()
        return one

    whole, first = taken(begun(), 6), taken(begun(), 3)
    checkpoint.save(first, tmp_path)
    second = begun()
    checkpoint.resume(second, checkpoint.checkpoints(tmp_path)[-1])
    taken(second, 3)
    for one, other in zip(whole.trained, second.trained, strict=True):
        assert torch.equal(one, other)
    assert len(whole.trained) == len(list(whole.model.parameters())) + 1
    assert float(whole.trained[-1].detach()) != 1.0
    load_model(checkpoint.checkpoints(tmp_path)[-1])  # which knows nothing of it


def test_a_source_that_asks_is_told_what_each_step_came_to(shards: Shards) -> None:
    source = Seeing(shards, batch_size=8, micro_batch_size=8, max_seq_len=32, seed=5, packing=True)
    step = loop(source).step()
    assert source.seen == step.metrics
