"""POST /v1/completions."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import replace
from functools import partial

from fastapi import APIRouter, Request, Response

from openbook.app.server.answers import Answers
from openbook.app.server.echo import echoes, spelled
from openbook.app.server.errors import Refused
from openbook.app.server.event_stream import ClientGone, streamed, until_gone
from openbook.app.server.gate import CallerOf, Gate, ServiceOf
from openbook.app.server.json_text import JsonReply
from openbook.app.server.prompts import room_check, room_for
from openbook.app.server.render.chat import Heading
from openbook.app.server.render.completions import Echoed, completion_chunks, completion_whole, prompts_whole
from openbook.app.server.requests import only_format, sampling_params
from openbook.app.server.service import Service
from openbook.app.server.shapes.completions import USUAL_MAX_TOKENS, CompletionBody
from openbook.serving.chat.prepare import Prepared, prepare_completion

router = APIRouter(route_class=Gate)


@router.post("/v1/completions")
async def completions(body: CompletionBody, request: Request, service: ServiceOf, caller: CallerOf) -> Response:
    """What follows on one or several texts, whole or as a stream of server-sent events."""
    adapter = service.adapter_of(body.model)
    best_of = body.best_of or body.count
    _check(body, best_of)
    service.admission.check(len(body.prompts) * best_of)
    loop = asyncio.get_running_loop()
    prepared = await loop.run_in_executor(service.threads, _prepared, service, body, adapter, best_of > body.count)
    heading = Heading(f"cmpl-{secrets.token_hex(12)}", int(time.time()), adapter or service.settings.name)
    echoed: list[Echoed] = []
    if body.echo and body.logprobs is not None:
        if body.max_tokens == 0 and caller.bucket is not None:
            caller.bucket.take(sum(len(one.prompt) for one in prepared))
        ids = [one.prompt for one in prepared]
        try:
            async with until_gone(request):
                echoed = await echoes(service, body.prompts, ids, body.logprobs, caller.salt, adapter)
        except ClientGone:
            return Response(status_code=499)
    if body.max_tokens == 0:
        return JsonReply(prompts_whole(heading, echoed))
    answers = Answers(
        service, caller, prepared, best_of, heading.id, adapter,
        is_streamed=bool(body.stream), keeps_tokens=bool(body.return_token_ids),
    )  # fmt: skip
    if body.stream:
        wants_usage = body.stream_options is not None and bool(body.stream_options.include_usage)
        chunks = completion_chunks(answers, heading, best_of * len(prepared), echoed, wants_usage=wants_usage)
        return await streamed(request, chunks, service.settings.write_timeout_s)
    try:
        async with until_gone(request):
            whole = await completion_whole(
                answers,
                heading,
                len(prepared),
                body.count,
                best_of,
                echoed,
                wants_logprobs=body.logprobs is not None,
                spelled=partial(spelled, service.tokenizer) if body.return_token_ids else None,
            )
            return JsonReply(whole)
    except ClientGone:
        return Response(status_code=499)


def _check(body: CompletionBody, best_of: int) -> None:
    if best_of < body.count:
        raise Refused(400, f"best_of is {best_of}, n is {body.count}: best_of is the larger", param="best_of")
    if body.stream and best_of > body.count:
        raise Refused(400, "the best of several is known at their end: do not stream it", param="best_of")
    if body.stream_options is not None and not body.stream:
        raise Refused(400, "stream_options is for streams: set stream, or leave it out", param="stream_options")
    if body.return_token_ids and (body.stream or body.echo):
        raise Refused(400, "token ids are told of whole answers: leave stream and echo out", param="return_token_ids")
    if body.tempered_logprobs and body.logprobs is None:
        raise Refused(400, "tempered_logprobs says how logprobs are told: give logprobs", param="tempered_logprobs")
    if body.max_tokens == 0 and (not body.echo or body.logprobs is None or body.stream or best_of > 1):
        raise Refused(400, "max_tokens is 0: it must be 1 or more, but for one echo with logprobs", param="max_tokens")


def _prepared(service: Service, body: CompletionBody, adapter: str | None, is_compared: bool) -> list[Prepared]:
    """`is_compared`: the engine tells the probability of each token, whether the client sees it or not."""
    most = USUAL_MAX_TOKENS if body.max_tokens is None else body.max_tokens
    params = replace(sampling_params(body, most, body.logprobs), tempered_logprobs=bool(body.tempered_logprobs))
    form = only_format(body.formats())
    echoes_text = bool(body.echo) and body.logprobs is None  # with log-probabilities it is told apart
    found, check = [], room_check(service)
    for prompt in body.prompts:
        if isinstance(prompt, str):
            check(prompt)
        one = prepare_completion(service.tokenizer, prompt, params, response_format=form, echo=echoes_text)
        if is_compared and one.params.logprobs is None:
            one = replace(one, params=replace(one.params, logprobs=0))
        found.append(room_for(service, one, adapter, is_stated=True))
    return found
