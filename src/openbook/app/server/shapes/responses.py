"""The body of /v1/responses, without what a server that keeps nothing cannot do.

Source: https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from openbook.app.server.shapes.chat import JsonObjectFormat, TextContent, TextFormat
from openbook.app.server.shapes.sampling import MOST, Harmless, Shape, StreamOptions

_Status = Literal["in_progress", "completed", "incomplete"] | None


class MessageItem(Shape):
    """`id` and `status`, here and below: what the server said when it made the item; ignored."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextContent]
    id: str | None = None
    status: _Status = None


class CallItem(Shape):
    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str
    id: str | None = None
    status: _Status = None


class ResultItem(Shape):
    type: Literal["function_call_output"]
    call_id: str
    output: str | list[TextContent]
    id: str | None = None
    status: _Status = None


class ReasoningText(Shape):
    type: Literal["reasoning_text", "summary_text"]
    text: str


class ReasoningItem(Shape):
    type: Literal["reasoning"]
    summary: list[ReasoningText] = []
    content: list[ReasoningText] | None = None
    id: str | None = None
    status: _Status = None
    encrypted_content: None = None


def _kind(item: Any) -> str:
    said = item.get("type") if isinstance(item, dict) else getattr(item, "type", None)
    return "message" if said is None else str(said)


Item = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[CallItem, Tag("function_call")]
    | Annotated[ResultItem, Tag("function_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")],
    Discriminator(_kind),
]


class FlatTool(Shape):
    """A function; the tools that OpenAI runs itself (web search, files, ...) are not served."""

    type: Literal["function"]
    name: str = Field(min_length=1, max_length=256)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FlatChosenTool(Shape):
    type: Literal["function"]
    name: str


class FlatSchemaFormat(Shape):
    type: Literal["json_schema"]
    name: str = ""
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class TextSettings(Shape):
    """`verbosity` is taken and ignored."""

    format: Annotated[TextFormat | JsonObjectFormat | FlatSchemaFormat, Field(discriminator="type")] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ReasoningSettings(Shape):
    """`effort` "none" forbids thinking, any other asks for it; summaries are not made."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    summary: None = None
    generate_summary: None = None


class ResponseBody(Harmless):
    input: str | Annotated[list[Item], Field(min_length=1)]
    model: str | None = None
    instructions: str | None = None
    max_output_tokens: int | None = Field(default=None, ge=1, le=MOST)
    temperature: float | None = Field(default=None, ge=0, le=100)
    top_p: float | None = Field(default=None, ge=0, le=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: list[FlatTool] | None = Field(default=None, max_length=128)
    tool_choice: Literal["none", "auto", "required"] | FlatChosenTool | None = None
    parallel_tool_calls: bool | None = None
    text: TextSettings | None = None
    reasoning: ReasoningSettings | None = None
    truncation: Literal["disabled"] | None = None
    include: list[Literal["message.output_text.logprobs"]] | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    seed: int | None = Field(default=None, ge=-(2**62), le=2**62)
    stop: str | Annotated[list[str], Field(max_length=64)] | None = None
    top_k: int | None = Field(default=None, ge=-1, le=MOST)
    min_p: float | None = Field(default=None, ge=0, le=1)
    ignore_eos: bool | None = None
    previous_response_id: None = None
    conversation: None = None
    background: Literal[False] | None = None
    prompt: None = None
    max_tool_calls: None = None
