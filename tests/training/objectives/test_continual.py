"""What holds weights: its gradient is autograd's, the same for every split; the Fisher information is that of its definition; two
tasks are learned one after the other with less forgotten than without it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from openbook.core.errors import UsageError
from openbook.lm.families.base import Family
from openbook.lm.load import new_model
from openbook.training.data.shards import Sample, Shards, write_shards
from openbook.training.evaluate import evaluate
from openbook.training.loop import Loop, Pace
from openbook.training.objectives.continual import Penalty
from openbook.training.objectives.continual_fisher import importance
from openbook.training.objectives.continual_freeze import freeze
from openbook.training.objectives.next_token import NextToken
from openbook.training.optimizer import Optimization
from openbook.training.parallel import Ranks
from openbook.training.sources.step import Tokens

TINY = {
    "model_type": "llama",
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
}


def counting(step: int, first: int, folder: Path) -> Shards:
    """Texts that count on by `step`, over 20 tokens from `first`."""
    samples = [Sample([first + (start + step * place) % 20 for place in range(10)]) for start in range(20)]
    return write_shards(samples, folder / f"{step}-{first}", 40, {})


def uncertain(folder: Path) -> Shards:
    """Texts that count on by 3 or by 4: of what is certain to the last, Fisher information says nothing."""
    draw, samples = torch.Generator().manual_seed(1), []
    for start in range(20):
        steps = 3 + torch.randint(2, (10,), generator=draw)
        samples.append(Sample([(start + int(at)) % 20 for at in steps.cumsum(0)]))
    return write_shards(samples, folder / "uncertain", 40, {})


class Sequences:
    """All samples of some shards in each step, `micro` of them in a micro-batch."""

    def __init__(self, shards: list[Shards], micro: int = 64) -> None:
        samples = [(one.ids(n), one.learned(n)) for one in shards for n in range(len(one))]
        self.micros = [Tokens.of(samples[at : at + micro]) for at in range(0, len(samples), micro)]
        self.place = 0

    def next_step(self) -> list[Tokens]:
        self.place += 1
        return self.micros

    def state(self) -> dict[str, int]:
        return {}

    def resume(self, state: dict[str, int]) -> None:
        pass


class OneByOne(Sequences):
    def next_step(self) -> list[Tokens]:
        self.place += 1
        return [self.micros[(self.place - 1) % len(self.micros)]]


def loss_of(model: Family, shards: Shards) -> float:
    return evaluate(model, NextToken(), Sequences([shards]).micros, Ranks()).loss


def learn(model: Family, shards: list[Shards], steps: int, penalty: Penalty | None = None) -> None:
    settings = Optimization(lr=1e-2, weight_decay=0.0)
    Loop(model, Sequences(shards), NextToken(), settings, Pace(steps, "constant", 5), penalty=penalty).run()


@pytest.mark.parametrize("micro", [64, 3, 1])
def test_the_gradient_is_that_of_the_whole_loss(tmp_path: Path, micro: int) -> None:
    """loss / weight + penalty, differentiated by autograd in one piece."""
    model, shards = new_model(TINY, seed=1).requires_grad_(True), counting(3, 0, tmp_path)
    marks = {name: torch.rand_like(one) for name, one in model.named_parameters()}
    penalty = Penalty(model, 0.3, 2.0, marks)
    starts = {name: one.detach().clone() for name, one in model.named_parameters()}
    with torch.no_grad():
        for one in model.parameters():
            one.add_(0.05 * torch.randn(one.shape, generator=torch.Generator().manual_seed(2)))
    (whole,) = Sequences([shards]).micros
    value = sum(
        ((0.3 + 2.0 * marks[name]) * (one - starts[name]) ** 2).sum() / 2 for name, one in model.named_parameters()
    )
    (NextToken().loss(model, whole).total / whole.weight + value).backward()
    expected = {name: one.grad for name, one in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    loop = Loop(model, Sequences([shards], micro), NextToken(), Optimization(), Pace(1, max_norm=0.0), penalty=penalty)
    loop.micros = loop.source.next_step()
    _, metrics = loop._backward(whole.weight)
    assert metrics["penalty"] == pytest.approx(float(torch.as_tensor(value).detach()), rel=1e-5)
    for name, one in model.named_parameters():
        torch.testing.assert_close(one.grad, expected[name], rtol=1e-5, atol=1e-6)


def test_fisher_information_is_the_sum_of_squares_over_rows(tmp_path: Path) -> None:
    model, shards = new_model(TINY, seed=1).requires_grad_(True), counting(3, 0, tmp_path)
    source = OneByOne([shards], 1)
    found = importance(model, NextToken(), source, 7, Ranks())
    assert source.place == 7
    expected = {name: torch.zeros_like(one) for name, one in model.named_parameters()}
    for micro in source.micros[:7]:
        model.zero_grad()
        NextToken().loss(model, micro).total.backward()  # type: ignore[no-untyped-call]
        for name, one in model.named_parameters():
            assert one.grad is not None
            expected[name] += one.grad**2 / 63
    for name, one in expected.items():
        torch.testing.assert_close(found[name], one)


def _ewc(model: Family, old: Shards) -> Penalty:
    return Penalty(model, ewc=300.0, importance=importance(model, NextToken(), OneByOne([old], 1), 20, Ranks()))


def _l2sp(model: Family, old: Shards) -> Penalty:
    return Penalty(model, l2sp=0.1)


def _frozen(model: Family, old: Shards) -> None:
    freeze(model, ["embeddings"])


def _naive(model: Family, old: Shards) -> None:
    pass


@pytest.fixture(scope="module")
def forgotten(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[float, float]]:
    """Of a way: the loss on the old task and on the new one, after the new one was learned behind the old one."""
    folder = tmp_path_factory.mktemp("tasks")
    old, new = uncertain(folder), counting(7, 10, folder)
    ways = {"naive": _naive, "ewc": _ewc, "l2sp": _l2sp, "freeze": _frozen, "replay": _naive}
    known: dict[str, tuple[float, float]] = {}

    def found(way: str) -> tuple[float, float]:
        if way not in known:
            model = new_model(TINY | {"num_hidden_layers": 1}, seed=1).requires_grad_(True)
            learn(model, [old], 40)
            penalty = ways[way](model, old)
            learn(model, [new, old] if way == "replay" else [new], 40, penalty)
            known[way] = loss_of(model, old), loss_of(model, new)
        return known[way]

    return found


@pytest.mark.parametrize("way", ["ewc", "l2sp", "freeze", "replay"])
def test_less_is_forgotten_and_the_new_task_is_learned(
    forgotten: Callable[[str], tuple[float, float]], way: str
) -> None:
    (naive, _), (old, new) = forgotten("naive"), forgotten(way)
    assert old < naive
    assert new < 2.0  # 7.06 before, ln 40 is 3.69


def test_frozen_layers_are_named_by_number_and_by_name() -> None:
    def left(*wanted: int | str) -> set[str]:
        model = new_model(TINY).requires_grad_(True)
        freeze(model, wanted)
        return {name for name, one in model.named_parameters() if one.requires_grad}

    whole = {name for name, _ in new_model(TINY).named_parameters()}
    assert left(0) == left("0") == left(-2) == {name for name in whole if not name.startswith("layers.0.")}
    assert left("0-1") == {name for name in whole if "layers." not in name}
    assert left("embeddings") == whole - {"tokens.weight"}
    assert left("layers.1.mlp") == {name for name in whole if not name.startswith("layers.1.mlp.")}
    with pytest.raises(UsageError, match="layers 0-1, embeddings"):
        left("layer.0")
    with pytest.raises(UsageError, match="nothing to learn"):
        left("0-1", "tokens", "norm")


def test_frozen_weights_stay_to_the_bit(tmp_path: Path) -> None:
    model = new_model(TINY, seed=1).requires_grad_(True)
    freeze(model, ["embeddings", 0])
    before = {name: one.detach().clone() for name, one in model.named_parameters()}
    learn(model, [counting(3, 0, tmp_path)], 6)
    for name, one in model.named_parameters():
        assert torch.equal(one, before[name]) == (name == "tokens.weight" or name.startswith("layers.0."))
