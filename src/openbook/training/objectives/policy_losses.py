"""Losses of policies and of values from log-probabilities and advantages alone, one for each token: numbers in, numbers out.

M tokens of S answers; `owners` (M,) says whose each token is, `counts` (S,) how many each has. Only tokens that are learned are
among them: there is no mask. In reading order: ratios and their clipped surrogate; divergence from the reference; values;
sums of tokens, and what they weigh; what is logged.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from openbook.training.objectives.policy_names import Aggregation, KlEstimate, Level, PolicyKnobs

_MOST_LOG_RATIO = 20.0
"""A log-ratio is held within this: its exponential stays a number. Far outside of every clip."""


class Surrogate(NamedTuple):
    """losses: (M,), with gradients. The rest has none: ratios (M,), and where the clip holds a ratio that is too low or too high,
    so that the token has no gradient.
    """

    losses: Tensor
    ratios: Tensor
    is_low: Tensor
    is_high: Tensor


def surrogate(
    logprobs: Tensor, old: Tensor, advantages: Tensor, owners: Tensor, counts: Tensor, knobs: PolicyKnobs
) -> Surrogate:
    """Of log-probabilities now, and of when the answers were written (`old`), all (M,). Where a level is a sequence's, each
    of its tokens has the loss of the sequence.

    -min(ratio A, clip(ratio, 1 - low, 1 + high) A), and with `dual_clip` c at most -c A for A < 0.

    Sources: Schulman et al. 2017, https://arxiv.org/abs/1707.06347, equation 7; Yu et al. 2025,
    https://arxiv.org/abs/2503.14476, equation 10 (low and high); Ye et al. 2019, https://arxiv.org/abs/1912.09729
    (dual clip); Zheng et al. 2025, https://arxiv.org/abs/2507.18071, equations 5 to 7 and 13 to 14 (sequences).
    """
    ratios = _ratios(logprobs, old, owners, counts, knobs.level)
    low, high = 1 - knobs.clip_low, 1 + knobs.clip_high
    losses = -torch.minimum(ratios * advantages, ratios.clamp(low, high) * advantages)
    if knobs.dual_clip is not None:
        losses = torch.where(advantages < 0, torch.minimum(losses, -knobs.dual_clip * advantages), losses)
    known = ratios.detach()
    return Surrogate(losses, known, (known < low) & (advantages < 0), (known > high) & (advantages > 0))


def _ratios(logprobs: Tensor, old: Tensor, owners: Tensor, counts: Tensor, level: Level) -> Tensor:
    """(M,), 1 exactly where both are equal."""
    moved = logprobs - old
    if level == "token":
        return moved.clamp(-_MOST_LOG_RATIO, _MOST_LOG_RATIO).exp()
    sums = moved.new_zeros(len(counts)).index_add(0, owners, moved)
    if level == "product":
        return sums.clamp(-_MOST_LOG_RATIO, _MOST_LOG_RATIO).exp()[owners]
    ratios = (sums / counts).clamp(-_MOST_LOG_RATIO, _MOST_LOG_RATIO).exp()[owners]
    if level == "sequence":
        return ratios
    return ratios.detach() * (logprobs - logprobs.detach()).exp()


def known_or_own(sampled: Tensor, own: Tensor) -> Tensor:
    """(M,) `sampled`, and the trainer's own log-probability where the program that wrote did not say one (NaN)."""
    return torch.where(sampled.isnan(), own, sampled)


def truncated_weights(old: Tensor, sampled: Tensor, most: float) -> Tensor:
    """(M,) min(exp(old - sampled), most): what the loss of a token is multiplied by, where the program that wrote the answers
    gave it another probability (`sampled`) than the one that learns (`old`).

    Sources: Ionides 2008, "Truncated importance sampling"; Yao et al. 2025, "Your efficient RL framework secretly brings you
    off-policy RL training".
    """
    return (old - sampled).detach().clamp(-_MOST_LOG_RATIO, _MOST_LOG_RATIO).exp().clamp_max(most)


def kl_estimates(logprobs: Tensor, reference: Tensor, kind: KlEstimate) -> Tensor:
    """(M,) estimates of KL(policy || reference) from tokens that the policy drew. With d = reference - logprobs:

    k1: -d, right in the mean. k2: d^2 / 2, never negative, and its gradient is that of the divergence. k3: exp(d) - d - 1, right
    in the mean and never negative.

    Sources: Schulman 2020, "Approximating KL divergence" (http://joschu.net/blog/kl-approx.html); Shao et al. 2024,
    https://arxiv.org/abs/2402.03300, equation 4 (k3).
    """
    d = reference - logprobs
    match kind:
        case "k1":
            return -d
        case "k2":
            return d**2 / 2
        case "k3":
            d = d.clamp(-_MOST_LOG_RATIO, _MOST_LOG_RATIO)
            return torch.expm1(d) - d


def value_losses(values: Tensor, old: Tensor, returns: Tensor, clip: float | None) -> tuple[Tensor, Tensor]:
    """(M,) half the squared error of `values`, or, where it is larger, that of values that are held within `clip` of the `old`
    ones; and (M,) whether that is so. None: they are not held.

    Source: Huang et al. 2022, "The 37 implementation details of PPO", detail 9 (value function loss clipping).
    """
    plain = (values - returns) ** 2
    if clip is None:
        return plain / 2, torch.zeros_like(plain, dtype=torch.bool)
    held = (torch.clamp(values, old - clip, old + clip) - returns) ** 2
    return torch.maximum(plain, held) / 2, held.detach() > plain.detach()


def summed(losses: Tensor, owners: Tensor, counts: Tensor, aggregation: Aggregation) -> Tensor:
    """() of the losses (M,) of tokens: where each sequence counts 1 each token is divided by the tokens of its own."""
    return (losses / counts[owners]).sum() if aggregation == "sequence" else losses.sum()


def weight_of(counts: Tensor, aggregation: Aggregation, max_tokens: int) -> float:
    """What `summed` is divided by, over all micro-batches and ranks. `max_tokens`: of an answer at most.

    sequence: S. Source: Shao et al. 2024, https://arxiv.org/abs/2402.03300, equation 3. token: M. Source: Yu et al. 2025,
    https://arxiv.org/abs/2503.14476, equation 12. constant: S max_tokens, so that long answers are neither favoured nor
    disfavoured. Source: Liu et al. 2025, https://arxiv.org/abs/2503.20783, section 3.2.
    """
    match aggregation:
        case "sequence":
            return float(len(counts))
        case "token":
            return float(counts.sum())
        case "constant":
            return float(len(counts) * max_tokens)


def ratio_metrics(logprobs: Tensor, old: Tensor, found: Surrogate) -> dict[str, tuple[float, float]]:
    """Of `LossSum`, means over tokens: `clip_fraction`, its parts `clip_low` and `clip_high`, and `approx_kl`, how far the policy
    is from the one that wrote (k3: never negative; 0 exactly where nothing has changed).
    """
    with torch.no_grad():
        kl = kl_estimates(old, logprobs, "k3")
    means = {
        "clip_fraction": found.is_low | found.is_high,
        "clip_low": found.is_low,
        "clip_high": found.is_high,
        "approx_kl": kl,
    }
    return {name: (float(values.double().sum()), float(len(values))) for name, values in means.items()}
