"""A process that answers calls, as the HTTP process has it: begun at the first call, begun again when it died. No torch."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import count
from typing import Any

from openbook.core.errors import ModelUnavailable
from openbook.core.sandbox.frames import LENGTH, frame, unpack
from openbook.serving.link.spawn import Spawned, spawn
from openbook.serving.link.wire import unpack_error

_END_S = 5.0


class Worker:
    """`call` sends a list and waits for its answer. `setup` is the first frame that the process gets.

    For one event loop. A caller that is cancelled is forgotten; its answer is thrown away.
    """

    def __init__(self, module: str, setup: object, *, nice: int = 0) -> None:
        self._module, self._setup, self._nice = module, setup, nice
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._spawned: Spawned | None = None
        self._starting = asyncio.Lock()

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    async def call(self, *said: object) -> Any:
        """The answer. Raises the OpenbookError that the process raised, and ModelUnavailable when it died of the call."""
        async with self._starting:
            if self._spawned is None:
                await self._start()
        number = next(self._numbers)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self._writer.write(frame([number, *said]))
            return await future
        finally:
            self._waiting.pop(number, None)

    async def close(self) -> None:
        """Ends the process, when there is one."""
        spawned, self._spawned = self._spawned, None
        if spawned is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._writer.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                while spawned.process.poll() is None:
                    await asyncio.sleep(0.02)
        spawned.process.kill()
        spawned.process.wait()

    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter
    _task: asyncio.Task[None]

    async def _start(self) -> None:
        spawned = spawn(self._module, nice=self._nice)
        self._reader, self._writer = await asyncio.open_unix_connection(sock=spawned.connection, limit=1 << 20)
        self._writer.write(frame(self._setup))
        self._spawned = spawned
        self._task = asyncio.create_task(self._read(spawned))

    async def _read(self, spawned: Spawned) -> None:
        try:
            while True:
                (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
                self._take(unpack(await self._reader.readexactly(length)))
        except (asyncio.IncompleteReadError, OSError):
            self._spawned = None
            self._writer.close()
            lost = list(self._waiting.values())  # those that come meanwhile are for the next process
            code = await asyncio.to_thread(spawned.process.wait)
            for future in lost:
                if not future.done():
                    future.set_exception(ModelUnavailable(f"its process ended with code {code}", "ask again"))

    def _take(self, said: list[Any]) -> None:
        number, answer, error = said
        future = self._waiting.get(number)
        if future is None or future.done():
            return
        if error is None:
            future.set_result(answer)
        else:
            future.set_exception(unpack_error(error))
