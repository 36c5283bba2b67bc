"""The engine as the HTTP process has it: submits, cancels, and gets its events, all on one asyncio loop. No torch."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import count
from typing import Any, NamedTuple

from openbook.core.errors import ModelUnavailable, OpenbookError
from openbook.core.messages import SamplingParams
from openbook.core.sandbox.frames import LENGTH, frame, unpack
from openbook.serving.engine.events import Chosen, Event
from openbook.serving.link.spawn import Spawned, spawn
from openbook.serving.link.wire import (
    EngineFacts,
    EngineSettings,
    EngineStats,
    pack_params,
    unpack_error,
    unpack_event,
)

_log = logging.getLogger("openbook")
Deliver = Callable[[Event | OpenbookError], None]
_MODULE = "openbook.serving.link.engine_process"
_END_S = 10.0
"""How long a process may take to end by itself: a step of a large prompt takes seconds."""


class _Asked(NamedTuple):
    """Something that the engine was asked to do."""

    then: Callable[[int | None], object]
    done: asyncio.Future[None]


class EngineClient:
    """Starts an engine process with `start`; `ready` waits until it serves. Not thread-safe: one loop owns it."""

    def __init__(self, spawned: Spawned, on_phase: Callable[[str], None]) -> None:
        self._process = spawned.process
        self._connection = spawned.connection
        self._on_phase = on_phase
        self._numbers = count()
        self._deliver: dict[int, Deliver] = {}
        self._asked: dict[int, _Asked] = {}
        self._ready: asyncio.Future[EngineFacts] = asyncio.get_running_loop().create_future()
        self._is_closing = False
        self.fault: OpenbookError | None = None
        """Why the engine is gone, when it went by itself."""
        self.stats = EngineStats()
        self.adapters: dict[str, int] = {}
        """Those that are loaded, and the virtual tokens of each."""
        self.ended = asyncio.Event()

    @classmethod
    async def start(cls, settings: EngineSettings, on_phase: Callable[[str], None] = lambda _: None) -> EngineClient:
        """`on_phase` is told the name of each phase of the start as it begins."""
        client = cls(spawn(_MODULE), on_phase)
        client._reader, client._writer = await asyncio.open_unix_connection(sock=client._connection, limit=1 << 20)
        client._write(asdict(settings))
        client._task = asyncio.create_task(client._read())
        return client

    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter
    _task: asyncio.Task[None]

    @property
    def is_alive(self) -> bool:
        """Whether the engine serves, or will when it is loaded."""
        return self.fault is None and not self.ended.is_set()

    @property
    def is_ready(self) -> bool:
        return self.is_alive and self._ready.done()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def facts(self) -> EngineFacts:
        """Of an engine that is ready."""
        return self._ready.result()

    async def ready(self) -> EngineFacts:
        """Waits for the model. Raises what went wrong with it."""
        return await asyncio.shield(self._ready)

    def submit(
        self,
        prompt: Sequence[int],
        params: SamplingParams,
        deliver: Deliver,
        *,
        salt: bytes = b"",
        adapter: str | None = None,
    ) -> int:
        """Hands a request in; its number. `deliver` is called with each event, or once with an error, never after `cancel`.
        `adapter`: the name of one that is loaded, None for the base.

        Raises ModelUnavailable when the engine is gone.
        """
        self._check_ready()
        number = next(self._numbers)
        self._deliver[number] = deliver
        self._write(["submit", number, list(prompt), pack_params(params), salt, adapter])
        return number

    async def load_adapter(self, name: str, directory: str) -> None:
        """From then on requests may name it. Steps wait while its files are read. Raises what `Adapters.load` raises."""

        def loaded(num_virtual: int | None) -> None:
            self.adapters[name] = num_virtual or 0

        await self._ask(loaded, "load adapter", name, directory)

    async def unload_adapter(self, name: str) -> None:
        """UsageError while requests that use it are under way."""
        await self._ask(lambda _: self.adapters.pop(name, None), "unload adapter", name)

    async def update_weights(self, directory: str) -> None:
        """From the next step on the model has the weights of a checkpoint directory. Raises what `Engine.update_weights` raises;
        the old weights stay then.
        """
        await self._ask(lambda _: None, "update weights", directory)

    async def _ask(self, then: Callable[[int | None], object], what: str, *said: str) -> None:
        """`then` is called with the answer, also when nobody waits for it any more."""
        self._check_ready()
        number, done = next(self._numbers), asyncio.get_running_loop().create_future()
        self._asked[number] = _Asked(then, done)
        self._write([what, number, *said])
        await done

    def _check_ready(self) -> None:
        if not self.is_ready:
            raise self.fault or ModelUnavailable("the engine is not running", "start the server again")

    async def score(
        self, prompt: Sequence[int], top: int, *, salt: bytes = b"", adapter: str | None = None
    ) -> tuple[Chosen, ...]:
        """Of each token of the prompt but the first, how likely it is, and the `top` likeliest in its place.

        Raises UsageError for a prompt that the engine refuses, ModelUnavailable when the engine is gone.
        """
        answer: asyncio.Future[Event | OpenbookError] = asyncio.get_running_loop().create_future()
        params = SamplingParams(max_tokens=0, prompt_logprobs=top)

        def take(said: Event | OpenbookError) -> None:
            if not answer.done():  # who asked may have been cancelled a moment ago
                answer.set_result(said)

        number = self.submit(prompt, params, take, salt=salt, adapter=adapter)
        try:
            said = await answer
        finally:
            self.cancel(number)
        if isinstance(said, OpenbookError):
            raise said
        return said.prompt

    def cancel(self, number: int) -> None:
        """Nothing happens when it has ended."""
        if self._deliver.pop(number, None) is not None and self.is_alive:
            self._write(["cancel", number])

    async def close(self) -> int:
        """Ends the process; its exit code. Requests that are under way hear nothing more."""
        self._is_closing = True
        self._deliver.clear()
        self._writer.close()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if not self._ready.done() or not await self._has_ended(_END_S):
            self._process.terminate()  # one that still loads does not look at its socket
            if not await self._has_ended(_END_S):
                self._process.kill()
        if not self._ready.done():
            self._ready.cancel()
        return self._process.wait()

    async def _has_ended(self, within_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._process.poll() is None:
                    await asyncio.sleep(0.02)
        return self._process.poll() is not None

    def _write(self, value: object) -> None:
        self._writer.write(frame(value))

    async def _read(self) -> None:
        try:
            while True:
                (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
                self._take(unpack(await self._reader.readexactly(length)))
        except (asyncio.IncompleteReadError, OSError):
            self._end()
        except Exception as error:  # nobody would read any more, and all would wait for ever
            _log.exception("the engine's frames cannot be read")
            self.fault = ModelUnavailable(
                f"the engine said what is not understood ({type(error).__name__})", "start the server again"
            )
            self._end()

    def _take(self, said: list[Any]) -> None:
        match said:
            case ["step", events, errors, stats]:
                self._step(events, errors, stats)
            case ["phase", name]:
                self._on_phase(name)
            case ["ready", facts]:
                found = EngineFacts(**facts)
                self.adapters = dict(found.adapters)
                self._ready.set_result(found)
            case ["answer", number, value, error]:
                self._answer(number, value, error)
            case ["failed", error]:
                self.fault = unpack_error(error)
            case _:
                raise AssertionError(f"an unknown frame: {said[0]!r}")

    def _step(self, events: list[list[Any]], errors: list[list[Any]], stats: list[int] | None) -> None:
        if stats is not None:
            self.stats = EngineStats(*stats)
        for said in events:
            event = unpack_event(said)
            deliver = self._deliver.get(event.number)
            if deliver is None:
                continue  # it was cancelled while this was on its way
            if event.finish_reason is not None:
                del self._deliver[event.number]
            deliver(event)
        for number, error in errors:
            deliver = self._deliver.pop(number, None)
            if deliver is not None:
                deliver(unpack_error(error))

    def _answer(self, number: int, value: int | None, error: list[str] | None) -> None:
        then, done = self._asked.pop(number)
        if error is None:
            then(value)
        if done.done():
            return  # nobody waits any more
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(unpack_error(error))

    def _end(self) -> None:
        """The process is gone: every request ends with an error."""
        if self._is_closing:
            return
        self.fault = self.fault or ModelUnavailable("the engine process ended", "start the server again")
        self.ended.set()
        self.stats = self.stats._replace(running=0, waiting=0, blocks_in_use=0)
        waiting, self._deliver = self._deliver, {}
        for deliver in waiting.values():
            deliver(self.fault)
        asked, self._asked = self._asked, {}
        for _, done in asked.values():
            if not done.done():
                done.set_exception(self.fault)
        if not self._ready.done():
            self._ready.set_exception(self.fault)
            self._ready.exception()  # whoever waits is told; nobody need
