"""The engine process: loads a model, takes requests from a socket, and sends what every step brought as one frame.

The main thread reads, the engine's thread computes and sends. The process ends when the other side of the socket is gone, with
exit code 1 when the engine stopped by itself.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from concurrent.futures import Future
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbook.core.sandbox.frames import frame, receive
from openbook.core.threads import set_thread_environment
from openbook.serving.engine.events import Chosen, Event
from openbook.serving.link.wire import (
    EngineFacts,
    EngineSettings,
    EngineStats,
    pack_chosen,
    pack_error,
    pack_event,
    unpack_params,
)

if TYPE_CHECKING:
    from openbook.serving.engine.engine import Engine
    from openbook.serving.engine.loop import EngineLoop, Ticket


def main(fd: int) -> None:
    """Serves the socket with this file descriptor until it is closed; does not return."""
    connection = socket.socket(fileno=fd)
    with connection.makefile("rb") as reader:
        settings = EngineSettings(**receive(reader))
        threads = set_thread_environment(settings.threads)
        outbox = _Outbox(connection)
        try:
            begun = time.monotonic()
            engine, facts = _start(settings, threads, outbox)
        except Exception as error:
            outbox.send(["failed", pack_error(error)])
            sys.exit(1)
        facts["phases_s"]["total"] = time.monotonic() - begun
        outbox.loop = engine.loop
        outbox.send(["ready", facts])
        server = _Requests(engine.loop, outbox)
        while (said := receive(reader)) is not None:
            server.take(said)
        stopped_by_itself = not engine.loop.is_alive
        engine.close()
    sys.stderr.flush()
    os._exit(1 if stopped_by_itself else 0)  # threads of OpenMP and numba have nothing left to say


def _start(settings: EngineSettings, threads: int, outbox: _Outbox) -> tuple[Engine, dict[str, Any]]:
    phases: dict[str, float] = {}
    with _Phase("import", phases, outbox):
        import torch

        from openbook.serving.engine.engine import Engine

        torch.set_num_threads(threads)
    with _Phase("load", phases, outbox):
        given = asdict(settings)
        given.pop("threads")
        engine = Engine.load(Path(given.pop("directory")), **given, after_step=outbox.flush)
    with _Phase("warm up", phases, outbox):
        _warm_up(engine)
    core = engine.loop.engine
    facts = EngineFacts(
        model_type=core.model.config.model_type,
        dtype=str(core.model.dtype).removeprefix("torch."),
        vocab_size=core.model.config.vocab_size,
        max_seq_len=core.max_seq_len,
        max_num_seqs=core.scheduler.max_num_seqs,
        num_blocks=core.blocks.num_blocks,
        block_size=core.blocks.block_size,
        weight_bytes=_tensor_bytes(core.model),
        kv_bytes=_tensor_bytes(core.runner.storage),
        threads=threads,
        phases_s=phases,
    )
    return engine, asdict(facts)


def _warm_up(engine: Engine) -> None:
    """Compiles the kernels (numba keeps them on disk): a prompt, and decoding alone and together."""
    from openbook.core.messages import SamplingParams

    limit = engine.loop.engine.max_seq_len
    prompts = [[0] * min(4, limit - 1)] * min(2, engine.loop.engine.scheduler.max_num_seqs)
    engine.generate(prompts, SamplingParams(max_tokens=2, ignore_eos=True))
    engine.generate(prompts[:1], SamplingParams(max_tokens=2, ignore_eos=True))


def _tensor_bytes(thing: Any) -> int:
    """Bytes of all tensors that are held by `thing` and what it is made of, each once."""
    import torch

    seen: dict[int, int] = {}

    def look(value: Any, depth: int) -> None:
        if isinstance(value, torch.Tensor):
            size = value.numel() * value.element_size()
            key = value.data_ptr() if value.layout is torch.strided and size else id(value)
            seen[key] = max(seen.get(key, 0), size)
        elif isinstance(value, torch.nn.Module):
            for module in value.modules():
                parts = [*module._parameters.values(), *module._buffers.values(), *vars(module).values()]
                for one in parts:
                    if not isinstance(one, torch.nn.Module):
                        look(one, depth + 1)
        elif isinstance(value, list | tuple) and depth < 4:
            for one in value:
                look(one, depth + 1)
        elif depth == 0 and hasattr(value, "__dict__"):
            for one in vars(value).values():
                look(one, depth + 1)

    look(thing, 0)
    return sum(seen.values())


class _Phase:
    """Times a phase of the start and tells of it when it begins."""

    def __init__(self, name: str, phases: dict[str, float], outbox: _Outbox) -> None:
        self._name, self._phases, self._outbox = name, phases, outbox

    def __enter__(self) -> None:
        self._outbox.send(["phase", self._name])
        self._begun = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._phases[self._name] = time.monotonic() - self._begun


class _Outbox:
    """Gathers what a step brings, and sends it as one frame."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()  # of the socket: the main thread refuses requests while the engine's sends steps
        self._events: list[list[Any]] = []
        self._errors: list[list[Any]] = []
        self._stats = EngineStats()
        self.loop: EngineLoop | None = None

    def put(self, number: int, said: Event | Exception | None) -> None:
        """On the engine's thread. None (cancelled) says nothing: who cancelled knows it."""
        if isinstance(said, Event):
            self._events.append(pack_event(number, said))
        elif said is not None:
            self._errors.append([number, pack_error(said)])

    def flush(self) -> None:
        """On the engine's thread, after every step. An engine that has stopped closes the socket for reading."""
        if self.loop is None:
            return
        core = self.loop.engine
        stats = EngineStats(
            len(core.scheduler.running),
            len(core.scheduler.waiting),
            core.blocks.num_in_use,
            core.scheduler.num_preempted,
        )
        if self._events or self._errors or stats != self._stats:
            self.send(["step", self._events, self._errors, stats])
            self._events, self._errors, self._stats = [], [], stats
        if not self.loop.is_alive:
            self._connection.shutdown(socket.SHUT_RD)

    def send(self, value: object) -> None:
        """A server that is gone is seen by the reader."""
        try:
            with self._lock:
                self._connection.sendall(frame(value))
        except OSError:
            return


class _Requests:
    """The requests that are under way, by the numbers that the other side gave them."""

    def __init__(self, loop: EngineLoop, outbox: _Outbox) -> None:
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
            case ["score", number, prompt, top]:
                self._score(number, prompt, top)
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

    def _score(self, number: int, prompt: list[int], top: int) -> None:
        from openbook.serving.engine.score import prompt_logprobs

        def tell(done: Future[list[Chosen]]) -> None:
            error = done.exception()
            if error is None:
                self._outbox.send(["scored", number, [pack_chosen(one) for one in done.result()]])
            else:
                assert isinstance(error, Exception)
                self._outbox.send(["step", [], [[number, pack_error(error)]], None])

        try:
            self._loop.run(lambda engine: prompt_logprobs(engine, prompt, top)).add_done_callback(tell)
        except Exception as error:  # the engine has ended
            self._outbox.send(["step", [], [[number, pack_error(error)]], None])

    def _deliver(self, number: int, said: Event | Exception | None) -> None:
        """On the engine's thread."""
        self._outbox.put(number, said)
        if not isinstance(said, Event) or said.finish_reason is not None:
            with self._lock:
                if self._tickets.pop(number, None) is None:
                    self._ended_early.add(number)
