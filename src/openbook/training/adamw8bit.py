"""AdamW whose moments take a byte each: numbers of a block are kept as places in a table, times the largest of the block.

Source: Dettmers et al. 2022, https://arxiv.org/abs/2110.02861, sections 2.1 (blocks) and 2.2 (the dynamic table).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

BLOCK = 256
LEAST_ELEMENTS = 4_096
"""Smaller parameters (norms, biases) keep moments of 32 bits: they would save nothing, and some are looked up rarely."""
_CHUNK = 1 << 20
"""Elements that are in float32 at a time, a multiple of `BLOCK`."""


class AdamW8bit(torch.optim.Optimizer):
    """Decoupled weight decay, as torch's AdamW. The first moment has signed places, the second unsigned ones.

    What is kept of a parameter: `exp_avg`, `exp_avg_sq` uint8 in its shape, `*_scales` (blocks,) float32, `step`.
    """

    def __init__(
        self,
        parameters: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """`closure` is not taken."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, group)

    def _step(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state.update(_fresh(parameter))
        state["step"] += 1
        step = float(state["step"])
        is_small = "exp_avg_scales" not in state
        weight, grad = parameter.view(-1), parameter.grad.reshape(-1)  # type: ignore[union-attr]
        is_plain = weight.device.type == "cpu" and not hasattr(weight, "full_tensor")
        if is_plain and not is_small and weight.dtype is grad.dtype is torch.float32:
            _one_pass(weight, grad, state, step, group)
            return
        for begin in range(0, len(weight), _CHUNK):
            rows = slice(begin, begin + _CHUNK)
            if is_small:
                first, second = state["exp_avg"].view(-1)[rows], state["exp_avg_sq"].view(-1)[rows]
            else:
                first, second = (_read(state, name, rows) for name in ("exp_avg", "exp_avg_sq"))
            _adamw(weight[rows], grad[rows].float(), first, second, step, group)
            if not is_small:
                _write(state, "exp_avg", rows, first)
                _write(state, "exp_avg_sq", rows, second)


def _adamw(weight: Tensor, grad: Tensor, first: Tensor, second: Tensor, step: float, group: dict[str, Any]) -> None:
    """Source: Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101, algorithm 2; all in place."""
    beta1, beta2 = group["betas"]
    weight.mul_(1 - group["lr"] * group["weight_decay"])
    first.lerp_(grad, 1 - beta1)
    second.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    lengths = second.sqrt().div_((1 - beta2**step) ** 0.5).add_(group["eps"])
    weight.addcdiv_(first, lengths, value=-group["lr"] / (1 - beta1**step))


def _one_pass(weight: Tensor, grad: Tensor, state: dict[str, Tensor], step: float, group: dict[str, Any]) -> None:
    """The same for a parameter in the memory of the processor, without float32 copies of its moments."""
    from openbook.training.adamw8bit_kernel import step_blocks

    beta1, beta2 = group["betas"]
    numbers = (
        1 - group["lr"] * group["weight_decay"],
        1 - beta1,
        1 - beta2,
        (1 - beta2**step) ** -0.5,
        group["eps"],
        group["lr"] / (1 - beta1**step),
    )
    moments = [state[name].view(-1).numpy() for name in ("exp_avg", "exp_avg_sq")]
    scales = [state[f"{name}_scales"].numpy() for name in ("exp_avg", "exp_avg_sq")]
    tables, middles = (torch.stack([of(True), of(False)]).numpy() for of in (table, _middles))
    step_blocks(weight.numpy(), grad.numpy(), *moments, *scales, tables, middles, np.array(numbers, np.float32))  # type: ignore[call-arg]


def _fresh(parameter: Tensor) -> dict[str, Tensor]:
    counted = {"step": torch.zeros(())}
    if parameter.numel() < LEAST_ELEMENTS:
        return counted | {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
    blocks = -(-parameter.numel() // BLOCK)
    made = dict(counted)
    for name in ("exp_avg", "exp_avg_sq"):
        made[name] = torch.zeros(parameter.shape, dtype=torch.uint8)  # its scales are 0
        made[f"{name}_scales"] = torch.zeros(blocks)
    return made


def _read(state: dict[str, Tensor], name: str, rows: slice) -> Tensor:
    scales = state[f"{name}_scales"][rows.start // BLOCK : -(-rows.stop // BLOCK)]
    return from_bytes(state[name].view(-1)[rows], scales, _is_signed(name))


def _write(state: dict[str, Tensor], name: str, rows: slice, values: Tensor) -> None:
    places, scales = to_bytes(values, _is_signed(name))
    state[name].view(-1)[rows] = places
    begin = rows.start // BLOCK
    state[f"{name}_scales"][begin : begin + len(scales)] = scales


def _is_signed(name: str) -> bool:
    return name == "exp_avg"


def to_bytes(values: Tensor, is_signed: bool) -> tuple[Tensor, Tensor]:
    """values (n,) float32 -> the nearest places (n,) uint8, and the largest magnitude of each block (blocks,) float32."""
    blocks = torch.nn.functional.pad(values, (0, -len(values) % BLOCK)).view(-1, BLOCK)
    scales = blocks.abs().amax(dim=1)
    shares = blocks / scales.clamp_min(torch.finfo(torch.float32).tiny)[:, None]
    places = torch.bucketize(shares, _middles(is_signed), out_int32=True)
    return places.to(torch.uint8).view(-1)[: len(values)], scales


def from_bytes(places: Tensor, scales: Tensor, is_signed: bool) -> Tensor:
    """(n,) float32."""
    values = table(is_signed)[places.int()]
    padded = torch.nn.functional.pad(values, (0, -len(values) % BLOCK)).view(-1, BLOCK)
    return (padded * scales[:, None]).view(-1)[: len(values)]


@cache
def table(is_signed: bool) -> Tensor:
    """(256,) float32, rising to 1: seven powers of ten, a larger one with twice as many numbers as the one below it.

    Signed: with 0 and the negative numbers. Unsigned: without 0, since a second moment that is rounded to it makes the step
    as large as 1 / eps (Li et al. 2023, https://arxiv.org/abs/2309.01507, section 4.1); 1e-7 is in its place.
    """
    numbers = [1.0, 0.0 if is_signed else 1e-7]
    for power in range(7):
        edges = torch.linspace(0.1, 1, 2 ** (power + (0 if is_signed else 1)) + 1, dtype=torch.float64)
        found = ((edges[:-1] + edges[1:]) / 2 * 10.0 ** (power - 6)).tolist()
        numbers += found + ([-one for one in found] if is_signed else [])
    return torch.tensor(sorted(numbers), dtype=torch.float64).float()


@cache
def _middles(is_signed: bool) -> Tensor:
    """(255,) what lies between two neighbours of the table."""
    numbers = table(is_signed)
    return (numbers[:-1] + numbers[1:]) / 2
