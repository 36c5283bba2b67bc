"""All answers to one request, as one stream of events: what both renderers read.

Each answer is a sequence of the engine. Further answers to the same prompt are handed in when the first has its first token:
by then the prompt is computed and is found in the cache.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from openbook.app.server.errors import Refused
from openbook.app.server.keys import Caller
from openbook.core.errors import OpenbookError
from openbook.serving.chat.events import ChatEvent, Usage
from openbook.serving.chat.prepare import Prepared
from openbook.serving.chat.reply import Reply
from openbook.serving.engine.events import Chosen, Event

if TYPE_CHECKING:
    from openbook.app.server.service import Service


@dataclass(eq=False)
class _Answer:
    """One sequence. `then`: those that wait for its first token. `gathered`: what was said and nobody was woken for yet."""

    index: int
    prepared: Prepared
    reply: Reply
    number: int | None = None
    then: list[_Answer] = field(default_factory=list)
    gathered: list[Event | OpenbookError] = field(default_factory=list)
    began_s: float | None = None
    last_s: float = 0.0
    has_left: bool = False
    logprob: float = 0.0
    num_tokens: int = 0
    end: Chosen | None = None
    tokens: list[Chosen] = field(default_factory=list)


_AT_ONCE = 16
"""Tokens of a whole reply that are read together: with 32 at work one costs 31 us when each is read as it comes, 19 us so."""


class Answers:
    """`count` answers to each of `prompts`; answer k of prompt p has the index p * count + k.

    `adapter`: what they are written with, None for the base. `is_streamed`: each event is told as it comes. `keeps_tokens`: for
    `tokens`. An async context manager: entering takes the places (`Refused` with 429 where there are none), leaving gives up
    whatever is still under way. `begun` raises what the engine has against the request before anything is sent.
    """

    def __init__(
        self,
        service: Service,
        caller: Caller,
        prompts: Sequence[Prepared],
        count: int,
        request_id: str,
        adapter: str | None = None,
        *,
        is_streamed: bool = True,
        keeps_tokens: bool = False,
    ) -> None:
        self._keeps_tokens = keeps_tokens
        self._service, self._caller, self.adapter = service, caller, adapter
        self._came_s = time.monotonic()
        self._said: asyncio.Queue[tuple[_Answer, list[Event | OpenbookError]]] = asyncio.Queue()
        self._held: list[tuple[_Answer, list[Event | OpenbookError]]] = []
        # A stop string and the end of a call end a sequence: whoever reads them late lets the engine write on.
        waits = not any(one.reading.stop or one.reading.syntax for one in prompts)
        self._at_once = _AT_ONCE if waits and not is_streamed else 1
        self._answers: list[_Answer] = []
        self._firsts: list[_Answer] = []
        self._num_prompt = sum(len(one.prompt) for one in prompts)
        for prepared in prompts:
            group = [self._answer(prepared, k, count, request_id) for k in range(count)]
            group[0].then = group[1:]
            self._firsts.append(group[0])

    def _answer(self, prepared: Prepared, k: int, count: int, request_id: str) -> _Answer:
        index = len(self._answers)
        params = prepared.params
        if params.seed is not None and k > 0:
            prepared = replace(prepared, params=replace(params, seed=params.seed + k))
        name = request_id if count == 1 else f"{request_id}-{index}"
        answer = _Answer(index, prepared, Reply(self._service.tokenizer, prepared, name))
        self._answers.append(answer)
        return answer

    async def __aenter__(self) -> Answers:
        service = self._service
        service.admission.enter(len(self._answers))
        try:
            if self._caller.bucket is not None:
                self._caller.bucket.take(self._num_prompt)
        except Refused:
            service.admission.undo(len(self._answers))
            raise
        try:
            for first in self._firsts:
                self._submit(first)
        except BaseException:
            self._give_up()
            raise
        service.under_way.add(self)
        service.metrics.begun(self._num_prompt)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._give_up()
        self._service.under_way.discard(self)

    def fail(self, error: OpenbookError) -> None:
        """Ends every answer that is under way with `error`."""
        for answer in self._answers:
            self._hear(answer, error)

    async def begun(self) -> None:
        """Waits until each prompt has a first token. Raises the error of one that is refused."""
        waiting = set(self._firsts)
        while waiting:
            answer, gathered = await self._said.get()
            for said in gathered:
                if isinstance(said, OpenbookError):
                    raise said
            self._held.append((answer, gathered))
            waiting.discard(answer)

    async def events(self) -> AsyncIterator[tuple[int, ChatEvent]]:
        """(index, event) until all answers have finished."""
        open_ = len(self._answers)
        while open_:
            answer, gathered = self._held.pop(0) if self._held else await self._said.get()
            for said in gathered:
                if answer.reply.is_done:
                    break
                for event in self._push(answer, said):
                    yield answer.index, event
                if answer.reply.is_done:
                    open_ -= 1

    def usage(self) -> Usage:
        """Of all answers; a prompt counts once, as its first answer found it."""
        each = [answer.reply.usage for answer in self._answers]
        firsts = [answer.reply.usage for answer in self._firsts]
        return Usage(
            sum(one.prompt for one in firsts),
            sum(one.completion for one in each),
            sum(one.cached for one in firsts),
            sum(one.reasoning for one in each),
        )

    def mean_logprob(self, index: int) -> float:
        """Of the tokens of an answer, by which the best is chosen."""
        answer = self._answers[index]
        return answer.logprob / max(answer.num_tokens, 1)

    def end_token(self, index: int) -> Chosen | None:
        """The end token that an answer ended with, no part of its text."""
        return self._answers[index].end

    def tokens(self, index: int) -> Sequence[Chosen]:
        """All that was written of an answer, its end token among them."""
        return self._answers[index].tokens

    def _push(self, answer: _Answer, said: Event | OpenbookError) -> list[ChatEvent]:
        if isinstance(said, OpenbookError):
            events = answer.reply.fail(str(said))
            self._leave(answer, "error")
            return events
        self._count(answer, said)
        events = answer.reply.push(said)
        if answer.reply.is_done:
            if said.finish_reason is None and answer.number is not None:
                self._service.engine.cancel(answer.number)  # a stop string came
            self._leave(answer, said.finish_reason or "stop")
        return events

    def _submit(self, answer: _Answer) -> None:
        answer.number = self._service.engine.submit(
            answer.prepared.prompt,
            answer.prepared.params,
            lambda said: self._hear(answer, said),
            salt=self._caller.salt,
            adapter=self.adapter,
        )

    def _hear(self, answer: _Answer, said: Event | OpenbookError) -> None:
        """What the engine says, as it says it."""
        is_first = answer.began_s is None
        if isinstance(said, Event) and not answer.reply.is_done:
            self._time(answer, said)
        answer.gathered.append(said)
        is_last = isinstance(said, OpenbookError) or said.finish_reason is not None
        if is_first or is_last or len(answer.gathered) >= self._at_once:
            self._said.put_nowait((answer, answer.gathered))
            answer.gathered = []

    def _time(self, answer: _Answer, event: Event) -> None:
        now = time.monotonic()
        metrics = self._service.metrics
        if answer.began_s is None:
            answer.began_s = now
            metrics.first_token(now - self._came_s, len(answer.prepared.prompt), event.num_cached)
        else:
            metrics.next_token(now - answer.last_s)
        answer.last_s = now

    def _count(self, answer: _Answer, event: Event) -> None:
        if not answer.num_tokens:
            for other in answer.then:
                try:
                    self._submit(other)
                except OpenbookError as error:  # the engine has ended meanwhile
                    self._hear(other, error)
        answer.end = event.chosen if event.is_end and event.finish_reason != "error" else None
        answer.num_tokens += 1
        if self._keeps_tokens:
            answer.tokens.append(event.chosen)
        answer.logprob += event.chosen.logprob or 0.0
        if self._caller.bucket is not None:
            self._caller.bucket.spend(1)

    def _leave(self, answer: _Answer, reason: str) -> None:
        if not answer.has_left:
            answer.has_left = True
            after_s = time.monotonic() - self._came_s
            self._service.admission.leave(after_s)
            self._service.metrics.ended(reason, after_s)

    def _give_up(self) -> None:
        for answer in self._answers:
            if answer.number is not None and not answer.has_left:
                self._service.engine.cancel(answer.number)
            self._leave(answer, "abort")
