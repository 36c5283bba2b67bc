"""Fully sharded data parallel: every rank keeps a part of each parameter, of its gradient and of its moments.

torch's FSDP2 (`fully_shard`) gathers a layer when it is needed and adds gradients up into the parts. What is saved is whole, so
that a checkpoint loads at any number of ranks, and anywhere else.
Source: Rajbhandari et al. 2020, https://arxiv.org/abs/1910.02054 (ZeRO, stage 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from openbook.lm.families.base import Family
from openbook.lm.load import empty_model
from openbook.training.compiling import layers_of
from openbook.training.parallel import Ranks, spread_as, whole


def shard(model: Family, ranks: Ranks) -> None:
    """Spreads the parameters over the ranks, each layer by itself and what is left together."""
    mesh = init_device_mesh(model.device.type, (ranks.world_size,))
    for layer in layers_of(model):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)  # losses are divided by the weight of the whole step already
            module.set_force_sum_reduction_for_comms(True)  # gloo has no scaled sum
    ranks.gradients_are_summed = True


@contextmanager
def unsharded(model: Family) -> Iterator[None]:
    """While the block runs, every rank has all of the parameters."""
    parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for one in parts:
        one.unshard()
    try:
        yield
    finally:
        for one in parts:
            one.reshard()


@torch.no_grad()
def gathered_model(model: Family, ranks: Ranks) -> Family:
    """A plain model with the same weights, in the first process; every one has to ask for it."""
    here: dict[str, Tensor] = dict(model.named_parameters())
    if ranks.pipeline is not None:
        here = ranks.pipeline.gathered(here)
    if ranks.pipeline is not None and not ranks.is_first:
        return model
    twin = plain_twin(model)
    own = dict(twin.named_parameters())
    for name, one in here.items():
        own[name].copy_(whole(one))
    return twin


@torch.no_grad()
def put(model: Family, filled: Family) -> None:
    """The weights of a plain model into the sharded one."""
    own = dict(filled.named_parameters())
    for name, one in model.named_parameters():
        one.copy_(spread_as(own[name].to(one.dtype), one))


def plain_twin(model: Family) -> Family:
    """A plain model of this shape, its weights not yet written."""
    twin = empty_model(model.raw_config(), "the model that is trained").to(model.dtype)
    twin.to_empty(device="cpu")
    twin.tie()
    return twin
