"""Pipeline parallel: each process has some of the layers, and hands what they make of a micro-batch to the next one.

torch's schedules (`torch.distributed.pipelining`: 1F1B, GPipe) say who computes when. They take every micro-batch to have one
shape. Ours are ragged, but all processes read the same rows, so that each knows the lengths: what is sent is filled up to the
longest micro-batch of the step, and the layers see its true tokens only. A schedule is made anew for each step, which costs one
small message there and back.
Sources: Huang et al. 2018, https://arxiv.org/abs/1811.06965 (GPipe); Narayanan et al. 2020, https://arxiv.org/abs/2006.09503
(1F1B). In reading order: the layers that stay; a stage; the pipeline.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe
from torch.nn import functional as F

from openbook.core.errors import UsageError
from openbook.lm.families.base import Family
from openbook.lm.families.llama import Llama
from openbook.training.loss import LossSum
from openbook.training.objectives.objective import Objective
from openbook.training.parallel import Elsewhere
from openbook.training.precision import products_in
from openbook.training.sources.step import Tokens

Sums = dict[str, list[float]]
_SCHEDULES = {"1f1b": Schedule1F1B, "gpipe": ScheduleGPipe}


def cut(model: Family, stage: int, stages: int) -> None:
    """Leaves this process its layers, under the names that they have; the table of tokens stays with the first stage, the norm
    and the head with the last one, which keeps the table too where they are tied. UsageError for what cannot be cut so.
    """
    if not isinstance(model, Llama):
        kind = model.config.model_type
        raise UsageError(f"parallel=pipeline cuts Llama-like decoders, not {kind}", "use parallel=ddp, fsdp or tensor")
    if len(model.layers) < stages:
        raise UsageError(f"{len(model.layers)} layers cannot be cut into {stages} stages", "use fewer processes")
    for at in range(len(model.layers)):
        if at * stages // len(model.layers) != stage:
            model.layers[at] = Elsewhere()
    is_last = stage == stages - 1
    if not is_last:
        model.norm = cast(Any, Elsewhere())
        model.lm_head = cast(Any, Elsewhere())
    if stage > 0 and not (is_last and model.config.tied):
        model.tokens = cast(Any, Elsewhere())


class Stage(nn.Module):
    """A cut model as a schedule calls it: (rows of the stage before, number of the micro-batch) -> rows for the next one, or the
    loss, () times `factor`, as (1,).
    """

    def __init__(self, model: Family, place: tuple[int, int]) -> None:
        super().__init__()
        self.model = model
        self.is_first, self.is_last = place[0] == 0, place[0] == place[1] - 1
        self.received: Tensor | None = None
        model.register_forward_pre_hook(self._hand_over, with_kwargs=True)
        self.micros: Sequence[Tokens] = ()
        self.objective: Objective[Any]
        self.factor, self.precision = 1.0, "float32"
        self.found: list[LossSum] = []

    def forward(self, x: Tensor, micro: Tensor) -> Tensor:
        one = self.micros[int(micro)]
        with products_in(self.precision, self.model.device):
            made = self.rows(x, one)
        if isinstance(made, LossSum):
            self.found.append(made)
            return (made.total * self.factor).reshape(1)
        return F.pad(made, (0, 0, 0, self.longest - len(made)))  # (longest, E)

    def rows(self, x: Tensor | None, one: Tokens) -> Tensor | LossSum:
        """(N, E), or on the last stage the loss."""
        self.received = None if self.is_first or x is None else x[: len(one.ids)]
        try:
            if self.is_last:
                return self.objective.loss(self.model, one)
            found: Tensor = self.model(one.ids, one.batch(), head="hidden")
            return found
        finally:
            self.received = None

    @property
    def longest(self) -> int:
        """Tokens of a micro-batch of this step."""
        return max(len(one.ids) for one in self.micros)

    def _hand_over(
        self, _: nn.Module, args: tuple[Any, ...], said: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The model takes what was received in place of its own table of tokens."""
        return args, said if self.received is None else said | {"input_embeds": self.received}


class Pipeline:
    """The stages that are one copy of a model; `mesh` (stages,) has their processes."""

    def __init__(self, model: Family, mesh: DeviceMesh, schedule: str = "1f1b") -> None:
        self.group, self.place, self.count = mesh.get_group(), mesh.get_local_rank(), mesh.size()
        cut(model, self.place, self.count)
        self.stage, self.schedule = Stage(model, (self.place, self.count)), _SCHEDULES[schedule]
        self.width, self.dtype = model.config.hidden_size, model.dtype
        tied = cast(Llama, model).config.tied and (self.stage.is_first or self.stage.is_last)
        self.tied = cast(nn.Parameter, cast(Llama, model).tokens.weight) if tied else None

    def passes(
        self, objective: Objective[Any], micros: Sequence[Any], factor: float, precision: str
    ) -> tuple[float, Sums]:
        """Forward and back through all of them; the sum of the loss and of the metrics, in every process."""
        stage = self._with(objective, micros, precision)
        stage.factor = factor
        wire = torch.empty(stage.longest, self.width, dtype=self.dtype, requires_grad=True)
        number = torch.empty(1, dtype=torch.int64)
        run = self.schedule(
            PipelineStage(
                stage,
                self.place,
                self.count,
                torch.device("cpu"),
                input_args=number if stage.is_first else wire,
                output_args=torch.empty(1, requires_grad=True) if stage.is_last else wire,
                group=self.group,
            ),
            len(micros),
            loss_fn=_itself,
            scale_grads=False,
        )
        which = torch.arange(len(micros))
        given = (which,) if stage.is_first else ()
        run.step(*given, target=which if stage.is_last else None, micro=which, return_outputs=False)
        self._sum_tied()
        return self._of_last(stage.found)

    @torch.no_grad()
    def looked(self, objective: Objective[Any], micros: Sequence[Any], precision: str) -> tuple[float, Sums]:
        """The same sums without gradients."""
        stage = self._with(objective, micros, precision)
        for one in micros:
            x = None
            if not stage.is_first:
                x = torch.empty(len(one.ids), self.width, dtype=self.dtype)
                dist.recv(x, group=self.group, group_src=self.place - 1)
            with products_in(precision):
                made = stage.rows(x, one)
            if isinstance(made, LossSum):
                stage.found.append(made)
            else:
                dist.send(made.to(self.dtype).contiguous(), group=self.group, group_dst=self.place + 1)
        return self._of_last(stage.found)

    def norm(self, parameters: Sequence[nn.Parameter]) -> float:
        """Of the gradient of the whole model; a tied table counts once."""
        is_twice = self.tied is not None and not self.stage.is_first
        grads = [one.grad for one in parameters if one.grad is not None and not (is_twice and one is self.tied)]
        squared = nn.utils.get_total_norm(grads).double() ** 2 if grads else torch.zeros((), dtype=torch.float64)
        dist.all_reduce(squared, group=self.group)
        return math.sqrt(float(squared))

    def gathered(self, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What all stages have, in the first one; the others get their own back."""
        found = dict(own)
        for sender in range(1, self.count):
            if self.place == sender:
                forms = {name: [str(one.dtype).removeprefix("torch."), list(one.shape)] for name, one in own.items()}
                self._send_text(json.dumps(forms))
                for one in own.values():
                    dist.send(one.detach().contiguous(), group=self.group, group_dst=0)
            elif self.place == 0:
                for name, (dtype, shape) in json.loads(self._receive_text(sender)).items():
                    found[name] = torch.empty(shape, dtype=getattr(torch, dtype))
                    dist.recv(found[name], group=self.group, group_src=sender)
        return found

    def _with(self, objective: Objective[Any], micros: Sequence[Any], precision: str) -> Stage:
        self.stage.objective, self.stage.micros, self.stage.precision = objective, micros, precision
        self.stage.found = []
        return self.stage

    def _sum_tied(self) -> None:
        """The gradient of a table that is in the first stage and in the last: both have the sum."""
        if self.tied is None or self.count == 1:
            return
        if self.tied.grad is None:
            self.tied.grad = torch.zeros_like(self.tied)
        if self.stage.is_first:
            other = torch.empty_like(self.tied.grad)
            dist.recv(other, group=self.group, group_src=self.count - 1)
            self.tied.grad += other
            dist.send(self.tied.grad, group=self.group, group_dst=self.count - 1)
        else:
            dist.send(self.tied.grad, group=self.group, group_dst=0)
            dist.recv(self.tied.grad, group=self.group, group_src=0)

    def _of_last(self, found: Sequence[LossSum]) -> tuple[float, Sums]:
        """What the last stage found, said as JSON to all."""
        sums: Sums = {"": [sum(float(one.total.detach()) for one in found)]}
        for one in found:
            for name, pair in one.metrics.items():
                sums[name] = [a + b for a, b in zip(sums.get(name, [0.0, 0.0]), pair, strict=True)]
        said = torch.tensor(list(json.dumps(sums).encode()), dtype=torch.uint8)
        size = torch.tensor(len(said))
        dist.broadcast(size, group=self.group, group_src=self.count - 1)
        if not self.stage.is_last:
            said = torch.empty(int(size), dtype=torch.uint8)
        dist.broadcast(said, group=self.group, group_src=self.count - 1)
        heard: Sums = json.loads(bytes(said.tolist()))
        return heard.pop("")[0], heard

    def _send_text(self, text: str) -> None:
        said = torch.tensor(list(text.encode()), dtype=torch.uint8)
        dist.send(torch.tensor(len(said)), group=self.group, group_dst=0)
        dist.send(said, group=self.group, group_dst=0)

    def _receive_text(self, sender: int) -> str:
        size = torch.tensor(0)
        dist.recv(size, group=self.group, group_src=sender)
        said = torch.empty(int(size), dtype=torch.uint8)
        dist.recv(said, group=self.group, group_src=sender)
        return bytes(said.tolist()).decode()


def _itself(loss: Tensor, _: Tensor) -> Tensor:
    return loss.sum()
