"""The bodies of /v1/embeddings (OpenAI's) and /v1/rerank (Jina's and Cohere's)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from openbook.app.server.shapes.sampling import Harmless, Shape

MOST_TEXTS = 2_048


class EmbeddingBody(Harmless):
    """`input_type`: what the texts are; an embedder may have a prompt for each."""

    input: str | Annotated[list[str], Field(min_length=1, max_length=MOST_TEXTS)]
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    input_type: Literal["query", "passage", "document"] | None = None
    dimensions: None = None


class TextDocument(Shape):
    text: str


class RerankBody(Harmless):
    query: str
    documents: Annotated[list[str | TextDocument], Field(min_length=1, max_length=MOST_TEXTS)]
    model: str | None = None
    top_n: int | None = Field(default=None, ge=1)
    return_documents: bool | None = None
