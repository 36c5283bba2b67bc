"""CSV and TSV: the dialect is found by trying, cells have the addresses that a spreadsheet would give them."""

from __future__ import annotations

import csv
import io
from collections import Counter

from openbook.library.documents.build import Builder, Cell
from openbook.library.documents.model import Document
from openbook.library.documents.readers.plain import decoded_text
from openbook.library.documents.readers.xlsx import letters, looks_numeric
from openbook.library.documents.source import Source

_DELIMITERS = (",", "\t", ";", "|")
_SAMPLE_LINES = 50
_MAX_COLUMNS = 16_384
_FIELD_BYTES = 10_000_000


def read(source: Source) -> Document:
    builder = Builder("csv")
    text = decoded_text(source, builder)
    delimiter = "\t" if source.suffix in (".tsv", ".tab") else find_delimiter(text)
    csv.field_size_limit(_FIELD_BYTES)
    try:
        texts = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise source.unreadable(f"it is no valid table ({error})", "check its quotes and line breaks") from None
    widest = max(map(len, texts), default=0)
    if widest > _MAX_COLUMNS:
        raise source.unreadable(f"a row has {widest:,} cells, the limit is {_MAX_COLUMNS:,}", "check its delimiter")
    names = [letters(column) for column in range(1, widest + 1)]
    rows = [
        [Cell(text, f"{name}{r}") for name, text in zip(names, row, strict=False)] for r, row in enumerate(texts, 1)
    ]
    builder.table(rows, header_rows=int(_has_header(rows)))
    widths = Counter(len(row) for row in rows if row)
    if len(widths) > 1:
        usual = widths.most_common(1)[0][0]
        builder.note(f"{sum(widths.values()) - widths[usual]} rows do not have the usual {usual} cells")
    return builder.document(source.stem)


def find_delimiter(text: str) -> str:
    """The delimiter that gives the sample the most rows of one width, wider ones first; "," for a single column."""
    sample = "\n".join(text.split("\n", _SAMPLE_LINES)[:_SAMPLE_LINES])
    best, best_score = ",", 0.0
    for delimiter in _DELIMITERS:
        try:
            widths = Counter(
                len(row) for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter) if row
            )
        except csv.Error:
            continue
        if not widths:
            continue
        width, count = widths.most_common(1)[0]
        score = count / sum(widths.values()) + 0.01 * min(width, 20) if width > 1 else 0.0
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _has_header(rows: list[list[Cell]]) -> bool:
    """The first row has words only, all different: names of columns."""
    first = [cell.text.strip() for cell in rows[0]] if len(rows) > 1 else []
    named = [text for text in first if text]
    return (
        bool(named)
        and len(set(named)) == len(named)
        and not any(looks_numeric(text) for text in named)
        and max(map(len, named)) <= 80
    )
