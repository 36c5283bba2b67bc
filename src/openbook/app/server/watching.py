"""Keeps the library of a server equal to the folders that it was given, by a process that steps back behind all others."""

from __future__ import annotations

import subprocess

from openbook.app.server.settings import ServerSettings
from openbook.core.config import load_settings
from openbook.core.sandbox.frames import frame
from openbook.core.threads import available_cpus
from openbook.serving.link.spawn import spawn

_MODULE = "openbook.app.server.watch_process"
_NICE = 10
_END_S = 5.0


class Watching:
    """Begins with the server and ends with it: `close`, or its death."""

    def __init__(self, settings: ServerSettings) -> None:
        setup = {
            "library": settings.library,
            "documents": list(settings.watched),
            "threads": max(1, (settings.engine.threads or available_cpus()) // 2),
            "precision": load_settings().precision,
        }
        self._spawned = spawn(_MODULE, nice=_NICE)
        self._spawned.connection.sendall(frame(setup))

    def close(self) -> None:
        """What is committed is kept; what was being read is read at the next start."""
        self._spawned.connection.close()
        try:
            self._spawned.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._spawned.process.kill()
            self._spawned.process.wait()
