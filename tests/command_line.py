"""The command line for tests: each command in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


class Cli:
    """Runs `openbook` with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *arguments: object, code: int = 0, stdin: str | None = None, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "openbook", *map(str, arguments)],
            env=os.environ | {"OPENBOOK_HOME": str(self.home)} | environment,
            capture_output=True,
            input=stdin,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        self.errors = done.stderr
        return done.stdout
