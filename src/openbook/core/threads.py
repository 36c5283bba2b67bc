"""Thread counts and threading layers, set before torch, numba or numpy is first imported."""

from __future__ import annotations

import os

from openbook.core.kernel_cache import choose_kernel_cache
from openbook.core.openmp import share_openmp

_AS_AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "NUMBA_CPU_NAME": "haswell"}
"""What has the libraries compute as on a processor without AVX-512."""

_KEPT_SHAPES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256", "LRU_CACHE_CAPACITY": "16"}
"""oneDNN, and PyTorch's layer over it, each keep the kernels of the last so many shapes of a product, 1,024 if nobody says
otherwise. A shape takes up to 0.3 MB in each, so that a process that serves prompts of all lengths grows for thousands of
requests (measured, two products in bfloat16, up to 500 tokens: by 1.1 GB; with these by 0.2 GB, and then it stays). A forward
pass has fewer than 256 shapes, also with what is decoded beside it; what the outer layer has not kept the inner one has, at no
cost that could be measured. A kernel that is made again takes 0.2 to 0.5 ms.
"""


def available_cpus() -> int:
    """Processors that this process may run on (the affinity mask, not the machine's count)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_processors() -> None:
    """For a process that computes all the time: threads that wait for each other give their processor away soon.

    Spinning for milliseconds, as OpenMP does by default, is no faster where the machine is ours alone, and where it is not each
    waits for one that has no processor (measured with another process on both of two: a step of 22 ms took a second).
    Called before `set_thread_environment`.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def set_thread_environment(threads: int | None = None) -> int:
    """Sets the environment of OpenMP, MKL and numba to `threads` and returns it. Default: `OPENBOOK_THREADS`, else
    `OMP_NUM_THREADS`, else every available processor.

    Values that the user has set already stay. numba's `omp` layer is forced, because its `workqueue` fights torch's
    spinning OpenMP threads and halves the speed (measured: 56 against 107 tokens/s). `OPENBOOK_ISA=avx2` holds all of them
    to AVX2.
    """
    said = (os.environ.get(name) or "" for name in ("OPENBOOK_THREADS", "OMP_NUM_THREADS"))
    count = threads or next((int(one) for one in said if one.isdecimal() and int(one)), 0) or available_cpus()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, str(count))
    os.environ.setdefault("NUMBA_THREADING_LAYER", "omp")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for name, value in _KEPT_SHAPES.items():
        os.environ.setdefault(name, value)
    choose_kernel_cache()
    if os.environ.get("OPENBOOK_ISA") == "avx2":
        for name, value in _AS_AVX2.items():
            os.environ.setdefault(name, value)
    if os.environ["NUMBA_THREADING_LAYER"] == "omp":
        share_openmp()
    return count
