"""torch and numba share one OpenMP runtime, also on a system that has none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from openbook.core import openmp

_PROGRAM = """
from openbook.core.threads import set_thread_environment
set_thread_environment(2)
import logging
import numpy as np
import torch
from numba import njit, prange, threading_layer

@njit(parallel=True)
def total(x):
    found = 0.0
    for i in prange(len(x)):
        found += x[i]
    return found

torch.ones(1_000_000).add_(1)
assert total(np.ones(100_000)) == 100_000
print(threading_layer())
for line in open("/proc/self/maps"):
    print(line.split()[-1])
"""


def layer_and_runtimes(**environment: str) -> tuple[str, set[str]]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    layer, *mapped = done.stdout.splitlines()
    return layer, {path for path in mapped if Path(path).name.startswith("libgomp.so")}


@pytest.mark.slow  # compiles
def test_a_process_has_one_runtime_and_it_is_torch_s() -> None:
    layer, runtimes = layer_and_runtimes(NUMBA_THREADING_LAYER="omp")
    assert layer == "omp"
    assert len(runtimes) == 1 and runtimes.pop().endswith("torch/lib/libgomp.so.1")


@pytest.fixture
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openmp.sys, "modules", {})


@pytest.mark.usefixtures("nothing_loaded")
def test_without_any_library_the_cure_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    layer = tmp_path / "omppool.so"
    layer.write_bytes(b"another layer")

    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(openmp, "_file", lambda package, _: layer if package == "numba" else None)
    monkeypatch.setattr(openmp.ctypes, "CDLL", missing)
    openmp.share_openmp()
    assert "libgomp.so.1.0.0: cannot open" in caplog.text and "apt-get install libgomp1" in caplog.text


@pytest.mark.usefixtures("nothing_loaded")
def test_a_layer_that_asks_for_another_file_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    layer, asked = tmp_path / "omppool.so", []
    layer.write_bytes(b"another layer")
    monkeypatch.setattr(openmp, "_file", lambda *_: layer)
    monkeypatch.setattr(openmp.ctypes, "CDLL", asked.append)
    openmp.share_openmp()
    assert asked == [str(layer), "libgomp.so.1.0.0"] and not caplog.text and not openmp.sys.modules
