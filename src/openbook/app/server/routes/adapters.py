"""POST /v1/load_lora_adapter and /v1/unload_lora_adapter: adapters come and go while the server serves. Not for everybody.

Source of the shapes: https://docs.vllm.ai/en/latest/features/lora.html
"""

from __future__ import annotations

from fastapi import APIRouter, Response

from openbook.app.server.errors import Refused
from openbook.app.server.gate import CallerOf, Gate, ServiceOf
from openbook.app.server.keys import Caller
from openbook.app.server.library import NAME
from openbook.app.server.service import Service
from openbook.app.server.shapes.adapters import LoadAdapterBody, UnloadAdapterBody
from openbook.core.errors import ModelUnavailable

router = APIRouter(route_class=Gate)


@router.post("/v1/load_lora_adapter")
async def load_lora_adapter(body: LoadAdapterBody, service: ServiceOf, caller: CallerOf) -> Response:
    """From now on the name is a model. Steps wait while the files are read."""
    _check_may(service, caller)
    name = body.lora_name
    if name in service.engine.adapters:
        raise Refused(400, f"adapter {name!r} is loaded already: unload it first", param="lora_name", code="name_taken")
    if name in reserved(service):
        raise Refused(400, f"the name {name!r} is taken: choose another", param="lora_name", code="name_taken")
    if service.engine.facts.max_adapters == 0:
        raise Refused(400, "this server takes no adapters: start it with --max-adapters N", code="no_adapters")
    try:
        await service.engine.load_adapter(name, body.lora_path)
    except ModelUnavailable as error:
        if service.engine.is_alive:  # the files are at fault, not the engine
            raise Refused(400, str(error), param="lora_path", code="bad_adapter") from None
        raise
    return Response(f"Success: LoRA adapter {name!r} added successfully.", media_type="text/plain")


@router.post("/v1/unload_lora_adapter")
async def unload_lora_adapter(body: UnloadAdapterBody, service: ServiceOf, caller: CallerOf) -> Response:
    """404 for one that is not there, 409 while requests use it."""
    _check_may(service, caller)
    name = body.lora_name
    if name not in service.engine.adapters:
        raise Refused(
            404,
            f"there is no adapter {name!r}: GET /v1/models lists those that are loaded",
            param="lora_name",
            code="adapter_not_found",
        )
    users = sum(answers.adapter == name for answers in service.under_way)
    if users:
        raise Refused(
            409, f"{users:,} requests that use adapter {name!r} are under way: wait until they have ended",
            param="lora_name", code="adapter_in_use",
        )  # fmt: skip
    await service.engine.unload_adapter(name)
    return Response(f"Success: LoRA adapter {name!r} removed successfully.", media_type="text/plain")


def reserved(service: Service) -> set[str]:
    """Names of models that are no adapters."""
    texts = service.texts
    embedder = texts.embedder.name if texts.embedder is not None else None
    return {one for one in (service.settings.name, NAME, embedder, texts.reranker_name) if one is not None}


def _check_may(service: Service, caller: Caller) -> None:
    """403 for a key that is not an admin's; without keys, unless the server was started for it."""
    if not caller.is_admin:
        raise Refused(403, f"the key of {caller.name} may not change models: use an admin's", code="not_an_admin")
    if not service.keys.callers and not service.settings.allows_runtime_adapters:
        raise Refused(
            403, "adapters are loaded by admins: start the server with --api-keys FILE, or --allow-runtime-adapters",
            code="runtime_adapters_off",
        )  # fmt: skip
