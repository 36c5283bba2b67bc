"""POST /tokenize and /detokenize: what a text is to the model, and back."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Response

from openbook.app.server.errors import Refused
from openbook.app.server.gate import Gate, ServiceOf
from openbook.app.server.json_text import JsonReply
from openbook.app.server.requests import message_of, tool_of
from openbook.app.server.service import Service
from openbook.app.server.shapes.tokens import DetokenizeBody, TokenizeBody
from openbook.core.messages import ChatRequest
from openbook.serving.chat.prepare import prepare_chat

router = APIRouter(route_class=Gate)


@router.post("/tokenize")
async def tokenize(body: TokenizeBody, service: ServiceOf) -> Response:
    """The ids of a text, or of a chat as the model sees it."""
    service.adapter_of(body.model)
    if (body.prompt is None) == (body.messages is None):
        raise Refused(400, "give either prompt or messages", param="prompt")
    loop = asyncio.get_running_loop()
    return JsonReply(await loop.run_in_executor(service.threads, _tokenized, service, body))


@router.post("/detokenize")
async def detokenize(body: DetokenizeBody, service: ServiceOf) -> Response:
    """The text of ids. Bytes that are no UTF-8 become U+FFFD."""
    service.adapter_of(body.model)
    loop = asyncio.get_running_loop()
    text = await loop.run_in_executor(service.threads, service.tokenizer.decode, body.tokens)
    return JsonReply({"prompt": text})


def _tokenized(service: Service, body: TokenizeBody) -> dict[str, Any]:
    tokenizer = service.tokenizer
    if body.prompt is not None:
        ids = tokenizer.encode(body.prompt, body.add_special_tokens)
    else:
        messages = tuple(message_of(one, place) for place, one in enumerate(body.messages or ()))
        asked = ChatRequest(messages, tools=tuple(tool_of(one) for one in body.tools or ()))
        ids = prepare_chat(tokenizer, asked).prompt
    strings = [tokenizer.token_of(one) for one in ids] if body.return_token_strs else None
    return {
        "count": len(ids),
        "max_model_len": service.engine.facts.max_seq_len,
        "tokens": ids,
        "token_strs": strings,
    }
