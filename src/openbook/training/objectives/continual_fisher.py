"""What each weight means to data: the diagonal of the empirical Fisher information.

F_i = sum over rows of (d loss(row) / d theta_i)^2 / weight of all rows, with the loss of a row as a sum of nats. To second order
(Laplace) a move d costs the older data sum_i F_i d_i^2 / 2 per token, so that a weight of 1 in EWC is fair to both. The labels
are the data's own, not drawn from the model (Kunstner et al. 2019, https://arxiv.org/abs/1905.12558, tell when that differs).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from openbook.core.errors import BadData
from openbook.lm.families.base import Family
from openbook.training.objectives.objective import Objective
from openbook.training.parallel import Ranks
from openbook.training.sources.step import Source


def importance(
    model: Family, objective: Objective[Any], source: Source[Any], rows: int, ranks: Ranks
) -> dict[str, Tensor]:
    """Name -> (as the parameter) float32, of those that are trained, over `rows` rows of `source`, whose micro-batches are single
    rows. The model keeps its mode and has no gradients afterwards. BadData where the rows hold nothing that is learned.
    """
    trained = {name: one for name, one in model.named_parameters() if one.requires_grad}
    squares = {name: torch.zeros_like(one, dtype=torch.float32) for name, one in trained.items()}
    was_training, weight, done = model.training, 0.0, 0
    model.eval()
    while done < rows:
        micros = source.next_step()
        for micro in micros:
            found = objective.loss(model, micro)
            if found.weight:
                found.total.backward()  # type: ignore[no-untyped-call]
                weight += found.weight
            for name, one in trained.items():
                if one.grad is not None:
                    squares[name].addcmul_(one.grad.float(), one.grad.float())
                one.grad = None
        done += ranks.world_size * max(len(micros), 1)
    model.train(was_training)
    (whole_weight,) = ranks.sum([weight])
    if not whole_weight:
        raise BadData("the older data holds nothing that is learned", "give other files in continual.ewc.data")
    return dict(zip(squares, _summed(list(squares.values()), ranks, whole_weight), strict=True))


def _summed(squares: list[Tensor], ranks: Ranks, weight: float) -> list[Tensor]:
    """Over ranks, as gradients are."""
    parts = [nn.Parameter(torch.empty_like(one)) for one in squares]
    for part, one in zip(parts, squares, strict=True):
        part.grad = one
    ranks.sum_gradients(parts)
    return [part.grad / weight for part in parts if part.grad is not None]
