"""What adding or syncing a root would do: which files are new, changed, moved, copies, gone, skipped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from openbook.library.catalogue import reads
from openbook.library.catalogue.rows import FoundFile, PathRow, Root
from openbook.library.catalogue.writes import exact_pattern
from openbook.library.documents.walk import Found, Skipped, walk

_BLOCK = 1 << 20


@dataclass
class Plan:
    """One root's work, in the order in which it is done. `kept` says why paths that are gone were not removed."""

    root: Root
    moved: list[tuple[str, FoundFile]] = field(default_factory=list)
    copied: list[tuple[int, FoundFile]] = field(default_factory=list)
    touched: list[FoundFile] = field(default_factory=list)
    changed: list[FoundFile] = field(default_factory=list)
    added: list[FoundFile] = field(default_factory=list)
    removed: list[PathRow] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    unchanged: int = 0
    kept: str = ""

    @property
    def to_read(self) -> list[FoundFile]:
        return self.changed + self.added

    def summary(self) -> dict[str, int]:
        counts = {
            name: len(getattr(self, name)) for name in ("added", "changed", "moved", "copied", "removed", "skipped")
        }
        return counts | {"unchanged": self.unchanged + len(self.touched)}


def plan_folder(
    connection: apsw.Connection, root: Root, place: Path, *, max_file_bytes: int, remove: bool, reread: bool = False
) -> Plan:
    """The plan for the files at or below `place`, which is the root or lies in it.

    With `remove`, paths that the library knows and that are gone are removed, but nothing is when `place` itself is
    missing, unreadable or empty, nor below a folder in it that is there and wholly empty: a share that is not mounted
    looks like that. `reread` reads every file again.
    """
    plan = Plan(root)
    known = {row.path: row for row in reads.paths_below(connection, str(place), root.collection)}
    seen: set[str] = set()
    fresh: list[FoundFile] = []
    for found in _files(root, place, max_file_bytes, Path(connection.filename).parent):
        if isinstance(found, Skipped):
            plan.skipped.append(found)
            continue
        path = str(found.path)
        seen.add(path)
        row = known.get(path)
        if row and not reread and _is_unchanged(row, found.size, found.mtime_ns):
            plan.unchanged += 1
            continue
        try:
            sha256 = file_sha256(found.path)
        except OSError as error:
            plan.skipped.append(Skipped(found.path, f"cannot be read: {error.strerror}", refused=True))
            continue
        file = FoundFile(path, root.id, root.collection, sha256, found.path.suffix.lower(), found.size, found.mtime_ns)
        if row and row.sha256 == sha256 and row.failure is None and not reread:
            plan.touched.append(file)
        elif row and row.document_id is not None:
            plan.changed.append(file)
        else:
            fresh.append(file)
    # What another root has found is that root's to remove: a file of records, or a path that was added by its name.
    gone = {path: row for path, row in known.items() if path not in seen and row.root_id == root.id}
    _place_fresh(connection, plan, fresh, gone, reread)
    _remove_gone(plan, place, gone, remove, saw_any=bool(seen))
    return plan


def _files(root: Root, place: Path, max_file_bytes: int, library: Path) -> Iterator[Found | Skipped]:
    if not place.exists():
        return
    patterns = patterns_below(root, place)
    for found in walk([place], exclude=patterns, max_file_bytes=max_file_bytes, library=library):
        try:
            str(found.path).encode("utf-8")
        except UnicodeEncodeError:
            printable = Path(str(found.path).encode("utf-8", "backslashreplace").decode())
            yield Skipped(printable, "its name is not UTF-8: rename it", refused=True)
            continue
        yield found


def patterns_below(root: Root, place: Path) -> list[str]:
    """The root's patterns as they are seen from `place`, which is the root or lies in it: one that begins with "/" stands
    for a path from the root.
    """
    inner = exact_pattern("/" + place.relative_to(root.path).as_posix()) if str(place) != root.path else ""
    return [one.removeprefix(inner) for one in root.exclude if not one.startswith("/") or one.startswith(f"{inner}/")]


def _is_unchanged(row: PathRow, size: int, mtime_ns: int) -> bool:
    return row.document_id is not None and row.failure is None and row.size_bytes == size and row.mtime_ns == mtime_ns


def _place_fresh(
    connection: apsw.Connection, plan: Plan, fresh: Iterable[FoundFile], gone: dict[str, PathRow], reread: bool
) -> None:
    """New paths: a move when the same bytes stood at a path that is gone, a copy when they still stand elsewhere."""
    for file in fresh:
        same = None if reread else reads.document_with_content(connection, file.collection, file.sha256, file.suffix)
        if same is None:
            plan.added.append(file)
            continue
        document_id, paths = same
        source = next((path for path in paths if path in gone or not Path(path).exists()), None)
        if source is None or source in {old for old, _ in plan.moved}:
            plan.copied.append((document_id, file))
        else:
            plan.moved.append((source, file))
            gone.pop(source, None)


def _remove_gone(plan: Plan, place: Path, gone: dict[str, PathRow], remove: bool, *, saw_any: bool) -> None:
    if not gone or not remove:
        return
    if not place.exists() and not (plan.root.kind == "file" and place.parent.is_dir() and any(place.parent.iterdir())):
        plan.kept = f"{place} is missing: nothing below it is removed"
    elif place.is_dir() and not saw_any:
        plan.kept = f"{place} is empty or cannot be read: nothing below it is removed"
    else:
        refused = tuple(one.path for one in plan.skipped if one.refused)
        lost = [row for path, row in gone.items() if not any(Path(path).is_relative_to(r) for r in refused)]
        emptied = {row.path: _empty_folder_above(Path(row.path), place) for row in lost}
        plan.removed = [row for row in lost if emptied[row.path] is None]
        plan.kept = "; ".join(
            f"{folder} is empty, as a share that is not mounted: nothing below it is removed "
            "(`openbook rm` on it does, and so does deleting the folder)"
            for folder in sorted({folder for folder in emptied.values() if folder is not None})
        )


def _empty_folder_above(path: Path, place: Path) -> Path | None:
    """The folder below `place` that is still there above `path`, if nothing at all is in it."""
    folder = path.parent
    while not folder.is_dir() and folder != place:
        folder = folder.parent
    return folder if folder != place and not any(folder.iterdir()) else None


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in constant memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
