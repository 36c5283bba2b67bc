"""The loss that keeps the experts of a mixture equally busy, from sums that add up over layers and micro-batches.

With X experts, k a token, M tokens counted over all layers: f_i = (times that expert i was chosen) / M,
P_i = (sum of its probabilities) / M, loss = X sum_i f_i P_i; k when all is even, and more when it is not.
Source: Fedus et al. 2021 (Switch), https://arxiv.org/abs/2101.03961, equations 4 to 6, for k experts a token as Mixtral has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from openbook.lm.nn.moe import Moe


@dataclass(frozen=True)
class Balance:
    """Sums over tokens and layers, float32: `chosen` (X,) how often, `probability` (X,), and the `tokens` summed over.

    Those of two micro-batches are added with `+`; gradients flow through `probability` alone.
    """

    chosen: Tensor
    probability: Tensor
    tokens: int

    def __add__(self, other: Balance) -> Balance:
        return Balance(self.chosen + other.chosen, self.probability + other.probability, self.tokens + other.tokens)

    def loss(self) -> Tensor:
        return len(self.chosen) * (self.chosen / self.tokens * (self.probability / self.tokens)).sum()


def balance(logits: Sequence[Tensor], top_k: int) -> Balance:
    """The sums of router logits (N, X), one tensor a layer. ValueError when there are none: no layer has experts."""
    if not logits:
        raise ValueError(
            "no router has spoken: the model has no layer with experts, or was not called inside the block"
        )
    sums = []
    for layer in logits:
        shares = layer.float().softmax(dim=-1)  # (N, X)
        chosen = shares.topk(top_k, dim=-1).indices.flatten().bincount(minlength=layer.shape[-1])
        sums.append(Balance(chosen.float(), shares.sum(dim=0), len(layer)))
    total = sums[0]
    for one in sums[1:]:
        total = total + one
    return total


@contextmanager
def router_logits(model: nn.Module) -> Iterator[list[Tensor]]:
    """The list that the routers of `model` write their logits (N, X) to while the block runs, in the order of the layers."""
    said: list[Tensor] = []
    routers = [module.router for module in model.modules() if isinstance(module, Moe)]
    hooks = [one.register_forward_hook(lambda _, __, out: said.append(out)) for one in routers]
    try:
        yield said
    finally:
        for hook in hooks:
            hook.remove()


def balance_loss(logits: Sequence[Tensor], top_k: int) -> Tensor:
    """The loss of one batch. Weigh it by `router_aux_loss_coef` of the config."""
    return balance(logits, top_k).loss()
