"""Which parameters are changed how: AdamW, or Muon for the matrices of the layers and AdamW for the rest.

Parameters of 16 bits have a copy in float32, which is what is changed; what they hold is its rounding. Small steps add up so:
one is often less than half the distance between two numbers of bfloat16.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from openbook.training.adamw8bit import AdamW8bit
from openbook.training.parallel import spread_as

Kind = Literal["adamw", "adamw8bit", "muon"]
_MOMENTS = (
    {"step", "exp_avg", "exp_avg_sq"},
    {"momentum_buffer"},
    {"step", "exp_avg", "exp_avg_scales", "exp_avg_sq", "exp_avg_sq_scales"},
)
"""What AdamW keeps of a parameter, what Muon, and what AdamW in 8 bits."""
_MASTER = "master"
BESIDE = "beside"
"""Before the names of what is trained beside the model."""


@dataclass(frozen=True)
class Optimization:
    """`weight_decay` is decoupled and spares vectors: norms and biases. `muon_lr`: of matrices under Muon, whose updates have a
    size of their own (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/); None: `lr`, each update scaled to the
    size of AdamW's (Liu et al. 2025, https://arxiv.org/abs/2502.16982).
    """

    kind: Kind = "adamw"
    lr: float = 3e-4
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.1
    muon_lr: float | None = None


class Optimizers:
    """One or two of torch's optimizers as one. A group's rate is its peak times the factor of the schedule. `beside`: what else
    is trained.
    """

    def __init__(self, model: nn.Module, settings: Optimization, beside: nn.Module | None = None) -> None:
        others = () if beside is None else beside.named_parameters(BESIDE)
        named = [(name, one) for name, one in (*model.named_parameters(), *others) if one.requires_grad]
        if not named:
            raise ValueError("no parameter requires a gradient")
        self.masters = [(one, nn.Parameter(one.detach().float())) for _, one in named if one.dtype.itemsize < 4]
        wide = {id(one): master for one, master in self.masters}
        named = [(name, wide.get(id(one), one)) for name, one in named]
        self.names = {id(one): name for name, one in named}
        hidden = [one for name, one in named if settings.kind == "muon" and _is_hidden(name, one)]
        known = {id(one) for one in hidden}
        rest = [one for _, one in named if id(one) not in known]
        self.parts: list[torch.optim.Optimizer] = []
        if rest:
            self.parts.append(_adamw(rest, settings))
        if hidden:
            own_scale = settings.muon_lr is not None
            self.parts.append(
                torch.optim.Muon(
                    hidden,
                    lr=settings.muon_lr if settings.muon_lr is not None else settings.lr,
                    weight_decay=settings.weight_decay,
                    adjust_lr_fn="original" if own_scale else "match_rms_adamw",
                )
            )
        for group in self.groups():
            group["peak"] = group["lr"]

    def groups(self) -> Iterable[dict[str, Any]]:
        return (group for part in self.parts for group in part.param_groups)

    def set_rate(self, factor: float) -> None:
        for group in self.groups():
            group["lr"] = group["peak"] * factor

    def step(self) -> None:
        for one, master in self.masters:
            master.grad = None if one.grad is None else one.grad.float()
        for part in self.parts:
            part.step()
        with torch.no_grad():
            for one, master in self.masters:
                one.copy_(master)
                master.grad = None

    def zero_grad(self) -> None:
        for one, _ in self.masters:
            one.grad = None
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """ "PARAMETER/KEY" -> tensor: moments, counts, and the float32 copies of parameters of 16 bits."""
        masters = {f"{self.names[id(master)]}/{_MASTER}": master.detach() for _, master in self.masters}
        return masters | {
            f"{self.names[id(parameter)]}/{key}": value if isinstance(value, torch.Tensor) else torch.tensor(value)
            for part in self.parts
            for parameter, known in part.state.items()
            for key, value in known.items()
        }

    def resume(self, state: dict[str, Tensor]) -> None:
        """What `state` gave. Raises KeyError where a parameter is missing from it, or has moments of another optimizer."""
        by_name: dict[str, dict[str, Tensor]] = {}
        for key, value in state.items():
            name, _, entry = key.rpartition("/")
            by_name.setdefault(name, {})[entry] = value
        with torch.no_grad():
            for _, master in self.masters:
                master.copy_(spread_as(by_name[self.names[id(master)]].pop(_MASTER), master))
        for part in self.parts:
            for group in part.param_groups:
                for parameter in group["params"]:
                    self._resume(part, parameter, by_name.get(self.names[id(parameter)], {}))

    def _resume(self, part: torch.optim.Optimizer, parameter: nn.Parameter, moments: dict[str, Tensor]) -> None:
        """A parameter that no gradient has reached has no moments."""
        own = _MOMENTS[1:2] if isinstance(part, torch.optim.Muon) else _MOMENTS[::2]
        own = own[:1] if isinstance(part, torch.optim.AdamW) else own
        if moments and set(moments) not in own:
            raise KeyError(f"{self.names[id(parameter)]} has no moments of {type(part).__name__}")
        if moments:
            part.state[parameter] = {name: spread_as(one, parameter) for name, one in moments.items()}


def _adamw(parameters: list[nn.Parameter], settings: Optimization) -> torch.optim.Optimizer:
    kinds: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for one in parameters:  # what is spread over ranks cannot be changed in one call with what is not
        kinds.setdefault((one.ndim <= 1, hasattr(one, "full_tensor")), []).append(one)
    groups = [
        {"params": kinds[kind], "weight_decay": 0.0 if kind[0] else settings.weight_decay} for kind in sorted(kinds)
    ]
    if settings.kind == "adamw8bit":
        return AdamW8bit(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps)
    return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps, fused=True)


def _is_hidden(name: str, parameter: nn.Parameter) -> bool:
    """A matrix between hidden states, not a table of tokens or positions nor what makes logits of them."""
    return parameter.ndim == 2 and "layers." in name
