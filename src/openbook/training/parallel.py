"""Several processes at one run: what is summed over them, so that a step is that of one process.

Started by torchrun, which tells each process its rank. Data parallel: every rank has the whole model and a part of each step;
gradients are summed over ranks after the last micro-batch, since the loss is divided by the weight of the whole step before.
Where a model itself is spread (`parallel_tensor`, `parallel_pipeline`), the processes that share one copy of it read the same
rows: a rank is then one copy, and `process` one process.
"""

from __future__ import annotations

import gc
import json
import math
import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn

from openbook.core.errors import RunStopped

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from openbook.training.parallel_pipeline import Pipeline

BUCKET_ELEMENTS = 1 << 22
"""Gradients are joined into buffers of so many numbers: one call for many small tensors."""
LOST_S = 300.0
"""A rank that says nothing for so long is lost."""


class Ranks:
    """This process among those of a run. With one, nothing is sent.

    `rank` of `world_size`: which part of a step's rows is read here. `process` of `processes`: all of them; more than ranks where
    several share one copy of the model. `mesh`: those that share this one's copy; `pipeline`: where they have its layers in turn.
    """

    def __init__(
        self,
        rank: int = 0,
        world_size: int = 1,
        *,
        process: int | None = None,
        processes: int | None = None,
        group: dist.ProcessGroup | None = None,
        mesh: DeviceMesh | None = None,
    ) -> None:
        self.rank, self.world_size = rank, world_size
        self.process = rank if process is None else process
        self.processes = world_size if processes is None else processes
        self.mesh = mesh
        self.pipeline: Pipeline | None = None
        self._group = group
        self.gradients_are_summed = world_size == 1
        """Whether the backward pass has done it."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes, logs and speaks."""
        return self.process == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Each of `values`, added up over ranks in float64. RunStopped where a rank is lost."""
        if self.world_size == 1:
            return list(values)
        joined = torch.tensor(values, dtype=torch.float64)
        self._reduce(joined)
        found: list[float] = joined.tolist()
        return found

    def sum_named(self, values: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
        """Each of `values`, added up over ranks, under the names that the first rank has; all lists are of one length."""
        names = self._of_first(list(values))
        width = max((len(one) for one in values.values()), default=0)
        width = int(self.max(width))
        summed = self.sum([part for name in names for part in values.get(name, [0.0] * width)])
        return {name: summed[width * place : width * (place + 1)] for place, name in enumerate(names)}

    def max(self, value: float) -> float:
        """The largest of any rank."""
        if self.world_size == 1:
            return value
        found = torch.tensor(value, dtype=torch.float64)
        self._reduce(found, dist.ReduceOp.MAX)
        return float(found)

    def max_named(self, values: Mapping[str, float]) -> dict[str, float]:
        """The largest of any rank, under the names that the first rank has."""
        return {name: self.max(values.get(name, -math.inf)) for name in self._of_first(list(values))}

    def any(self, flag: bool) -> bool:
        """Whether it is true in one process at least."""
        if self.processes == 1:
            return flag
        found = torch.tensor(float(flag))
        self._reduce(found, everywhere=True)
        return float(found) > 0

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """In place; a parameter that has no gradient on this rank may have one on another."""
        if self.gradients_are_summed:
            return
        for one in parameters:
            if one.grad is None:
                one.grad = torch.zeros_like(one)
        for bucket in _buckets([own_part(one.grad) for one in parameters if one.grad is not None]):
            joined = torch.cat([part.reshape(-1) for part in bucket])
            self._reduce(joined)
            for part, summed in zip(bucket, torch.split(joined, [part.numel() for part in bucket]), strict=True):
                part.copy_(summed.view_as(part))

    def gather(self, own: Tensor) -> list[Tensor]:
        """What each rank has, in their order: (n, ...) of one dtype and width, n of its own."""
        if self.world_size == 1:
            return [own]
        counts = [
            round(one) for one in self.sum([float(len(own) * (rank == self.rank)) for rank in range(self.world_size)])
        ]
        joined = own.new_zeros(sum(counts), *own.shape[1:])
        first = sum(counts[: self.rank])
        joined[first : first + len(own)] = own
        self._reduce(joined)  # all others have zeros there
        return list(torch.split(joined, counts))

    def wait(self) -> None:
        """For all processes."""
        self.any(False)

    def _of_first(self, names: list[str]) -> list[str]:
        """The names of the first rank, sent as UTF-8."""
        if self.world_size == 1:
            return names
        said = torch.tensor(list(json.dumps(names).encode()), dtype=torch.uint8)
        sent = torch.zeros(int(self.max(len(said) if self.rank == 0 else 0)), dtype=torch.uint8)
        if self.rank == 0:
            sent.copy_(said)
        self._reduce(sent)  # all others have zeros
        found: list[str] = json.loads(bytes(sent.tolist()))
        return found

    def _reduce(
        self, tensor: Tensor, how: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM, *, everywhere: bool = False
    ) -> None:
        try:
            dist.all_reduce(tensor, how, group=None if everywhere else self._group)
        except RuntimeError as error:
            raise self.lost(error) from None

    def lost(self, error: RuntimeError) -> RunStopped:
        """What a call that needs other processes has raised."""
        first = str(error).splitlines()[0]
        return RunStopped(
            f"rank {self.process} lost another one: {first}", "see what that one said, then go on with --resume"
        )


def join_ranks() -> Ranks:
    """The ranks that torchrun started, or this process alone."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        return Ranks()
    if not dist.is_initialized():
        dist.init_process_group("gloo", timeout=timedelta(seconds=LOST_S))
    return Ranks(dist.get_rank(), world_size)


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that is spread over ranks (`parallel_fsdp`); every rank has to ask for it. Another one as it is."""
    gather = getattr(tensor, "full_tensor", None)
    found: Tensor = tensor if gather is None else gather()
    return found


def own_part(tensor: Tensor) -> Tensor:
    """What is here of a tensor that is spread, as a view. Another one as it is."""
    part = getattr(tensor, "to_local", None)
    found: Tensor = tensor if part is None else part()
    return found


def spread_as(tensor: Tensor, other: Tensor) -> Tensor:
    """A whole `tensor` spread over ranks as `other` is, of which every rank has it whole; as it is where `other` is not."""
    if not hasattr(other, "full_tensor") or hasattr(tensor, "full_tensor") or tensor.ndim == 0:
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(other, DTensor)
    return distribute_tensor(tensor, other.device_mesh, other.placements, src_data_rank=None)


class Elsewhere(nn.Module):
    """Stands where a module was that another process has: what comes in goes out."""

    def forward(self, x: Tensor, *_: object) -> Tensor:
        return x


def is_sharded(model: nn.Module) -> bool:
    """Whether each process has a part of the weights only."""
    return any(hasattr(one, "full_tensor") for one in model.parameters()) or any(
        isinstance(one, Elsewhere) for one in model.modules()
    )


def is_lost(error: BaseException) -> bool:
    """Whether a call failed because another process is gone, or says nothing."""
    said = str(error)
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and ("gloo" in said or "Connection closed by peer" in said)
    )


def clip_gradients(parameters: Sequence[nn.Parameter], most: float, ranks: Ranks) -> float:
    """The norm of the whole gradient, all parts of the model together; gradients are made as short as `most`."""
    grads = [one.grad for one in parameters if one.grad is not None]
    spread = [one for one in grads if hasattr(one, "full_tensor")]
    if ranks.pipeline is None and len(spread) in (0, len(grads)):
        return float(whole(nn.utils.clip_grad_norm_(parameters, most)))
    plain = [one for one in grads if not hasattr(one, "full_tensor")]
    if ranks.pipeline is not None:
        norm = ranks.pipeline.norm(parameters)
    else:
        norm = math.hypot(*(float(whole(nn.utils.get_total_norm(one))) for one in (plain, spread)))
    if norm > most:
        torch._foreach_mul_([own_part(one) for one in grads], most / (norm + 1e-6))
    return norm


def leave_ranks() -> None:
    """Ends what `join_ranks` began. What is sharded holds the ranks too, in circles, and threads that must not outlive Python."""
    if dist.is_available() and dist.is_initialized():
        gc.collect()
        dist.destroy_process_group()
        gc.collect()


def _buckets(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Neighbours of one dtype, `BUCKET_ELEMENTS` together."""
    found: list[list[Tensor]] = []
    count = 0
    for one in tensors:
        if not found or found[-1][0].dtype != one.dtype or count + one.numel() > BUCKET_ELEMENTS:
            found.append([])
            count = 0
        found[-1].append(one)
        count += one.numel()
    return found
