"""POST /v1/embeddings and /v1/rerank."""

from __future__ import annotations

import base64
import secrets
from array import array
from typing import Any

from fastapi import APIRouter, Response

from openbook.app.server.errors import Refused
from openbook.app.server.gate import CallerOf, Gate, ServiceOf
from openbook.app.server.json_text import JsonReply
from openbook.app.server.shapes.texts import EmbeddingBody, RerankBody

router = APIRouter(route_class=Gate)


@router.post("/v1/embeddings")
async def embeddings(body: EmbeddingBody, service: ServiceOf, caller: CallerOf) -> Response:
    """A vector for each text, of length 1. A text that is too long is refused, not cut."""
    embedder = service.texts.embedder
    name = embedder.name if embedder is not None else None
    _check_name(body.model, name)
    if caller.bucket is not None:
        caller.bucket.take(1)
    texts = [body.input] if isinstance(body.input, str) else body.input
    found = await service.texts.embed(texts, "query" if body.input_type == "query" else "passage")
    if caller.bucket is not None:
        caller.bucket.spend(found.tokens)
    is_packed = body.encoding_format == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(vector) if is_packed else _floats(vector)}
        for index, vector in enumerate(found.vectors)
    ]
    usage = {"prompt_tokens": found.tokens, "total_tokens": found.tokens}
    return JsonReply({"object": "list", "data": data, "model": name, "usage": usage})


@router.post("/v1/rerank")
async def rerank(body: RerankBody, service: ServiceOf, caller: CallerOf) -> Response:
    """The documents by how well each answers the query, the best first."""
    _check_name(body.model, service.texts.reranker_name)
    if caller.bucket is not None:
        caller.bucket.take(1)
    texts = [one if isinstance(one, str) else one.text for one in body.documents]
    ranked = await service.texts.rank(body.query, texts)
    order = sorted(range(len(texts)), key=lambda place: -ranked.scores[place])[: body.top_n]
    results: list[dict[str, Any]] = []
    for place in order:
        shown = {"document": {"text": texts[place]}} if body.return_documents is not False else {}
        results.append({"index": place, "relevance_score": ranked.scores[place]} | shown)
    return JsonReply(
        {
            "id": f"rerank-{secrets.token_hex(12)}",
            "model": service.texts.reranker_name,
            "results": results,
            "truncated": ranked.truncated,
        }
    )


def _check_name(asked: str | None, name: str | None) -> None:
    if asked is not None and name is not None and asked != name:
        raise Refused(
            404, f"the model {asked!r} is not served here: use {name!r}", param="model", code="model_not_found"
        )


def _floats(vector: bytes) -> list[float]:
    return array("f", vector).tolist()


def _packed(vector: bytes) -> str:
    return base64.b64encode(vector).decode("ascii")
