"""The engine process: loads a model, takes requests from a socket, and sends what every step brought as one frame.

The main thread reads, the engine's thread computes and sends. The process ends when the other side of the socket is gone, with
exit code 1 when the engine stopped by itself.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbook.core.sandbox.frames import receive
from openbook.core.threads import set_thread_environment, share_processors
from openbook.serving.link.outbox import Outbox
from openbook.serving.link.requests import Requests
from openbook.serving.link.wire import (
    EngineFacts,
    EngineSettings,
    pack_error,
)

if TYPE_CHECKING:
    from openbook.serving.engine.engine import Engine


def main(fd: int) -> None:
    """Serves the socket with this file descriptor until it is closed; does not return."""
    connection = socket.socket(fileno=fd)
    with connection.makefile("rb") as reader:
        settings = EngineSettings(**receive(reader))
        share_processors()
        threads = set_thread_environment(settings.threads)
        outbox = Outbox(connection)
        threading.Thread(target=_end_with, args=(connection, is_loaded := threading.Event()), daemon=True).start()
        try:
            begun = time.monotonic()
            engine, facts = _start(settings, threads, outbox)
        except Exception as error:
            outbox.send(["failed", pack_error(error)])
            sys.exit(1)
        facts["phases_s"]["total"] = time.monotonic() - begun
        outbox.loop = engine.loop
        is_loaded.set()
        outbox.send(["ready", facts])
        server = Requests(engine.loop, outbox, facts["precision"])
        while (said := receive(reader)) is not None:
            server.take(said)
        stopped_by_itself = not engine.loop.is_alive
        engine.close()
    sys.stderr.flush()
    os._exit(1 if stopped_by_itself else 0)  # threads of OpenMP and numba have nothing left to say


def _end_with(connection: socket.socket, is_loaded: threading.Event) -> None:
    """Ends the process when the other side goes while the model is loading. Later the main thread reads, and sees it."""
    poll = select.poll()
    poll.register(connection, select.POLLHUP)
    poll.poll()
    if not is_loaded.is_set():
        os._exit(1)


def _start(settings: EngineSettings, threads: int, outbox: Outbox) -> tuple[Engine, dict[str, Any]]:
    phases: dict[str, float] = {}
    with _Phase("import", phases, outbox):
        import torch

        from openbook.lm.kernels.cache_files import guard_cache_files
        from openbook.serving.engine.engine import Engine

        torch.set_num_threads(threads)
        guard_cache_files()
    with _Phase("load", {}, outbox):
        given = asdict(settings)
        given.pop("threads")
        engine = Engine.load(Path(given.pop("directory")), **given, after_step=outbox.flush)
    with _Phase("warm up", phases, outbox):
        _warm_up(engine)
    return engine, asdict(_facts(engine, phases))


def _facts(engine: Engine, phases_s: dict[str, float]) -> EngineFacts:
    summary, adapters = engine.summary(), engine.loop.engine.adapters
    return EngineFacts(
        model_type=summary.model_type,
        precision=summary.precision,
        vocab_size=summary.vocab_size,
        max_seq_len=summary.max_seq_len,
        max_num_seqs=summary.max_num_seqs,
        num_blocks=summary.num_blocks,
        block_size=summary.block_size,
        weight_bytes=summary.weight_bytes,
        kv_bytes=summary.kv_bytes,
        threads=summary.threads,
        phases_s={"import": phases_s["import"], **summary.phases_s, "warm up": phases_s["warm up"]},
        max_adapters=adapters.most,
        adapters={name: adapters.of(name).num_virtual for name in adapters.names},
    )


def _warm_up(engine: Engine) -> None:
    """Compiles the kernels (numba keeps them on disk): a prompt, and decoding alone and together."""
    from openbook.core.messages import SamplingParams

    limit = engine.loop.engine.max_seq_len
    prompts = [[0] * min(4, limit - 1)] * min(2, engine.loop.engine.scheduler.max_num_seqs)
    engine.generate(prompts, SamplingParams(max_tokens=2, ignore_eos=True))
    engine.generate(prompts[:1], SamplingParams(max_tokens=2, ignore_eos=True))


class _Phase:
    """Times a phase of the start and tells of it when it begins."""

    def __init__(self, name: str, phases: dict[str, float], outbox: Outbox) -> None:
        self._name, self._phases, self._outbox = name, phases, outbox

    def __enter__(self) -> None:
        self._outbox.send(["phase", self._name])
        self._begun = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._phases[self._name] = time.monotonic() - self._begun
