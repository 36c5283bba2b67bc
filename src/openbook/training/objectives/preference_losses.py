"""Losses of pairs from log-probabilities or scores alone, one for each pair: numbers in, numbers out.

c, r: (P,) log-probabilities of the better and the worse answer. Those of `NORMALISED` are means over an answer's tokens, the
others sums.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from openbook.training.objectives.preference_names import Knobs, PairLoss, PreferenceLoss

_LEAST_ODDS = -1e-6
"""A mean log-probability is held below this, where the odds would be infinite."""


def pair_losses(loss: PairLoss, c: Tensor, r: Tensor, nll: Tensor, knobs: Knobs) -> Tensor:
    """(P,). `c`, `r`: (P,), for losses of `WITH_REFERENCE` minus those of the reference. `nll`: (P,), the better answer's mean
    over its tokens, which ORPO and CPO make smaller beside.

    Sources: Rafailov et al. 2023, https://arxiv.org/abs/2305.18290, equation 7 (sigmoid); Liu et al. 2023,
    https://arxiv.org/abs/2309.06657, equation 10 (hinge); Azar et al. 2023, https://arxiv.org/abs/2310.12036, equation 17
    (ipo); Mitchell 2023, "A note on DPO with noisy preferences" (cdpo); Meng et al. 2024, https://arxiv.org/abs/2405.14734,
    equation 6 (simpo); Hong et al. 2024, https://arxiv.org/abs/2403.07691, equations 6 and 7 (orpo); Xu et al. 2024,
    https://arxiv.org/abs/2401.08417, equation 5 (cpo, with the mean of the likelihood in place of the sum).
    """
    beta = knobs.beta
    match loss:
        case "sigmoid" | "cdpo":
            share = knobs.label_smoothing if loss == "cdpo" else 0.0
            x = beta * (c - r)
            return -F.logsigmoid(x) * (1 - share) - F.logsigmoid(-x) * share
        case "hinge":
            return torch.relu(1 - beta * (c - r))
        case "ipo":
            return (c - r - 1 / (2 * beta)) ** 2
        case "simpo":
            return -F.logsigmoid(beta * (c - r) - knobs.gamma)
        case "orpo":
            return nll - knobs.weight * F.logsigmoid(_log_odds(c) - _log_odds(r))
        case "cpo":
            return -F.logsigmoid(beta * (c - r)) + knobs.weight * nll


def kto_losses(policy: Tensor, reference: Tensor, is_good: Tensor, divergence: Tensor, knobs: Knobs) -> Tensor:
    """(S,) of answers that were liked (`is_good`) or not, each by itself; policy, reference: (S,) sums.

    divergence: (), how far the model is from the reference, not below 0, without gradient. With beta * divergence as the point
    of reference z. Source: Ethayarajh et al. 2024, https://arxiv.org/abs/2402.01306, equations 7 and 8.
    """
    x = knobs.beta * (policy - reference - divergence)
    good = knobs.desirable * (1 - torch.sigmoid(x))
    bad = knobs.undesirable * (1 - torch.sigmoid(-x))
    return torch.where(is_good, good, bad)


def reward_losses(chosen: Tensor, rejected: Tensor, margins: Tensor, center: float) -> Tensor:
    """(P,) of the scores of both answers of a pair: Bradley-Terry, with a margin, and `center` (chosen + rejected)^2.

    Sources: Bradley & Terry 1952; Ouyang et al. 2022, https://arxiv.org/abs/2203.02155, equation 1; Touvron et al. 2023,
    https://arxiv.org/abs/2307.09288, equation 2 (margin); Eisenstein et al. 2023, https://arxiv.org/abs/2312.09244, section 2
    (center: scores are known up to a number that is added to all, which holds them around 0).
    """
    losses = -F.logsigmoid(chosen - rejected - margins)
    return losses + center * (chosen + rejected) ** 2 if center else losses


def first_loss(loss: PreferenceLoss, knobs: Knobs) -> float | None:
    """Of a model that is its reference, a pair; None where the loss depends on more than that."""
    match loss:
        case "sigmoid" | "cdpo":
            return math.log(2)
        case "hinge":
            return 1.0
        case "ipo":
            return 1 / (2 * knobs.beta) ** 2
        case _:
            return None


def _log_odds(logprob: Tensor) -> Tensor:
    """log(p / (1 - p)), of log p < 0."""
    below = logprob.clamp(max=_LEAST_ODDS)
    return below - torch.log(-torch.expm1(below))
