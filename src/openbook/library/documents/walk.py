"""The files under the folders that a user names, in a fixed order, and what is left out, each with its reason."""

from __future__ import annotations

import os
import re
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from openbook.core.errors import UsageError
from openbook.library.documents.source import MAX_FILE_BYTES

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILES = (".gitignore", ".openbookignore")
_FOLDERS = {
    "node_modules": "node_modules",
    "__pycache__": "a cache",
    "__MACOSX": "a macOS shadow folder",
    "bower_components": "a package folder",
    "$RECYCLE.BIN": "a recycle bin",
    "System Volume Information": "a system folder",
}
_SECRET = re.compile(
    r"\.env(\..*)?|.*\.env|id_(rsa|dsa|ecdsa|ed25519)(\.pub)?|.*\.(pem|p12|pfx|jks|keystore|kdbx|ppk)|\.?netrc|\.pgpass|"
    r"\.htpasswd|.*\.key",
    re.IGNORECASE,
)

_SCHEMA_BYTES = 1 << 18
_TABLES = (b"CREATE TABLE generations", b"CREATE TABLE term_counts")


class Found(NamedTuple):
    """A file to read. `root` is the folder that was named, or the file itself; `size` in bytes."""

    path: Path
    root: Path
    size: int
    mtime_ns: int


class Skipped(NamedTuple):
    """A file or folder that is left out. A skipped folder stands for all that is in it.

    `refused`: it would be a document if it could be opened or were smaller, so what is known of it is kept.
    """

    path: Path
    reason: str
    refused: bool = False


def walk(
    paths: Sequence[Path],
    *,
    exclude: Sequence[str] = (),
    max_file_bytes: int = MAX_FILE_BYTES,
    library: Path | None = None,
) -> Iterator[Found | Skipped]:
    """Every file under `paths`, sorted by name within a folder, each at most once.

    A file that is named itself is found even if it is hidden or ignored. `exclude` has the patterns of .gitignore,
    relative to each root. Links are followed to files and folders inside their root only, and come last, so that a
    file is found by its own name. The directory `library`, and any other that holds a library, is left out. Raises
    UsageError for a path that does not exist and for a pattern that makes no sense.
    """
    patterns = _spec(exclude, "--exclude")
    seen: set[tuple[int, int]] = set()
    for given in paths:
        root = given.absolute()
        try:
            status = root.stat()
        except FileNotFoundError:
            raise UsageError(f"{given} does not exist", "check the path") from None
        except OSError as error:
            raise UsageError(
                f"{given} cannot be read: {error.strerror}", "check the path and its permissions"
            ) from None
        if stat.S_ISDIR(status.st_mode):
            yield from _Walk(root, patterns, max_file_bytes, seen, library).run()
        else:
            yield from _file(root, root, status, max_file_bytes, seen)


def _file(
    path: Path, root: Path, status: os.stat_result, max_file_bytes: int, seen: set[tuple[int, int]]
) -> Iterator[Found | Skipped]:
    identity = (status.st_dev, status.st_ino)
    if not stat.S_ISREG(status.st_mode):
        yield Skipped(path, "a device, pipe or socket")
    elif identity in seen and status.st_nlink == 1:
        yield Skipped(path, "named twice, or linked from elsewhere in the folder")
    elif status.st_size > max_file_bytes:
        size = f"{status.st_size:,} bytes, the limit is {max_file_bytes:,} (max_file_bytes)"
        yield Skipped(path, f"too large: {size}", refused=True)
    else:
        seen.add(identity)
        yield Found(path, root, status.st_size, status.st_mtime_ns)


class _Walk:
    """The walk through one root; `specs` are the ignore files that hold, outermost first, with their folders."""

    def __init__(
        self,
        root: Path,
        exclude: GitIgnoreSpec | None,
        max_file_bytes: int,
        seen: set[tuple[int, int]],
        library: Path | None,
    ) -> None:
        self.root, self.exclude, self.max_file_bytes, self.seen = root, exclude, max_file_bytes, seen
        self.real_root = os.path.realpath(root)
        self.library = os.path.realpath(library) if library is not None else None
        self.folders: set[tuple[int, int]] = set()
        self.links: deque[tuple[os.DirEntry[str], list[tuple[str, GitIgnoreSpec]]]] = deque()

    def run(self) -> Iterator[Found | Skipped]:
        """The files, then those that only a link leads to: a link must not take the place of what it points to."""
        yield from self.folder(self.root, [])
        while self.links:
            entry, specs = self.links.popleft()
            yield from self._entry(entry, specs)

    def folder(self, folder: Path, specs: list[tuple[str, GitIgnoreSpec]]) -> Iterator[Found | Skipped]:
        try:
            status = folder.stat()
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            yield Skipped(folder, f"cannot be opened: {error.strerror}", refused=True)
            return
        if (status.st_dev, status.st_ino) in self.folders:
            yield Skipped(folder, "a link to a folder that was walked already")
            return
        self.folders.add((status.st_dev, status.st_ino))
        if os.path.realpath(folder) == self.library or is_library(folder):
            yield Skipped(folder, "an Openbook library")
            return
        for name in IGNORE_FILES:
            if any(entry.name == name for entry in entries) and (spec := _ignore_file(folder / name)) is not None:
                specs = [*specs, (str(folder), spec)]
        for entry in entries:
            if entry.is_symlink():
                self.links.append((entry, specs))
            else:
                yield from self._entry(entry, specs)

    def _entry(self, entry: os.DirEntry[str], specs: list[tuple[str, GitIgnoreSpec]]) -> Iterator[Found | Skipped]:
        path = Path(entry.path)
        try:
            if entry.is_symlink() and (reason := self._bad_link(entry.path)) is not None:
                yield Skipped(path, reason)
                return
            is_folder = entry.is_dir()
            if (reason := _by_name(entry, is_folder) or self._ignored(entry.path, is_folder, specs)) is not None:
                yield Skipped(path, reason)
            elif is_folder:
                yield from self.folder(path, specs)
            else:
                yield from _file(path, self.root, entry.stat(), self.max_file_bytes, self.seen)
        except OSError as error:
            yield Skipped(path, f"cannot be read: {error.strerror}", refused=True)

    def _bad_link(self, path: str) -> str | None:
        try:
            target = os.path.realpath(path, strict=True)
        except OSError:
            return "a broken or circular link"
        if target != self.real_root and not target.startswith(self.real_root.rstrip(os.sep) + os.sep):
            return "a link out of the folder"
        if Path(path).parent.resolve().is_relative_to(target):
            return "a link to a folder above it"
        return None

    def _ignored(self, path: str, is_folder: bool, specs: list[tuple[str, GitIgnoreSpec]]) -> str | None:
        slash = "/" if is_folder else ""
        if self.exclude is not None and self.exclude.match_file(os.path.relpath(path, self.root) + slash):
            return "excluded by --exclude, or taken out with `openbook rm` (adding it by name brings it back)"
        for folder, spec in reversed(specs):  # the nearest ignore file that has an opinion decides
            verdict = spec.check_file(path[len(folder) + 1 :] + slash).include
            if verdict is not None:
                return "ignored by an ignore file" if verdict else None
        return None


def _by_name(entry: os.DirEntry[str], is_folder: bool) -> str | None:
    name = entry.name
    if _SECRET.fullmatch(name) and not is_folder:
        return "a file for keys or passwords"
    if name.startswith("."):
        return "hidden"
    if name.startswith("~$") or (name.startswith(".~lock.") and name.endswith("#")):
        return "a lock file of an office program"
    if name in ("Thumbs.db", "desktop.ini"):
        return "a system file"
    if is_folder:
        if name in _FOLDERS:
            return _FOLDERS[name]
        if Path(entry.path, "pyvenv.cfg").exists():
            return "a virtual environment"
    return None


def is_library(folder: Path) -> bool:
    """Whether a library lies in `folder`: another program's file of the same name has other tables."""
    try:
        with (folder / "library.sqlite3").open("rb") as file:
            start = file.read(_SCHEMA_BYTES)
    except OSError:
        return False
    return start.startswith(b"SQLite format 3") and all(name in start for name in _TABLES)


def _ignore_file(path: Path) -> GitIgnoreSpec | None:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return _spec(lines, str(path))


def _spec(lines: Sequence[str], where: str) -> GitIgnoreSpec | None:
    if not any(line.strip() for line in lines):
        return None
    from pathspec import GitIgnoreSpec

    try:
        return GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        raise UsageError(f"a pattern of {where} makes no sense: {error}", "write it as in .gitignore") from None
