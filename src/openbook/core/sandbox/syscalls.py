"""Numbers of the system calls that an untrusted program may use, on x86_64 and on aarch64.

What is not named here is refused: sockets, other processes, mounts, namespaces, keys, modules, io_uring, BPF; also `chmod`,
`chown`, `utime` and extended attributes, which Landlock does not watch, and `setsid` and `setpgid`, so that a whole
program stays one group that one signal ends.

Source: <asm/unistd_64.h> and <asm-generic/unistd.h> of Linux; numbers there never change.
None: that machine has no such call.
"""

from __future__ import annotations

from typing import Literal

Machine = Literal["x86_64", "aarch64"]
Numbers = dict[str, tuple[int | None, int | None]]
"""Name of a call -> its number on x86_64 and on aarch64."""

# fmt: off
ALLOWED: Numbers = {
    "read": (0, 63), "write": (1, 64), "open": (2, None), "openat": (257, 56), "close": (3, 57), "stat": (4, None),
    "fstat": (5, 80), "lstat": (6, None), "newfstatat": (262, 79), "statx": (332, 291), "poll": (7, None),
    "ppoll": (271, 73), "lseek": (8, 62), "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215),
    "brk": (12, 214), "mremap": (25, 216), "madvise": (28, 233), "mincore": (27, 232), "msync": (26, 227),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "rt_sigpending": (127, 136),
    "rt_sigsuspend": (130, 133), "rt_sigtimedwait": (128, 137), "sigaltstack": (131, 132),
    "restart_syscall": (219, 128), "pread64": (17, 67), "pwrite64": (18, 68), "readv": (19, 65), "writev": (20, 66),
    "preadv": (295, 69), "pwritev": (296, 70), "preadv2": (327, 286), "pwritev2": (328, 287), "access": (21, None),
    "faccessat": (269, 48), "faccessat2": (439, 439), "pipe": (22, None), "pipe2": (293, 59), "select": (23, None),
    "pselect6": (270, 72), "dup": (32, 23), "dup2": (33, None), "dup3": (292, 24), "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123), "sched_getparam": (143, 121), "sched_getscheduler": (145, 120),
    "sched_get_priority_max": (146, 125), "sched_get_priority_min": (147, 126), "sched_rr_get_interval": (148, 127),
    "getpriority": (140, 141), "getcpu": (309, 168), "capget": (125, 90), "nanosleep": (35, 101), "clock_nanosleep": (230, 115),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "gettimeofday": (96, 169), "time": (201, None),
    "getitimer": (36, 102), "setitimer": (38, 103), "alarm": (37, None), "pause": (34, None),
    "timer_create": (222, 107), "timer_settime": (223, 110), "timer_gettime": (224, 108),
    "timer_getoverrun": (225, 109), "timer_delete": (226, 111), "timerfd_create": (283, 85),
    "timerfd_settime": (286, 86), "timerfd_gettime": (287, 87), "times": (100, 153), "getpid": (39, 172),
    "gettid": (186, 178), "getppid": (110, 173), "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176),
    "getegid": (108, 177), "getgroups": (115, 158), "getresuid": (118, 148), "getresgid": (120, 150),
    "getpgrp": (111, None), "getpgid": (121, 155), "getsid": (124, 156), "execve": (59, 221),
    "execveat": (322, 281), "exit": (60, 93), "exit_group": (231, 94), "wait4": (61, 260), "waitid": (247, 95),
    "flock": (73, 32), "fsync": (74, 82), "fdatasync": (75, 83), "ftruncate": (77, 46),
    "sync_file_range": (277, 84), "fallocate": (285, 47), "fadvise64": (221, 223), "readahead": (187, 213),
    "sendfile": (40, 71), "splice": (275, 76), "tee": (276, 77), "copy_file_range": (326, 285),
    "getdents": (78, None), "getdents64": (217, 61), "getcwd": (79, 17), "chdir": (80, 49), "fchdir": (81, 50),
    "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276), "mkdir": (83, None), "mkdirat": (258, 34),
    "rmdir": (84, None), "creat": (85, None), "link": (86, None), "linkat": (265, 37), "unlink": (87, None),
    "unlinkat": (263, 35), "symlink": (88, None), "symlinkat": (266, 36), "readlink": (89, None),
    "readlinkat": (267, 78), "umask": (95, 166), "statfs": (137, 43), "fstatfs": (138, 44), "getrlimit": (97, 163),
    "setrlimit": (160, 164), "getrusage": (98, 165), "sysinfo": (99, 179), "uname": (63, 160), "futex": (202, 98),
    "futex_waitv": (449, 449), "set_robust_list": (273, 99), "get_robust_list": (274, 100),
    "set_tid_address": (218, 96), "arch_prctl": (158, None), "rseq": (334, 293), "membarrier": (324, 283),
    "mlock": (149, 228), "munlock": (150, 229), "epoll_create": (213, None), "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21), "epoll_wait": (232, None), "epoll_pwait": (281, 22), "epoll_pwait2": (441, 441),
    "eventfd": (284, None), "eventfd2": (290, 19), "signalfd": (282, None), "signalfd4": (289, 74),
    "getrandom": (318, 278), "close_range": (436, 436), "shutdown": (48, 210), "recvfrom": (45, 207),
    "recvmsg": (47, 212), "getsockname": (51, 204), "getpeername": (52, 205), "getsockopt": (55, 209),

}
"""Allowed whatever their arguments are."""

GUARDED: Numbers = {
    "clone": (56, 220), "fork": (57, None), "vfork": (58, None), "kill": (62, 129), "tgkill": (234, 131),
    "prctl": (157, 167), "ioctl": (16, 29), "prlimit64": (302, 261), "socketpair": (53, 199), "sendto": (44, 206),
    "fcntl": (72, 25),
}
"""Allowed for some arguments; `seccomp.py` says which."""
# fmt: on

FIRST_NEW = 424
"""From here on numbers are the same everywhere. Libraries fall back when told that the kernel lacks these."""


def numbers(table: Numbers, machine: Machine) -> dict[str, int]:
    """The calls of `table` that a machine has."""
    column = 0 if machine == "x86_64" else 1
    found = ((name, pair[column]) for name, pair in table.items())
    return {name: number for name, number in found if number is not None}
