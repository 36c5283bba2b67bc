"""The requests that are under way in the engine process, by the numbers that the other side gave them."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from openbook.serving.engine.events import Event
from openbook.serving.link.outbox import Outbox
from openbook.serving.link.wire import pack_error, unpack_params

if TYPE_CHECKING:
    from openbook.serving.engine.loop import EngineLoop, Ticket


class Requests:
    """Takes the frames of the other side, on the main thread."""

    def __init__(self, loop: EngineLoop, outbox: Outbox) -> None:
        self._loop, self._outbox = loop, outbox
        self._tickets: dict[int, Ticket] = {}
        self._ended_early: set[int] = set()  # on the engine's thread, before the ticket was noted here
        self._lock = threading.Lock()

    def take(self, said: list[Any]) -> None:
        match said:
            case ["submit", number, prompt, params, salt]:
                self._submit(number, prompt, params, salt)
            case ["cancel", number]:
                with self._lock:
                    ticket = self._tickets.get(number)
                if ticket is not None:
                    ticket.cancel()
            case _:
                raise AssertionError(f"an unknown frame: {said[0]!r}")

    def _submit(self, number: int, prompt: list[int], params: dict[str, Any], salt: bytes) -> None:
        try:
            given = unpack_params(params)
            ticket = self._loop.submit(prompt, given, salt=salt, deliver=partial(self._deliver, number))
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
