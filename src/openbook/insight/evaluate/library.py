"""A library measured on questions of your own: what `openbook eval retrieval` does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from openbook.core.errors import UsageError
from openbook.insight.evaluate.retrieval import Interval, evaluate
from openbook.library.catalogue.rows import DocumentRow
from openbook.library.retrieve.hit import Hit
from openbook.library.retrieve.search import Mode

_HITS = 200
_FORM = '{"query": "...", "relevant": {"DOCUMENT PATH OR ID": 1}}'


class Searchable(Protocol):
    """What is needed of a library."""

    def search(self, query: str, k: int = 10, *, mode: Mode = "hybrid") -> list[Hit]: ...
    def document(self, name: str) -> DocumentRow: ...


class Question(NamedTuple):
    """`relevant`: document path or id -> grade; `line`: 1-based line of the file."""

    line: int
    query: str
    relevant: Mapping[str, float]


@dataclass(frozen=True)
class RetrievalReport:
    """`metrics[name]` is the mean over `queries` questions with its 95 % interval."""

    queries: int
    mode: str
    metrics: Mapping[str, Interval]

    def to_json(self) -> dict[str, Any]:
        metrics = {name: value._asdict() for name, value in self.metrics.items()}
        return {"queries": self.queries, "mode": self.mode, "metrics": metrics}


def evaluate_retrieval(desk: Searchable, queries: Path, mode: Mode = "hybrid") -> RetrievalReport:
    """Searches each question of a JSONL file; a document counts once, at the rank of its best passage.

    Raises `UsageError` with the line number for a malformed line or a document that the library does not hold.
    """
    questions = read_questions(queries)
    rankings: dict[str, list[str]] = {}
    relevant: dict[str, dict[str, float]] = {}
    for question in questions:
        key = str(question.line)
        rows = {_document(desk, question, name): grade for name, grade in question.relevant.items()}
        hits = desk.search(question.query, _HITS, mode=mode)
        relevant[key] = {f"d{row.id}": grade for row, grade in rows.items()}
        rankings[key] = ranked_documents(hits, rows)
    found = evaluate(rankings, relevant)
    return RetrievalReport(len(found.query_ids), mode, found.summary())


def ranked_documents(hits: Sequence[Hit], wanted: Iterable[DocumentRow]) -> list[str]:
    """Document ids in the order of their first hit. A hit that says the same as a wanted document counts for that."""
    by_path = {path: f"d{row.id}" for row in wanted for path in row.paths}
    ranking: dict[str, None] = {}
    for hit in hits:
        copies = [by_path[path] for path in (hit.path, *hit.also_in) if path in by_path]
        ranking.update(dict.fromkeys(copies or [hit.document_id]))
    return list(ranking)


def read_questions(path: Path) -> list[Question]:
    """The questions of a JSONL file; empty lines are skipped. Raises `UsageError`."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}", f"give a UTF-8 file of lines like {_FORM}") from error
    questions = [_question(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not questions:
        raise UsageError(f"{path} holds no question", f"a line is {_FORM}")
    return questions


def _question(number: int, line: str) -> Question:
    try:
        row = json.loads(line)
        query, relevant = row["query"], row["relevant"]
        grades = {str(name): float(grade) for name, grade in relevant.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"line {number} is not a question ({error})", f"a line is {_FORM}") from error
    if not isinstance(query, str) or not query.strip() or not any(grade > 0 for grade in grades.values()):
        raise UsageError(f"line {number} has no query, or no document with a grade above 0", f"a line is {_FORM}")
    return Question(number, query, grades)


def _document(desk: Searchable, question: Question, name: str) -> DocumentRow:
    try:
        return desk.document(name)
    except UsageError as error:
        raise UsageError(f"line {question.line}: {error.message}", error.remedy) from error
