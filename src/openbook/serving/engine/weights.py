"""New weights for a model that runs: the model of the same config with other tensors, before it is prepared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from openbook.core.errors import ModelUnavailable, UsageError
from openbook.lm.families.base import Family
from openbook.lm.load import empty_model, load_model
from openbook.lm.state import fill, match

_GIVEN = Path("the new weights")


def renewed(model: Family, source: Mapping[str, Tensor] | Path | str) -> Family:
    """A plain model with the config of `model`; half floats become float32.

    `source`: a checkpoint directory, or all tensors by the checkpoint's names or by ours. Tensors are copied. Raises
    ModelUnavailable for tensors that are missing, unknown or of another shape, and for a directory of another config.
    """
    if isinstance(source, Mapping):
        found = _of_tensors(model, source)
    else:
        found = load_model(source)
        if found.config != model.config:
            raise ModelUnavailable(f"{source} has another config.json than the model", "update it with its own kind")
    return found.float() if found.dtype == torch.float16 else found


def _of_tensors(model: Family, tensors: Mapping[str, Tensor]) -> Family:
    if not tensors:
        raise UsageError("there are no new weights", "give all tensors of the model")
    plain = empty_model(model.raw_config(), str(_GIVEN), list(tensors))
    given = _Given(tensors)
    ours = dict(plain.named_parameters(remove_duplicate=False))
    is_ours = set(tensors) <= ours.keys()
    if is_ours:
        _check_ours(plain, given)
    else:
        match(plain, given, _GIVEN)
    plain.to(next(iter(tensors.values())).dtype)
    plain.to_empty(device=model.device)
    plain.tie()
    if not is_ours:
        fill(plain, given)
        return plain.eval().requires_grad_(False)
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            parameter.copy_(given[name])
    return plain.eval().requires_grad_(False)


def _check_ours(plain: Family, given: _Given) -> None:
    for name, parameter in plain.named_parameters():
        if name not in given.shapes:
            raise ModelUnavailable(f"{_GIVEN} lack {name}", "give all tensors of the model")
        if given.shapes[name] != tuple(parameter.shape):
            raise ModelUnavailable(
                f"{name} of {_GIVEN} is {given.shapes[name]}, the model has {tuple(parameter.shape)}",
                "update it with its own kind",
            )


class _Given:
    """Tensors in memory, as `lm.state.Tensors`."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors
        self.shapes = {name: tuple(one.shape) for name, one in tensors.items()}

    @property
    def not_floats(self) -> list[str]:
        return [name for name, one in self._tensors.items() if not one.is_floating_point()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name].detach()
