"""`openbook eval retrieval`: how well a library answers questions whose documents a person named."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openbook.assistant.desk import Library
from openbook.core.errors import UsageError
from openbook.insight.evaluate.retrieval import Interval, evaluate
from openbook.library.retrieve.reranker import Wanted
from openbook.library.retrieve.search import Mode, rank_documents


@dataclass(frozen=True)
class RetrievalReport:
    """`metrics`: mean and 95 % bootstrap interval over the queries, one hit a document."""

    mode: str
    queries: int
    metrics: dict[str, Interval]

    def to_json(self) -> dict[str, Any]:
        return {
            "mode": self.mode,
            "queries": self.queries,
            "metrics": {name: value._asdict() for name, value in self.metrics.items()},
        }


def evaluate_retrieval(library: Library, path: Path, mode: Mode, reranking: Wanted | None = None) -> RetrievalReport:
    """Runs every line `{"query": ..., "relevant": {"DOCUMENT PATH OR ID": grade}}` of `path`.

    Raises `UsageError` that names the line, for one that is not of this form or names a document that is not there.
    """
    wanted = reranking or Wanted()
    rankings: dict[str, list[str]] = {}
    relevant: dict[str, dict[str, float]] = {}
    for number, (query, named) in enumerate(read_queries(path), 1):
        key = str(number)
        relevant[key] = {str(_document_id(library, path, number, name)): grade for name, grade in named.items()}
        found = rank_documents(library.store, query, mode=mode, reranking=wanted)
        rankings[key] = [str(document_id) for document_id in found]
    if not relevant:
        raise UsageError(f"{path} holds no query", 'write lines {"query": ..., "relevant": {"DOC": 1}}')
    evaluation = evaluate(rankings, relevant)
    return RetrievalReport(mode, len(evaluation.query_ids), evaluation.summary())


def read_queries(path: Path) -> list[tuple[str, dict[str, float]]]:
    """(query, {document: grade}) of each line of a JSONL file."""
    found: list[tuple[str, dict[str, float]]] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "check the path") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            found.append((str(row["query"]), {str(name): float(grade) for name, grade in row["relevant"].items()}))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UsageError(
                f"{path} line {number} is no query", 'write {"query": ..., "relevant": {"DOCUMENT PATH OR ID": grade}}'
            ) from None
    return found


def _document_id(library: Library, path: Path, number: int, name: str) -> int:
    try:
        return library.document(name).id
    except UsageError as error:
        raise UsageError(f"{path} query {number}: {error.message}", error.remedy) from None
