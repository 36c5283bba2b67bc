"""A model that does not fit is refused with both figures, before its memory is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from lm.checkpoints import TINY, tiny
from openbook.core.errors import ModelUnavailable
from openbook.lm import room
from openbook.lm.load import load_model, new_model
from openbook.lm.room import available_bytes, check_room

MEMINFO = "MemTotal:       100 kB\nMemFree:          5 kB\nMemAvailable:    20 kB\nSwapFree:         3 kB\n"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Files that say what a machine has: 23 kB."""
    (tmp_path / "meminfo").write_text(MEMINFO)
    (tmp_path / "group").mkdir()
    monkeypatch.setattr(room, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(room, "_GROUP", tmp_path / "group")
    return tmp_path


def test_what_is_available_is_memory_and_swap(machine: Path) -> None:
    assert available_bytes() == 23 * 1_024
    (machine / "meminfo").write_text("MemTotal: many\n")
    assert available_bytes() is None or available_bytes() > 1e6, "of the whole machine"


@pytest.mark.parametrize(("most", "want"), [("max", 23 * 1_024), ("9000", 9_000 - 5_000 + 700), ("99999", 23 * 1_024)])
def test_a_control_group_may_allow_less(machine: Path, most: str, want: int) -> None:
    (machine / "group" / "memory.max").write_text(most + "\n")
    (machine / "group" / "memory.current").write_text("5000\n")
    (machine / "group" / "memory.stat").write_text("anon 4000\ninactive_file 700\nactive_file 300\n")
    assert available_bytes() == want


def test_what_does_not_fit_is_refused(machine: Path) -> None:
    check_room(23 * 1_024, "it")
    with pytest.raises(ModelUnavailable, match=r"it takes 9\.0 GB of memory, 0\.0 GB are available"):
        check_room(9_000_000_000, "it")
    with pytest.raises(ModelUnavailable, match="the new model takes"):
        new_model(TINY)


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny(tmp_path)
    count = sum(one.numel() for one in model.parameters())
    monkeypatch.setattr(room, "available_bytes", lambda: 2 * count)
    assert load_model(tmp_path, "bfloat16").dtype.itemsize == 2
    with pytest.raises(ModelUnavailable, match=f"{tmp_path} takes .* of memory"):
        load_model(tmp_path)
