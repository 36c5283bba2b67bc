"""A pool of worker processes that takes tasks in order and gives results in order."""

from __future__ import annotations

import os
import selectors
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from openbook.core.errors import OpenbookError
from openbook.core.sandbox.failure import WorkerFailure
from openbook.core.sandbox.frames import LENGTH, frame, unpack
from openbook.core.sandbox.process import Worker, end_process, out_of_memory, post_mortem, spawn
from openbook.core.sandbox.run import Run

T = TypeVar("T")
_READ_BYTES = 1 << 20
_START_TIMEOUT_S = 60.0
# Tasks waiting in a worker's pipe: enough that it never idles for the parent, few enough to balance the load.
_AHEAD_S = 0.02
_MAX_AHEAD = 16
_WINDOW_PER_WORKER = 64


class WorkerPool:
    """Long-lived worker processes that run `target` ("module:function") as `target(task, *arguments)`.

    Tasks, arguments and values are what msgpack carries (no tuples: they arrive as lists). A task that exceeds
    `timeout_s` seconds or `memory_bytes` of further address space, or takes its process down, becomes a
    `WorkerFailure`; its process is replaced and the other tasks do not notice. Use it as a context manager, from
    one thread: the workers end with the pool, on Ctrl-C, and when the parent dies (on Linux when the thread that
    started them ends).

    `initializer` ("module:function") runs once in each worker, before the memory limit holds, with `initargs`.
    `nice` lowers the priority of the workers. Raises OpenbookError when a worker cannot start.
    """

    def __init__(
        self,
        target: str,
        *,
        workers: int = 1,
        memory_bytes: int = 2 << 30,
        timeout_s: float = 300.0,
        arguments: Sequence[object] = (),
        initializer: str | None = None,
        initargs: Sequence[object] = (),
        nice: int = 0,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers!r}: it must be at least 1")
        self.timeout_s = timeout_s
        self.memory_bytes = memory_bytes
        self.num_workers = workers
        self._setup = {
            "target": target,
            "parent": os.getpid(),
            "path": list(sys.path),
            "nice": nice,
            "memory_bytes": memory_bytes,
            "arguments": list(arguments),
            "initializer": initializer,
            "initargs": list(initargs),
        }
        self._target = target
        self._selector = selectors.DefaultSelector()
        self._workers: list[Worker] = []
        self._mean_s = _AHEAD_S

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Starts the workers without waiting for them; `map` does it by itself."""
        while len(self._workers) < self.num_workers:
            self._workers.append(self._spawn())

    def close(self) -> None:
        """Kills all workers. The pool may be used again afterwards."""
        for worker in self._workers:
            self._end(worker)
        self._workers.clear()

    def map(self, tasks: Iterable[T]) -> Iterator[tuple[T, Any]]:
        """(task, value or WorkerFailure) for each task, in the order of `tasks`, which are taken as needed.

        Closing the iterator, or an exception in the loop over it, stops the workers.
        """
        run = Run(iter(tasks))
        finished = False
        try:
            self.start()
            while True:
                self._dispatch(run)
                while run.first in run.results:
                    yield run.take()
                    self._dispatch(run)
                if not run.tasks:
                    if run.exhausted:
                        finished = True
                        return
                    continue
                self._wait(run)
        finally:
            if not finished:
                self.close()

    # --- one step of `map` ---

    def _dispatch(self, run: Run[T]) -> None:
        """Keeps every worker's pipe filled with about `_AHEAD_S` seconds of work."""
        ahead = max(1, min(_MAX_AHEAD, int(_AHEAD_S / max(self._mean_s, 1e-6))))
        for depth in range(1, ahead + 1):
            for worker in self._workers:
                if len(worker.tasks) < depth and not worker.outgoing and not self._assign(worker, run):
                    return

    def _assign(self, worker: Worker, run: Run[T]) -> bool:
        number = run.next_number(self.num_workers * _WINDOW_PER_WORKER)
        if number is None:
            return False
        if not worker.tasks:
            worker.since = time.monotonic()
        worker.tasks.append(number)
        self._write(worker, frame([run.tasks[number]]))
        return True

    def _wait(self, run: Run[T]) -> None:
        now = time.monotonic()
        deadline = min((self._deadline(worker) for worker in self._workers if worker.tasks), default=now + 1.0)
        for key, events in self._selector.select(max(0.0, deadline - now)):
            worker: Worker = key.data
            if worker not in self._workers:
                continue  # replaced by an earlier event of this round
            if events & selectors.EVENT_WRITE:
                self._flush(worker)
            if events & selectors.EVENT_READ:
                self._read(worker, run)
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.tasks and now >= self._deadline(worker):
                cause = f"it took longer than {self.timeout_s:g} s"
                self._replace(worker, run, WorkerFailure("timeout", cause, "split the file, or raise the time limit"))

    def _deadline(self, worker: Worker) -> float:
        return worker.since + (self.timeout_s if worker.ready else self.timeout_s + _START_TIMEOUT_S)

    def _read(self, worker: Worker, run: Run[T]) -> None:
        try:
            data = os.read(worker.stdout_fd, _READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._replace(worker, run, post_mortem(worker, self.memory_bytes))
            return
        worker.incoming += data
        start = 0
        while len(worker.incoming) - start >= LENGTH.size:
            (length,) = LENGTH.unpack_from(worker.incoming, start)
            end = start + LENGTH.size + length
            if len(worker.incoming) < end:
                break
            with memoryview(worker.incoming) as view:
                reply = unpack(view[start + LENGTH.size : end])
            start = end
            self._reply(worker, run, reply, length)
            if worker not in self._workers:
                return
        del worker.incoming[:start]

    def _reply(self, worker: Worker, run: Run[T], reply: dict[str, Any], size: int) -> None:
        now = time.monotonic()
        if not worker.ready:
            if "error" in reply:
                self.close()
                raise OpenbookError(
                    f"a worker process for {self._target} cannot start: {reply['error']}",
                    "check the installation with `openbook doctor`",
                )
            worker.ready, worker.since = True, now
            return
        # Ten tasks decide how far ahead to send: one slow file must not empty the pipes for long.
        self._mean_s += 0.1 * (now - worker.since - self._mean_s)
        worker.since = now
        if reply.get("kind") == "memory":
            self._replace(worker, run, out_of_memory(self.memory_bytes))
            return
        number = worker.tasks.popleft()
        if "value" in reply:
            run.put(number, reply["value"], size)
        else:
            remedy = reply.get("remedy") or ""
            run.put(number, WorkerFailure("error", reply["message"], remedy, reply["error"]), size)

    # --- processes ---

    def _spawn(self) -> Worker:
        worker = spawn()
        self._selector.register(worker.stdout_fd, selectors.EVENT_READ, worker)
        self._write(worker, frame(self._setup))
        return worker

    def _write(self, worker: Worker, data: bytes) -> None:
        worker.outgoing += data
        self._flush(worker)

    def _flush(self, worker: Worker) -> None:
        """Writes what the pipe takes now; a full pipe is watched, so that neither side ever blocks the other."""
        try:
            while worker.outgoing:
                with memoryview(worker.outgoing) as view:
                    sent = os.write(worker.stdin_fd, view[:_READ_BYTES])
                del worker.outgoing[:sent]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            worker.outgoing.clear()  # the closed stdout tells why
        watched = worker.stdin_fd in self._selector.get_map()
        if worker.outgoing and not watched:
            self._selector.register(worker.stdin_fd, selectors.EVENT_WRITE, worker)
        elif watched and not worker.outgoing:
            self._selector.unregister(worker.stdin_fd)

    def _replace(self, worker: Worker, run: Run[T], failure: WorkerFailure) -> None:
        """The running task fails, those behind it in the pipe go back to the front of the queue."""
        if not worker.ready and not worker.tasks:
            self.close()
            raise OpenbookError(f"a worker process for {self._target} cannot start: {failure.message}", failure.remedy)
        self._end(worker)
        if worker.tasks:
            run.put(worker.tasks.popleft(), failure, 0)
            run.again.extendleft(reversed(worker.tasks))
        self._workers[self._workers.index(worker)] = self._spawn()

    def _end(self, worker: Worker) -> None:
        for descriptor in (worker.stdout_fd, worker.stdin_fd):
            if descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)
        end_process(worker)
