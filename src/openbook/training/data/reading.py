"""Files as rows: which form a file has, and its rows one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from openbook.core.errors import BadData
from openbook.lm.tokenizers.corpus import corpus_files
from openbook.training.data.documents import Documents, documents
from openbook.training.data.formats import FORMATS, Format, format_of, rows_of
from openbook.training.data.receipt import Receipt
from openbook.training.data.records import lying_of, records
from openbook.training.data.row import Row

_LOOKED_AT = 20


class DataFile(NamedTuple):
    """`is_plain`: text that is no rows."""

    path: Path
    form: Format
    is_plain: bool = False


class Placed(NamedTuple):
    """A row and where it is from: "file:line" or "file"."""

    place: str
    row: Row


def data_files(paths: Sequence[Path], form: Format | None = None) -> list[DataFile]:
    """The files of `paths`, folders walked, each with its form, told by its first rows unless it is said.

    BadData where a form cannot be told, with the keys that were found.
    """
    return [_data_file(one.path, form) for one in corpus_files(paths)]


def read_rows(files: Sequence[DataFile], receipt: Receipt, between: Documents = "file") -> Iterator[Placed]:
    """All rows in order; `receipt` counts them, and those that are broken, which are passed by."""
    for file in files:
        if file.is_plain:
            for text in documents(file.path, between):
                receipt.rows += text.begins
                receipt.formats["text"] += text.begins
                yield Placed(str(file.path), text)
        else:
            yield from _rows(file, receipt)


def _rows(file: DataFile, receipt: Receipt) -> Iterator[Placed]:
    for record in records(file.path):
        count = 0
        try:
            if record.reason:
                raise ValueError(record.reason)
            for row in rows_of(record.value, file.form):
                count += 1
                receipt.rows += 1
                receipt.formats[file.form] += 1
                yield Placed(record.place + (f"#{count}" if count > 1 else ""), row)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
            receipt.rows += not count
            receipt.breaks(record.place, f"lacks {error}" if isinstance(error, KeyError) else str(error))


def _data_file(path: Path, form: Format | None) -> DataFile:
    lying = lying_of(path)
    if lying == "plain" or (form == "text" and lying == "table"):
        if form not in (None, "text"):
            raise BadData(f"{path} is plain text, not {form}", "give JSON lines, JSON or CSV, with its ending")
        return DataFile(path, "text", is_plain=True)
    if form is not None:
        return DataFile(path, form)
    keys: list[str] = []
    for record in islice(records(path), _LOOKED_AT):
        found = format_of(record.value)
        if found is not None:
            return DataFile(path, found)
        keys = keys or (sorted(map(str, record.value)) if isinstance(record.value, dict) else [])
    raise BadData(
        f"{path}: its form cannot be told from {', '.join(keys) or 'its first rows'}",
        f"name it with data.format=NAME: {', '.join(FORMATS)}",
    )
