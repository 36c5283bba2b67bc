"""Where untrusted programs run: code that a model wrote, or a verifier that is given what a model wrote."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from openbook.core.errors import OpenbookError, UsageError
from openbook.core.sandbox.folder import make_folder, remove_folder
from openbook.core.sandbox.launch import Confinement, Tier, launch
from openbook.core.sandbox.means import MIN_LANDLOCK, find_bubblewrap, landlock_abi, machine, readable_paths, spare_uid
from openbook.core.sandbox.outcome import Limits, Outcome, SandboxUnavailable
from openbook.core.sandbox.supervise import Supervisor

CODE_FILE = "program.py"
"""The name under which code given as text lies in the private folder."""


class Sandbox:
    """Runs untrusted programs, each in a process, a folder and limits of its own. Threads may share one.

    `readable`: paths that programs may read beside the system's libraries and this Python with its packages.
    """

    def __init__(self, tier: Tier, readable: Sequence[Path] = (), bwrap: Path | None = None) -> None:
        if tier == "bubblewrap" and bwrap is None:
            bwrap = find_bubblewrap()
            if bwrap is None:
                raise SandboxUnavailable("bubblewrap is not installed", "install the package bubblewrap")
        self.tier: Tier = tier
        self._confinement = Confinement(tier, readable_paths(tuple(readable)), bwrap)

    @classmethod
    def best(cls, readable: Sequence[Path] = (), unsafe_local: bool = False) -> Sandbox:
        """The strongest tier that really runs here: bubblewrap, else Landlock with seccomp.

        `SandboxUnavailable` where neither does, unless `unsafe_local` says that programs may run with the user's own rights.
        """
        faults = []
        for tier in ("bubblewrap", "landlock"):
            if (fault := fault_of(tier)) is None:
                return cls(tier, readable)
            faults.append(f"{tier}: {fault}")
        if unsafe_local and sys.platform == "linux":
            return cls("unsafe", readable)
        raise SandboxUnavailable(
            f"no sandbox runs here ({'; '.join(faults)})",
            "install bubblewrap and allow user namespaces, use Linux 6.2 or newer with Landlock, or give unsafe_local=True "
            "to run programs with your own rights",
        )

    def run(
        self,
        program: str | Sequence[str],
        files: Mapping[str, bytes | str] | None = None,
        stdin: bytes | str = b"",
        limits: Limits | None = None,
    ) -> Outcome:
        """Runs a program to its end or to a limit; no process and no file of it is left.

        `program`: Python code as one text, or the arguments of a command, whose first is an absolute path or a name in the
        folder or in PATH. `files`: relative name -> content in the private folder, where the program starts. `UsageError` for a
        program or a name that cannot be, `SandboxUnavailable` when the program cannot be shut in.
        """
        began = time.monotonic()
        limits, files = limits or Limits(), dict(files or {})
        if isinstance(program, str):
            if CODE_FILE in files:
                raise UsageError(f"a file named {CODE_FILE!r} beside code", "give the file another name")
            files[CODE_FILE] = program
        uid = spare_uid() if self.tier != "unsafe" else None
        folder = make_folder(files, uid)
        try:
            with _input(stdin) as given:
                argv = _arguments(program, folder)
                launched = launch(self._confinement, argv, folder, uid, given, limits)
            try:
                return Supervisor(launched, folder, limits, began).run()
            finally:
                if launched.process.returncode is None:  # it could not be watched
                    launched.process.kill()
                    launched.process.wait()
                for pipe in (launched.process.stdout, launched.process.stderr):
                    assert pipe is not None
                    pipe.close()
                for descriptor in (launched.status_fd, launched.info_fd):
                    with contextlib.suppress(OSError):
                        os.close(descriptor)
        finally:
            remove_folder(folder)


def fault_of(tier: Tier) -> str | None:
    """Why a tier does not run here, found by running a program in it; None when it runs."""
    if sys.platform != "linux":
        return "only Linux has it"
    if tier != "unsafe" and machine() is None:
        return "the processor is neither x86_64 nor aarch64"
    if tier == "landlock" and (abi := landlock_abi()) < MIN_LANDLOCK:
        return f"the kernel's Landlock has version {abi}, {MIN_LANDLOCK} is needed (Linux 6.2)"
    try:
        outcome = Sandbox(tier).run("print('ran')", limits=Limits(seconds=30))
    except (OpenbookError, OSError) as error:
        return str(error)
    if outcome.stdout == b"ran\n":
        return None
    return f"a program in it ended with {outcome.exit}: {outcome.stderr.decode(errors='replace').strip()[-300:]!r}"


def why_no_sandbox() -> str | None:
    """Why programs of others cannot run safely here; None when they can."""
    try:
        Sandbox.best()
    except SandboxUnavailable as error:
        return error.message
    return None


def _input(stdin: bytes | str) -> IO[bytes]:
    """A program's input as a file without a name, open for reading alone: what does not fit in a pipe never waits."""
    descriptor, name = tempfile.mkstemp(prefix="openbook-stdin-")
    try:
        with open(descriptor, "wb") as file:
            file.write(stdin.encode() if isinstance(stdin, str) else stdin)
        return open(name, "rb")
    finally:
        Path(name).unlink()


def _arguments(program: str | Sequence[str], folder: Path) -> list[str]:
    if isinstance(program, str):
        return [sys.executable, "-B", str(folder / CODE_FILE)]
    if not program:
        raise UsageError("a program of no arguments", "give at least its name")
    first, *rest = program
    if "/" in first:
        return [str(folder / first), *rest]
    for directory in (folder, Path("/usr/local/bin"), Path("/usr/bin"), Path("/bin")):
        if (directory / first).exists():
            return [str(directory / first), *rest]
    raise UsageError(f"program {first!r} is neither in its folder nor in PATH", "give its absolute path")
