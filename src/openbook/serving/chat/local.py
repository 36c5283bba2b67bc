"""A `ChatModel` over the engine in this process: renders the chat, streams the text, minds the stop strings."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from openbook.core.messages import ChatRequest, Completion, ModelLimits
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.serving.chat.stops import Stops
from openbook.serving.engine.loop import EngineLoop, Ticket


@dataclass
class _Reply:
    """A request on its way: its events, and the text so far."""

    ticket: Ticket
    num_prompt: int
    stops: Stops
    num_tokens: int = 0
    reason: Literal["stop", "length"] = "stop"


class LocalChatModel:
    """Text in, text out. Thread-safe: any number of threads may ask at once, the engine computes them together."""

    def __init__(self, loop: EngineLoop, tokenizer: Tokenizer, name: str) -> None:
        self._loop, self._tokenizer, self._name = loop, tokenizer, name

    @property
    def name(self) -> str:
        return self._name

    @property
    def limits(self) -> ModelLimits:
        return ModelLimits(self._loop.engine.max_seq_len)

    def complete(self, request: ChatRequest) -> Completion:
        """The whole answer. Raises UsageError for a chat that the template refuses or a prompt that is too long."""
        return self._whole(self._begin(request))

    def complete_many(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, Completion | Exception]]:
        """All at once; (place, answer or what went wrong), in order."""
        begun: list[_Reply | Exception] = []
        for request in requests:
            try:
                begun.append(self._begin(request))
            except Exception as error:
                begun.append(error)
        try:
            for place, reply in enumerate(begun):
                yield place, reply if isinstance(reply, Exception) else self._caught(reply)
        finally:
            for reply in begun:
                if isinstance(reply, _Reply):
                    reply.ticket.cancel()

    def stream(self, request: ChatRequest) -> Generator[str, None, Completion]:
        """Pieces of the answer; the generator returns the whole. Closing it ends the request before the next step."""
        reply = self._begin(request)
        pieces = []
        try:
            for piece in self._pieces(reply):
                pieces.append(piece)
                yield piece
        finally:
            reply.ticket.cancel()
        return self._completion(reply, pieces)

    def _begin(self, request: ChatRequest) -> _Reply:
        # What people type is text: "<|im_end|>" in a question ends no turn.
        literal = self._tokenizer.is_byte_level
        rendered = self._tokenizer.render(request.messages, add_generation_prompt=True, spans=False, literal=literal)
        ticket = self._loop.submit(rendered.ids, request.sampling)
        return _Reply(ticket, len(rendered.ids), Stops(request.sampling.stop))

    def _pieces(self, reply: _Reply) -> Iterator[str]:
        stream = self._tokenizer.stream(skip_special_tokens=True)
        for event in reply.ticket:
            reply.num_tokens += 1
            text = "" if event.is_end else stream.push([event.chosen.token])
            if event.finish_reason is not None:
                reply.reason = "length" if event.finish_reason == "length" else "stop"
                text += stream.finish()
            if certain := reply.stops.push(text):
                yield certain
            if reply.stops.is_stopped:
                reply.reason = "stop"
                return
        if held := reply.stops.finish():
            yield held

    def _whole(self, reply: _Reply) -> Completion:
        try:
            return self._completion(reply, list(self._pieces(reply)))
        finally:
            reply.ticket.cancel()

    def _caught(self, reply: _Reply) -> Completion | Exception:
        try:
            return self._whole(reply)
        except Exception as error:
            return error

    def _completion(self, reply: _Reply, pieces: list[str]) -> Completion:
        return Completion("".join(pieces), reply.reason, reply.num_prompt, reply.num_tokens)
