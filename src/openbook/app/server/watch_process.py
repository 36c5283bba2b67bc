"""The watching process: when something changes below the folders that were served, the library is made equal to them again."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from openbook.core.errors import OpenbookError
from openbook.core.sandbox.frames import receive
from openbook.core.threads import set_thread_environment

_QUIET_MS = 1_600  # so long nothing may change before it is looked at: an editor writes, renames and writes again
_log = logging.getLogger("openbook")


def main(fd: int) -> None:
    """The first frame: {"library", "documents", "threads", "precision"}. Ends when the other side of the socket does."""
    connection = socket.socket(fileno=fd)
    reader = connection.makefile("rb")
    setup = receive(reader)
    set_thread_environment(setup["threads"])
    threading.Thread(target=_end_with, args=(reader,), daemon=True).start()
    for _ in changes([Path(one) for one in setup["documents"]]):
        sync(setup)


def _end_with(reader: IO[bytes]) -> None:
    """The server has ended: what is committed is kept, the rest is read again."""
    while reader.read(1):
        pass
    os._exit(0)


def changes(documents: list[Path]) -> Iterator[object]:
    """Something each time that changes have come to rest."""
    from watchfiles import watch

    # The folder of a file is watched: who saves a file often puts another one in its place.
    folders = {one if one.is_dir() else one.parent for one in documents}
    yield from watch(*sorted(folders), debounce=60_000, step=_QUIET_MS, raise_interrupt=False)


def sync(setup: dict[str, Any]) -> None:
    """Adds what is new, reads what has changed, takes out what is gone. What fails is logged and tried at the next change."""
    from openbook.assistant.desk import Library

    try:
        with Library.open(setup["library"], create=False, precision=setup["precision"]) as library:
            report = library.sync()
    except OpenbookError as error:
        _log.warning("the library was not brought up to date: %s", error.message)
        return
    _log.info("the library was brought up to date: %s", report)
