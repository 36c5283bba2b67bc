"""Watches a program until it ends or reaches a limit, and leaves nothing of it running."""

from __future__ import annotations

import contextlib
import json
import os
import select
import selectors
import signal
import time
from pathlib import Path

from openbook.core.errors import UsageError
from openbook.core.sandbox.folder import measure
from openbook.core.sandbox.launch import Launched
from openbook.core.sandbox.members import members, unlinked_bytes
from openbook.core.sandbox.outcome import KilledBy, Limits, Outcome, SandboxUnavailable

_TICK_S = 0.05
"""Between two looks at the folder and at several processes together: what is written or used in between is the overshoot."""
_LAST_WORDS_S = 5.0
"""How long pipes and namespaces of killed processes may take to close."""


class Supervisor:
    """One program's run. `run` gives its outcome once, and no process of it lives afterwards."""

    def __init__(self, launched: Launched, folder: Path, limits: Limits, began: float) -> None:
        self._launched, self._folder, self._limits, self._began = launched, folder, limits, began
        self._pid = launched.process.pid
        self._device = folder.stat().st_dev
        self._alive = os.pidfd_open(self._pid)
        self._output: dict[int, bytearray] = {}
        self._status = bytearray()
        self._is_truncated = False
        self._killed_by: KilledBy | None = None
        self._is_ended_by_us = False
        self._cpu_seconds = 0.0
        """Seen at the last look: bubblewrap does not pass on what its processes used."""

    def run(self) -> Outcome:
        """`UsageError` when the program cannot be started, `SandboxUnavailable` when it cannot be shut in."""
        process, limits = self._launched.process, self._limits
        assert process.stdout is not None and process.stderr is not None
        stdout, stderr = process.stdout.fileno(), process.stderr.fileno()
        self._output = {stdout: bytearray(), stderr: bytearray()}
        try:
            with selectors.DefaultSelector() as selector:
                for descriptor in (stdout, stderr, self._launched.status_fd, self._alive):
                    os.set_blocking(descriptor, False)
                    selector.register(descriptor, selectors.EVENT_READ)
                self._is_ended_by_us = not self._watch(selector)
                self._end()
                self._drain(selector)
            _, status, usage = os.wait4(self._pid, 0)
        except BaseException:
            self._end()
            with contextlib.suppress(ChildProcessError):
                process.wait()
            raise
        finally:
            os.close(self._alive)
        process.returncode = os.waitstatus_to_exitcode(status)
        self._complain()
        code = 128 - process.returncode if process.returncode < 0 else process.returncode
        if self._is_ended_by_us:  # bubblewrap may say something else of it
            code = 128 + signal.SIGKILL
        cpu_seconds = max(self._cpu_seconds, usage.ru_utime + usage.ru_stime)
        killed_by = self._killed_by or _cause(code, cpu_seconds, limits)
        seconds = time.monotonic() - self._began
        return Outcome(
            code, bytes(self._output[stdout]), bytes(self._output[stderr]), seconds, self._is_truncated, killed_by
        )

    def _watch(self, selector: selectors.BaseSelector) -> bool:
        """Until the program has ended (True) or must be ended (False)."""
        deadline = self._began + self._limits.seconds
        look = time.monotonic() + _TICK_S
        while self._killed_by is None:
            now = time.monotonic()
            if now >= deadline:
                self._killed_by = "time"
                return False
            if now >= look:
                self._killed_by = self._beyond()
                look = time.monotonic() + max(_TICK_S, 20 * (time.monotonic() - now))  # a twentieth of a core at most
                continue
            for key, _ in selector.select(min(deadline, look) - now):
                if key.fd == self._alive:
                    self._killed_by = self._killed_by or self._full()
                    return True
                self._read(selector, key.fd)
        return False

    def _read(self, selector: selectors.BaseSelector, descriptor: int) -> bool:
        """Takes what a pipe holds; False at its end."""
        try:
            data = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return True
        if not data:
            selector.unregister(descriptor)
            return False
        if descriptor == self._launched.status_fd:
            self._status += data
            return True
        room = self._limits.output_bytes - sum(map(len, self._output.values()))
        self._output[descriptor] += data[:room]
        if len(data) > room:
            self._is_truncated = True
            self._killed_by = self._killed_by or "output"
        return True

    def _beyond(self) -> KilledBy | None:
        """The limit that the program has passed, of those that the kernel does not watch."""
        if (full := self._full()) is not None:
            return full
        if self._limits.processes > 1:
            together = members(self._pid)
            if sum(member.resident_bytes for member in together) > self._limits.memory_bytes:
                return "memory"
            if sum(member.cpu_seconds for member in together) > self._limits.cpu_seconds:
                return "cpu"
        return None

    def _full(self) -> KilledBy | None:
        used, count = measure(self._folder, self._limits.files)
        if count > self._limits.files:
            return "files"
        if used <= self._limits.disk_bytes:
            is_alone = self._limits.processes == 1 and self._launched.info_fd < 0
            together = [] if is_alone else members(self._pid)
            self._cpu_seconds = max(self._cpu_seconds, sum(member.cpu_seconds for member in together))
            used += unlinked_bytes([self._pid, *(member.pid for member in together)], self._device)
        return "disk" if used > self._limits.disk_bytes else None

    def _end(self) -> None:
        """Kills every process of the program, and returns when none runs any more. The leader is not waited for before, so its
        group's number is still its own.

        Without bubblewrap all are in one group, for the filter lets none leave it. With it they end when the first process of
        their namespace does, and that one with bubblewrap (`--die-with-parent`).
        """
        inner = self._namespace()
        try:
            if inner is not None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(inner, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)
            ended = all(select.select([handle], [], [], _LAST_WORDS_S)[0] for handle in (inner, self._alive) if handle)
        finally:
            if inner is not None:
                os.close(inner)
        until = time.monotonic() + _LAST_WORDS_S
        while self._limits.processes > 1 and not all(member.is_zombie for member in members(self._pid)):
            if time.monotonic() > until:
                ended = False
                break
            time.sleep(0.005)
        if not ended:
            raise SandboxUnavailable(
                "a killed program does not end", f"look for process {self._pid}: it waits for a device"
            )

    def _namespace(self) -> int | None:
        """A handle of the first process of bubblewrap's namespace; None where there is none any more."""
        info_fd = self._launched.info_fd
        if info_fd < 0 or info_fd not in select.select([info_fd, self._alive], [], [], _LAST_WORDS_S)[0]:
            return None
        try:
            info = json.loads(os.read(info_fd, 1 << 16))
            return os.pidfd_open(int(info["child-pid"]))
        except (ValueError, KeyError, OSError):
            return None

    def _drain(self, selector: selectors.BaseSelector) -> None:
        """What was written before the end. The writers are dead, so the pipes come to their end."""
        until = time.monotonic() + _LAST_WORDS_S
        for descriptor in (*self._output, self._launched.status_fd):
            while descriptor in selector.get_map() and time.monotonic() < until:
                if select.select([descriptor], [], [], until - time.monotonic())[0] and not self._read(
                    selector, descriptor
                ):
                    break

    def _complain(self) -> None:
        if not self._status:
            return
        stage, reason = json.loads(bytes(self._status))
        if stage == "program":
            raise UsageError(
                f"the program cannot be started: {reason}", "give a program's path, or Python code as one text"
            )
        raise SandboxUnavailable(f"the program cannot be shut in: {reason}", "see docs/sandbox.md")


def _cause(code: int, cpu_seconds: float, limits: Limits) -> KilledBy | None:
    """For a program that the kernel ended: which of its limits that was."""
    if code == 128 + signal.SIGXCPU or (code == 128 + signal.SIGKILL and cpu_seconds >= limits.cpu_seconds):
        return "cpu"
    return "disk" if code == 128 + signal.SIGXFSZ else None
