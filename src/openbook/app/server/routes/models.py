"""GET /v1/models, and /v1/models/NAME."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from openbook.app.server.errors import Refused
from openbook.app.server.gate import Gate, ServiceOf
from openbook.app.server.json_text import JsonReply
from openbook.app.server.library import NAME
from openbook.app.server.service import Service

router = APIRouter(route_class=Gate)


@router.get("/v1/models")
async def models(service: ServiceOf) -> Response:
    """The models that are served, with the most tokens that each reads: the one that writes first, then its adapters."""
    return JsonReply({"object": "list", "data": _listed(service)})


@router.get("/v1/models/{name:path}")
async def model(name: str, service: ServiceOf) -> Response:
    """One of them."""
    for one in _listed(service):
        if one["id"] == name:
            return JsonReply(one)
    raise Refused(
        404,
        f"the model {name!r} is not served here: GET /v1/models lists those that are",
        param="model",
        code="model_not_found",
    )


def _listed(service: Service) -> list[dict[str, Any]]:
    texts, base = service.texts, service.settings.name
    named: dict[str, int | None] = {base: service.engine.facts.max_seq_len}
    named |= {name: service.engine.facts.max_seq_len - virtual for name, virtual in service.engine.adapters.items()}
    if service.library is not None:
        named[NAME] = None
    if texts.embedder is not None:
        named[texts.embedder.name] = texts.embedder.max_tokens
    if texts.reranker_name is not None:
        named[texts.reranker_name] = None
    return [
        {
            "id": name,
            "object": "model",
            "created": service.created,
            "owned_by": "openbook",
            "parent": base if name in service.engine.adapters else None,
            "max_model_len": length,
        }
        for name, length in named.items()
    ]
