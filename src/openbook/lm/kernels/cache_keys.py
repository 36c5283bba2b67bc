"""Keys under which numba finds kernels again that are made of other kernels.

numba's own key holds what a function encloses, and an enclosed kernel is another one in each process: what is kept would never be
found, so that every start compiles it and keeps one more. It also looks at the file of the compiled function alone, so that
what is kept would outlive a change of its parts.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from openbook.lm.kernels.cpu import cpu_features


@cache
def sources() -> str:
    """A digest of all kernels, and of what the processor can do, by which some are chosen."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    digest = hashlib.sha256(" ".join(sorted(cpu_features())).encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def kept_as(kernel: Any, name: str) -> Any:
    """`kernel`, which is found again by `name`: one for each set of parts that the same lines are compiled with."""

    def key(signature: Any, codegen: Any) -> tuple[Any, ...]:
        return signature, codegen.magic_tuple(), (name, sources())

    kernel._cache._index_key = key
    return kernel
