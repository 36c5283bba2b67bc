"""POST /v1/responses: stateless, each request brings the whole conversation."""

from __future__ import annotations

import asyncio
import secrets
import time

from fastapi import APIRouter, Request, Response

from openbook.app.server.answers import Answers
from openbook.app.server.event_stream import ClientGone, streamed, until_gone
from openbook.app.server.gate import CallerOf, Gate, ServiceOf
from openbook.app.server.items import chat_body
from openbook.app.server.json_text import JsonReply
from openbook.app.server.prompts import room_check, room_for
from openbook.app.server.render.responses import ResponseItems, response_chunks, response_whole
from openbook.app.server.requests import chat_request
from openbook.app.server.shapes.responses import ResponseBody
from openbook.serving.chat.prepare import prepare_chat

router = APIRouter(route_class=Gate)


@router.post("/v1/responses")
async def responses(body: ResponseBody, request: Request, service: ServiceOf, caller: CallerOf) -> Response:
    """The answer of the model to items of a conversation, whole or as a stream of server-sent events."""
    adapter = service.adapter_of(body.model)
    asked = chat_request(chat_body(body), service.tokens_room(adapter))
    loop = asyncio.get_running_loop()
    check = room_check(service)
    prepared = await loop.run_in_executor(service.threads, prepare_chat, service.tokenizer, asked, check)
    prepared = room_for(service, prepared, adapter, is_stated=body.max_output_tokens is not None)
    response_id = f"resp_{secrets.token_hex(12)}"
    items = ResponseItems(body, response_id, int(time.time()), adapter or service.settings.name)
    answers = Answers(service, caller, [prepared], 1, response_id, adapter, is_streamed=bool(body.stream))
    if body.stream:
        return await streamed(request, response_chunks(answers, items), service.settings.write_timeout_s)
    try:
        async with until_gone(request):
            return JsonReply(await response_whole(answers, items))
    except ClientGone:
        return Response(status_code=499)
