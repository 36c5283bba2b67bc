"""The tools of a request: checked, as templates read them, and as a grammar where calls are to be guaranteed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from openbook.core.errors import UsageError
from openbook.core.messages import ChatRequest, Message, NamedTool, ToolChoice, ToolDefinition
from openbook.lm.tokenizers.render import plain_message
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.serving.chat.calls import CallSyntax
from openbook.serving.chat.check import Schema
from openbook.serving.chat.grammar import Named, answer_part, grammar
from openbook.serving.chat.syntax import call_rules, free_rules, mark_of, tool_part

_LONGEST_NAME = 256
_SHORT = "0123456789abcdefghijklmnopqrstuvwxyz"


class Guide(NamedTuple):
    """`grammar`: None where nothing is guaranteed. `tool_schemas`: by name, of the arguments that are."""

    grammar: str | None
    tool_schemas: Mapping[str, Schema]


def choice_of(request: ChatRequest) -> ToolChoice:
    """Whether calls may come. UsageError for a choice among tools that are not there."""
    if request.tools:
        return request.tool_choice
    if request.tool_choice == "required" or isinstance(request.tool_choice, NamedTool):
        raise UsageError("a tool must be called and none is given", "give tools, or leave tool_choice out")
    return "none"


def check_tools(tokenizer: Tokenizer, request: ChatRequest, syntax: CallSyntax | None) -> None:
    """Raises UsageError for tools that cannot be told apart, a choice that is none of them, and a model that calls none."""
    if syntax is None:
        raise UsageError(
            f"the chat template of {tokenizer.source} calls tools in no format that is known",
            "known are those of Qwen 2.5 and 3, Hermes, Llama 3 and Mistral up to Nemo; ask without tools, or take such a model",
        )
    names = [tool.name for tool in request.tools]
    for tool in request.tools:
        if not tool.name or len(tool.name) > _LONGEST_NAME or not tool.name.isprintable():
            raise UsageError(f"{tool.name!r} is no name of a tool", f"give 1 to {_LONGEST_NAME} letters on one line")
        if names.count(tool.name) > 1:
            raise UsageError(f"there are two tools {tool.name!r}", "name each by its own name")
        if tool.parameters.get("type", "object") != "object":
            raise UsageError(f"the parameters of {tool.name!r} are no object", 'give a schema with "type": "object"')
    if isinstance(request.tool_choice, NamedTool) and request.tool_choice.name not in names:
        raise UsageError(f"there is no tool {request.tool_choice.name!r}", f"there are {', '.join(names)}")


def plain_tools(tools: Sequence[ToolDefinition]) -> list[dict[str, Any]]:
    """As the OpenAI API and chat templates write them."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
        }
        for tool in tools
    ]


def is_guided(request: ChatRequest) -> bool:
    """Whether the answer follows a grammar from its first token on."""
    return request.response_format is not None or _is_forced(choice_of(request))


def _is_forced(choice: ToolChoice) -> bool:
    return choice == "required" or isinstance(choice, NamedTool)


def guided(tokenizer: Tokenizer, request: ChatRequest, syntax: CallSyntax | None, thoughts: str) -> Guide:
    """The grammar of the whole answer: calls where they are forced, else the format, beside calls where both may come.

    `thoughts`: the rules of what may precede it, empty for nothing.
    """
    choice, form, mark = choice_of(request), request.response_format, mark_of(tokenizer)
    is_forced = _is_forced(choice)
    is_strict = choice == "auto" and any(tool.is_strict for tool in request.tools)
    if not (is_forced or is_strict or form):
        return Guide(None, {})
    rules: list[str] = []
    parts: list[Named] = []
    schemas: dict[str, Schema] = {}
    kinds = []
    if syntax is not None:
        tools = [tool for tool in request.tools if not isinstance(choice, NamedTool) or tool.name == choice.name]
        many = request.allows_parallel_calls and not isinstance(choice, NamedTool)
        rules.append(call_rules(syntax, [tool.name for tool in tools], many, mark))
        kept = [tool for tool in tools if is_forced or tool.is_strict]
        parts += [tool_part(syntax, tool, f"tool_{place}", tool in kept) for place, tool in enumerate(tools)]
        schemas = {tool.name: {**tool.parameters, "type": "object"} for tool in kept}
        kinds.append("calls" if is_forced or form else "free")
        if kinds == ["free"]:
            rules.append(free_rules(syntax, mark))
    if form and not is_forced:
        parts.append(answer_part(form))
        kinds.append("@answer")
    lead = "thoughts " if thoughts else ""
    return Guide(grammar("\n".join([f"start: {lead}({' | '.join(kinds)})", *rules, thoughts]), parts), schemas)


def with_short_ids(messages: Sequence[Message]) -> tuple[Message, ...]:
    """With ids of tool calls of nine letters or digits, as Mistral's templates want them; those that are so stay."""
    return tuple(
        replace(
            message,
            tool_calls=tuple(replace(call, id=short_id(call.id)) for call in message.tool_calls),
            tool_call_id=None if message.tool_call_id is None else short_id(message.tool_call_id),
        )
        for message in messages
    )


def named_results(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The chat as templates read it, results of calls under the name of what was called, which Hermes' template wants."""
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    plain = [plain_message(message) for message in messages]
    return [one | {"name": names[one["tool_call_id"]]} if one.get("tool_call_id") in names else one for one in plain]


def short_id(text: str) -> str:
    """Nine letters or digits for `text`; itself where it has them."""
    if len(text) == 9 and text.isascii() and text.isalnum():
        return text
    number = int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big")
    return "".join(_SHORT[number // 36**place % 36] for place in range(9))


def call_id(request_id: str, index: int, is_short: bool) -> str:
    """The same for the same request and place."""
    text = json.dumps([request_id, index])
    if is_short:
        return short_id(text)
    return f"call_{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}"
