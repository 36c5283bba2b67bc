"""A worker for tests: it says again what it is told, and dies when it is told to."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Any

from openbook.core.sandbox.frames import receive
from openbook.serving.link.answering import answer_calls


def main(fd: int) -> None:
    connection = socket.socket(fileno=fd)
    reader = connection.makefile("rb")
    receive(reader)
    answer_calls(connection, reader, _answer)


def _answer(calls: Sequence[list[Any]]) -> list[Any]:
    if ["die"] in calls:
        os._exit(3)
    return [call[0] for call in calls]
