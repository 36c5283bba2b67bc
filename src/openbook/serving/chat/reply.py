"""What the engine says of a request, turned into what a chat is told: no threads, no clock, no network, no torch.

Whoever has the engine's events drives it: a thread in this process, or an HTTP server in another.
"""

from __future__ import annotations

from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.serving.chat.answer import AnswerParser
from openbook.serving.chat.check import mismatch
from openbook.serving.chat.events import (
    ChatEvent,
    ChatFinish,
    Finished,
    ReasoningDelta,
    TextDelta,
    ToolCallArguments,
    ToolCallBegun,
    Usage,
)
from openbook.serving.chat.parts import Arguments, Begun, Ended, Part, Said, Thought
from openbook.serving.chat.prepare import Prepared
from openbook.serving.chat.shown import ShownText
from openbook.serving.chat.tools import call_id
from openbook.serving.chat.whole import Whole
from openbook.serving.engine.events import NO_TOKEN, Event

_NO_TOKEN = "the model's logits were no numbers"


class Reply:
    """One answer. `push` each event of the engine in order; `Finished` comes once, last.

    `is_done` may turn true before the engine has ended (a stop string came, one call was enough): the caller then cancels the
    request. What is pushed after it gives nothing. `whole`: all that was told so far. `request_id`: the ids of tool calls are
    made of it, so two answers to one request need two.
    """

    def __init__(self, tokenizer: Tokenizer, prepared: Prepared, request_id: str = "") -> None:
        self.whole = Whole()
        self._prepared, self._reading, self._request_id = prepared, prepared.reading, request_id
        self._answer = AnswerParser(tokenizer, prepared.reading)
        self._shown = ShownText(tokenizer, prepared.reading)
        self._num_tokens = self._num_cached = self._num_reasoning = 0
        self._echo = prepared.reading.echo
        self._fresh: list[ChatEvent] = []

    @property
    def is_done(self) -> bool:
        return self.whole.finished is not None

    @property
    def usage(self) -> Usage:
        """So far."""
        return Usage(len(self._prepared.prompt), self._num_tokens, self._num_cached, self._num_reasoning)

    def push(self, event: Event) -> list[ChatEvent]:
        """What is new to tell; nothing while it may still change."""
        if self.is_done:
            return []
        self._num_cached = event.num_cached
        self._tell(TextDelta(self._echo))
        self._echo = ""
        if event.chosen.token != NO_TOKEN:
            self._take(event)
        if event.finish_reason is not None:
            self._end(event)
        return self._taken()

    def fail(self, message: str) -> list[ChatEvent]:
        """The engine has ended, or the request was refused: nothing more comes, and why."""
        if not self.is_done:
            self._finish("error", message)
        return self._taken()

    def _take(self, event: Event) -> None:
        self._num_tokens += 1
        self._num_reasoning += self._answer.is_thinking
        if not event.is_end:
            text = self._answer.decode(event.chosen.token)
            self._shown.push(event.chosen, text)
            self._read(self._answer.read(text))

    def _end(self, event: Event) -> None:
        rest = self._answer.decode_rest()
        self._shown.push(None, rest)
        self._read(self._answer.read(rest))
        self._read(self._answer.finish())
        if self.is_done:
            return
        self._tell(self._shown.finish())
        match event.finish_reason:
            case "length":
                self._finish("length")
            case "stop":
                is_cut = event.is_end and event.chosen.token in self._prepared.params.stop_token_ids
                problem = "" if is_cut else self._problem()
                self._finish("error" if problem else self._stop(), problem)
            case "error" if self._prepared.params.constraint is not None:
                message = (
                    f"the grammar left no token after {self._num_tokens:,}: it leads nowhere or grows too large, or "
                )
                self._finish("error", message + _NO_TOKEN, by_request=True)
            case "error":
                self._finish("error", _NO_TOKEN)
            case _:
                self._finish("error", "the request was cancelled")

    def _read(self, parts: list[Part]) -> None:
        for part in parts:
            if self.is_done:
                return
            match part:
                case Said(text, start):
                    self._tell(self._shown.say(text, start))
                    if self._shown.is_stopped:
                        self._tell(self._shown.finish())
                        self._finish(self._stop())
                case Thought(text):
                    self._tell(ReasoningDelta(text))
                case Begun(index, name):
                    self._tell(self._shown.pause())
                    one = call_id(self._request_id, index, self._reading.short_ids)
                    self._tell(ToolCallBegun(index, one, name))
                case Arguments(index, text):
                    self._tell(ToolCallArguments(index, text))
                case Ended() if self._reading.ends_after_call:
                    self._tell(self._shown.finish())
                    problem = self._problem()
                    self._finish("error" if problem else "tool_calls", problem)

    def _problem(self) -> str:
        """Why the answer is not what was guaranteed; empty where it is. A grammar's fault, told rather than passed on."""
        for call in self.whole.tool_calls:
            schema = self._reading.tool_schemas.get(call.name)
            if schema is not None and (problem := mismatch(call.arguments, schema)):
                return f"the arguments of {call.name} do not follow their schema: {problem}"
        if self._reading.schema is not None and not self.whole.tool_calls:
            problem = mismatch(self.whole.text.removeprefix(self._reading.echo), self._reading.schema)
            return f"the answer does not follow its schema: {problem}" if problem else ""
        return ""

    def _stop(self) -> ChatFinish:
        return "tool_calls" if self.whole.tool_calls else "stop"

    def _finish(self, reason: ChatFinish, message: str = "", *, by_request: bool = False) -> None:
        self._tell(Finished(reason, self.usage, message, by_request))

    def _tell(self, event: ChatEvent) -> None:
        if isinstance(event, TextDelta) and not (event.text or event.logprobs):
            return
        self.whole.add(event)
        self._fresh.append(event)

    def _taken(self) -> list[ChatEvent]:
        fresh, self._fresh = self._fresh, []
        return fresh
