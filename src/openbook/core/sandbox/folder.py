"""The private folder of an untrusted program: filled, measured while the program runs, and removed whatever it left there."""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from openbook.core.errors import UsageError


def make_folder(files: Mapping[str, bytes | str], owner: int | None) -> Path:
    """A fresh folder that holds `files` (relative name -> content), readable by its owner alone.

    `UsageError` for a name that leaves the folder.
    """
    names = {name: _inside(name) for name in files}
    folder = Path(tempfile.mkdtemp(prefix="openbook-sandbox-")).resolve()
    for name, relative in names.items():
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        content = files[name]
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    if owner is not None:
        for parent, _, inner in os.walk(folder):
            for path in (Path(parent), *(Path(parent, name) for name in inner)):
                os.chown(path, owner, owner)
    return folder


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\0" in name or path == PurePosixPath("."):
        raise UsageError(f"file name {name!r} of an untrusted program", "give a relative name without '..'")
    return path


def measure(folder: Path, max_files: int) -> tuple[int, int]:
    """Bytes on the disk and entries in a folder that a hostile program writes to meanwhile; counting stops past `max_files`.

    A directory that cannot be read counts as too many: the program made it so.
    """
    used, count, waiting = 0, 0, [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    count += 1
                    if count > max_files:
                        return used, count
                    used += _size(entry)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except (FileNotFoundError, NotADirectoryError):
            continue  # removed meanwhile
        except OSError:  # no permission, or deeper than a path can say
            return used, max_files + 1
    return used, count


def _size(entry: os.DirEntry[str]) -> int:
    try:
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return 0
    return found.st_blocks * 512


def remove_folder(folder: Path) -> None:
    """Removes a folder of any depth and any modes. The program has ended: nothing changes meanwhile.

    Subfolders are moved up before they are emptied, so that no path grows longer than two names and nothing recurses.
    """
    if not folder.exists():
        return
    count, token = 0, secrets.token_hex(8)  # a name that the program cannot have taken
    while inner := _empty_files(folder):
        for directory in inner:
            for below in _empty_files(directory):
                count += 1
                below.rename(folder / f".{token}-{count}")
            directory.rmdir()
    folder.rmdir()


def _empty_files(directory: Path) -> list[Path]:
    """Removes what is no directory; the directories, made writable."""
    found = []
    for path in list(directory.iterdir()):
        if stat.S_ISDIR(path.lstat().st_mode):
            path.chmod(0o700)
            found.append(path)
        else:
            path.unlink()
    return found
