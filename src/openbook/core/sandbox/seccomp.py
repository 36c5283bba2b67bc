"""The filter of system calls of an untrusted program, as the kernel's classic BPF.

A list of what is allowed (`syscalls.py`); anything else is refused with EPERM, and calls newer than the list with ENOSYS,
so that libraries fall back. A program of another architecture (32 bit, x32) is killed or refused.

Source: linux/Documentation/userspace-api/seccomp_filter.rst; struct seccomp_data is nr u32, arch u32, ip u64, args u64[6].
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable

from openbook.core.sandbox.syscalls import ALLOWED, FIRST_NEW, GUARDED, Machine, numbers

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF classes with their modes
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_ARCHITECTURE: dict[Machine, int] = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_*

_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_CLONE_PARENT, _CLONE_THREAD = 0x8000, 0x10000
_AF_UNIX = 1
_IOCTLS = (0x5401, 0x802C542A, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS, TCGETS2, TIOCGWINSZ, FIO*: no TIOCSTI
_PRCTLS = (3, 15, 16, 0x53564D41)  # GET_DUMPABLE, SET_NAME, GET_NAME, SET_VMA: PDEATHSIG stays as it is
_FCNTLS = (8, 10, 15, 1024, 1026, 1031)  # SETOWN, SETSIG, SETOWN_EX, SETLEASE, NOTIFY, SETPIPE_SZ

Instruction = tuple[int, int, int, int]
"""Code, jump when true, jump when false, constant."""


def seccomp_filter(machine: Machine, may_fork: bool, only_pid: int | None) -> bytes:
    """The filter's instructions of 8 bytes each.

    `may_fork`: processes may be started; threads always may. `only_pid`: the one process that may be sent signals, by its
    id (0, the own group, is allowed too); None where the kernel hides or guards all others anyway.
    """
    program: list[Instruction] = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, _ARCHITECTURE[machine]),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, 0),
    ]
    for number in sorted(numbers(ALLOWED, machine).values()):
        program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    for name, number in numbers(GUARDED, machine).items():
        body = _guard(name, may_fork, only_pid)
        program += [(_EQUAL, 0, len(body), number), *body]
    program += [(_AT_LEAST, 0, 1, FIRST_NEW), _refuse(errno.ENOSYS), _refuse(errno.EPERM)]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)


def _guard(name: str, may_fork: bool, only_pid: int | None) -> list[Instruction]:
    """What is returned for a call that depends on its arguments; every way through it returns."""
    match name:
        case "clone":
            refused = [_load(0), (_ANY_BIT, 0, 1, _NAMESPACES | _CLONE_PARENT), _refuse(errno.EPERM)]
            threads_only = [] if may_fork else [(_ANY_BIT, 1, 0, _CLONE_THREAD), _refuse(errno.EPERM)]
            return [*refused, *threads_only, (_RETURN, 0, 0, _ALLOW)]
        case "fork" | "vfork":
            return [(_RETURN, 0, 0, _ALLOW) if may_fork else _refuse(errno.EPERM)]
        case "kill" | "tgkill":
            return [(_RETURN, 0, 0, _ALLOW)] if only_pid is None else _one_of(0, (0, only_pid))
        case "prctl":
            return _one_of(0, _PRCTLS)
        case "ioctl":
            return _one_of(1, _IOCTLS, otherwise=errno.ENOTTY)
        case "prlimit64":
            return _one_of(0, (0,))
        case "socketpair":
            return _one_of(0, (_AF_UNIX,))
        case "sendto":  # without an address; with one it would reach any UNIX datagram socket of the machine
            return [_load(4), (_EQUAL, 1, 0, 0), _refuse(errno.EPERM), _load(4, upper=True), *_equal(0)]
        case "fcntl":
            return _none_of(1, _FCNTLS)
    raise AssertionError(name)


def _load(argument: int, upper: bool = False) -> Instruction:
    """Half of an argument: both machines are little-endian. The kernel reads ints and flags from the lower half."""
    return (_LOAD, 0, 0, 16 + 8 * argument + (4 if upper else 0))


def _refuse(error: int) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | error)


def _equal(value: int) -> list[Instruction]:
    return [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW), _refuse(errno.EPERM)]


def _one_of(argument: int, values: Iterable[int], otherwise: int = errno.EPERM) -> list[Instruction]:
    program = [_load(argument)]
    for value in values:
        program += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
    return [*program, _refuse(otherwise)]


def _none_of(argument: int, values: Iterable[int]) -> list[Instruction]:
    program = [_load(argument)]
    for value in values:
        program += [(_EQUAL, 0, 1, value), _refuse(errno.EPERM)]
    return [*program, (_RETURN, 0, 0, _ALLOW)]
