"""From the items of /v1/responses to the messages of a chat."""

from __future__ import annotations

from typing import Any

from openbook.app.server.errors import Refused
from openbook.app.server.shapes.chat import (
    Called,
    CallMade,
    ChatBody,
    ChatMessage,
    ChosenName,
    ChosenTool,
    Format,
    Function,
    JsonSchemaFormat,
    NamedSchema,
    Tool,
)
from openbook.app.server.shapes.responses import (
    CallItem,
    FlatChosenTool,
    FlatSchemaFormat,
    MessageItem,
    ReasoningItem,
    ResponseBody,
    ResultItem,
)


def chat_body(body: ResponseBody) -> ChatBody:
    """The same request as a chat."""
    messages = [ChatMessage(role="system", content=body.instructions)] if body.instructions else []
    wants_logprobs = bool(body.include) or body.top_logprobs is not None
    return ChatBody(
        messages=messages + _messages(body),
        max_completion_tokens=body.max_output_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        tools=[_tool(one) for one in body.tools or ()] or None,
        tool_choice=_choice(body),
        parallel_tool_calls=body.parallel_tool_calls,
        response_format=_format(body),
        reasoning_effort=body.reasoning.effort if body.reasoning is not None else None,
        logprobs=wants_logprobs or None,
        top_logprobs=body.top_logprobs,
        seed=body.seed,
        stop=body.stop,
        top_k=body.top_k,
        min_p=body.min_p,
        ignore_eos=body.ignore_eos,
    )


def _messages(body: ResponseBody) -> list[ChatMessage]:
    """What the assistant thought, said and called in a row is one message of it."""
    if isinstance(body.input, str):
        return [ChatMessage(role="user", content=body.input)]
    messages: list[ChatMessage] = []
    thought = ""
    for place, item in enumerate(body.input):
        is_assistant = isinstance(item, CallItem | ReasoningItem) or getattr(item, "role", "") == "assistant"
        if thought and not is_assistant:
            raise _alone(place)
        match item:
            case MessageItem(role="assistant"):
                messages.append(ChatMessage(role="assistant", content=item.content, reasoning_content=thought or None))
                thought = ""
            case MessageItem():
                messages.append(ChatMessage(role=item.role, content=item.content))
            case CallItem():
                call = CallMade(id=item.call_id, function=Called(name=item.name, arguments=item.arguments))
                if not messages or messages[-1].role != "assistant" or thought:
                    messages.append(ChatMessage(role="assistant", reasoning_content=thought or None))
                    thought = ""
                messages[-1].tool_calls = [*(messages[-1].tool_calls or []), call]
            case ResultItem():
                messages.append(ChatMessage(role="tool", content=item.output, tool_call_id=item.call_id))
            case ReasoningItem():
                thought = "\n".join(
                    [*([thought] if thought else []), *(part.text for part in item.content or item.summary)]
                )
    if thought or not messages:
        raise _alone(len(body.input))
    return messages


def _alone(place: int) -> Refused:
    return Refused(
        400,
        "a reasoning item stands in front of what the assistant said or called: put one behind it, or take it out",
        param=f"input[{place - 1}]",
    )


def _tool(tool: Any) -> Tool:
    function = Function(name=tool.name, description=tool.description, parameters=tool.parameters, strict=tool.strict)
    return Tool(type="function", function=function)


def _choice(body: ResponseBody) -> Any:
    choice = body.tool_choice
    if isinstance(choice, FlatChosenTool):
        return ChosenTool(type="function", function=ChosenName(name=choice.name))
    return choice


def _format(body: ResponseBody) -> Format | None:
    said = body.text.format if body.text is not None else None
    if isinstance(said, FlatSchemaFormat):
        return JsonSchemaFormat(
            type="json_schema", json_schema=NamedSchema(name=said.name, schema=said.schema_, strict=said.strict)
        )
    return said
