"""What the engine process has to say: gathered on the engine's thread, sent as one frame a step."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any

from openbook.core.sandbox.frames import frame
from openbook.serving.engine.events import Event
from openbook.serving.link.wire import EngineStats, pack_error, pack_event

if TYPE_CHECKING:
    from openbook.serving.engine.loop import EngineLoop


class Outbox:
    """Gathers what a step brings, and sends it as one frame."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()  # of the socket: the main thread refuses requests while the engine's sends steps
        self._events: list[list[Any]] = []
        self._errors: list[list[Any]] = []
        self._stats = EngineStats()
        self._num_tokens = 0
        self.loop: EngineLoop | None = None

    def put(self, number: int, said: Event | Exception | None) -> None:
        """On the engine's thread. None (cancelled) says nothing: who cancelled knows it."""
        if isinstance(said, Event):
            self._events.append(pack_event(number, said))
            self._num_tokens += 1
        elif said is not None:
            self._errors.append([number, pack_error(said)])

    def flush(self) -> None:
        """On the engine's thread, after every step. An engine that has stopped closes the socket for reading."""
        if self.loop is None:
            return
        core, speculation = self.loop.engine, self.loop.engine.speculation
        stats = EngineStats(
            len(core.scheduler.running),
            len(core.scheduler.waiting),
            core.blocks.num_in_use,
            core.scheduler.num_preempted,
            self._num_tokens,
            0 if speculation is None else speculation.num_proposed,
            0 if speculation is None else speculation.num_accepted,
        )
        if self._events or self._errors or stats != self._stats:
            self.send(["step", self._events, self._errors, stats])
            self._events, self._errors, self._stats = [], [], stats
        if not self.loop.is_alive:
            with contextlib.suppress(OSError):  # the other side may be gone too
                self._connection.shutdown(socket.SHUT_RD)

    def send(self, value: object) -> None:
        """A server that is gone is seen by the reader."""
        try:
            with self._lock:
                self._connection.sendall(frame(value))
        except OSError:
            return
