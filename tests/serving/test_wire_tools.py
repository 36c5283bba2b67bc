"""Tools and formats over HTTP: said as the API says them, calls put together from their pieces, formats looked at again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chat_server import ChatServer, Reply
from openbook.core.errors import ModelUnavailable, UsageError
from openbook.core.messages import (
    ChatRequest,
    ChoiceFormat,
    GrammarFormat,
    JsonFormat,
    Message,
    NamedTool,
    RegexFormat,
    SamplingParams,
    ToolCall,
    ToolDefinition,
)
from openbook.serving.endpoint import parse_endpoint
from openbook.serving.remote import RemoteChatModel
from openbook.serving.wire import request_body

TOOL = ToolDefinition("weather", "Weather of a place", {"type": "object"}, is_strict=True)
CALL = ToolCall("call_1", "weather", '{"place": "Köln"}')
PLAIN = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Köln"}'}}


def body(**more: object) -> dict[str, Any]:
    return request_body(ChatRequest((Message.of("user", "Hello?"),), **more), "m", stream=False)  # type: ignore[arg-type]


def test_tools_and_choices() -> None:
    said = body(tools=(TOOL,), tool_choice=NamedTool("weather"), allows_parallel_calls=False, reasoning=False)
    function = {
        "name": "weather",
        "description": "Weather of a place",
        "parameters": {"type": "object"},
        "strict": True,
    }
    assert said["tools"] == [{"type": "function", "function": function}]
    assert said["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert said["parallel_tool_calls"] is False
    assert said["chat_template_kwargs"] == {"enable_thinking": False}
    assert body(tools=(TOOL,), tool_choice="required")["tool_choice"] == "required"
    assert "tool_choice" not in body()


def test_formats() -> None:
    schema = {"type": "object"}
    assert body(response_format=JsonFormat())["response_format"] == {"type": "json_object"}
    assert body(response_format=JsonFormat(schema, "one"))["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "one", "schema": schema, "strict": True},
    }
    assert body(response_format=RegexFormat("a+"))["structured_outputs"] == {"regex": "a+"}
    assert body(response_format=ChoiceFormat(("a", "b")))["structured_outputs"] == {"choice": ["a", "b"]}
    assert body(response_format=GrammarFormat('start: "a"'))["structured_outputs"] == {"grammar": 'start: "a"'}
    with pytest.raises(UsageError, match="response_format"):
        body(sampling=SamplingParams(constraint="x"))


def test_calls_and_results_in_the_history() -> None:
    chat = (Message("assistant", (), (CALL,)), Message("tool", Message.of("tool", "grey").content, (), "call_1"))
    said = request_body(ChatRequest(chat), "m", stream=False)["messages"]
    assert said == [
        {"role": "assistant", "content": None, "tool_calls": [PLAIN]},
        {"role": "tool", "content": "grey", "tool_call_id": "call_1"},
    ]


def answered(message: dict[str, Any], finish: str = "tool_calls") -> Reply:
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 5}}
    return Reply(body=json.dumps({"choices": [{"message": message, "finish_reason": finish}], "usage": usage}).encode())


def model(server: ChatServer) -> RemoteChatModel:
    return RemoteChatModel(parse_endpoint(server.url + "#tiny"), pause_s=0.001, attempts=1)


def test_calls_come_back() -> None:
    asked = ChatRequest((Message.of("user", "Weather?"),), tools=(TOOL,))
    with ChatServer(answered({"content": None, "tool_calls": [PLAIN], "reasoning_content": "Hm."})).running() as server:
        answer = model(server).complete(asked)
    assert answer.tool_calls == (CALL,)
    assert (answer.finish_reason, answer.reasoning, answer.cached_tokens, answer.text) == ("tool_calls", "Hm.", 5, "")


def test_calls_in_pieces_are_put_together() -> None:
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": "I look."},
        {"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "weather", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "id": "call_2", "function": {"name": "clock"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"place": '}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"Köln"}'}}]},
    ]
    events = [json.dumps({"choices": [{"delta": delta, "finish_reason": None}]}) for delta in deltas]
    events.append(json.dumps({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}))
    reply = Reply(headers={"Content-Type": "text/event-stream"}, events=(*events, "[DONE]"))
    with ChatServer(reply).running() as server:
        stream = model(server).stream(ChatRequest((Message.of("user", "Weather?"),), tools=(TOOL,)))
        pieces = []
        while True:
            try:
                pieces.append(next(stream))
            except StopIteration as end:
                answer = end.value
                break
    assert pieces == ["I look."]
    assert answer.tool_calls == (CALL, ToolCall("call_2", "clock", "{}"))


@pytest.mark.parametrize("calls", [3, [3], [{"function": 3}], [{"id": "x", "function": {"arguments": "{}"}}]])
def test_calls_of_another_shape_are_named(calls: object) -> None:
    with ChatServer(answered({"content": "", "tool_calls": calls})).running() as server:  # noqa: SIM117
        with pytest.raises(ModelUnavailable, match="another shape"):
            model(server).complete(ChatRequest((Message.of("user", "Weather?"),)))


@pytest.mark.parametrize(
    ("form", "right", "wrong"),
    [
        (JsonFormat(), '{"a": 1}', "Sure! {}"),
        (ChoiceFormat(("yes", "no")), "yes", "Yes."),
        (JsonFormat(True), "3", "three"),
    ],
)
def test_a_server_that_takes_no_notice_of_the_format_is_told(form: Any, right: str, wrong: str) -> None:
    asked = ChatRequest((Message.of("user", "?"),), response_format=form)
    with ChatServer(answered({"content": right}, "stop"), answered({"content": wrong}, "stop")).running() as server:
        assert model(server).complete(asked).text == right
        with pytest.raises(ModelUnavailable, match="did not keep to the format"):
            model(server).complete(asked)
    with ChatServer(answered({"content": wrong}, "length")).running() as server:
        assert model(server).complete(asked).finish_reason == "length"
