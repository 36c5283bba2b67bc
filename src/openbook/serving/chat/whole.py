"""An answer as a whole, put together from its events."""

from __future__ import annotations

from dataclasses import dataclass, field

from openbook.core.messages import Completion, ToolCall
from openbook.serving.chat.events import (
    ChatEvent,
    Finished,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallArguments,
    ToolCallBegun,
)


@dataclass
class Whole:
    """`add` every event of a `Reply`. What a stream says piece by piece and what this says are the same by construction."""

    finished: Finished | None = None
    logprobs: list[TokenLogprob] = field(default_factory=list)
    _text: list[str] = field(default_factory=list)
    _reasoning: list[str] = field(default_factory=list)
    _calls: list[tuple[ToolCallBegun, list[str]]] = field(default_factory=list)

    def add(self, event: ChatEvent) -> None:
        match event:
            case TextDelta(text, logprobs):
                self._text.append(text)
                self.logprobs += logprobs
            case ReasoningDelta(text):
                self._reasoning.append(text)
            case ToolCallBegun():
                self._calls.append((event, []))
            case ToolCallArguments(index, text):
                self._calls[index][1].append(text)
            case Finished():
                self.finished = event

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        return "".join(self._reasoning)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(ToolCall(begun.id, begun.name, "".join(pieces)) for begun, pieces in self._calls)

    def completion(self) -> Completion:
        """The answer of a `ChatModel`; it has finished, and without an error."""
        assert self.finished is not None and self.finished.reason != "error", "the answer has not come to its end"
        usage = self.finished.usage
        return Completion(
            self.text,
            self.finished.reason,
            usage.prompt,
            usage.completion,
            self.tool_calls,
            self.reasoning,
            usage.cached,
        )
