"""A file of records: every line `{"id", "title", "text", ...}` is a document of its own, at the path "FILE#ID"."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import apsw

from openbook.core.errors import UnreadableFile
from openbook.library.catalogue import reads
from openbook.library.catalogue.rows import FoundFile, Root
from openbook.library.documents.walk import Skipped
from openbook.library.ingest.plan import Plan

SUFFIX = "#record"


class Record(NamedTuple):
    file: FoundFile
    line: str


def read_records(root: Root) -> Iterator[Record | Skipped]:
    """The records of a file in order; a line that is none is skipped by its number."""
    path = Path(root.path)
    try:
        mtime_ns = path.stat().st_mtime_ns
        with path.open("rb") as file:
            for number, data in enumerate(file, 1):
                if not data.strip():
                    continue
                record = _record(root, mtime_ns, data)
                yield record or Skipped(path, f'line {number} is not a record with "id" and "text"', refused=True)
    except OSError as error:
        raise UnreadableFile(
            f"{path} cannot be read: {error.strerror}", "check the path and its permissions"
        ) from error


def _record(root: Root, mtime_ns: int, data: bytes) -> Record | None:
    try:
        line = data.decode("utf-8").lstrip("\ufeff").strip()
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or "id" not in row or not isinstance(row.get("text"), str):
        return None
    sha256 = hashlib.sha256(line.encode("utf-8")).hexdigest()
    path = f"{root.path}#{row['id']}".encode("utf-8", "replace").decode("utf-8").replace("\x00", "\ufffd")
    return Record(FoundFile(path, root.id, root.collection, sha256, SUFFIX, len(data), mtime_ns), line)


def plan_records(connection: apsw.Connection, root: Root, *, remove: bool) -> Plan:
    """The plan for a file of records. Of two lines with one id the first counts; the other is skipped.

    With `remove`, nothing is removed when the file is missing, unreadable or empty. Raises `UnreadableFile` without.
    """
    plan = Plan(root)
    if not Path(root.path).exists():
        plan.kept = f"{root.path} is missing: none of its records is removed"
        return plan
    try:
        _compare(connection, plan, remove=remove)
    except UnreadableFile as error:
        if not remove:
            raise
        plan = Plan(root, skipped=[Skipped(Path(root.path), error.message, refused=True)])
        plan.kept = f"{root.path} cannot be read: none of its records is removed"
    return plan


def _compare(connection: apsw.Connection, plan: Plan, *, remove: bool) -> None:
    root = plan.root
    known = {row.path: row for row in reads.records_of(connection, root.path, root.collection)}
    removed = {one for one in root.exclude if one.startswith("#")}
    seen: set[str] = set()
    for record in read_records(root):
        if isinstance(record, Skipped):
            plan.skipped.append(record)
            continue
        file = record.file
        row = known.get(file.path)
        if file.path in seen:
            plan.skipped.append(Skipped(Path(file.path), "an earlier line has the same id"))
            continue
        seen.add(file.path)
        if file.path.removeprefix(root.path) in removed:
            plan.skipped.append(Skipped(Path(file.path), "taken out with `openbook rm`"))
            continue
        if row is not None and row.sha256 == file.sha256 and row.failure is None:
            if row.mtime_ns == file.mtime_ns:
                plan.unchanged += 1
            else:
                plan.touched.append(file)
        else:
            (plan.changed if row is not None and row.document_id is not None else plan.added).append(file)
    if remove and known and not seen:
        plan.kept = f"{root.path} holds no record any more: none is removed"
    elif remove:
        plan.removed = [row for path, row in known.items() if path not in seen]


def planned_lines(root: Root, files: Iterable[FoundFile]) -> Iterator[tuple[FoundFile, str]]:
    """The planned records with their lines, in the order of the file, which is read again so as to hold none of it.

    A line that was edited or taken out since it was planned comes as "": it has not the hash that was planned.
    """
    wanted = {file.path: file for file in files}
    for record in read_records(root):
        if isinstance(record, Record) and (file := wanted.pop(record.file.path, None)) is not None:
            yield file, record.line if record.file.sha256 == file.sha256 else ""
    for file in wanted.values():
        yield file, ""
