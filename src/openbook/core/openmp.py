"""One OpenMP runtime for torch and numba: the one that torch brings.

numba's `omp` layer asks the loader for a file that slim containers do not have (libgomp.so.1.0.0), while torch brings the same
library under its proper name (libgomp.so.1). Left alone, numba fails without the file, and with it there are two runtimes in the
process, each with threads of its own. The layer is therefore loaded from a copy in memory that asks for the proper name, which is
loaded already by then. Imports neither torch nor numba.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import sys
from importlib.machinery import ExtensionFileLoader
from pathlib import Path

_LAYER = "numba.np.ufunc.omppool"
_ASKED = b"\0libgomp.so.1.0.0\0"
_PROPER = b"\0libgomp.so.1".ljust(len(_ASKED), b"\0")
_log = logging.getLogger("openbook")


def share_openmp() -> None:
    """To be called before numba starts its threads. Where it cannot be done numba looks for the system's library; where there is
    none either, that is logged with its cure.
    """
    if _LAYER in sys.modules or sys.platform != "linux":
        return
    runtime, layer = _file("torch", "lib/libgomp.so.1"), _file("numba", "np/ufunc/omppool*.so")
    if layer is None:
        return
    if runtime is not None:
        try:
            ctypes.CDLL(str(runtime))
            if _load(layer):
                return
        except (OSError, ImportError) as error:
            _log.info("numba cannot share torch's OpenMP (%s)", error)
    try:
        ctypes.CDLL(_ASKED.strip(b"\0").decode())
    except OSError as error:
        _log.warning("numba finds no OpenMP (%s): install libgomp, e.g. `apt-get install libgomp1`", error)


def _file(package: str, pattern: str) -> Path | None:
    """The file of an installed package; None where there is none, or not exactly one."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    found = list(Path(spec.origin).parent.glob(pattern))
    return found[0] if len(found) == 1 else None


def _load(layer: Path) -> bool:
    """Puts the changed copy where numba looks for its layer. False for one that asks for another file, which is left alone."""
    content = layer.read_bytes()
    if content.count(_ASKED) != 1:
        return False
    memory = os.memfd_create("omppool", os.MFD_CLOEXEC)
    try:
        with open(memory, "wb", closefd=False) as file:
            file.write(content.replace(_ASKED, _PROPER))
        path = f"/proc/self/fd/{memory}"
        loader = ExtensionFileLoader(_LAYER, path)
        spec = importlib.util.spec_from_file_location(_LAYER, path, loader=loader)
        assert spec is not None, "a loader is given"
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
    finally:
        os.close(memory)
    sys.modules[_LAYER] = module
    return True
