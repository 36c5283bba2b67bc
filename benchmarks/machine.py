"""Names the machine that a benchmark ran on, and its arithmetic peak as measured there and then."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "torch",
    "numpy",
    "numba",
    "tokenizers",
    "apsw",
    "sentence-transformers",
    "chromadb",
    "txtai",
    "bm25s",
    "transformers",
)
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")


def describe() -> dict[str, object]:
    """CPU, cores available, flags that decide paths, memory, Python and the versions of what is installed."""
    cpu, flags = _cpu()
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "flags": [flag for flag in _FLAGS if flag in flags],
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "load_before": round(os.getloadavg()[0], 2),
    }


def _cpu() -> tuple[str, set[str]]:
    path = Path("/proc/cpuinfo")
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    family = f" (family {fields['cpu family']}, model {fields['model']})" if "cpu family" in fields else ""
    return fields.get("model name", platform.processor()) + family, set(fields.get("flags", "").split())


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def arithmetic_peak() -> dict[str, float]:
    """Giga-operations per second of a large product on all cores, by number format, the best of several runs.

    float32 and bfloat16 through oneDNN with packed weights, int8 through its quantised linear layer; 0 where missing.
    """
    import torch

    size, rows = 1536, 2048
    x, weight = torch.randn(rows, size), torch.randn(size, size)
    peaks = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.to(dtype))
        left = x.to(dtype)

        def product(left: torch.Tensor = left, packed: torch.Tensor = packed) -> object:
            return torch.ops.mkldnn._linear_pointwise(left, packed, None, "none", [], "")

        peaks[name] = _giga_ops(product, 2 * rows * size * size)
    bytes_in = torch.randint(0, 255, (rows, size), dtype=torch.uint8)
    packed = torch.ops.onednn.qlinear_prepack(torch.randint(-127, 127, (size, size), dtype=torch.int8), None)
    scales, zeros = torch.ones(size), torch.zeros(size, dtype=torch.long)

    def bytes_product() -> object:
        op = torch.ops.onednn.qlinear_pointwise
        return op(bytes_in, 1.0, 128, packed, scales, zeros, None, 1.0, 0, torch.float32, "none", [], "")

    peaks["int8"] = _giga_ops(bytes_product, 2 * rows * size * size)
    return peaks


def _giga_ops(run: Callable[[], object], operations: int) -> float:
    run()
    best = float("inf")
    for _ in range(12):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return round(operations / best / 1e9)
