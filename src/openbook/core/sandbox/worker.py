"""The loop of a worker process."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from openbook.core.errors import OpenbookError
from openbook.core.sandbox.frames import receive, send
from openbook.core.sandbox.limits import die_with_parent, limit_memory


def run_worker() -> None:
    """The loop of a worker process: one frame in, one frame out, until the pipe closes."""
    requests = sys.stdin.buffer
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a library prints must not get between the frames
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    setup = receive(requests)
    if setup is None:
        return
    die_with_parent(setup["parent"])
    if setup["nice"]:
        os.nice(setup["nice"])
    sys.path[:] = setup["path"]
    try:
        target = _resolve(setup["target"])
        if setup["initializer"]:
            _resolve(setup["initializer"])(*setup["initargs"])
        limit_memory(setup["memory_bytes"])
        send(replies, {"ok": True})
    except Exception as error:
        send(replies, {"error": f"{type(error).__name__}: {error}"})
        return
    while (request := receive(requests)) is not None:
        reply = _answer(target, request[0], setup["arguments"])
        try:
            send(replies, reply)
        except MemoryError:
            reply = {"kind": "memory"}
            send(replies, reply)
        if reply.get("kind") == "memory":
            return  # what else the failed allocation broke is not known: a fresh process takes over


def _answer(target: Callable[..., Any], task: Any, arguments: Sequence[Any]) -> dict[str, Any]:
    try:
        return {"value": target(task, *arguments)}
    except MemoryError:
        return {"kind": "memory"}
    except OpenbookError as error:
        return {"kind": "error", "error": type(error).__name__, "message": error.message, "remedy": error.remedy}
    except Exception as error:
        message = str(error)[:2000]
        return {"kind": "error", "error": type(error).__name__, "message": f"{type(error).__name__}: {message}"}


def _resolve(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found
