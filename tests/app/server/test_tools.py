"""Tools and forms over HTTP: a model of random weights follows them all the same, streamed as well as whole."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import openai
import pytest
from pydantic import BaseModel

MESSAGES: list[Any] = [{"role": "user", "content": "What is the weather in Bergen?"}]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"enum": ["Bergen", "Oslo"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}},
]
ASKED: dict[str, Any] = {"model": "tiny", "messages": MESSAGES, "max_tokens": 120, "seed": 4}


def calls_of(client: openai.OpenAI, **asked: Any) -> tuple[list[tuple[str, str, str]], str | None]:
    """(id, name, arguments) of each call, gathered from a stream; and why it ended."""
    calls: dict[int, list[str]] = {}
    reason = None
    for chunk in client.chat.completions.create(**asked, stream=True):
        for choice in chunk.choices:
            reason = choice.finish_reason or reason
            for delta in choice.delta.tool_calls or ():
                one = calls.setdefault(delta.index, ["", "", ""])
                one[0] += delta.id or ""
                one[1] += (delta.function and delta.function.name) or ""
                one[2] += (delta.function and delta.function.arguments) or ""
    return [(one[0], one[1], one[2]) for _, one in sorted(calls.items())], reason


@pytest.mark.parametrize("seed", range(4))
def test_a_forced_call_follows_its_schema(client: openai.OpenAI, seed: int) -> None:
    asked = ASKED | {
        "tools": TOOLS,
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": False,
        "seed": seed,
    }
    choice = client.chat.completions.create(**asked).choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.type == "function" and call.function.name == "weather"
    jsonschema.validate(json.loads(call.function.arguments), SCHEMA)
    streamed, reason = calls_of(client, **asked)
    assert [(name, arguments) for _, name, arguments in streamed] == [(call.function.name, call.function.arguments)]
    assert reason == "tool_calls" and all(one[0] for one in streamed)


def test_the_result_of_a_call_is_read(client: openai.OpenAI) -> None:
    said: list[Any] = [
        *MESSAGES,
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bergen"}'}}
        ]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Rain."},
    ]  # fmt: skip
    plain = client.chat.completions.create(**ASKED | {"max_tokens": 4, "tools": TOOLS}).usage
    after = client.chat.completions.create(**ASKED | {"max_tokens": 4, "tools": TOOLS, "messages": said}).usage
    assert plain is not None and after is not None and after.prompt_tokens > plain.prompt_tokens


def test_an_answer_in_json_follows_its_schema(client: openai.OpenAI) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "weather", "schema": SCHEMA, "strict": True}}
    choice = client.chat.completions.create(**ASKED, response_format=form).choices[0]
    assert choice.finish_reason == "stop"
    jsonschema.validate(json.loads(choice.message.content or ""), SCHEMA)

    class Weather(BaseModel):
        is_wet: bool

    parsed = client.chat.completions.parse(**ASKED, response_format=Weather)
    assert parsed.choices[0].message.parsed is not None


@pytest.mark.parametrize(
    ("extra", "pattern"),
    [
        ({"guided_regex": "[ab]{3,5}c"}, "[ab]{3,5}c"),
        ({"guided_choice": ["yes", "no"]}, "yes|no"),
        ({"structured_outputs": {"choice": ["left", "right"]}}, "left|right"),
        ({"guided_grammar": 'start: "x" | "yy"'}, "x|yy"),
        ({"structured_outputs": {"json": {"const": 5}}}, "5"),
    ],
)
def test_vllms_words_for_forms_are_understood(client: openai.OpenAI, extra: dict[str, Any], pattern: str) -> None:
    text = client.chat.completions.create(**ASKED, extra_body=extra).choices[0].message.content
    assert text is not None and re.fullmatch(pattern, text.strip())
    asked = {"model": "tiny", "prompt": "Say it: ", "max_tokens": 60, "seed": 4}
    assert re.fullmatch(pattern, client.completions.create(**asked, extra_body=extra).choices[0].text.strip())  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "robot"}, "robot"),
        ({"type": "string", "format": "made-up"}, "made-up"),
        ({"minimum": "five"}, "minimum"),
    ],
)
def test_a_schema_that_cannot_be_is_refused(client: openai.OpenAI, schema: dict[str, Any], said: str) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "odd", "schema": schema}}
    with pytest.raises(openai.BadRequestError, match=said):
        client.chat.completions.create(**ASKED, response_format=form)


def test_tools_that_contradict_each_other_are_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="weather, clock"):
        choice = {"type": "function", "function": {"name": "news"}}
        client.chat.completions.create(**ASKED, tools=TOOLS, tool_choice=choice)
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(**ASKED, tools=[{"type": "function", "function": {"name": ""}}])


def test_responses_calls_a_tool_too(client: openai.OpenAI) -> None:
    tool = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}
    asked: dict[str, Any] = {
        "model": "tiny",
        "input": "What is the weather?",
        "tools": [tool],
        "tool_choice": {"type": "function", "name": "weather"},
        "parallel_tool_calls": False,
        "max_output_tokens": 120,
        "extra_body": {"seed": 4},
    }
    whole = client.responses.create(**asked)
    call = next(item for item in whole.output if item.type == "function_call")
    jsonschema.validate(json.loads(call.arguments), SCHEMA)
    names = []
    arguments = ""
    for event in client.responses.create(**asked, stream=True):
        names.append(event.type)
        if event.type == "response.function_call_arguments.delta":
            arguments += event.delta
    assert arguments == call.arguments and names[-1] == "response.completed"
    assert "response.function_call_arguments.done" in names
    again: Any = [
        {"role": "user", "content": "What is the weather?"},
        call.model_dump(exclude_none=True),
        {"type": "function_call_output", "call_id": call.call_id, "output": "Rain."},
    ]
    assert client.responses.create(**asked | {"input": again}).output


def test_a_form_of_responses_is_followed(client: openai.OpenAI) -> None:
    form: Any = {"format": {"type": "json_schema", "name": "weather", "schema": SCHEMA, "strict": True}}
    answer = client.responses.create(
        model="tiny", input="Weather?", text=form, max_output_tokens=120, extra_body={"seed": 4}
    )
    jsonschema.validate(json.loads(answer.output_text), SCHEMA)
    assert answer.status == "completed"
