"""Tools and formats in the shapes of an OpenAI-compatible endpoint: as they are asked for, and calls as they come back."""

from __future__ import annotations

import json
from typing import Any

from openbook.core.messages import (
    ChatRequest,
    ChoiceFormat,
    GrammarFormat,
    JsonFormat,
    NamedTool,
    RegexFormat,
    ResponseFormat,
    ToolCall,
    ToolChoice,
    ToolDefinition,
)


def asked_for(request: ChatRequest) -> dict[str, Any]:
    """The fields of the body for tools, format and reasoning; none where nothing is asked."""
    body: dict[str, Any] = {}
    if request.tools:
        body |= {"tools": [_tool(tool) for tool in request.tools], "tool_choice": _choice(request.tool_choice)}
        if not request.allows_parallel_calls:
            body["parallel_tool_calls"] = False
    if request.response_format is not None:
        body |= _format(request.response_format)
    if request.reasoning is not None:
        body["chat_template_kwargs"] = {"enable_thinking": request.reasoning}  # vLLM's, SGLang's and llama.cpp's
    return body


def plain_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def calls_from(message: dict[str, Any]) -> tuple[ToolCall, ...]:
    """The calls of a whole message; KeyError, TypeError or AttributeError for another shape."""
    collector = CallCollector()
    collector.add(message)
    return collector.calls()


class CallCollector:
    """Calls that come in pieces: `add` each delta."""

    def __init__(self) -> None:
        self._calls: dict[int, dict[str, str]] = {}

    def add(self, delta: dict[str, Any]) -> None:
        for place, piece in enumerate(delta.get("tool_calls") or []):
            index = piece.get("index")
            at = index if isinstance(index, int) else place
            call = self._calls.setdefault(at, {"id": "", "name": "", "arguments": ""})
            function = piece.get("function") or {}
            call["id"] = str(piece.get("id") or call["id"])
            call["name"] = str(function.get("name") or call["name"])
            arguments = function.get("arguments")
            call["arguments"] += arguments if isinstance(arguments, str) else json.dumps(arguments) if arguments else ""

    def calls(self) -> tuple[ToolCall, ...]:
        """In their order; KeyError for one without a name."""
        found = []
        for place, call in sorted(self._calls.items()):
            if not call["name"]:
                raise KeyError("name of a tool call")
            found.append(ToolCall(call["id"] or f"call_{place}", call["name"], call["arguments"] or "{}"))
        return tuple(found)


def _tool(tool: ToolDefinition) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": dict(tool.parameters)}
    if tool.description:
        function["description"] = tool.description
    if tool.is_strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _choice(choice: ToolChoice) -> str | dict[str, Any]:
    return {"type": "function", "function": {"name": choice.name}} if isinstance(choice, NamedTool) else choice


def _format(form: ResponseFormat) -> dict[str, Any]:
    """`structured_outputs` is vLLM's and our own server's; others refuse it or take no notice."""
    match form:
        case JsonFormat(schema, name):
            if schema is None:
                return {"response_format": {"type": "json_object"}}
            said = {"name": name or "answer", "schema": dict(schema) if not isinstance(schema, bool) else schema}
            return {"response_format": {"type": "json_schema", "json_schema": said | {"strict": True}}}
        case RegexFormat(pattern):
            return {"structured_outputs": {"regex": pattern}}
        case ChoiceFormat(choices):
            return {"structured_outputs": {"choice": list(choices)}}
        case GrammarFormat(lark):
            return {"structured_outputs": {"grammar": lark}}
