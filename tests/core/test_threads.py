"""Who says how many threads there are: the argument, then Openbook's own setting, then OpenMP's, then the machine."""

from __future__ import annotations

import pytest

from openbook.core import threads

NAMES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@pytest.mark.parametrize(
    ("argument", "own", "omp", "want"),
    [(3, "2", "1", 3), (None, "2", "1", 2), (None, "", "1", 1), (None, "0", "", 5), (None, None, "1,2", 5)],
)
def test_who_says_it(
    argument: int | None, own: str | None, omp: str, want: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {} if own is None else {"OPENBOOK_THREADS": own}
    if omp:
        environment["OMP_NUM_THREADS"] = omp
    monkeypatch.setattr(threads.os, "environ", environment)
    monkeypatch.setattr(threads, "available_cpus", lambda: 5)
    assert threads.set_thread_environment(argument) == want
    assert environment["MKL_NUM_THREADS"] == environment["NUMBA_NUM_THREADS"] == str(want)
    assert environment["OMP_NUM_THREADS"] == (omp or str(want))


@pytest.mark.parametrize("said", [None, "7"])
def test_what_libraries_keep_for_each_shape_is_bounded(said: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {} if said is None else {"LRU_CACHE_CAPACITY": said}
    monkeypatch.setattr(threads.os, "environ", environment)
    threads.set_thread_environment(1)
    assert environment["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "256"
    assert environment["LRU_CACHE_CAPACITY"] == (said or "16")
