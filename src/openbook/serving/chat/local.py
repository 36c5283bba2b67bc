"""A `ChatModel` over the engine in this process: prepares the chat, reads the answer."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import NamedTuple

from openbook.core.errors import ModelUnavailable
from openbook.core.messages import ChatRequest, Completion, ModelLimits
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.serving.chat.events import ChatEvent, TextDelta
from openbook.serving.chat.prepare import prepare_chat
from openbook.serving.chat.reply import Reply
from openbook.serving.chat.whole import Whole
from openbook.serving.engine.loop import EngineLoop, Ticket
from openbook.serving.engine.processor import LogitsProcessor


class _Asked(NamedTuple):
    """A request on its way."""

    ticket: Ticket
    reply: Reply


class LocalChatModel:
    """Text in, text out. Thread-safe: any number of threads may ask at once, the engine computes them together. `processor`:
    changes the logits of all answers. `source`: the directory or file that the model is from, where it is from one.
    """

    def __init__(
        self,
        loop: EngineLoop,
        tokenizer: Tokenizer,
        name: str,
        processor: LogitsProcessor | None = None,
        source: Path | None = None,
    ) -> None:
        self.source = source
        self._loop, self._tokenizer, self._name, self._processor = loop, tokenizer, name, processor
        self._requests = count()

    @property
    def name(self) -> str:
        return self._name

    @property
    def limits(self) -> ModelLimits:
        return ModelLimits(self._loop.engine.max_seq_len)

    def complete(self, request: ChatRequest) -> Completion:
        """The whole answer. Raises UsageError for what cannot be asked for: a chat that the template refuses, a prompt that is
        too long, a grammar that cannot be enforced; ModelUnavailable when the engine or the answer breaks off.
        """
        return self._whole(self._begin(request))

    def complete_many(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, Completion | Exception]]:
        """All at once; (place, answer or what went wrong), in order."""
        begun: list[_Asked | Exception] = []
        for request in requests:
            try:
                begun.append(self._begin(request))
            except Exception as error:
                begun.append(error)
        try:
            for place, asked in enumerate(begun):
                yield place, asked if isinstance(asked, Exception) else self._caught(asked)
        finally:
            for asked in begun:
                if isinstance(asked, _Asked):
                    asked.ticket.cancel()

    def sample_many(
        self, requests: Sequence[ChatRequest], n: int
    ) -> Iterator[tuple[int, list[Completion | Exception]]]:
        """All at once; (place, `n` answers, each with what went wrong where something did), in order. A prompt is computed once,
        answer i draws from seed + i.
        """
        begun: list[tuple[Ticket, list[Reply]] | Exception] = []
        for request in requests:
            try:
                begun.append(self._begin_several(request, n))
            except Exception as error:
                begun.append(error)
        try:
            for place, asked in enumerate(begun):
                yield place, [asked] * n if isinstance(asked, Exception) else _all_caught(*asked)
        finally:
            for asked in begun:
                if not isinstance(asked, Exception):
                    asked[0].cancel()

    def stream(self, request: ChatRequest) -> Generator[str, None, Completion]:
        """Pieces of the answer's text; the generator returns the whole, with tool calls and reasoning. Closing it ends the
        request before the next step.
        """
        asked = self._begin(request)
        with closing(self._events(asked)) as events:
            for event in events:
                if isinstance(event, TextDelta) and event.text:
                    yield event.text
        return _completion(asked.reply.whole)

    def events(self, request: ChatRequest) -> Generator[ChatEvent, None, None]:
        """The answer as it comes, tool calls, reasoning and log-probabilities with it; `Finished` is the last."""
        return self._events(self._begin(request))

    def _begin(self, request: ChatRequest) -> _Asked:
        prepared = prepare_chat(self._tokenizer, request)
        reply = Reply(self._tokenizer, prepared, f"{self._name} {next(self._requests)}")
        return _Asked(self._loop.submit(prepared.prompt, prepared.params, processor=self._processor), reply)

    def _begin_several(self, request: ChatRequest, n: int) -> tuple[Ticket, list[Reply]]:
        prepared = prepare_chat(self._tokenizer, request)
        name = f"{self._name} {next(self._requests)}"
        replies = [Reply(self._tokenizer, prepared, f"{name} {answer}") for answer in range(n)]
        return self._loop.submit(prepared.prompt, prepared.params, n=n, processor=self._processor), replies

    def _events(self, asked: _Asked) -> Generator[ChatEvent, None, None]:
        try:
            for event in asked.ticket:
                yield from asked.reply.push(event)
                if asked.reply.is_done:
                    return
        finally:
            asked.ticket.cancel()

    def _whole(self, asked: _Asked) -> Completion:
        for _ in self._events(asked):
            pass
        return _completion(asked.reply.whole)

    def _caught(self, asked: _Asked) -> Completion | Exception:
        try:
            return self._whole(asked)
        except Exception as error:
            return error


def _all_caught(ticket: Ticket, replies: Sequence[Reply]) -> list[Completion | Exception]:
    """Waits for all answers of a ticket. One that has its stop string runs on unread while the others are written."""
    try:
        for event in ticket:
            replies[event.answer].push(event)
            if all(reply.is_done for reply in replies):
                break
    except Exception as error:
        return [error] * len(replies)
    finally:
        ticket.cancel()
    found: list[Completion | Exception] = []
    for reply in replies:
        try:
            found.append(_completion(reply.whole))
        except ModelUnavailable as error:
            found.append(error)
    return found


def _completion(whole: Whole) -> Completion:
    if whole.finished is None or whole.finished.reason == "error":
        message = whole.finished.message if whole.finished else "the request was cancelled"
        raise ModelUnavailable(f"the model gave no whole answer ({message})", "ask again")
    return whole.completion()
