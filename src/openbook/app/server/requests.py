"""From a checked body to what the chat layer takes: messages, tools, the form of the answer, parameters."""

from __future__ import annotations

from collections.abc import Sequence

from openbook.app.server.errors import Refused
from openbook.app.server.shapes.chat import ChatBody, ChatMessage, JsonObjectFormat, JsonSchemaFormat, Tool
from openbook.app.server.shapes.sampling import Sampling
from openbook.core.messages import (
    ChatRequest,
    JsonFormat,
    Message,
    NamedTool,
    ResponseFormat,
    Role,
    SamplingParams,
    TextPart,
    ToolCall,
    ToolChoice,
    ToolDefinition,
)


def chat_request(body: ChatBody, max_tokens: int) -> ChatRequest:
    """`max_tokens`: where the body says nothing. Refuses fields that contradict each other, by name."""
    if body.stream_options is not None and not body.stream:
        raise Refused(400, "stream_options is for streams: set stream, or leave it out", param="stream_options")
    if body.top_logprobs is not None and not body.logprobs:
        raise Refused(400, "top_logprobs needs logprobs: true", param="top_logprobs")
    logprobs = (body.top_logprobs or 0) if body.logprobs else None
    asked = body.max_completion_tokens or body.max_tokens or max_tokens
    return ChatRequest(
        messages=tuple(message_of(one, place) for place, one in enumerate(body.messages)),
        sampling=sampling_params(body, asked, logprobs),
        tools=tuple(tool_of(one) for one in body.tools or ()),
        tool_choice=_choice(body),
        allows_parallel_calls=body.parallel_tool_calls is not False,
        response_format=_format(body),
        reasoning=_reasoning(body),
    )


def sampling_params(body: Sampling, max_tokens: int, logprobs: int | None) -> SamplingParams:
    try:
        return body.params(max_tokens, logprobs)
    except ValueError as error:
        raise Refused(400, str(error), param="logit_bias") from None


def only_format(found: Sequence[ResponseFormat]) -> ResponseFormat | None:
    """The one form that is asked for; 400 for two."""
    if len(found) > 1:
        raise Refused(400, "the answer can have one form: give one of response_format, structured_outputs, guided_*")
    return found[0] if found else None


def message_of(message: ChatMessage, place: int) -> Message:
    """400 for a result of a tool that names no call, and for a message without anything in it."""
    if message.role == "tool" and not message.tool_call_id:
        raise Refused(
            400, "the result of a tool names its call: give tool_call_id", param=f"messages[{place}].tool_call_id"
        )
    if message.tool_calls and message.role != "assistant":
        raise Refused(400, "only an assistant calls tools: take tool_calls out", param=f"messages[{place}].tool_calls")
    if message.content is None and not (message.role == "assistant" and (message.tool_calls or message.refusal)):
        raise Refused(400, f"messages[{place}] has no content: give a text", param=f"messages[{place}].content")
    texts = (
        [message.content] if isinstance(message.content, str) else [part.text for part in message.content or ()]
    ) or [message.refusal or ""]
    role: Role = "system" if message.role == "developer" else message.role
    return Message(
        role,
        tuple(TextPart(text) for text in texts),
        tuple(ToolCall(one.id, one.function.name, one.function.arguments) for one in message.tool_calls or ()),
        message.tool_call_id,
        message.reasoning_content or message.reasoning or "",
    )


def tool_of(tool: Tool) -> ToolDefinition:
    function = tool.function
    schema = function.parameters if function.parameters is not None else {"type": "object", "properties": {}}
    return ToolDefinition(function.name, function.description or "", schema, bool(function.strict))


def _choice(body: ChatBody) -> ToolChoice:
    choice = body.tool_choice
    if choice is None:
        return "auto"
    if choice not in ("none", "auto") and not body.tools:
        raise Refused(400, "tool_choice asks for a call, but no tools are given: give tools", param="tool_choice")
    if isinstance(choice, str):
        return choice
    name = choice.function.name
    known = [tool.function.name for tool in body.tools or ()]
    if name not in known:
        raise Refused(400, f"tool_choice names {name!r}, the tools are {', '.join(known)}", param="tool_choice")
    return NamedTool(name)


def _format(body: ChatBody) -> ResponseFormat | None:
    found = body.formats()
    match body.response_format:
        case JsonObjectFormat():
            found.append(JsonFormat())
        case JsonSchemaFormat(json_schema=said):
            found.append(JsonFormat(said.schema_ if said.schema_ is not None else {}, said.name))
    return only_format(found)


def _reasoning(body: ChatBody) -> bool | None:
    if body.chat_template_kwargs is not None and body.chat_template_kwargs.enable_thinking is not None:
        return body.chat_template_kwargs.enable_thinking
    return None if body.reasoning_effort is None else body.reasoning_effort != "none"
