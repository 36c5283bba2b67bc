"""An engine on a thread of its own, which many threads may ask: requests go in through a queue, tokens come out through another.

All tensor work is on this one thread. A request that nobody waits for any more is taken out before the next step.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import NamedTuple, TypeVar, cast

from openbook.core.errors import ModelUnavailable, OpenbookError, UsageError
from openbook.core.messages import SamplingParams
from openbook.serving.engine.core import EngineCore
from openbook.serving.engine.events import Event
from openbook.serving.engine.processor import LogitsProcessor

T = TypeVar("T")
Deliver = Callable[[Event | Exception | None], None]


class _Work(NamedTuple):
    """Something else that needs the model, between two steps."""

    function: Callable[[EngineCore], object]
    answer: Future[object]


class _New(NamedTuple):
    """A request that is handed in."""

    ticket: Ticket
    prompt: list[int]
    params: SamplingParams
    salt: bytes
    n: int
    adapter: str | None
    processor: LogitsProcessor | None


class _Gone(NamedTuple):
    """A request that nobody waits for any more."""

    ticket: Ticket


_Command = _New | _Gone | _Work | None
"""None: the end."""


def nothing() -> None:
    """For who does not gather."""


class Ticket:
    """A request that was handed in. Iterating gives its events; `cancel` may be called from any thread, at any time.

    With `deliver` they are given to it instead, on the engine's thread: each event, an error, or None after a cancel. `n`: its
    answers. `begun`: of a fork, what was answered before it.
    """

    def __init__(
        self, inbox: SimpleQueue[_Command], deliver: Deliver | None = None, n: int = 1, begun: Sequence[int] = ()
    ) -> None:
        self.n, self.begun = n, list(begun)
        self.num_open = n
        """Answers that have not finished; counted on the engine's thread."""
        self._inbox = inbox
        self._events: SimpleQueue[Event | Exception | None] = SimpleQueue()
        self._deliver: Deliver = deliver or self._events.put

    def __iter__(self) -> Iterator[Event]:
        """Until each answer has had its event with a finish reason, or a cancel; nothing the second time. Raises what ended
        the engine.
        """
        left = self.n
        while (event := self._events.get()) is not None:
            if isinstance(event, Exception):
                self._events.put(event)
                raise event
            left -= event.finish_reason is not None
            if not left:
                self._events.put(None)
            yield event
        self._events.put(None)

    def cancel(self) -> None:
        self._inbox.put(_Gone(self))


class EngineLoop:
    """Runs `engine` until `close`. A context manager.

    `after_step` is called on the engine's thread when the events of a step are handed out, when a request was cancelled, and
    once at the end: a sender gathers what came and sends it as one.
    """

    def __init__(self, engine: EngineCore, after_step: Callable[[], None] = nothing) -> None:
        self.engine = engine
        self._after_step = after_step
        self._inbox: SimpleQueue[_Command] = SimpleQueue()
        self._tickets: dict[int, Ticket] = {}
        self._numbers: dict[Ticket, int] = {}
        self._fault: Exception | None = None
        self._is_closed = self._has_ended = False
        self._lock = threading.Lock()  # nothing is handed in after the last look into the queue
        self._thread = threading.Thread(target=self._run, name="openbook-engine", daemon=True)
        self._thread.start()

    def __enter__(self) -> EngineLoop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_alive(self) -> bool:
        """Whether requests can still be served."""
        return self._fault is None and not self._is_closed

    def submit(
        self,
        prompt: Sequence[int],
        params: SamplingParams,
        *,
        salt: bytes = b"",
        n: int = 1,
        adapter: str | None = None,
        processor: LogitsProcessor | None = None,
        deliver: Deliver | None = None,
    ) -> Ticket:
        """Hands a request in. Raises UsageError as `EngineCore.add` does, ModelUnavailable when the engine has ended."""
        self._check_alive()
        self.engine.check(prompt, params, n, adapter, processor)
        ticket = Ticket(self._inbox, deliver, n)
        with self._lock:
            self._check_alive()
            self._inbox.put(_New(ticket, list(prompt), params, salt, n, adapter, processor))
        return ticket

    def fork(self, ticket: Ticket, seed: int | None = None, *, deliver: Deliver | None = None) -> Ticket:
        """A request that begins where `ticket` is, says what it had answered by then (`begun`), and goes on by itself.

        Raises UsageError when `ticket` has ended or has several answers.
        """

        def work(engine: EngineCore) -> Ticket:
            number = self._numbers.get(ticket)
            if number is None:
                raise UsageError("the request has ended", "fork it while it is under way")
            child = engine.fork(number, seed)
            twin = Ticket(self._inbox, deliver, begun=engine.output_of(child))
            self._tickets[child], self._numbers[twin] = twin, child
            return twin

        return self.run(work).result()

    def run(self, function: Callable[[EngineCore], T]) -> Future[T]:
        """What `function` gives when the engine's thread calls it between two steps. Requests wait meanwhile."""
        answer: Future[T] = Future()
        with self._lock:
            self._check_alive()
            self._inbox.put(_Work(function, cast("Future[object]", answer)))
        return answer

    def _check_alive(self) -> None:
        if not self.is_alive or self._has_ended:
            cause = f"the engine has stopped ({self._fault})" if self._fault else "the engine is closed"
            raise ModelUnavailable(cause, "start it again")

    def close(self) -> None:
        """Ends after the step that is under way; requests that are not done end with an error."""
        if not self._is_closed:
            self._is_closed = True
            self._inbox.put(None)
            self._thread.join()

    def _run(self) -> None:
        try:
            while self._take_in():
                for event in self.engine.step():
                    self._hand_out(event)
                self._after_step()
        except Exception as error:
            self._fault = error
        with self._lock:
            self._has_ended = True
        waiting = list(self._tickets.values())
        while not self._inbox.empty():
            command = self._inbox.get()
            if isinstance(command, _Work):
                command.answer.set_exception(self._ending())
            elif isinstance(command, _New):
                waiting.append(command.ticket)
        for ticket in waiting:
            ticket._deliver(self._ending())
        self._after_step()

    def _ending(self) -> OpenbookError:
        cause = (
            f"the engine stopped ({type(self._fault).__name__}: {self._fault})"
            if self._fault
            else "the engine was closed"
        )
        return ModelUnavailable(cause, "start it again")

    def _take_in(self) -> bool:
        """Everything that waits in the queue; waits itself when there is nothing to compute. False at the end."""
        while self.engine.is_idle or not self._inbox.empty():
            command = self._inbox.get()
            if command is None:
                return False
            if isinstance(command, _Work):
                self._work(command)
            elif isinstance(command, _Gone):
                self._cancel(command.ticket)
            else:
                self._add(command)
        return True

    def _add(self, new: _New) -> None:
        try:
            number = self.engine.add(
                new.prompt, new.params, salt=new.salt, n=new.n, adapter=new.adapter, processor=new.processor
            )
        except Exception as error:  # it was looked at before: whatever it is, it is this request's alone
            new.ticket._deliver(error)
            self._after_step()
            return
        self._tickets[number], self._numbers[new.ticket] = new.ticket, number

    def _work(self, work: _Work) -> None:
        try:
            work.answer.set_result(work.function(self.engine))
        except Exception as error:  # its own alone
            work.answer.set_exception(error)

    def _cancel(self, ticket: Ticket) -> None:
        number = self._numbers.pop(ticket, None)
        if number is not None:
            del self._tickets[number]
            self.engine.abort(number)
            ticket._deliver(None)
            self._after_step()

    def _hand_out(self, event: Event) -> None:
        ticket = self._tickets[event.number]
        ticket.num_open -= event.finish_reason is not None
        if not ticket.num_open:
            del self._tickets[event.number], self._numbers[ticket]
        ticket._deliver(event)
