"""What the workers of the tests run."""

from __future__ import annotations

import ctypes
import os
import time

from openbook.core.errors import UnreadableFile

greeting = "hello"


def double(task: int) -> int:
    return task * 2


def whoami(task: object) -> list[object]:
    return [os.getpid(), os.getppid(), os.nice(0), os.environ.get("OMP_NUM_THREADS"), greeting]


def set_greeting(text: str) -> None:
    globals()["greeting"] = text


def add(task: int, number: int, text: str) -> str:
    return f"{task + number}{text}"


def act(task: str) -> object:
    """Does what the task names: the ways in which a parser can go wrong."""
    match task.split(":"):
        case ["fail"]:
            raise UnreadableFile("x.pdf cannot be read", "get another")
        case ["bug"]:
            raise ValueError("some bug")
        case ["hang"]:
            time.sleep(600)
        case ["memory"]:
            return len(bytearray(600 << 20))
        case ["big"]:
            return "x" * (5 << 20)
        case ["exit"]:
            os._exit(3)
        case ["kill"]:
            os.kill(os.getpid(), 9)
        case ["segfault"]:
            ctypes.string_at(0)
        case ["print"]:
            print("noise on the output that carries the frames", flush=True)
    return task


def announce(path: str) -> None:
    """Writes its process id to the file, then never ends."""
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(600)


def broken_start() -> None:
    raise RuntimeError("no good")
