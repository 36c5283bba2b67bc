"""A hit: a passage that was found, where it stands, and how each stage scored it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from openbook.library.documents.model import Anchor
from openbook.library.retrieve.rerank import RerankNote


@dataclass(frozen=True)
class Hit:
    """`start:end` are code points of the document's text, `text` is that slice. `modified`: seconds since 1970.

    `also_in`: other paths of the same document, and of documents that say the same word for word. `stale`: the file
    has changed (or gone) since it was read. `score` orders the hits; `scores` holds what each stage gave:
    "rerank" is the reranker's own, in its units (a logit of the package's), None where it did not read the passage.
    """

    rank: int
    id: str
    document_id: str
    collection: str
    path: str
    also_in: tuple[str, ...]
    title: str
    page: int | None
    heading: tuple[str, ...]
    start: int
    end: int
    text: str
    anchors: tuple[Anchor, ...]
    sha256: str
    modified: float
    stale: bool
    language: str
    score: float
    scores: dict[str, float | None]
    chunk_ids: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "rank": self.rank,
            "id": self.id,
            "document_id": self.document_id,
            "collection": self.collection,
            "path": self.path,
            "also_in": list(self.also_in),
            "title": self.title,
            "page": self.page,
            "heading": list(self.heading),
            "start": self.start,
            "end": self.end,
            "text": self.text,
            "anchors": anchors_json(self.anchors),
            "sha256": self.sha256,
            "modified": self.modified,
            "stale": self.stale,
            "language": self.language,
            "score": self.score,
            "scores": self.scores,
        }


@dataclass(frozen=True)
class SearchResult:
    """The hits of a query, best first; what each stage took in milliseconds; and what the user should know.

    `rerank`: None where nothing was to be reranked.
    """

    query: str
    generation: int
    mode: str
    language: str
    hits: list[Hit]
    timings_ms: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    rerank: RerankNote | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "query": self.query,
            "generation": self.generation,
            "hits": [hit.to_json() for hit in self.hits],
            "timings_ms": self.timings_ms,
            "rerank": self.rerank.to_json() if self.rerank is not None else None,
            "warnings": self.warnings,
        }


def anchors_json(anchors: tuple[Anchor, ...]) -> list[dict[str, Any]]:
    """Places in the file: {"page", "box"} of a PDF, {"sheet", "cell"} of a sheet, ...; without what is not there."""
    found: list[dict[str, Any]] = []
    for anchor in anchors:
        place = {
            name: value
            for name, value in anchor._asdict().items()
            if value is not None and name not in ("start", "end")
        }
        if place and place not in found:
            found.append(place)
    return found
