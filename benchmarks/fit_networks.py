"""Small networks fitted with torch and written as plain numbers, for `openbook.assistant.answer.scorer`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Matrix = NDArray[np.float64]
SEEDS = 3
_DIGITS = 5


@dataclass(frozen=True)
class Fit:
    """The formula of `scorer.Network`; several networks are one whose hidden units lie side by side."""

    mean: Matrix
    scale: Matrix
    direct: Matrix
    hidden: Matrix
    bias: Matrix
    out: Matrix
    offset: float

    def __call__(self, features: Matrix) -> Matrix:
        x = (features - self.mean) / self.scale
        result: Matrix = np.maximum(x @ self.hidden.T + self.bias, 0) @ self.out + x @ self.direct + self.offset
        return result

    def scaled(self, scale: float, offset: float) -> Fit:
        """scale * self + offset"""
        return replace(self, direct=scale * self.direct, out=scale * self.out, offset=scale * self.offset + offset)

    def to_json(self, columns: Sequence[str]) -> dict[str, Any]:
        arrays = {name: getattr(self, name) for name in ("mean", "scale", "direct", "hidden", "bias", "out", "offset")}
        return {"columns": list(columns)} | {name: np.round(value, _DIGITS).tolist() for name, value in arrays.items()}


class _Net(nn.Module):
    def __init__(self, columns: int, hidden: int) -> None:
        super().__init__()
        self.direct = nn.Linear(columns, 1)
        self.hidden = nn.Linear(columns, hidden)
        self.out = nn.Linear(hidden, 1, bias=False)
        nn.init.zeros_(self.direct.weight)
        nn.init.normal_(self.out.weight, std=0.1)

    def forward(self, x: Tensor) -> Tensor:  # (..., F) -> (...,)
        scores: Tensor = (self.direct(x) + self.out(torch.relu(self.hidden(x))))[..., 0]
        return scores


def fit_choice(
    features: Sequence[Matrix], labels: Sequence[NDArray[np.bool_]], hidden: int = 32, epochs: int = 30
) -> Fit:
    """Scores whose softmax over the rows of one question is the probability that the row holds the answer.

    Loss: -log of the summed probability of the labelled rows.
    """
    count, most, columns = len(features), max(map(len, features)), features[0].shape[1]
    x, mask, y = torch.zeros(count, most, columns), torch.zeros(count, most, dtype=torch.bool), None
    y = torch.zeros(count, most, dtype=torch.bool)
    for i, (rows, truth) in enumerate(zip(features, labels, strict=True)):
        x[i, : len(rows)] = torch.from_numpy(rows)
        mask[i, : len(rows)], y[i, : len(rows)] = True, torch.from_numpy(truth)

    def loss(net: _Net, at: Tensor, x: Tensor) -> Tensor:
        scores = net(x[at]).masked_fill(~mask[at], -1e9)
        return (scores.logsumexp(1) - scores.masked_fill(~y[at], -1e9).logsumexp(1)).mean()

    return _fit(x, mask, loss, hidden, epochs, decay=0.03)


def fit_probability(
    features: Matrix, truth: NDArray[np.bool_], weights: Matrix, hidden: int = 4, epochs: int = 30
) -> Fit:
    """Logits of the probability that `truth` holds."""
    x = torch.from_numpy(features).float()
    y, weight = torch.from_numpy(truth).float(), torch.from_numpy(weights).float()

    def loss(net: _Net, at: Tensor, x: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(net(x[at]), y[at], weight=weight[at])

    return _fit(x, torch.ones(len(x), dtype=torch.bool), loss, hidden, epochs, decay=0.3)


def _fit(x: Tensor, mask: Tensor, loss: Any, hidden: int, epochs: int, decay: float) -> Fit:
    """The mean of `SEEDS` networks; AdamW, one cycle of the rate, batches of 64. x: (N, F) or (N, U, F)."""
    torch.set_num_threads(1)  # the matrices are small: a second thread costs more than it gives
    rows = x[mask]
    mean, scale = rows.mean(0), rows.std(0)
    scale[scale < 1e-6] = 1.0
    x = (x - mean) / scale
    nets = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        net = _Net(x.shape[-1], hidden)
        optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=decay)
        batches = max(1, len(x) // 64)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=epochs * batches + 1)
        for _ in range(epochs):
            for at in torch.randperm(len(x))[: batches * 64].split(64):
                optimizer.zero_grad()
                loss(net, at, x).backward()
                optimizer.step()
                schedule.step()
        nets.append(net)
    return _joined(nets, mean, scale)


def _joined(nets: Sequence[_Net], mean: Tensor, scale: Tensor) -> Fit:
    def array(tensors: Sequence[Tensor]) -> Matrix:
        return torch.cat([one.detach().double() for one in tensors]).numpy()

    return Fit(
        mean=mean.double().numpy(),
        scale=scale.double().numpy(),
        direct=np.mean([net.direct.weight[0].detach().double().numpy() for net in nets], axis=0),
        hidden=array([net.hidden.weight for net in nets]),
        bias=array([net.hidden.bias for net in nets]),
        out=array([net.out.weight[0] for net in nets]) / len(nets),
        offset=float(np.mean([net.direct.bias.item() for net in nets])),
    )
