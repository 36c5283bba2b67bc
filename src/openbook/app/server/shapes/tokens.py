"""The bodies of /tokenize and /detokenize, as vLLM has them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from openbook.app.server.shapes.chat import ChatMessage, Tool
from openbook.app.server.shapes.sampling import Shape, TokenId


class TokenizeBody(Shape):
    """A text, or a chat by the model's template."""

    model: str | None = None
    prompt: str | None = None
    messages: list[ChatMessage] | None = None
    tools: list[Tool] | None = None
    add_special_tokens: bool = True
    return_token_strs: bool = False


class DetokenizeBody(Shape):
    model: str | None = None
    tokens: Annotated[list[TokenId], Field(max_length=1_000_000)]
