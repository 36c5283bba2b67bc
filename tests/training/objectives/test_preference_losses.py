"""Each loss of preferences against its paper's formula, written again from it; and what holds before training."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from openbook.training.objectives.preference_losses import first_loss, kto_losses, pair_losses
from openbook.training.objectives.preference_names import DEFAULTS, Knobs, PairLoss
from openbook.training.recipe_parts import PreferencePart

P = 64
LOSSES: list[PairLoss] = ["sigmoid", "hinge", "ipo", "cdpo", "simpo", "orpo", "cpo"]


def drawn(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Two log-probabilities and a likelihood, in float64."""
    draw = torch.Generator().manual_seed(seed)
    c, r, nll = (-torch.rand(P, generator=draw, dtype=torch.float64) * 3 - 0.01 for _ in range(3))
    return c, r, -nll


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def formula(loss: PairLoss, c: float, r: float, nll: float, k: Knobs) -> float:
    """In plain numbers, of one pair."""
    match loss:
        case "sigmoid":
            return -math.log(sigmoid(k.beta * (c - r)))
        case "cdpo":
            share = k.label_smoothing
            return -(1 - share) * math.log(sigmoid(k.beta * (c - r))) - share * math.log(sigmoid(k.beta * (r - c)))
        case "hinge":
            return max(0.0, 1 - k.beta * (c - r))
        case "ipo":
            return ((c - r) - 1 / (2 * k.beta)) ** 2
        case "simpo":
            return -math.log(sigmoid(k.beta * c - k.beta * r - k.gamma))
        case "orpo":
            odds = [math.exp(x) / (1 - math.exp(x)) for x in (c, r)]
            return nll - k.weight * math.log(sigmoid(math.log(odds[0] / odds[1])))
        case "cpo":
            return -math.log(sigmoid(k.beta * (c - r))) + k.weight * nll


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_pairs(loss: PairLoss, factor: float) -> None:
    knobs = Knobs(**{name: value * factor for name, value in DEFAULTS[loss].items()})
    c, r, nll = drawn(1)
    found = pair_losses(loss, c, r, nll, knobs)
    wanted = [formula(loss, *map(float, one), knobs) for one in zip(c, r, nll, strict=True)]
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), rtol=0, atol=1e-6)


def test_answers_that_were_liked_or_not() -> None:
    policy, reference, _ = drawn(2)
    good = torch.arange(P) % 3 == 0
    knobs = Knobs(beta=0.7, desirable=1.5, undesirable=0.5)
    found = kto_losses(policy, reference, good, torch.tensor(0.3, dtype=torch.float64), knobs)
    for one, p, q, is_good in zip(found, policy, reference, good, strict=True):
        value = sigmoid(0.7 * float(p - q - 0.3)) if is_good else sigmoid(0.7 * float(0.3 - p + q))
        weight = 1.5 if is_good else 0.5
        assert float(one) == pytest.approx(weight - weight * value, abs=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_better_answer_is_pushed_up_and_the_worse_one_down(loss: PairLoss) -> None:
    c, r, nll = (one.requires_grad_() for one in drawn(3))
    pair_losses(loss, c, r, nll, Knobs(**DEFAULTS[loss])).sum().backward()  # type: ignore[no-untyped-call]
    assert c.grad is not None and r.grad is not None
    assert (c.grad < 0).all() and (r.grad > 0).all()


@pytest.mark.parametrize(
    ("loss", "known"), [("sigmoid", math.log(2)), ("cdpo", math.log(2)), ("hinge", 1.0), ("ipo", 25.0)]
)
def test_a_model_that_is_its_reference_has_a_known_loss(loss: PairLoss, known: float) -> None:
    knobs, zero = Knobs(**DEFAULTS[loss]), torch.zeros(1)
    assert float(pair_losses(loss, zero, zero, zero, knobs)) == pytest.approx(known, abs=1e-6)
    assert first_loss(loss, knobs) == pytest.approx(known)


@pytest.mark.parametrize("logprob", [0.0, -1e-9, -1e-4, -80.0])
def test_odds_stay_numbers_where_a_model_is_sure(logprob: float) -> None:
    c = torch.tensor([logprob], requires_grad=True)
    found = pair_losses("orpo", c, torch.tensor([-2.0]), torch.zeros(1), Knobs(weight=0.1))
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(found).all() and c.grad is not None and torch.isfinite(c.grad).all()


def test_a_setting_that_a_loss_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="gamma is no setting of sigmoid, which has beta"):
        PreferencePart(loss="sigmoid", gamma=1.0)
    assert PreferencePart(loss="simpo", gamma=0.5).knobs == Knobs(beta=2.0, gamma=0.5)
