"""Tensor parallel: each process has some heads of every attention and some columns of every MLP, and all read the same rows.

Queries, keys, values and what goes up are parted by columns, what comes out of attention and MLP by rows: a layer sums over
processes twice forward and twice back. The table of tokens, the head and the norms are whole in every process.
Source: Shoeybi et al. 2019, https://arxiv.org/abs/1909.08053, section 3.

torch's `ColwiseParallel` knows only its own `nn.Linear`, and `PrepareModuleInput` a fixed number of arguments; so there are three
styles of ours: where a part begins, columns, rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_module, distribute_tensor
from torch.distributed.tensor.parallel import ParallelStyle, parallelize_module
from torch.distributed.tensor.placement_types import Placement

from openbook.core.errors import UsageError
from openbook.lm.families.base import Family
from openbook.lm.families.bert import Bert
from openbook.lm.families.gpt2 import Gpt2
from openbook.lm.families.llama import Llama
from openbook.lm.nn.attention import Attention
from openbook.lm.nn.mlp import GatedMlp, Mlp
from openbook.lm.nn.moe import Moe


def part(model: Family, mesh: DeviceMesh) -> None:
    """Leaves this process its heads and columns. UsageError for models that cannot be parted so."""
    check_parts(model, mesh.size())
    parallelize_module(model, mesh, dict(_plan(model)))
    for module in model.modules():
        if isinstance(module, Attention):
            module.num_heads //= mesh.size()
            module.num_kv_heads //= mesh.size()
            for norm in (module.q_norm, module.k_norm):  # it sees the heads of this process only
                for one in norm.parameters() if norm is not None else ():
                    one.register_hook(_SumOver(mesh.get_group()))  # type: ignore[no-untyped-call]


def check_parts(model: Family, count: int) -> None:
    """UsageError for a family that is not known here, for experts, and for sizes that `count` does not divide."""
    if not isinstance(model, Llama | Bert | Gpt2) or any(isinstance(one, Moe) for one in model.modules()):
        kind = model.config.model_type
        raise UsageError(
            f"parallel=tensor parts Llama-like decoders without experts, GPT-2 and BERT, not {kind}",
            "use parallel=ddp or fsdp",
        )
    sizes: dict[str, int] = {}
    for module in model.modules():
        if isinstance(module, Attention):
            sizes |= {"query heads": module.num_heads, "key heads": module.num_kv_heads}
        elif isinstance(module, Mlp | GatedMlp):
            sizes["columns of the MLP"] = len(module.up.weight)
    for what, size in sizes.items():
        if size % count:
            raise UsageError(
                f"the model has {size} {what}, which {count} processes cannot share", "use fewer, or another parallel"
            )


def _plan(model: Family) -> Iterator[tuple[str, ParallelStyle]]:
    for name, module in model.named_modules():
        match module:
            case Attention():
                columns, out = ["q", "k", "v"], "out"
            case GatedMlp():
                columns, out = ["gate", "up"], "down"
            case Mlp():
                columns, out = ["up"], "down"
            case _:
                continue
        yield name, Beginning()
        yield from ((f"{name}.{own}", Columns()) for own in columns)
        yield f"{name}.{out}", Rows()


class Beginning(ParallelStyle):
    """The first argument (N, E) is whole in every process; its gradients, a part from each, are summed once."""

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        def enter(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            return (DTensor.from_local(args[0], device_mesh, [Replicate()], run_check=False), *args[1:])

        module.register_forward_pre_hook(enter)
        return module


class Columns(ParallelStyle):
    """Of a `Linear` this process has some of the outputs: (N, in) -> (N, out / n)."""

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        def spread(_: str, own: nn.Module, mesh: DeviceMesh) -> None:
            _spread(own, mesh, {"weight": Shard(0), "bias": Shard(0)})

        return distribute_module(module, device_mesh, spread, None, cast(Any, _leave))


class Rows(ParallelStyle):
    """Of a `Linear` this process has some of the inputs: (N, in / n) -> (N, out), summed over all processes; the bias once."""

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        def spread(_: str, own: nn.Module, mesh: DeviceMesh) -> None:
            _spread(own, mesh, {"weight": Shard(1), "bias": Replicate()})

        def enter(_: nn.Module, args: tuple[Tensor, ...], mesh: DeviceMesh) -> tuple[Tensor, ...]:
            return (DTensor.from_local(args[0], mesh, [Shard(-1)], run_check=False),)

        def leave(own: nn.Module, found: DTensor, mesh: DeviceMesh) -> Tensor:
            return _leave(own, found.redistribute(mesh, [Replicate()]), mesh)

        return distribute_module(module, device_mesh, spread, cast(Any, enter), cast(Any, leave))


class _SumOver:
    """A gradient summed over a group; every process has to compute it."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        self.group = group

    def __call__(self, gradient: Tensor) -> Tensor:
        summed = gradient.clone()
        dist.all_reduce(summed, group=self.group)
        return summed


def _leave(_: nn.Module, found: DTensor, mesh: DeviceMesh) -> Tensor:
    return found.to_local()


def _spread(module: nn.Module, mesh: DeviceMesh, placements: dict[str, Placement]) -> None:
    """Every process has the same weights: nothing is sent."""
    for name, one in list(module.named_parameters(recurse=False)):
        spread = distribute_tensor(one.detach(), mesh, [placements[name]], src_data_rank=None)
        module.register_parameter(name, nn.Parameter(spread, requires_grad=one.requires_grad))
