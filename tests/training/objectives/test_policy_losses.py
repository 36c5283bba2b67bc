"""Losses of policies and values against plain loops over answers, and what holds before the first change."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise, product
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from openbook.training.objectives.policy_losses import (
    kl_estimates,
    ratio_metrics,
    summed,
    surrogate,
    truncated_weights,
    value_losses,
    weight_of,
)
from openbook.training.objectives.policy_names import VARIANTS, Aggregation, Level, PolicyKnobs

COUNTS = [3, 1, 7, 4, 2, 5]
AGGREGATIONS: list[Aggregation] = ["sequence", "token", "constant"]
LEVELS: list[Level] = ["token", "sequence", "sequence_token", "product"]
MOST = 9


class Tokens(NamedTuple):
    logprobs: Tensor
    old: Tensor
    advantages: Tensor
    owners: Tensor
    counts: Tensor


def drawn(seed: int, spread: float = 0.4) -> Tokens:
    """Answers of `COUNTS` tokens in float64, the tokens in another order than the answers."""
    draw = torch.Generator().manual_seed(seed)
    owners = torch.repeat_interleave(torch.tensor([4, 0, 3, 1, 5, 2]), torch.tensor([2, 3, 4, 1, 5, 7]))
    old = -3 * torch.rand(len(owners), generator=draw, dtype=torch.float64)
    moved = spread * torch.randn(len(owners), generator=draw, dtype=torch.float64)
    gained = torch.randn(len(COUNTS), generator=draw, dtype=torch.float64)[owners]
    return Tokens((old + moved).requires_grad_(), old, gained, owners, torch.tensor(COUNTS, dtype=torch.float64))


def by_loops(data: Tokens, knobs: PolicyKnobs) -> list[list[float]]:
    """The loss of each token of each answer, in plain numbers."""
    found = []
    for answer, count in enumerate(COUNTS):
        own = [place for place in range(len(data.owners)) if int(data.owners[place]) == answer]
        moved = [float(data.logprobs.detach()[place] - data.old[place]) for place in own]
        total = sum(moved)
        ratios = {
            "token": [math.exp(one) for one in moved],
            "sequence": [math.exp(total / count)] * count,
            "sequence_token": [math.exp(total / count)] * count,
            "product": [math.exp(total)] * count,
        }[knobs.level]
        losses = []
        for place, ratio in zip(own, ratios, strict=True):
            gained = float(data.advantages[place])
            held = min(max(ratio, 1 - knobs.clip_low), 1 + knobs.clip_high)
            aim = min(ratio * gained, held * gained)
            if knobs.dual_clip is not None and gained < 0:
                aim = max(aim, knobs.dual_clip * gained)
            losses.append(-aim)
        found.append(losses)
    return found


def total_by_loops(losses: list[list[float]], aggregation: Aggregation) -> float:
    match aggregation:
        case "sequence":
            return sum(sum(one) / len(one) for one in losses) / len(losses)
        case "token":
            return sum(map(sum, losses)) / sum(map(len, losses))
        case "constant":
            return sum(map(sum, losses)) / (len(losses) * MOST)


def ours(data: Tokens, knobs: PolicyKnobs) -> Tensor:
    found = surrogate(*data, knobs)
    total = summed(found.losses, data.owners, data.counts, knobs.aggregation)
    return total / weight_of(data.counts, knobs.aggregation, MOST)


@pytest.mark.parametrize(("level", "aggregation"), list(product(LEVELS, AGGREGATIONS)))
@pytest.mark.parametrize("clips", [(0.2, 0.2, None), (0.2, 0.28, None), (0.1, 0.3, 1.5)])
def test_policies(level: Level, aggregation: Aggregation, clips: tuple[float, float, float | None]) -> None:
    knobs = PolicyKnobs(*clips, level, aggregation)
    for seed in range(3):
        data = drawn(seed)
        wanted = total_by_loops(by_loops(data, knobs), aggregation)
        assert float(ours(data, knobs).detach()) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("level", LEVELS)
def test_before_a_change_the_ratio_is_1_the_divergence_and_the_clipped_share_0_exactly(level: Level) -> None:
    data = drawn(1)._replace(logprobs=drawn(1).old.clone().requires_grad_())
    found = surrogate(*data, PolicyKnobs(level=level))
    assert (found.ratios == 1).all()
    assert torch.equal(found.losses, -data.advantages)
    metrics = ratio_metrics(data.logprobs, data.old, found)
    assert {name: value for name, (value, _) in metrics.items()} == dict.fromkeys(metrics, 0.0)
    for kind in ("k1", "k2", "k3"):
        assert (kl_estimates(data.logprobs, data.old, kind) == 0).all()


@pytest.mark.parametrize("level", LEVELS)
def test_of_one_step_without_reference_the_loss_is_0_and_the_gradient_is_not(level: Level) -> None:
    """Advantages of a group add up to 0, and each sequence counts as much."""
    data = drawn(2)
    gained = torch.tensor([1.0, -1.0, 0.5, -0.5, 0.75, -0.75], dtype=torch.float64)
    data = data._replace(logprobs=data.old.clone().requires_grad_(), advantages=gained[data.owners])
    loss = ours(data, PolicyKnobs(level=level))
    assert float(loss.detach()) == pytest.approx(0, abs=1e-12)
    (gradient,) = torch.autograd.grad(loss, data.logprobs)
    assert (gradient * data.advantages < 0).all(), "likelier where it was better than expected"


def test_gradients_stop_where_a_ratio_is_clipped_and_only_there() -> None:
    old = torch.zeros(6, dtype=torch.float64)
    logprobs = torch.tensor([0.5, -0.5, 0.7, -0.5, 0.1, -0.1], dtype=torch.float64).requires_grad_()
    advantages = torch.tensor([1.0, 1.0, -1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    owners, counts = torch.zeros(6, dtype=torch.int64), torch.tensor([6.0])
    found = surrogate(logprobs, old, advantages, owners, counts, PolicyKnobs())
    (gradient,) = torch.autograd.grad(found.losses.sum(), logprobs)
    assert (gradient != 0).tolist() == [False, True, True, False, True, True]
    assert found.is_high.tolist() == [True, False, False, False, False, False]
    assert found.is_low.tolist() == [False, False, False, True, False, False]
    metrics = ratio_metrics(logprobs, old, found)
    assert metrics["clip_fraction"] == (2.0, 6.0) and metrics["clip_low"] == (1.0, 6.0)
    wanted = sum(math.exp(x) - 1 - x for x in logprobs.tolist())
    assert metrics["approx_kl"] == (pytest.approx(wanted), 6.0)


def test_dual_clip_stops_a_ratio_that_is_far_too_high_for_a_bad_answer() -> None:
    logprobs = torch.tensor([2.0, 0.3], dtype=torch.float64, requires_grad=True)
    zeros, counts = torch.zeros(2, dtype=torch.int64), torch.tensor([2.0])
    given = (logprobs, torch.zeros(2, dtype=torch.float64), torch.full((2,), -1.0, dtype=torch.float64), zeros, counts)
    found = surrogate(*given, PolicyKnobs(dual_clip=3.0))
    assert found.losses.tolist() == pytest.approx([3.0, math.exp(0.3)])
    (gradient,) = torch.autograd.grad(found.losses.sum(), logprobs)
    assert gradient.tolist() == pytest.approx([0.0, math.exp(0.3)])


def test_tokens_of_a_sequence_have_gradients_of_their_own_under_gspo_token() -> None:
    """Equal advantages: the same gradients as of the sequence (their mean has 1 / n each). Others: not."""
    same = drawn(3, spread=0.01)
    both = [
        torch.autograd.grad(ours(same, PolicyKnobs(level=level)), same.logprobs)[0]
        for level in ("sequence", "sequence_token")
    ]
    torch.testing.assert_close(both[0], both[1], rtol=0, atol=1e-12)


def test_of_one_step_the_gradient_of_rloo_is_that_of_reinforce() -> None:
    data = drawn(4)
    data = data._replace(logprobs=data.old.clone().requires_grad_())
    (found,) = torch.autograd.grad(ours(data, VARIANTS["rloo"].knobs), data.logprobs)
    torch.testing.assert_close(found, -data.advantages / len(COUNTS), rtol=0, atol=1e-12)


def test_duplicated_tokens_do_not_change_the_weights_of_dr_grpo() -> None:
    """A token weighs 1 / (S max_tokens) however long its own and the other answers are; in GRPO and DAPO it does not."""
    weights: dict[Aggregation, list[float]] = {}
    for aggregation in AGGREGATIONS:
        weights[aggregation] = []
        for times in (1, 2):
            owners = torch.tensor([0] * times + [1])
            counts = torch.tensor([float(times), 1.0])
            logprobs = torch.zeros(times + 1, requires_grad=True)
            found = surrogate(
                logprobs, logprobs.detach(), torch.ones(times + 1), owners, counts, PolicyKnobs(aggregation=aggregation)
            )
            loss = summed(found.losses, owners, counts, aggregation) / weight_of(counts, aggregation, MOST)
            weights[aggregation] += torch.autograd.grad(loss, logprobs)[0][[0, -1]].tolist()
    assert weights["constant"] == pytest.approx([-1 / (2 * MOST)] * 4)
    assert weights["sequence"] == pytest.approx([-1 / 2, -1 / 2, -1 / 4, -1 / 2])
    assert weights["token"] == pytest.approx([-1 / 2, -1 / 2, -1 / 3, -1 / 3])


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_sums_and_weights_add_up_over_every_split(aggregation: Aggregation) -> None:
    data, knobs = drawn(5), PolicyKnobs(aggregation=aggregation, level="sequence")
    data = data._replace(logprobs=data.logprobs.detach())
    whole = float(ours(data, knobs).detach())
    total = weight = 0.0
    for begin, end in pairwise([0, 1, 4, len(COUNTS)]):
        own = (data.owners >= begin) & (data.owners < end)
        part = Tokens(*(one[own] for one in data[:3]), data.owners[own] - begin, data.counts[begin:end])
        total += float(summed(surrogate(*part, knobs).losses, part.owners, part.counts, aggregation))
        weight += weight_of(part.counts, aggregation, MOST)
    assert total / weight == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize(
    ("kind", "formula"),
    [("k1", lambda d: -d), ("k2", lambda d: d * d / 2), ("k3", lambda d: math.exp(d) - d - 1)],
)
def test_estimates_of_the_divergence(kind: str, formula: Callable[[float], float]) -> None:
    policy, reference = drawn(6).logprobs.detach(), drawn(6).old
    found = kl_estimates(policy, reference, kind)  # type: ignore[arg-type]
    wanted = [formula(float(q - p)) for p, q in zip(policy, reference, strict=True)]
    assert found.tolist() == pytest.approx(wanted, abs=1e-12)


def test_k1_and_k3_are_the_divergence_in_the_mean_and_k2_has_its_gradient() -> None:
    """Over all tokens of a small vocabulary, in place of draws."""
    logits = torch.tensor([0.3, -0.8, 1.1, 0.0], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64).log()
    policy = logits.log_softmax(0)
    chances = policy.exp()
    exact = (chances * (policy - reference)).sum()
    for kind in ("k1", "k3"):
        torch.testing.assert_close((chances * kl_estimates(policy, reference, kind)).sum(), exact)
    wanted = torch.autograd.grad(exact, logits, retain_graph=True)[0]
    found = torch.autograd.grad((chances.detach() * kl_estimates(policy, reference, "k2")).sum(), logits)[0]
    torch.testing.assert_close(found, wanted)


def test_weights_of_a_rollout_by_another_program_are_capped_and_have_no_gradient() -> None:
    old = torch.tensor([-1.0, -1.0, -1.0, -90.0], requires_grad=True)
    found = truncated_weights(old, torch.tensor([-1.0, -3.0, -0.5, -1.0]), 2.0)
    assert found.tolist() == pytest.approx([1.0, 2.0, math.exp(-0.5), math.exp(-20)])
    assert not found.requires_grad


@pytest.mark.parametrize("clip", [None, 0.2])
def test_values(clip: float | None) -> None:
    draw = torch.Generator().manual_seed(7)
    values, old, returns = (torch.randn(50, generator=draw, dtype=torch.float64) for _ in range(3))
    found, is_clipped = value_losses(values, old, returns, clip)
    for one, held, v, before, r in zip(found, is_clipped, values, old, returns, strict=True):
        plain = 0.5 * float(v - r) ** 2
        within = (
            plain if clip is None else 0.5 * (min(max(float(v), float(before) - clip), float(before) + clip) - r) ** 2
        )
        assert float(one) == pytest.approx(max(plain, float(within))) and bool(held) == (within > plain)


def test_ratios_that_are_beyond_every_number_stay_numbers() -> None:
    logprobs = torch.tensor([0.0, -2000.0], requires_grad=True)
    owners, counts = torch.arange(2), torch.ones(2)
    for level in LEVELS:
        given = (logprobs, torch.tensor([-2000.0, 0.0]), torch.tensor([-1.0, 1.0]), owners, counts)
        losses = surrogate(*given, PolicyKnobs(level=level)).losses
        gradient = torch.autograd.grad(losses.sum(), logprobs)[0]
        assert torch.isfinite(losses).all() and torch.isfinite(gradient).all()


def test_the_variants_are_what_their_papers_say() -> None:
    assert {name: (one.baseline, one.knobs.aggregation, one.knobs.level) for name, one in VARIANTS.items()} == {
        "grpo": ("grpo", "sequence", "token"),
        "dr_grpo": ("dr_grpo", "constant", "token"),
        "dapo": ("grpo", "token", "token"),
        "rloo": ("rloo", "sequence", "product"),
        "reinforce++": ("reinforce++", "token", "token"),
        "reinforce++_baseline": ("reinforce++_baseline", "token", "token"),
        "gspo": ("grpo", "sequence", "sequence"),
        "gspo_token": ("grpo", "sequence", "sequence_token"),
    }
    assert VARIANTS["dapo"].is_dynamic and VARIANTS["dapo"].knobs.clip_high > VARIANTS["dapo"].knobs.clip_low
