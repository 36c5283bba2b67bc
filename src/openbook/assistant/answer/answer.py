"""An answer: its sentences, the citations that the code resolved and checked, or an abstention with what came near."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from openbook.library.documents.model import Anchor
from openbook.library.retrieve.hit import Hit, anchors_json

AnswerMode = Literal["extractive", "generative"]


@dataclass(frozen=True)
class Sentence:
    """`start:end` of `Answer.answer`, in code points. `citations` are numbers of `Answer.citations`. `supported`: at
    least one citation says this, and its numbers, units, dates, names and negations agree with what is said.
    """

    start: int
    end: int
    citations: tuple[int, ...]
    supported: bool


@dataclass(frozen=True)
class Citation:
    """A span of a document that an answer stands on. `start:end` are code points of the document's text and `quote`
    is that slice. `failed` says what does not agree ("number 15 is not in the passage"); `verified`: nothing failed.
    """

    n: int
    id: str
    document_id: str
    path: str
    title: str
    page: int | None
    heading: tuple[str, ...]
    start: int
    end: int
    quote: str
    anchors: tuple[Anchor, ...]
    sha256: str
    modified: float
    stale: bool
    verified: bool = True
    failed: tuple[str, ...] = ()
    table_header: str = ""
    """The header of the table that the quote is a row of, to be shown above it."""
    words: tuple[int, int] | None = None
    """`start:end` of the words in the quote that answer, in code points of the document, where a reader found them."""

    def to_json(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "id": self.id,
            "document_id": self.document_id,
            "path": self.path,
            "title": self.title,
            "page": self.page,
            "heading": list(self.heading),
            "start": self.start,
            "end": self.end,
            "quote": self.quote,
            "table_header": self.table_header,
            "words": list(self.words) if self.words else None,
            "anchors": anchors_json(self.anchors),
            "sha256": self.sha256,
            "modified": self.modified,
            "stale": self.stale,
            "verified": self.verified,
            "failed": list(self.failed),
        }


@dataclass(frozen=True)
class Answer:
    """`confidence`: the calibrated probability that the passages hold the answer. `nearest`: the best passages, when
    it abstains. `standalone`: the question as it was searched for, when a follow-up was rewritten.
    """

    question: str
    answer: str
    abstained: bool
    confidence: float
    mode: AnswerMode
    model: str | None
    generation: int
    sentences: tuple[Sentence, ...] = ()
    citations: tuple[Citation, ...] = ()
    nearest: tuple[Hit, ...] = ()
    standalone: str = ""
    timings_ms: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def marked(self) -> str:
        """The text with [n] after each sentence, and [?] where nothing supports it."""
        parts: list[str] = []
        position = 0
        for sentence in self.sentences:
            marks = "".join(f"[{n}]" for n in sentence.citations) + ("" if sentence.supported else "[?]")
            parts += [self.answer[position : sentence.end], marks and f" {marks}"]
            position = sentence.end
        return "".join(parts) + self.answer[position:]

    def to_json(self) -> dict[str, Any]:
        return {
            "question": self.question,
            "standalone": self.standalone or self.question,
            "answer": self.answer,
            "abstained": self.abstained,
            "confidence": round(self.confidence, 4),
            "mode": self.mode,
            "model": self.model,
            "generation": self.generation,
            "sentences": [
                {"start": s.start, "end": s.end, "citations": list(s.citations), "supported": s.supported}
                for s in self.sentences
            ],
            "citations": [citation.to_json() for citation in self.citations],
            "nearest": [hit.to_json() for hit in self.nearest],
            "timings_ms": self.timings_ms,
            "warnings": list(self.warnings),
        }
