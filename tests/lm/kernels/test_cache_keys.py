"""A kernel that is made of others is found again by the next process, and never in place of another."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from numba.core import config
from numba.core.registry import cpu_target

from openbook.lm.kernels import cache_keys
from openbook.lm.kernels.cpu import why_not_int8

_KERNELS = """
from numba import njit
from openbook.lm.kernels.cache_keys import kept_as

@njit
def twice(x):
    return 2 * x

@njit
def thrice(x):
    return 3 * x

def make(name, part):
    @njit(cache=True)
    def whole(x):
        return part(x)
    return kept_as(whole, name)

kernels = make("twice", twice), make("thrice", thrice)
"""


@pytest.fixture(autouse=True)
def beside_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", "")


def kernels(directory: Path) -> Any:
    """Read anew, as by another process."""
    path = directory / "made_of_others.py"
    if not path.exists():
        path.write_text(_KERNELS)
    spec = importlib.util.spec_from_file_location("made_of_others", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.kernels


def hits(kernel: Any) -> int:
    return sum(kernel.stats.cache_hits.values())


def test_each_is_found_again_and_is_itself(tmp_path: Path) -> None:
    assert [kernel(5) for kernel in kernels(tmp_path)] == [10, 15]
    again = kernels(tmp_path)
    assert [kernel(5) for kernel in again] == [10, 15] and [hits(kernel) for kernel in again] == [1, 1]
    assert len(list((tmp_path / "__pycache__").glob("*.nbc"))) == 2  # nothing is kept twice


def test_a_change_of_any_kernel_has_them_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [kernel(5) for kernel in kernels(tmp_path)] == [10, 15]
    monkeypatch.setattr(cache_keys, "sources", lambda: "other sources")
    again = kernels(tmp_path)
    assert [kernel(5) for kernel in again] == [10, 15] and [hits(kernel) for kernel in again] == [0, 0]


@pytest.mark.skipif(bool(why_not_int8()), reason=why_not_int8())
def test_no_two_kernels_of_the_decoder_share_a_key() -> None:
    from openbook.lm.kernels import decoder_step, paged_attention

    kinds = ("INT8", "BFLOAT16", "INT4")
    made: list[Any] = [getattr(decoder_step, f"{kind}_{width}") for kind in kinds for width in ("FLOAT32", "BFLOAT16")]
    made += [head for kind in kinds for head in getattr(decoder_step, f"{kind}_HEADS")]
    made += [paged_attention.paged_attention_float32, paged_attention.paged_attention_bfloat16]
    codegen = cpu_target.target_context.codegen()
    keys = {(one.py_func.__qualname__, one._cache._index_key((), codegen)) for one in made}
    assert len(keys) == len(made) == 14
