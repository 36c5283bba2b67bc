"""The command line of bubblewrap: a file system with nothing but what is named, and namespaces of its own."""

from __future__ import annotations

from pathlib import Path

from openbook.core.sandbox.means import DEVICES


def bubblewrap_command(bwrap: Path, folder: Path, readable: tuple[Path, ...], info_fd: int, is_root: bool) -> list[str]:
    """What stands before the program's own command.

    No /proc, no /sys, no network device but an unconfigured loopback, no other process to be seen. `info_fd` takes the id
    of the namespace's first process: when that one dies, the kernel ends all others. Root makes no user namespace: the
    launcher inside takes another user's number, and needs the capabilities for it.
    """
    command = [str(bwrap), "--die-with-parent", "--new-session", "--clearenv", "--info-fd", str(info_fd)]
    if is_root:
        command += ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
        for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
            command += ["--cap-add", capability]
    else:
        command += ["--unshare-all"]
    # Bubblewrap would make the directories above for itself alone, and the program may be another user.
    above = {parent for path in (*readable, *DEVICES, folder) if path.exists() for parent in path.parents[:-1]}
    for directory in sorted(above - set(readable)):
        command += ["--perms", "0755", "--dir", str(directory)]
    for path in readable:
        command += ["--ro-bind-try", str(path), str(path)]
    for path in DEVICES:
        command += ["--dev-bind-try", str(path), str(path)]
    # The root is a file system in memory: read-only, or a program could fill it.
    return [*command, "--bind", str(folder), str(folder), "--remount-ro", "/", "--chdir", str(folder), "--"]
