"""What a run learns from, learns by, and is evaluated on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from openbook.training.objectives.objective import Objective
from openbook.training.sources.step import Source


def _nothing() -> None:
    """Of tasks that start nothing."""


@dataclass(frozen=True)
class Task:
    """`held_out`: this rank's micro-batches of an evaluation. `per_epoch`: rows of an epoch, about. `begins_at_guess`: a fresh
    model's loss is ln V. `is_fixed`: all forward passes have the same shape. `notes`: what to know about the data.
    `also` writes what else belongs to a checkpoint, beside model and tokenizer. `beside`: what is trained beside the model and is
    no part of it; whole in every process. `begin`: from now on it may write into the folder of the run. `close` ends what it has
    started (processes of rewards). `is_held_out`: whether
    something can be evaluated, where that is known without writing it.
    """

    source: Source[Any]
    objective: Objective[Any]
    held_out: Callable[[], Iterator[Any]]
    per_epoch: int
    begins_at_guess: bool = True
    is_fixed: bool = False
    notes: tuple[str, ...] = ()
    also: Callable[[Path], None] | None = None
    beside: nn.Module | None = None
    begin: Callable[[], None] = _nothing
    is_held_out: bool | None = None
    close: Callable[[], None] = _nothing
