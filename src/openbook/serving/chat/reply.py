"""What the engine says of a request, turned into what a chat is told: no threads, no clock, no network, no torch.

Whoever has the engine's events drives it: a thread in this process, or an HTTP server in another.
"""

from __future__ import annotations

from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.serving.chat.events import ChatEvent, ChatFinish, Finished, TextDelta, Usage
from openbook.serving.chat.prepare import Prepared
from openbook.serving.chat.stops import Stops
from openbook.serving.engine.events import Event


class Reply:
    """One answer. `push` each event of the engine in order; `Finished` comes once, last.

    `is_done` may turn true before the engine has ended (a stop string came): the caller then cancels the request. What is
    pushed after it gives nothing. `request_id`: the ids of tool calls are made of it.
    """

    def __init__(self, tokenizer: Tokenizer, prepared: Prepared, request_id: str = "") -> None:
        self._prepared, self._request_id = prepared, request_id
        self._stream = tokenizer.stream(skip_special_tokens=True)
        self._stops = Stops(prepared.reading.stop)
        self._num_tokens = self._num_cached = 0
        self._has_begun = False
        self.is_done = False

    def push(self, event: Event) -> list[ChatEvent]:
        """What is new to tell; nothing while it may still change."""
        if self.is_done:
            return []
        self._num_cached = event.num_cached
        self._num_tokens += 1
        text = "" if event.is_end else self._stream.push([event.chosen.token])
        if event.finish_reason is not None:
            text += self._stream.finish()
        certain = self._stops.push(text)
        if self._stops.is_stopped:
            return [*self._said(certain), self._finish("stop")]
        if event.finish_reason is None:
            return self._said(certain)
        if event.finish_reason in ("error", "abort"):
            return [*self._said(certain + self._stops.finish()), self._finish("error", "the answer was broken off")]
        reason: ChatFinish = "length" if event.finish_reason == "length" else "stop"
        return [*self._said(certain + self._stops.finish()), self._finish(reason)]

    def fail(self, message: str) -> list[ChatEvent]:
        """The engine has ended, or the request was refused: what is left, and why."""
        return [] if self.is_done else [self._finish("error", message)]

    @property
    def usage(self) -> Usage:
        """So far."""
        return Usage(len(self._prepared.prompt), self._num_tokens, self._num_cached)

    def _said(self, text: str) -> list[ChatEvent]:
        if not self._has_begun:
            text, self._has_begun = self._prepared.reading.echo + text, True
        return [TextDelta(text)] if text else []

    def _finish(self, reason: ChatFinish, message: str = "") -> Finished:
        self.is_done = True
        return Finished(reason, self.usage, message)
