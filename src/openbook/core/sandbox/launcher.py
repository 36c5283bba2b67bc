"""Shuts itself in, then becomes the untrusted program. Run as a script of its own: it imports the standard library alone.

`python launcher.py SPEC STATUS`: two descriptors. SPEC gives a JSON object (`launch.py` writes it), STATUS takes what went
wrong as JSON, and closes without a word when the program has taken this process over.

The order matters: limits first, then the user, then no way back to privileges (`no_new_privs`), the ruleset of files
(Landlock), and last the filter of system calls, which refuses most of what came before.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import signal
import sys
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 1, 8, 38, 47
_AMBIENT_RAISE, _AMBIENT_CLEAR = 2, 4
_SECCOMP, _CAPSET = {"x86_64": (317, 126), "aarch64": (277, 91)}.get(platform.machine(), (-1, -1))
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CAP_DAC_READ_SEARCH = 2
_FILE_ONLY = 0x8007  # execute, write, read, ioctl: a rule on a plain file may name nothing else


class _Attribute(ctypes.Structure):
    _fields_ = [("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("access", ctypes.c_uint64), ("parent", ctypes.c_int32)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def _call(what: str, number: int, *arguments: Any) -> int:
    result = int(_LIBC.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result


def _prctl(what: str, option: int, *arguments: int) -> None:
    padded = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    if _LIBC.prctl(option, *padded) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def become(uid: int | None, keeps_search: bool) -> None:
    """Another user without groups, and no capability but, where asked, the one to look into any directory."""
    if uid is not None:
        _prctl("PR_SET_KEEPCAPS", _PR_SET_KEEPCAPS, 1)
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    kept = 1 << _CAP_DAC_READ_SEARCH if keeps_search else 0
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    _call("capset", _CAPSET, ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)(kept, kept, kept, 0, 0, 0)))
    _prctl("PR_CAP_AMBIENT_CLEAR_ALL", _PR_CAP_AMBIENT, _AMBIENT_CLEAR)
    if keeps_search:
        _prctl("PR_CAP_AMBIENT_RAISE", _PR_CAP_AMBIENT, _AMBIENT_RAISE, _CAP_DAC_READ_SEARCH)


def restrict_files(landlock: dict[str, Any]) -> None:
    """Only what the rules allow of files; no TCP, abstract sockets and signals to others, as far as the kernel has it."""
    attribute = _Attribute(landlock["fs"], landlock["net"], landlock["scoped"])
    size = ctypes.c_size_t(landlock["size"])
    ruleset = _call("landlock_create_ruleset", _CREATE_RULESET, ctypes.byref(attribute), size, ctypes.c_uint32(0))
    for path, access in landlock["rules"]:
        try:
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # not every system has /lib64
        allowed = access if os.path.isdir(path) else access & _FILE_ONLY  # noqa: PTH112  (pathlib takes 5 ms to import)
        rule = _PathBeneath(allowed & landlock["fs"], opened)
        _call(f"landlock_add_rule {path}", _ADD_RULE, ruleset, 1, ctypes.byref(rule), ctypes.c_uint32(0))
        os.close(opened)
    _call("landlock_restrict_self", _RESTRICT_SELF, ruleset, ctypes.c_uint32(0))
    os.close(ruleset)


def filter_system_calls(program: bytes) -> None:
    _call("seccomp", _SECCOMP, 1, 0, ctypes.byref(_Program(len(program) // 8, program)))


def shut_in(spec: dict[str, Any]) -> None:
    """All restrictions, in their order."""
    os.umask(0o077)
    os.chdir(spec["folder"])
    for name, soft, hard in spec["limits"]:
        resource.setrlimit(getattr(resource, name), (soft, hard))
    if spec["is_confined"]:
        become(spec["uid"], spec["keeps_search"])
    _prctl("PR_SET_PDEATHSIG", _PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != spec["parent"] and spec["parent"] is not None:
        raise OSError("the parent died")
    _prctl("PR_SET_NO_NEW_PRIVS", _PR_SET_NO_NEW_PRIVS, 1)
    if spec["landlock"] is not None:
        restrict_files(spec["landlock"])
    if spec["seccomp"] is not None:
        filter_system_calls(bytes.fromhex(spec["seccomp"]))


def main(spec_fd: int, status_fd: int) -> None:
    """Never returns: the program runs in this process, or STATUS holds the reason and this process ends with 125."""
    stage = "spec"
    try:
        os.set_inheritable(status_fd, False)
        with open(spec_fd, "rb") as file:
            spec = json.load(file)
        for descriptor in range(3, 256):  # close_range is for newer kernels
            if descriptor != status_fd:
                try:
                    os.close(descriptor)
                except OSError:
                    continue
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            if signal.getsignal(number) not in (signal.SIG_DFL, None):
                signal.signal(
                    number, signal.SIG_DFL
                )  # Python ignores SIGPIPE and SIGXFSZ, and a program would inherit it
        stage = "restrict"
        shut_in(spec)
        stage = "program"
        os.execve(spec["argv"][0], spec["argv"], spec["environment"])
    except BaseException as error:
        os.write(status_fd, json.dumps([stage, f"{type(error).__name__}: {error}"[:500]]).encode())
        os._exit(125)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
