"""What this processor can do, as LLVM names it. `OPENBOOK_ISA=avx2` has it do no more than AVX2, as older ones."""

from __future__ import annotations

import os
from functools import cache

_INT8_NEEDS = ("avx512f", "avx512bw", "avx512vl", "avx512vnni")


@cache
def cpu_features() -> frozenset[str]:
    """Names of the features that the processor has, e.g. "avx512vnni"; empty where llvmlite is missing."""
    try:
        from llvmlite import binding

        found = frozenset(name for name, has in binding.get_host_cpu_features().items() if has)
    except (ImportError, OSError, RuntimeError):
        return frozenset()
    if os.environ.get("OPENBOOK_ISA") == "avx2":
        return frozenset(name for name in found if not name.startswith(("avx512", "avxvnni", "amx")))
    return found


def why_not_int8() -> str:
    """What the byte kernels lack on this machine, in words; empty when they run."""
    lacking = [name for name in _INT8_NEEDS if name not in cpu_features()]
    return f"needs a processor with {', '.join(lacking)} and llvmlite" if lacking else ""
