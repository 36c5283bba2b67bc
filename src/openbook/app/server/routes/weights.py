"""POST /update_weights_from_disk: a trainer brings new weights to the server that writes for it. Not for everybody.

Source of the shapes: https://docs.sglang.ai/advanced_features/sglang_for_rl.html
"""

from __future__ import annotations

import os.path

from fastapi import APIRouter, Response

from openbook.app.server.errors import Refused
from openbook.app.server.gate import CallerOf, Gate, ServiceOf
from openbook.app.server.json_text import JsonReply
from openbook.app.server.keys import Caller
from openbook.app.server.service import Service
from openbook.app.server.shapes.weights import UpdateWeightsBody
from openbook.core.errors import ModelUnavailable, UsageError

router = APIRouter(route_class=Gate)


@router.post("/update_weights_from_disk")
async def update_weights_from_disk(body: UpdateWeightsBody, service: ServiceOf, caller: CallerOf) -> Response:
    """From the next step on the model has these weights; answers that are under way go on with them. Steps wait meanwhile."""
    _check_may(service, caller)
    if not os.path.isdir(body.model_path):  # noqa: PTH112 - False, too, for what can be no path
        raise Refused(
            400, f"model_path {body.model_path[:200]!r} is no directory on this machine: save the model there first",
            param="model_path", code="no_directory",
        )  # fmt: skip
    try:
        await service.engine.update_weights(body.model_path)
    except (ModelUnavailable, UsageError) as error:
        if service.engine.is_alive:  # the files are at fault, not the engine
            raise Refused(400, str(error), param="model_path", code="bad_weights") from None
        raise
    return JsonReply({"success": True, "message": "the weights are updated", "num_paused_requests": 0})


def _check_may(service: Service, caller: Caller) -> None:
    """403 unless the server was started for it, and for a key that is not an admin's."""
    if not service.settings.allows_weight_updates:
        raise Refused(
            403, "weights are not changed here: start the server with --allow-weight-updates",
            code="weight_updates_off",
        )  # fmt: skip
    if not caller.is_admin:
        raise Refused(403, f"the key of {caller.name} may not change weights: use an admin's", code="not_an_admin")
