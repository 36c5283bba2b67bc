"""Targets of the attacks: listeners, files and processes of the test itself."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from core.sandbox.attacks import BEGIN, END
from openbook.core.sandbox.launch import Tier
from openbook.core.sandbox.sandbox import Sandbox, fault_of

_ORDER = ("rt_sigqueueinfo", "shmget", "shmctl", "keyctl", "process_vm_readv", "ptrace", "bpf", "add_key")
_X86 = dict(zip(_ORDER, (129, 29, 31, 250, 310, 101, 321, 248), strict=True))
_ARM = dict(zip(_ORDER, (138, 194, 195, 219, 270, 117, 280, 217), strict=True))
NUMBERS = _ARM if platform.machine() == "aarch64" else _X86

fault = cache(fault_of)


def sandbox_or_skip(tier: Tier) -> Sandbox:
    """A sandbox of a tier; the test is skipped by name where the machine lacks the means."""
    if (reason := fault(tier)) is not None:
        pytest.skip(f"{tier} does not run here: {reason}")
    return Sandbox(tier)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextlib.contextmanager
def targets(folder: Path) -> Iterator[dict[str, object]]:
    """Where the attacks point to; all listen on loopback or in `folder`, and end with the block."""
    secret = folder / "home" / "secret"
    secret.parent.mkdir()
    secret.write_text("secret")
    memory = ctypes.create_string_buffer(b"secret")
    name = f"openbook-attack-{secrets.token_hex(8)}"
    sleep = shutil.which("sleep")
    assert sleep is not None
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(socket.socket(socket.AF_INET))
        unix, abstract = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        datagram = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        tcp.bind(("127.0.0.1", 0))
        udp.bind(("127.0.0.1", 0))
        unix.bind(str(folder / "unix"))
        datagram.bind(str(folder / "datagram"))
        abstract.bind("\0" + name)
        for listener in (tcp, unix, abstract):
            listener.listen()
        victim = stack.enter_context(subprocess.Popen([sleep, "300"]))
        stack.callback(victim.kill)
        yield {
            "tcp": tcp.getsockname()[1], "udp": udp.getsockname()[1], "unix": str(folder / "unix"), "abstract": name,
            "datagram": str(folder / "datagram"), "secret": str(secret), "outside": str(folder / "outside"), "name": name,
            "host": os.getpid(), "victim": victim.pid, "address": ctypes.addressof(memory), **NUMBERS,
        }  # fmt: skip


def attack(sandbox: Sandbox, code: str, target: dict[str, object]) -> tuple[bool, str]:
    """Whether an attack got through, and what it said otherwise."""
    outcome = sandbox.run(BEGIN + code + END, files={"target.json": json.dumps(target)})
    return b"REACHED" in outcome.stdout, outcome.stderr.decode(errors="replace")[-400:]
