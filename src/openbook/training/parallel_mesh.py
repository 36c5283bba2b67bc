"""How the processes of a run are laid out: copies of the model that share a step's rows, and the processes that share a copy.

In reading order: what a recipe asks for; the ranks in that layout; what each way cannot do.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from openbook.core.errors import UsageError
from openbook.training.parallel import LOST_S, Ranks
from openbook.training.recipe import Recipe


class Layout(NamedTuple):
    """`data` copies of the model, each of them in `shares` processes. `way`: what each of these has of it."""

    way: str
    data: int
    shares: int


def layout_of(recipe: Recipe, processes: int) -> Layout:
    """UsageError where the processes are too few, or do not fit."""
    asked, way = recipe.parallel, recipe.way
    if asked != "ddp" and processes == 1:
        raise UsageError(f"parallel={way} needs several processes", "start it with torchrun --nproc-per-node N")
    if isinstance(asked, str):
        return Layout(way, 1, processes) if way in ("tensor", "pipeline") else Layout(way, processes, 1)
    found = Layout(way, asked.data, asked.tensor * asked.pipeline)
    if found.data * found.shares != processes:
        raise UsageError(
            f"parallel wants {found.data} x {found.shares} processes, there are {processes}",
            f"start it with torchrun --nproc-per-node {found.data * found.shares}",
        )
    return found


def laid_out(recipe: Recipe, ranks: Ranks) -> Ranks:
    """The processes that `ranks` knows, as the recipe wants them. UsageError where that cannot be."""
    layout = layout_of(recipe, ranks.processes)
    check_way(recipe, layout)
    if recipe.batch_size % layout.data:
        raise UsageError(
            f"batch_size {recipe.batch_size} is no multiple of {layout.data} processes with rows of their own",
            "change batch_size, or start as many processes as divide it",
        )
    if layout.shares == 1:
        return ranks
    mesh = _mesh(layout)
    is_one = layout.data == 1
    return Ranks(
        0 if is_one else mesh.get_local_rank("data"),
        layout.data,
        process=dist.get_rank(),
        processes=ranks.processes,
        group=None if is_one else mesh.get_group("data"),
        mesh=mesh if is_one else mesh[layout.way],
    )


def _mesh(layout: Layout) -> DeviceMesh:
    """Axes "data" (where there are several copies) and the way of the layout. Neighbours share a copy."""
    places = torch.arange(layout.data * layout.shares).view(layout.data, layout.shares)
    if layout.data == 1:
        return init_device_mesh("cpu", (layout.shares,), mesh_dim_names=(layout.way,))
    lost = timedelta(seconds=LOST_S)  # a new group would wait for half an hour
    begin: Callable[..., tuple[dist.ProcessGroup, object]] = dist.new_subgroups_by_enumeration
    groups = [begin(axis.tolist(), timeout=lost)[0] for axis in (places.t(), places)]
    return DeviceMesh.from_group(groups, "cpu", mesh=places, mesh_dim_names=("data", layout.way))


def check_way(recipe: Recipe, layout: Layout) -> None:
    """UsageError names what is not made for a model of which each process has a part."""
    way = layout.way
    if recipe.checkpoint == "sharded" and way not in ("fsdp", "tensor"):
        raise UsageError(f"checkpoint=sharded goes with parallel=fsdp or tensor, not {way}", "checkpoint=whole")
    if way == "ddp":
        return
    if recipe.ema is not None or recipe.optimizer != "adamw" or recipe.precision == "float16":
        raise UsageError(
            f"parallel={way} goes with adamw, without ema and without float16", "change them, or use parallel=ddp"
        )
    if way == "fsdp":
        _check_adapter(recipe)
        return
    if recipe.adapter is not None:
        raise UsageError(f"parallel={way} trains whole models", "use parallel=ddp or fsdp for adapters")
    if recipe.continual.is_on:
        raise UsageError(f"parallel={way} has no continual", "use parallel=ddp")
    if recipe.compile:
        raise UsageError(f"parallel={way} is not compiled", "compile=false, or use parallel=ddp")
    if way == "pipeline":
        _check_pipeline(recipe, layout)


def _check_adapter(recipe: Recipe) -> None:
    part = recipe.adapter
    if part is not None and part.kind not in ("lora", "dora", "houlsby"):
        raise UsageError(
            f"parallel=fsdp trains lora, dora and houlsby, not {part.kind}", "use parallel=ddp: adapters are small"
        )
    if part is not None and recipe.checkpoint == "sharded":
        raise UsageError("an adapter is saved whole: it is small", "checkpoint=whole")


def _check_pipeline(recipe: Recipe, layout: Layout) -> None:
    if recipe.objective != "next_token":
        raise UsageError(
            f"parallel=pipeline learns next_token, not {recipe.objective}", "use parallel=ddp, fsdp or tensor"
        )
    if recipe.model.path is not None and recipe.forgetting is not False:
        raise UsageError("parallel=pipeline does not measure what is forgotten", "forgetting=false")
    rows = recipe.batch_size // layout.data
    micros = -(-rows // (recipe.micro_batch_size or rows))
    if micros < layout.shares and recipe.pipeline_schedule == "1f1b":
        raise UsageError(
            f"1f1b needs as many micro-batches as the {layout.shares} stages, a step has {micros}",
            f"micro_batch_size={max(rows // layout.shares, 1)}, or pipeline_schedule=gpipe",
        )
