"""Every reply has the published shape: the client's models, which are made from OpenAI's schema, validate it in full."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai.types import Completion, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from app.server.serving import Server

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
USUAL: dict[str, Any] = {"seed": 4, "ignore_eos": True}
CHAT: dict[str, Any] = USUAL | {"messages": [{"role": "user", "content": "Hello?"}], "max_tokens": 8}
PARAMETERS = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}
CALL: dict[str, Any] = {
    "messages": CHAT["messages"],
    "seed": 4,
    "max_tokens": 120,
    "tools": [{"type": "function", "function": {"name": "f", "parameters": PARAMETERS}}],
    "tool_choice": "required",
}
RESPONSE: dict[str, Any] = USUAL | {"input": "Hello?", "max_output_tokens": 8}
RESPONSE_CALL: dict[str, Any] = {
    "input": "Hello?",
    "seed": 4,
    "max_output_tokens": 120,
    "tools": [{"type": "function", "name": "f", "parameters": PARAMETERS, "strict": True}],
    "tool_choice": "required",
    "instructions": "Call.",
}


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    with server.http() as one:
        yield one


def whole(http: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


def streamed(http: httpx.Client, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    with http.stream("POST", path, json=body | {"stream": True}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


@pytest.mark.parametrize(
    ("path", "body", "shape", "chunk"),
    [
        ("/v1/chat/completions", CHAT, ChatCompletion, ChatCompletionChunk),
        (
            "/v1/chat/completions",
            CHAT | {"logprobs": True, "top_logprobs": 2, "n": 2},
            ChatCompletion,
            ChatCompletionChunk,
        ),
        ("/v1/chat/completions", CALL, ChatCompletion, ChatCompletionChunk),
        ("/v1/completions", USUAL | {"prompt": "Once", "logprobs": 2}, Completion, None),
        ("/v1/completions", USUAL | {"prompt": ["Once", "Twice"], "n": 2}, Completion, None),
    ],
)
def test_a_reply_and_each_chunk_have_their_shape(
    http: httpx.Client, path: str, body: dict[str, Any], shape: type[BaseModel], chunk: type[BaseModel] | None
) -> None:
    shape.model_validate(whole(http, path, body))
    for one in streamed(http, path, body | {"stream_options": {"include_usage": True}}):
        if chunk is not None:
            chunk.model_validate(one)
        assert one["object"] in ("chat.completion.chunk", "text_completion")


@pytest.mark.parametrize("body", [RESPONSE, RESPONSE_CALL])
def test_a_response_and_each_event_have_their_shape(http: httpx.Client, body: dict[str, Any]) -> None:
    Response.model_validate(whole(http, "/v1/responses", body))
    names = [EVENT.validate_python(one).type for one in streamed(http, "/v1/responses", body)]
    assert names[0] == "response.created" and names[-1] in ("response.completed", "response.incomplete")


def test_a_list_of_models_has_its_shape(http: httpx.Client) -> None:
    listed = http.get("/v1/models").json()
    assert listed["object"] == "list"
    for one in listed["data"]:
        Model.model_validate(one)
