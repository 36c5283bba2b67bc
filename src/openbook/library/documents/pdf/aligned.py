"""Tables without rules: consecutive rows whose pieces stand in the same columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from openbook.library.documents.build import Cell
from openbook.library.documents.pdf.lines import TextLine

_MIN_ROWS = 2


class AlignedTable(NamedTuple):
    rows: list[list[Cell]]


def split_aligned(lines: Sequence[TextLine]) -> Iterator[list[TextLine] | AlignedTable]:
    """Runs of `lines` (in reading order), the aligned ones as tables."""
    pending: list[TextLine] = []
    rows = _rows(lines)
    at = 0
    while at < len(rows):
        end = at
        while end < len(rows) and len(rows[end]) >= 2 and _columns(rows[at : end + 1]) is not None:
            if end > at and rows[end][0].box[1] - rows[end - 1][0].box[3] > 2.5 * rows[end][0].size:
                break
            end += 1
        columns = _columns(rows[at:end]) if end - at >= _MIN_ROWS else None
        if columns is None:
            pending += rows[at]
            at += 1
            continue
        if pending:
            yield pending
            pending = []
        yield AlignedTable([_cells(row, columns, number) for number, row in enumerate(rows[at:end], start=1)])
        at = end
    if pending:
        yield pending


def _rows(lines: Sequence[TextLine]) -> list[list[TextLine]]:
    rows: list[list[TextLine]] = []
    for line in lines:
        last = rows[-1][-1].box if rows else None
        if last is not None and last[1] < (line.box[1] + line.box[3]) / 2 < last[3] and line.box[0] >= last[2]:
            rows[-1].append(line)
        else:
            rows.append([line])
    return rows


def _columns(rows: Sequence[Sequence[TextLine]]) -> list[tuple[float, float]] | None:
    """The columns' horizontal extents; None when two pieces of a row fall into one column, or only one is left."""
    spans = sorted((line.box[0], line.box[2]) for row in rows for line in row)
    columns: list[tuple[float, float]] = []
    for left, right in spans:
        if columns and left < columns[-1][1]:
            columns[-1] = (columns[-1][0], max(columns[-1][1], right))
        else:
            columns.append((left, right))
    if len(columns) < 2:
        return None
    for row in rows:
        places = [_place(line, columns) for line in row]
        if len(set(places)) < len(places):
            return None
    return columns


def _place(line: TextLine, columns: Sequence[tuple[float, float]]) -> int:
    return next(number for number, (left, right) in enumerate(columns) if left <= line.box[0] <= right)


def _cells(row: Sequence[TextLine], columns: Sequence[tuple[float, float]], number: int) -> list[Cell]:
    placed = {_place(line, columns): line for line in row}
    return [
        Cell(placed[c].text, f"R{number}C{c + 1}", box=placed[c].box) if c in placed else Cell("", f"R{number}C{c + 1}")
        for c in range(len(columns))
    ]
