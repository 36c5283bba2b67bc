"""What a grammar is to the engine: tokens that may come next. Who knows the tokenizer makes them (`serving.chat.constraint`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Constraint(Protocol):
    """How far one answer has come in its grammar."""

    def allowed(self) -> NDArray[np.bool_]:
        """(V,) what may come next; the model's end tokens where the answer may end. None at all when the grammar has grown too
        large to go on with.
        """
        ...

    def push(self, token: int) -> None:
        """`token` was chosen, one of those that were allowed."""
        ...

    @property
    def is_done(self) -> bool:
        """Whether the answer is complete and nothing can follow."""
        ...

    def copy(self) -> Constraint:
        """For a fork: it goes on by itself."""
        ...


Constraints = Callable[[str], Constraint]
"""Compiles `SamplingParams.constraint`; raises UsageError for one that cannot be. For any thread."""


def restrict(row: Tensor, constraint: Constraint) -> None:
    """row: (V,) logits, changed in place: -inf for what may not come next."""
    forbidden = torch.from_numpy(~constraint.allowed())  # (V,)
    row.masked_fill_(forbidden.to(row.device), -torch.inf)
