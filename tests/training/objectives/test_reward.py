"""Rewards of pairs and of steps: the formulas, every split, and where a score is taken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from openbook.lm.families.base import Family
from openbook.lm.load import new_model
from openbook.training.objectives.reward import PairReward, StepReward, scores
from openbook.training.sources.scored import ScoredPairs, ScoredSteps, laid
from small_runs import SHAPE

PAIRS = 4


def model_of(seed: int = 0) -> Family:
    raw: dict[str, Any] = {"model_type": "llama", "vocab_size": 40, "max_position_embeddings": 64} | SHAPE
    raw |= {"architectures": ["LlamaForSequenceClassification"], "num_labels": 1}
    model = new_model(raw, seed=seed).requires_grad_(True).eval()
    torch.nn.init.normal_(model.get_parameter("lm_head.weight"))
    return model


def samples(count: int) -> list[tuple[Any, Any]]:
    """Of several lengths; each third token and the last end a step."""
    draw = np.random.default_rng(4)
    found = []
    for _ in range(count):
        ids = draw.integers(0, 40, int(draw.integers(4, 12)))
        marks = np.arange(len(ids)) % 3 == 2
        marks[-1] = True
        found.append((ids, marks))
    return found


def pairs_of(places: Sequence[int], margins: float = 0.0) -> ScoredPairs:
    known = samples(2 * PAIRS)
    both = [known[one] for one in (*places, *(PAIRS + one for one in places))]
    said = torch.tensor([margins * one for one in places])
    return ScoredPairs(**vars(laid(both, is_causal=True)), margins=said)


def steps_of(places: Sequence[int]) -> ScoredSteps:
    made = laid([samples(PAIRS)[one] for one in places], is_causal=True, is_each_step=True)
    labels = torch.cat([torch.linspace(0, 1, int(samples(PAIRS)[one][1].sum())) for one in places])
    return ScoredSteps(**vars(made), labels=labels)


@torch.no_grad()
def alone(model: Family, ids: Any) -> list[float]:
    """The score behind each token of one sequence."""
    from openbook.lm.nn.batch import Batch

    found: list[float] = model(torch.from_numpy(ids), Batch.of([len(ids)]), rows=torch.arange(len(ids)))[:, 0].tolist()
    return found


@torch.no_grad()
def test_a_score_is_taken_at_the_last_token_of_each_answer() -> None:
    model, known = model_of(), samples(2 * PAIRS)
    wanted = [alone(model, ids)[-1] for ids, _ in known]
    assert scores(model, pairs_of(range(PAIRS))).tolist() == pytest.approx(wanted, abs=1e-5)


@torch.no_grad()
def test_a_score_is_taken_at_the_end_of_each_step() -> None:
    model, places = model_of(), [2, 0, 3]
    known = [samples(PAIRS)[one] for one in places]
    wanted = [score for ids, ends in known for score, end in zip(alone(model, ids), ends, strict=True) if end]
    assert scores(model, steps_of(places)).tolist() == pytest.approx(wanted, abs=1e-5)


@torch.no_grad()
def test_the_loss_of_pairs_by_its_formula() -> None:
    model, made = model_of(), pairs_of(range(PAIRS), margins=0.3)
    found = PairReward(0.01).loss(model, made)
    chosen, rejected = np.split(np.array(scores(model, made).tolist()), 2)
    margins = 0.3 * np.arange(PAIRS)
    wanted = -np.log(1 / (1 + np.exp(-(chosen - rejected - margins)))) + 0.01 * (chosen + rejected) ** 2
    assert float(found.total) == pytest.approx(wanted.sum(), abs=1e-5)
    assert found.weight == PAIRS
    assert found.metrics["accuracy"] == ((chosen > rejected).sum(), PAIRS)
    assert found.metrics["margin"][0] == pytest.approx((chosen - rejected).sum(), abs=1e-5)


@torch.no_grad()
def test_the_loss_of_steps_by_its_formula() -> None:
    model, made = model_of(), steps_of(range(PAIRS))
    found = StepReward().loss(model, made)
    values = zip(scores(model, made).tolist(), made.labels.tolist(), strict=True)
    chances = [(1 / (1 + math.exp(-score)), label) for score, label in values]
    wanted = sum(-label * math.log(chance) - (1 - label) * math.log(1 - chance) for chance, label in chances)
    assert float(found.total) == pytest.approx(wanted, abs=1e-4)
    assert found.weight == len(made.labels)


@pytest.mark.parametrize("kind", ["pairs", "steps"])
def test_a_step_is_the_same_for_every_split(kind: str) -> None:
    model = model_of()
    objective: Any = PairReward(0.01) if kind == "pairs" else StepReward()
    make: Any = pairs_of if kind == "pairs" else steps_of
    found = []
    for split in ([[0, 1, 2, 3]], [[0], [1], [2], [3]], [[3, 0, 1], [2]]):
        model.zero_grad()
        micros = [make(one) for one in split]
        weight = sum(map(objective.weight, micros))
        for micro in micros:
            (objective.loss(model, micro).total / weight).backward()
        found.append([one.grad.clone() for one in model.parameters() if one.grad is not None])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            torch.testing.assert_close(two, one, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_head_of_zero_begins_at_ln_2_exactly() -> None:
    model = model_of()
    model.get_parameter("lm_head.weight").zero_()
    pairs, steps = pairs_of(range(PAIRS)), steps_of(range(PAIRS))
    assert float(PairReward(0.5).loss(model, pairs).total) == pytest.approx(PAIRS * math.log(2), abs=1e-6)
    assert PairReward().first_loss(pairs) == pytest.approx(PAIRS * math.log(2))
    assert StepReward().first_loss(steps) == pytest.approx(float(StepReward().loss(model, steps).total), abs=1e-5)
    with_margins = pairs_of(range(PAIRS), margins=0.5)
    assert PairReward().first_loss(with_margins) == pytest.approx(
        float(PairReward().loss(model, with_margins).total), abs=1e-5
    )
    assert PairReward(is_fresh=False).first_loss(pairs) is None and StepReward(is_fresh=False).first_loss(steps) is None


def test_what_is_shown_is_where_a_score_is_taken() -> None:
    beside = pairs_of([1, 0]).shown_beside()
    for name, place in (("the better answer", 1), ("the worse answer", PAIRS + 1)):
        ids, scored = beside[name]
        assert ids == samples(2 * PAIRS)[place][0].tolist()
        assert scored == [False] * (len(ids) - 1) + [True]
    ids, scored = steps_of([2]).shown()
    assert scored == samples(PAIRS)[2][1].tolist()
