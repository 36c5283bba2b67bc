"""How an answer is to be read, decided when it is asked for: plain data that stays with whoever reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from openbook.serving.chat.calls import CallSyntax
from openbook.serving.chat.check import Schema


@dataclass(frozen=True)
class Reading:
    """What `Reply` must know.

    `echo`: text in front of the answer; `before`: the last tokens in front of it. `syntax`: the format of tool calls, None
    where none may come; `tools`: the names that are known; `ends_after_call`: one call is enough; `short_ids`: ids of calls
    have nine letters or digits, which Mistral's templates want. `thoughts`: whether the answer may begin with some, or is
    within them already. `shown`: special tokens that formats are read by. `schema`: what the text must follow;
    `tool_schemas`: what arguments must follow where they are guaranteed.
    """

    stop: tuple[str, ...] = ()
    wants_logprobs: bool = False
    echo: str = ""
    before: tuple[int, ...] = ()
    syntax: CallSyntax | None = None
    tools: frozenset[str] = frozenset()
    ends_after_call: bool = False
    short_ids: bool = False
    thoughts: Literal["none", "may come", "are open"] = "none"
    shown: frozenset[int] = frozenset()
    schema: Schema | None = None
    tool_schemas: Mapping[str, Schema] = field(default_factory=dict)
