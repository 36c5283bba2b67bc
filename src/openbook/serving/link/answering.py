"""The other side of a `Worker`: calls are read on one thread and answered on another, all that wait together."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import IO, Any

from openbook.core.sandbox.frames import frame, receive
from openbook.serving.link.wire import pack_error

Answer = Callable[[Sequence[list[Any]]], list[Any]]
"""Calls in, an answer or an Exception for each out."""


def answer_calls(connection: socket.socket, reader: IO[bytes], answer: Answer) -> None:
    """Until the other side is gone; ends the process then. Calls that come while others are answered are answered together."""
    calls: SimpleQueue[list[Any]] = SimpleQueue()

    def read() -> None:
        while (said := receive(reader)) is not None:
            calls.put(said)
        sys.stderr.flush()
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        waiting = [calls.get()]
        while not calls.empty():
            waiting.append(calls.get())
        try:
            answers = answer([rest for _, *rest in waiting])
        except Exception as error:
            answers = [error] * len(waiting)
        for (number, *_), said in zip(waiting, answers, strict=True):
            is_error = isinstance(said, Exception)
            value = [number, None, pack_error(said)] if is_error else [number, said, None]
            connection.sendall(frame(value))


def answer_each(connection: socket.socket, reader: IO[bytes], answer: Callable[[list[Any]], Any], threads: int) -> None:
    """As `answer_calls`, for calls that wait for others most of the time: each on one of `threads`."""
    lock = threading.Lock()

    def one(number: int, said: list[Any]) -> None:
        try:
            value = [number, answer(said), None]
        except Exception as error:
            value = [number, None, pack_error(error)]
        with lock:
            connection.sendall(frame(value))

    pool = ThreadPoolExecutor(threads)
    while (received := receive(reader)) is not None:
        number, *said = received
        pool.submit(one, number, said)
    sys.stderr.flush()
    os._exit(0)  # what is still asked for has nobody to be told to
