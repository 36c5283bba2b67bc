"""Compiled kernels get a place that can be written, or it is said that they have none."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from openbook.core import kernel_cache

NOWHERE = "/proc/nowhere"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Of a package that is installed where nobody can write."""
    found: dict[str, str] = {}
    monkeypatch.setattr(kernel_cache.os, "environ", found)
    monkeypatch.setattr(kernel_cache.os, "access", lambda *_: False)
    monkeypatch.setattr(kernel_cache, "home", lambda: tmp_path / "home")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return found


def test_an_installed_package_keeps_them_with_the_user_s_things(environment: dict[str, str], tmp_path: Path) -> None:
    kernel_cache.choose_kernel_cache()
    assert environment["NUMBA_CACHE_DIR"] == str(tmp_path / "home" / "cache" / "numba")


def test_a_checkout_keeps_them_beside_the_sources(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_cache.os, "access", lambda *_: True)
    kernel_cache.choose_kernel_cache()
    assert "NUMBA_CACHE_DIR" not in environment


def test_the_user_s_choice_stays(environment: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    environment["NUMBA_CACHE_DIR"] = str(tmp_path / "mine")
    kernel_cache.choose_kernel_cache()
    assert environment["NUMBA_CACHE_DIR"] == str(tmp_path / "mine") and not caplog.text


def test_what_cannot_be_written_is_told_and_replaced(
    environment: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environment["NUMBA_CACHE_DIR"] = NOWHERE
    kernel_cache.choose_kernel_cache()
    other = tmp_path / f"openbook-kernels-{os.getuid()}"
    assert environment["NUMBA_CACHE_DIR"] == str(other) and other.stat().st_mode & 0o777 == 0o700
    assert f"cannot be kept in {NOWHERE}" in caplog.text and str(other) in caplog.text


@pytest.mark.parametrize("kind", ["others may write", "link", "file"])
def test_what_somebody_else_may_have_put_there_is_not_run(
    kind: str, environment: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environment["NUMBA_CACHE_DIR"] = NOWHERE
    other = tmp_path / f"openbook-kernels-{os.getuid()}"
    if kind == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        other.symlink_to(tmp_path / "elsewhere")
    elif kind == "file":
        other.write_text("")
    else:
        other.mkdir()
        other.chmod(0o777)
    kernel_cache.choose_kernel_cache()
    assert environment["NUMBA_CACHE_DIR"] == NOWHERE
    assert "point NUMBA_CACHE_DIR to a directory that can be written" in caplog.text
