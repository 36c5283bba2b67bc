"""What the server replies has the shapes of OpenAI's published specification (`openai_shapes.yaml`), whole and streamed.

Where OpenAI's own service sends what its specification does not allow, clients count on the service: see `as_specified`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import yaml

import tiny_bert
from app.server.serving import serving
from openbook.app.server.render.responses import ResponseItems
from openbook.app.server.shapes.responses import ResponseBody
from openbook.serving.chat.events import Finished, ReasoningDelta, TextDelta, Usage

SHAPES = yaml.safe_load((Path(__file__).parent / "openai_shapes.yaml").read_text("utf-8"))
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"enum": ["Bergen", "Oslo"]}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = {"name": "weather", "description": "The weather.", "parameters": SCHEMA}
MESSAGES = [{"role": "user", "content": "What is the weather in Bergen?"}]
CHAT: dict[str, Any] = {"model": "tiny", "messages": MESSAGES, "max_tokens": 40, "seed": 4}
CHATS: dict[str, dict[str, Any]] = {
    "plain": {"max_tokens": 8, "ignore_eos": True},
    "log-probabilities, two answers": {"max_tokens": 8, "logprobs": True, "top_logprobs": 2, "n": 2},
    "a tool": {"tools": [{"type": "function", "function": TOOL}], "tool_choice": "required"},
    "a form": {"response_format": {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}}},
}
TEXT: dict[str, Any] = {"model": "tiny", "prompt": ["One two", "three"], "max_tokens": 6, "seed": 4}
TEXTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "log-probabilities": {"logprobs": 2, "n": 2},
    "an echo": {"echo": True, "logprobs": 1},
}
ASKED: dict[str, Any] = {"model": "tiny", "input": "Hello?", "max_output_tokens": 40, "seed": 4}
ASKS: dict[str, dict[str, Any]] = {
    "plain": {
        "max_output_tokens": 8,
        "ignore_eos": True,
        "instructions": "Be brief.",
        "metadata": {"a": "b"},
        "user": "ada",
    },
    "log-probabilities": {"max_output_tokens": 8, "include": ["message.output_text.logprobs"], "top_logprobs": 2},
    "a tool": {"tools": [{"type": "function", **TOOL}], "tool_choice": {"type": "function", "name": "weather"}},
    "a tool without parameters": {"tools": [{"type": "function", "name": "clock"}], "max_output_tokens": 8},
    "a form": {"text": {"format": {"type": "json_schema", "name": "city", "schema": SCHEMA}}},
}


@pytest.fixture(scope="module")
def http(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    vectors = tmp_path_factory.mktemp("bert") / "vectors"
    tiny_bert.write(vectors, tiny_bert.weights())
    with serving(model, tmp_path_factory.mktemp("home"), "--embedder", vectors) as server, server.http() as client:
        yield client


def faults(shape: str, value: object) -> list[str]:
    """What `value` has against it, with the place of each."""
    validator = jsonschema.Draft202012Validator({**SHAPES, "$ref": f"#/components/schemas/{shape}"})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def as_specified(reply: dict[str, Any]) -> dict[str, Any]:
    """A completion without two things that OpenAI's service sends and its specification forbids: no reason while a stream goes
    on, and no log-probability of the first token of an echo.
    """
    changed = deepcopy(reply)
    for choice in changed["choices"]:
        if choice["finish_reason"] is None:
            choice["finish_reason"] = "stop"
        said = choice["logprobs"]
        if said and said["token_logprobs"] and said["token_logprobs"][0] is None and said["top_logprobs"][0] is None:
            said["token_logprobs"][0], said["top_logprobs"][0] = 0.0, {}
    return changed


def posted(http: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    reply = http.post(path, json=body)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def streamed(http: httpx.Client, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    with http.stream("POST", path, json=body | {"stream": True}) as reply:
        assert reply.status_code == 200
        lines = [line.removeprefix("data: ") for line in reply.iter_lines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


@pytest.mark.parametrize("kind", CHATS)
def test_chats(http: httpx.Client, kind: str) -> None:
    whole = posted(http, "/v1/chat/completions", CHAT | CHATS[kind])
    assert faults("CreateChatCompletionResponse", whole) == []
    assert bool(whole["choices"][0]["message"].get("tool_calls")) == (kind == "a tool")
    chunks = streamed(http, "/v1/chat/completions", CHAT | CHATS[kind] | {"stream_options": {"include_usage": True}})
    assert len(chunks) > 2 and chunks[-1]["usage"] is not None
    assert [fault for chunk in chunks for fault in faults("CreateChatCompletionStreamResponse", chunk)] == []


@pytest.mark.parametrize("kind", TEXTS)
def test_completions(http: httpx.Client, kind: str) -> None:
    whole = posted(http, "/v1/completions", TEXT | TEXTS[kind])
    assert faults("CreateCompletionResponse", as_specified(whole)) == []
    assert all(choice["finish_reason"] in ("stop", "length") for choice in whole["choices"])
    chunks = streamed(http, "/v1/completions", TEXT | TEXTS[kind])
    assert [fault for chunk in chunks for fault in faults("CreateCompletionResponse", as_specified(chunk))] == []


def test_a_prompt_that_is_only_scored(http: httpx.Client) -> None:
    whole = posted(http, "/v1/completions", TEXT | {"echo": True, "logprobs": 1, "max_tokens": 0})
    assert faults("CreateCompletionResponse", as_specified(whole)) == []


@pytest.mark.parametrize("kind", ASKS)
def test_responses(http: httpx.Client, kind: str) -> None:
    whole = posted(http, "/v1/responses", ASKED | ASKS[kind])
    assert faults("Response", whole) == [] and whole["output"]
    events = streamed(http, "/v1/responses", ASKED | ASKS[kind])
    assert [fault for event in events for fault in event_faults(event)] == []
    if kind == "a tool":
        assert "response.function_call_arguments.done" in {event["type"] for event in events}


def event_faults(event: dict[str, Any]) -> list[str]:
    """Those of the one shape for its type, so that what is wrong is told."""
    for one in SHAPES["components"]["schemas"]["ResponseStreamEvent"]["anyOf"]:
        name = one["$ref"].rpartition("/")[2]
        if event["type"] in SHAPES["components"]["schemas"][name]["properties"]["type"]["enum"]:
            return faults(name, event)
    return [f"no event is called {event['type']}"]


@pytest.mark.parametrize("reason", ["stop", "error"])
def test_thoughts_and_failures_of_a_response(reason: Any) -> None:
    """Which the model of these tests has none of: the renderer is given them."""
    items = ResponseItems(ResponseBody(input="Hello?"), "resp_1", 1, "tiny")
    said = [*items.begin(), *items.push(ReasoningDelta("Let me see.")), *items.push(TextDelta("Yes."))]
    said += items.push(Finished(reason, Usage(1, 2), "it broke" if reason == "error" else ""))
    events = [{"type": name, "sequence_number": number} | rest for number, (name, rest) in enumerate(said)]
    assert [fault for event in events for fault in event_faults(event)] == []
    assert "response.reasoning_text.done" in {event["type"] for event in events}
    assert events[-1]["type"] == ("response.completed" if reason == "stop" else "response.failed")


def test_embeddings_and_models(http: httpx.Client) -> None:
    vectors = posted(http, "/v1/embeddings", {"model": "vectors", "input": ["annual leave days", "the cat"]})
    assert faults("CreateEmbeddingResponse", vectors) == [] and len(vectors["data"]) == 2
    models = http.get("/v1/models").json()
    assert faults("ListModelsResponse", models) == [] and models["data"]
    assert faults("Model", http.get(f"/v1/models/{models['data'][0]['id']}").json()) == []


def test_errors(http: httpx.Client) -> None:
    replies = [
        http.post("/v1/chat/completions", json=CHAT | {"temprature": 1}),
        http.post("/v1/completions", json=TEXT | {"model": "another"}),
        http.post("/v1/responses", content=b"{"),
        http.post("/v1/chat/completions", json=CHAT | {"max_tokens": -1}),
        http.get("/v1/models/another"),
        http.get("/v1/nothing"),
    ]
    assert {reply.status_code for reply in replies} == {400, 404}
    assert [fault for reply in replies for fault in faults("ErrorResponse", reply.json())] == []


def test_a_field_that_is_missing_or_of_another_type_is_found(http: httpx.Client) -> None:
    whole = posted(http, "/v1/chat/completions", CHAT | CHATS["log-probabilities, two answers"])
    for change in (
        {"object": "chat.completion.chunk"},
        {"created": "now"},
        {"usage": {"prompt_tokens": 1}},
        {"choices": [{}]},
    ):
        assert faults("CreateChatCompletionResponse", whole | change)
    for name in SHAPES["components"]["schemas"]["CreateChatCompletionResponse"]["required"]:
        assert faults("CreateChatCompletionResponse", {key: value for key, value in whole.items() if key != name})
    response = posted(http, "/v1/responses", ASKED | ASKS["plain"])
    assert faults("Response", response | {"output": [{"type": "message"}]})
    assert event_faults({"type": "response.made_up"})
