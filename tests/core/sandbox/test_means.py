"""What a machine has to shut programs in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from openbook.core.sandbox import means
from openbook.core.sandbox.bubblewrap import bubblewrap_command


@pytest.mark.parametrize(
    ("abi", "fs", "net", "scoped", "size"),
    [
        (1, 0x1FFF, 0, 0, 8), (2, 0x3FFF, 0, 0, 8), (3, 0x7FFF, 0, 0, 8), (4, 0x7FFF, 3, 0, 16), (5, 0xFFFF, 3, 0, 16),
        (6, 0xFFFF, 3, 3, 24), (7, 0xFFFF, 3, 3, 24), (99, 0xFFFF, 3, 3, 24),
    ],
)  # fmt: skip
def test_each_version_of_landlock_has_its_bits(abi: int, fs: int, net: int, scoped: int, size: int) -> None:
    assert means.landlock(abi) == (abi, fs, net, scoped, size)


def test_a_kernel_without_landlock_has_none() -> None:
    assert means.landlock(0) is None
    assert means.landlock_abi() >= 0


def test_only_root_changes_to_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert means.spare_uid() is None
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    drawn = {means.spare_uid() for _ in range(5)}
    assert None not in drawn
    assert len(drawn) > 1


def test_where_few_numbers_are_mapped_one_of_them_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(Path, "read_text", lambda _: "         0     100000      65536\n")
    drawn = means.spare_uid()
    assert drawn is not None
    assert 61184 <= drawn < 65519


def test_a_path_below_a_closed_directory_is_not_open_to_all(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(0o700)
    assert not means.is_open_to_all(closed / "file")
    assert means.is_open_to_all(Path("/usr/bin"))


def test_bubblewrap_shows_nothing_but_what_is_named(tmp_path: Path) -> None:
    command = bubblewrap_command(Path("bwrap"), tmp_path, (Path("/usr"),), 9, is_root=False)
    assert "--unshare-all" in command
    assert "--die-with-parent" in command
    assert "--new-session" in command
    assert "--clearenv" in command
    assert not {"--share-net", "--proc", "--cap-add"} & set(command)
    writable = [command[at + 1] for at, word in enumerate(command) if word == "--bind"]
    assert writable == [str(tmp_path)]
    assert command.index("--remount-ro") > command.index("--ro-bind-try")
    assert "--cap-add" in bubblewrap_command(Path("bwrap"), tmp_path, (Path("/usr"),), 9, is_root=True)
