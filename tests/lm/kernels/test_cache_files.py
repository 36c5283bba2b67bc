"""Faults of the files that compiled kernels are kept in end nothing: kernels are compiled again."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest
from numba.core import config

from openbook.lm.kernels import cache_files

_KERNEL = "from numba import njit\n\n\n@njit(cache=True)\ndef twice(x):\n    return x + x\n"


@pytest.fixture(autouse=True)
def guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", "")  # beside the source
    cache_files._say_not_kept.cache_clear()
    cache_files.guard_cache_files()


def kernel(directory: Path) -> Any:
    """Read anew, as by another process."""
    path = directory / "doubling.py"
    path.write_text(_KERNEL)
    spec = importlib.util.spec_from_file_location("doubling", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.twice


def test_a_kernel_is_kept_and_found_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert kernel(tmp_path)(2) == 4
    again = kernel(tmp_path)
    assert again(2) == 4 and sum(again.stats.cache_hits.values()) == 1 and not caplog.text


def test_one_that_cannot_be_kept_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    twice = kernel(tmp_path)
    shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
    (tmp_path / "__pycache__").write_text("no directory")
    assert twice(2) == 4 and twice(2.5) == 5.0
    assert caplog.text.count("cannot be kept") == 1 and "NUMBA_CACHE_DIR" in caplog.text


@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
@pytest.mark.parametrize("content", [b"", b"no pickle", None])
def test_a_broken_file_is_written_anew(
    ending: str, content: bytes | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kernel(tmp_path)(2)
    (file,) = (tmp_path / "__pycache__").glob(f"*{ending}")
    file.write_bytes(file.read_bytes()[:-20] if content is None else content)
    assert kernel(tmp_path)(2) == 4 and "cannot be read" in caplog.text
    caplog.clear()
    again = kernel(tmp_path)
    assert again(2) == 4 and sum(again.stats.cache_hits.values()) == 1 and not caplog.text
