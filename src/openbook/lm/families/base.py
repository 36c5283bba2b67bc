"""What all families share: how a caller asks for an output, and how names of modules are mapped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor, nn

Head = Literal["logits", "hidden"] | Callable[[Tensor, nn.Module | None], Tensor]
"""A callable gets the hidden rows and the module that makes logits of them, e.g. a chunked cross-entropy."""


class Names(NamedTuple):
    """One row of a mapping table: our module, the checkpoint's."""

    ours: str
    theirs: str
