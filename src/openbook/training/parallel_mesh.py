"""How the processes of a run are laid out: copies of the model that share a step's rows, and the processes that share a copy.

In reading order: what a recipe asks for; the ranks in that layout; what each way cannot do.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

from openbook.core.errors import UsageError
from openbook.training.parallel import Ranks
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
    if layout.shares == 1:
        return ranks
    mesh = init_device_mesh("cpu", (layout.data, layout.shares), mesh_dim_names=("data", layout.way))
    return Ranks(
        mesh.get_local_rank("data"),
        layout.data,
        process=dist.get_rank(),
        processes=ranks.processes,
        group=mesh.get_group("data"),
        mesh=mesh[layout.way],
    )


def check_way(recipe: Recipe, layout: Layout) -> None:
    """UsageError names what is not made for a model of which each process has a part."""
    way = layout.way
    if way == "ddp":
        return
    if recipe.ema is not None or recipe.optimizer != "adamw" or recipe.precision == "float16":
        raise UsageError(
            f"parallel={way} goes with adamw, without ema and without float16", "change them, or use parallel=ddp"
        )
    if way == "fsdp":
        return
    if recipe.adapter is not None:
        raise UsageError(f"parallel={way} trains whole models", "use parallel=ddp or fsdp for adapters")
    if recipe.continual.is_on:
        raise UsageError(f"parallel={way} has no continual", "use parallel=ddp")
    if recipe.compile:
        raise UsageError(f"parallel={way} is not compiled", "compile=false, or use parallel=ddp")
    if way == "pipeline":
        _check_pipeline(recipe, layout)


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
