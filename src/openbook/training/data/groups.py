"""Groups for embedders and rerankers: a query, the passage that answers it, and passages that do not.

A JSONL file of the form `pairs` (`formats`): `{"query": TEXT, "positive": TEXT, "negatives": [TEXT, ...], "title": TEXT}`;
negatives and title may be missing, other keys are left alone. A row with several `positives` is a group for each of them.
`openbook data mine` writes such files.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from openbook.core.errors import BadData
from openbook.training.data.formats import rows_of
from openbook.training.data.receipt import Receipt
from openbook.training.data.row import Pair

_NO_GROUP = 'no {"query": TEXT, "positive": TEXT, "negatives": [TEXT, ...]}'


class Group(NamedTuple):
    """`title`: of the document that the positive is from; empty where nothing is said."""

    query: str
    positive: str
    negatives: tuple[str, ...] = ()
    title: str = ""


class Groups(NamedTuple):
    """`receipt` counts the lines, and names the first that are no group."""

    rows: list[Group]
    receipt: Receipt

    def __str__(self) -> str:
        count, broken = sum(len(one.negatives) for one in self.rows), self.receipt.broken
        left = f"; {broken:,} lines left out: {', '.join(self.receipt.named['broken'])}" if broken else ""
        return f"{len(self.rows):,} queries with {count:,} negatives{left}"


def read_groups(paths: Iterable[Path], max_broken: float = 0.01) -> Groups:
    """The groups of JSONL files (also .gz) in order. Equal texts are one object.

    Raises BadData for a file that cannot be read, for more than a share of `max_broken` lines that are no group, and for none
    that is one.
    """
    rows: list[Group] = []
    receipt = Receipt()
    known: dict[str, str] = {}
    named = list(paths)
    for path in named:
        for number, line in _lines(path):
            receipt.rows += 1
            found = _groups(line)
            if not found:
                receipt.breaks(f"{path.name}:{number}", _NO_GROUP)
            for group in found:
                texts = tuple(known.setdefault(one, one) for one in group.negatives)
                rows.append(group._replace(positive=known.setdefault(group.positive, group.positive), negatives=texts))
    receipt.finish(max_broken)
    if not rows:
        raise BadData(
            f"there is no group in {', '.join(map(str, named))}", 'write lines {"query", "positive", "negatives"}'
        )
    return Groups(rows, receipt)


def shared_titles(first: Sequence[Group], second: Sequence[Group]) -> list[str]:
    """Titles of documents that both have: what is learned from one must not be measured on it."""
    return sorted({one.title for one in first if one.title} & {one.title for one in second})


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as raw:
            for number, data in enumerate(raw, 1):
                if data.strip():
                    yield number, data.decode("utf-8", "replace")
    except (OSError, EOFError) as error:
        raise BadData(f"{path} cannot be read: {error}", "check the path") from None


def _groups(line: str) -> list[Group]:
    """One for each positive; none of a line that is no group."""
    try:
        record: Any = json.loads(line)
        (row,) = rows_of(record, "pairs")
    except (ValueError, TypeError, RecursionError):
        return []
    assert isinstance(row, Pair)
    if not all(one.strip() for one in (row.query, *row.positives, *row.negatives)):
        return []
    title = str(record.get("title") or "")
    return [Group(row.query, positive, row.negatives, title) for positive in row.positives]
