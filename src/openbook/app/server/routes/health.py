"""GET /health, /ready and /metrics: for those who run the server."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from openbook.app.server.gate import ServiceOf
from openbook.app.server.json_text import JsonReply

router = APIRouter()


@router.get("/health")
async def health(service: ServiceOf) -> Response:
    """200 while the server lives, also while it loads; 503 when its engine is gone."""
    if service.engine.fault is not None:
        return JsonReply({"status": "failed", "reason": str(service.engine.fault)}, 503)
    return JsonReply({"status": "ok" if service.engine.is_ready else "loading"})


@router.get("/ready")
async def ready(service: ServiceOf) -> Response:
    """200 when requests are served: not while the model is loaded, nor while the server ends."""
    if service.is_ready:
        return JsonReply({"status": "ready"})
    said = "failed" if service.engine.fault else "ending" if service.is_draining else "loading"
    return JsonReply({"status": said}, 503)


@router.get("/metrics")
async def metrics(request: Request, service: ServiceOf) -> Response:
    """Figures for Prometheus. With API keys it wants one."""
    service.keys.caller(request.headers.get("authorization"))
    engine = service.engine
    facts = engine.facts if engine.is_ready else None
    text = service.metrics.text(facts, engine.stats, service.admission.inside, len(engine.adapters))
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
