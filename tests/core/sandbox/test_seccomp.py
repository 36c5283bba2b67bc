"""The filter of system calls, decided here by a small reading of BPF: also for the architecture that this is not."""

from __future__ import annotations

import errno
import struct

import pytest

from openbook.core.sandbox.seccomp import seccomp_filter
from openbook.core.sandbox.syscalls import ALLOWED, FIRST_NEW, GUARDED, Machine, numbers

ARCHITECTURE: dict[Machine, int] = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, KILL = 0x7FFF0000, 0x80000000
every_machine = pytest.mark.parametrize("machine", ["x86_64", "aarch64"])


def decide(program: bytes, architecture: int, number: int, *arguments: int) -> int | str:
    """What the kernel would do: "allow", "kill", or the errno."""
    data = struct.pack("<IIQ6Q", number, architecture, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    instructions = list(struct.iter_unpack("<HBBI", program))
    at, accumulator = 0, 0
    while True:
        code, if_true, if_false, constant = instructions[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, constant)
            case 0x15:
                at += if_true if accumulator == constant else if_false
            case 0x35:
                at += if_true if accumulator >= constant else if_false
            case 0x45:
                at += if_true if accumulator & constant else if_false
            case 0x06:
                return {ALLOW: "allow", KILL: "kill"}.get(constant, constant & 0xFFFF)
            case _:
                raise AssertionError(hex(code))


def filtered(
    machine: Machine, name: str, *arguments: int, may_fork: bool = False, only_pid: int | None = None
) -> int | str:
    number = numbers({**ALLOWED, **GUARDED}, machine)[name]
    return decide(seccomp_filter(machine, may_fork, only_pid), ARCHITECTURE[machine], number, *arguments)


@every_machine
def test_exactly_the_named_calls_pass(machine: Machine) -> None:
    program = seccomp_filter(machine, may_fork=False, only_pid=None)
    allowed, guarded = set(numbers(ALLOWED, machine).values()), set(numbers(GUARDED, machine).values())
    for number in range(700):
        if number in guarded:
            continue
        expected = "allow" if number in allowed else errno.ENOSYS if number >= FIRST_NEW else errno.EPERM
        assert decide(program, ARCHITECTURE[machine], number) == expected, number


@every_machine
def test_the_kernel_takes_so_many_instructions(machine: Machine) -> None:
    assert len(seccomp_filter(machine, may_fork=True, only_pid=1)) // 8 <= 4096


@every_machine
def test_programs_of_another_architecture_are_killed(machine: Machine) -> None:
    program = seccomp_filter(machine, may_fork=False, only_pid=None)
    for architecture in (0x40000003, 0x40000028, *set(ARCHITECTURE.values()) - {ARCHITECTURE[machine]}):
        assert decide(program, architecture, 39) == "kill"
    assert decide(program, ARCHITECTURE[machine], 0x40000000 | 39) == errno.ENOSYS  # x32


@every_machine
def test_no_dangerous_call_is_in_the_lists(machine: Machine) -> None:
    refused = {
        "socket", "connect", "bind", "listen", "accept", "sendmsg", "sendmmsg", "ptrace", "process_vm_readv", "mount",
        "umount2", "pivot_root", "chroot", "unshare", "setns", "setuid", "setgid", "setresuid", "setgroups", "capset",
        "keyctl", "add_key", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "open_by_handle_at", "setsid",
        "setpgid", "chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat", "lchown", "utimensat", "setxattr",
        "fsetxattr", "truncate", "memfd_create", "shmget", "mq_open", "pidfd_open", "pidfd_send_signal", "pidfd_getfd",
        "rt_sigqueueinfo", "tkill", "sched_setaffinity", "setpriority", "kexec_load", "init_module", "reboot", "clone3",
        "personality", "seccomp", "landlock_restrict_self", "inotify_init1", "fanotify_init", "mknod", "mknodat", "syslog",
    }  # fmt: skip
    assert refused.isdisjoint({**numbers(ALLOWED, machine), **numbers(GUARDED, machine)})


@every_machine
def test_threads_start_and_processes_only_where_allowed(machine: Machine) -> None:
    thread, process = 0x3D0F00, 0x01200011  # what glibc asks for
    assert filtered(machine, "clone", thread) == "allow"
    assert filtered(machine, "clone", process) == errno.EPERM
    assert filtered(machine, "clone", process, may_fork=True) == "allow"
    for flag in (0x10000000, 0x20000, 0x20000000, 0x40000000, 0x8000):  # namespaces; a sibling instead of a child
        assert filtered(machine, "clone", process | flag, may_fork=True) == errno.EPERM
        assert filtered(machine, "clone", thread | flag) == errno.EPERM


def test_fork_of_x86() -> None:
    for name in ("fork", "vfork"):
        assert filtered("x86_64", name) == errno.EPERM
        assert filtered("x86_64", name, may_fork=True) == "allow"


@every_machine
def test_signals_go_to_one_process_where_nothing_else_guards_the_others(machine: Machine) -> None:
    for name in ("kill", "tgkill"):
        assert filtered(machine, name, 77, only_pid=77) == "allow"
        assert filtered(machine, name, 78, only_pid=77) == errno.EPERM
        assert filtered(machine, name, 0xFFFFFFFF, only_pid=77) == errno.EPERM
        assert filtered(machine, name, 78) == "allow"


@every_machine
def test_arguments_decide(machine: Machine) -> None:
    assert filtered(machine, "ioctl", 0, 0x5401) == "allow"
    assert filtered(machine, "ioctl", 0, 0x5412) == errno.ENOTTY  # TIOCSTI
    assert filtered(machine, "ioctl", 0, 0x541C) == errno.ENOTTY  # TIOCLINUX
    assert filtered(machine, "prctl", 15) == "allow"
    assert filtered(machine, "prctl", 1) == errno.EPERM
    assert filtered(machine, "prlimit64", 0) == "allow"
    assert filtered(machine, "prlimit64", 5) == errno.EPERM
    assert filtered(machine, "socketpair", 1) == "allow"
    assert filtered(machine, "socketpair", 2) == errno.EPERM
    assert filtered(machine, "sendto", 3, 0, 0, 0, 0) == "allow"
    assert filtered(machine, "sendto", 3, 0, 0, 0, 0x7F00_0000_1000) == errno.EPERM
    assert filtered(machine, "sendto", 3, 0, 0, 0, 0x7F00_0000_0000) == errno.EPERM
    assert filtered(machine, "fcntl", 3, 3) == "allow"
    for command in (8, 10, 15, 1024, 1026, 1031):
        assert filtered(machine, "fcntl", 3, command) == errno.EPERM
