"""Rows with a label: {"text": ..., "label": ...}, or two texts under names that are common."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from openbook.core.errors import BadData
from openbook.lm.tokenizers.corpus import corpus_files
from openbook.training.data.receipt import Receipt
from openbook.training.data.records import records

_TEXTS = ("text", "sentence", "sentence1", "first", "premise", "question1")
_SECONDS = ("second", "sentence2", "hypothesis", "question2", "text_pair")


class LabelledRow(NamedTuple):
    """`second`: None where one text has the label."""

    text: str
    second: str | None
    label: str


def read_labelled(paths: Iterable[Path], receipt: Receipt) -> list[LabelledRow]:
    """All rows of JSON lines, JSON and tables; what cannot be read is counted in `receipt`. BadData where nothing is left."""
    found: list[LabelledRow] = []
    for file in corpus_files(list(paths)):
        for record in records(file.path):
            receipt.rows += 1
            try:
                if record.reason:
                    raise ValueError(record.reason)
                found.append(_row(record.value))
            except (ValueError, TypeError, AttributeError) as error:
                receipt.breaks(record.place, str(error))
    if not found:
        raise BadData("there is no row with a text and a label", 'write {"text": "...", "label": "..."} lines')
    return found


def known_labels(rows: Iterable[LabelledRow]) -> list[str]:
    """The labels of the rows, the most frequent first."""
    return [label for label, _ in Counter(one.label for one in rows).most_common()]


def check_labels(rows: Sequence[LabelledRow], labels: Sequence[str]) -> None:
    """BadData for a row with a label that the recipe does not name."""
    if unknown := [label for label in known_labels(rows) if label not in labels]:
        raise BadData(
            f"the data has the label {unknown[0]!r}, which classifier.labels does not name",
            f"classifier.labels={json.dumps(known_labels(rows), ensure_ascii=False)}",
        )


def _row(record: dict[str, Any]) -> LabelledRow:
    text = next((record[name] for name in _TEXTS if isinstance(record.get(name), str)), None)
    if text is None:
        raise ValueError(f"a row has none of {', '.join(_TEXTS)}")
    label = record.get("label")
    if label is None or isinstance(label, list | dict):
        raise ValueError("a row has no label")
    second = next((record[name] for name in _SECONDS if isinstance(record.get(name), str)), None)
    return LabelledRow(text, second, str(label))
