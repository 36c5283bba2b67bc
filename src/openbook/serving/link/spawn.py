"""A process of this program at the other end of a socket: begun with it, ended with it.

The socket is a pair without a name in the file system, so that nobody else can connect. When one side is gone the other
reads the end of the stream, however it died.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import NamedTuple


class Spawned(NamedTuple):
    process: subprocess.Popen[bytes]
    connection: socket.socket


def spawn(module: str, *, nice: int = 0) -> Spawned:
    """Runs `main(fd)` of `module` in a fresh interpreter. `nice`: how far it steps back behind other processes."""
    ours, theirs = socket.socketpair()
    with theirs:
        code = f"import os; os.nice({nice}); from {module} import main; main({theirs.fileno()})"
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            env=dict(os.environ) | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # a Ctrl-C at the terminal reaches the server alone, which ends this one in order
        )
    return Spawned(process, ours)
