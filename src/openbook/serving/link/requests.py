"""The requests that are under way in the engine process, by the numbers that the other side gave them; and adapters that come
and go between its steps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbook.core.errors import ModelUnavailable, OpenbookError
from openbook.serving.engine.events import Event
from openbook.serving.link.outbox import Outbox
from openbook.serving.link.wire import pack_error, unpack_params

if TYPE_CHECKING:
    from openbook.lm.quantization.prepare import Precision
    from openbook.serving.engine.core import EngineCore
    from openbook.serving.engine.loop import EngineLoop, Ticket


class Requests:
    """Takes the frames of the other side, on the main thread."""

    def __init__(self, loop: EngineLoop, outbox: Outbox, precision: Precision = "float32") -> None:
        """`precision`: that new weights are prepared in."""
        self._loop, self._outbox, self._precision = loop, outbox, precision
        self._tickets: dict[int, Ticket] = {}
        self._ended_early: set[int] = set()  # on the engine's thread, before the ticket was noted here
        self._lock = threading.Lock()

    def take(self, said: list[Any]) -> None:
        match said:
            case ["submit", number, prompt, params, salt, adapter]:
                self._submit(number, prompt, params, salt, adapter)
            case ["cancel", number]:
                with self._lock:
                    ticket = self._tickets.get(number)
                if ticket is not None:
                    ticket.cancel()
            case ["load adapter", number, name, directory]:
                self._work(number, lambda core: _loaded(core, name, directory))
            case ["unload adapter", number, name]:
                self._work(number, lambda core: core.unload_adapter(name))
            case ["update weights", number, directory]:
                self._work(number, lambda core: _updated(core, directory, self._precision))
            case _:
                raise AssertionError(f"an unknown frame: {said[0]!r}")

    def _work(self, number: int, function: Callable[[EngineCore], int | None]) -> None:
        """Between two steps; who reads does not wait for it, so that cancels are heard meanwhile."""

        def told(done: Future[int | None]) -> None:
            error = done.exception()
            if isinstance(error, Exception):
                self._outbox.send(["answer", number, None, pack_error(error)])
            else:
                self._outbox.send(["answer", number, done.result(), None])
            self._outbox.flush()

        try:
            self._loop.run(function).add_done_callback(told)
        except OpenbookError as error:
            self._outbox.send(["answer", number, None, pack_error(error)])

    def _submit(self, number: int, prompt: list[int], params: dict[str, Any], salt: bytes, adapter: str | None) -> None:
        try:
            given = unpack_params(params)
            ticket = self._loop.submit(
                prompt, given, salt=salt, adapter=adapter, deliver=partial(self._deliver, number)
            )
        except Exception as error:  # of this request alone
            self._outbox.send(["step", [], [[number, pack_error(error)]], None])
            return
        with self._lock:
            if number in self._ended_early:
                self._ended_early.discard(number)
            else:
                self._tickets[number] = ticket

    def _deliver(self, number: int, said: Event | Exception | None) -> None:
        """On the engine's thread."""
        self._outbox.put(number, said)
        if not isinstance(said, Event) or said.finish_reason is not None:
            with self._lock:
                if self._tickets.pop(number, None) is None:
                    self._ended_early.add(number)


def _loaded(core: EngineCore, name: str, directory: str) -> int:
    """Its virtual tokens. ModelUnavailable also for a path that the system refuses."""
    try:
        core.load_adapter(name, Path(directory))
    except OSError as error:
        raise ModelUnavailable(f"the adapter cannot be read ({error})", "name the directory of an adapter") from None
    return core.adapters.of(name).num_virtual


def _updated(core: EngineCore, directory: str, precision: Precision) -> None:
    """ModelUnavailable also for a path that the system refuses."""
    from openbook.serving.engine.replacing import replace_weights

    try:
        replace_weights(core, directory, precision)
    except OSError as error:
        raise ModelUnavailable(
            f"the weights cannot be read ({error})", "name the directory of a model of the same kind"
        ) from None
