"""POST /v1/chat/completions."""

from __future__ import annotations

import asyncio
import secrets
import time

from fastapi import APIRouter, Request, Response

from openbook.app.server import library
from openbook.app.server.answers import Answers
from openbook.app.server.event_stream import ClientGone, streamed, until_gone
from openbook.app.server.gate import CallerOf, Gate, ServiceOf
from openbook.app.server.json_text import JsonReply
from openbook.app.server.keys import bearer
from openbook.app.server.prompts import room_check, room_for
from openbook.app.server.render.chat import Heading, chat_chunks, chat_whole
from openbook.app.server.render.library import library_chunks, library_whole
from openbook.app.server.requests import chat_request
from openbook.app.server.service import Service
from openbook.app.server.shapes.chat import ChatBody
from openbook.serving.chat.prepare import prepare_chat

router = APIRouter(route_class=Gate)


@router.post("/v1/chat/completions")
async def chat_completions(body: ChatBody, request: Request, service: ServiceOf, caller: CallerOf) -> Response:
    """The answer of the model to a chat, whole or as a stream of server-sent events."""
    if body.model == library.NAME and service.library is not None:
        return await _from_library(body, request, service)
    adapter = service.adapter_of(body.model)
    asked = chat_request(body, service.tokens_room(adapter))
    loop = asyncio.get_running_loop()
    check = room_check(service)
    prepared = await loop.run_in_executor(service.threads, prepare_chat, service.tokenizer, asked, check)
    prepared = room_for(service, prepared, adapter, is_stated=bool(body.max_completion_tokens or body.max_tokens))
    heading = Heading(f"chatcmpl-{secrets.token_hex(12)}", int(time.time()), adapter or service.settings.name)
    answers = Answers(service, caller, [prepared], body.count, heading.id, adapter, is_streamed=bool(body.stream))
    if body.stream:
        wants_usage = body.stream_options is not None and bool(body.stream_options.include_usage)
        chunks = chat_chunks(answers, heading, body.count, wants_usage=wants_usage, wants_logprobs=bool(body.logprobs))
        return await streamed(request, chunks, service.settings.write_timeout_s)
    try:
        async with until_gone(request):
            return JsonReply(await chat_whole(answers, heading, body.count, wants_logprobs=bool(body.logprobs)))
    except ClientGone:
        return Response(status_code=499)


async def _from_library(body: ChatBody, request: Request, service: Service) -> Response:
    assert service.library is not None
    key = bearer(request.headers.get("authorization"))
    heading = Heading(f"chatcmpl-{secrets.token_hex(12)}", int(time.time()), library.NAME)
    asked = service.library.ask(body, key)
    if body.stream:
        return await streamed(request, library_chunks(asked, heading), service.settings.write_timeout_s)
    try:
        async with until_gone(request):
            return JsonReply(library_whole(await asked, heading))
    except ClientGone:
        return Response(status_code=499)
