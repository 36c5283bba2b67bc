"""What a hostile program tries. Each prints REACHED when it got through; `T` says where the targets are.

Those of `CONTROLLED` get through without a sandbox, which the tests see as well: an attack that fails anyway proves nothing.
"""

from __future__ import annotations

BEGIN = """
import ctypes, json, os, signal, socket, sys
T = json.load(open("target.json"))
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    result = libc.syscall(*[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
"""
END = "\nprint('REACHED', flush=True)\n"

CONTROLLED = {
    # network
    "tcp": "socket.create_connection(('127.0.0.1', T['tcp']), 5)",
    "tcp_listen": "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()",
    "udp": "assert socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', T['udp'])) == 1",
    "unix_socket": "socket.socket(socket.AF_UNIX).connect(T['unix'])",
    "abstract_socket": "socket.socket(socket.AF_UNIX).connect('\\0' + T['abstract'])",
    "unix_datagram_over_a_pair": "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b'x', T['datagram'])",
    "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)",
    "dns": "socket.getaddrinfo('localhost', 80)",
    # files of others
    "read_the_home_folder": "open(T['secret']).read()",
    "list_the_home_folder": "os.listdir(os.path.dirname(T['secret']))",
    "etc_passwd": "open('/etc/passwd').read()",
    "command_line_of_the_kernel": "open('/proc/cmdline').read()",
    "symlink_out": "os.symlink(T['secret'], 'link'); open('link').read()",
    "symlink_given_as_a_folder": "os.symlink(os.path.dirname(T['secret']), 'd'); os.listdir('d')",
    "dot_dot": "open(os.path.relpath(T['secret'])).read()",
    "write_outside": "open(T['outside'], 'w').write('x')",
    "append_to_a_file": "open(T['secret'], 'a').write('x')",
    "truncate_a_file": "os.truncate(T['secret'], 0)",
    "truncate_when_opening": "os.close(os.open(T['secret'], os.O_RDONLY | os.O_TRUNC))",
    "remove_a_file": "os.remove(T['secret'])",
    "rename_a_file": "os.rename(T['secret'], T['secret'] + '.moved')",
    "chmod_a_file": "os.chmod(T['secret'], 0o666)",
    "chown_a_file": "os.chown(T['secret'], os.getuid(), os.getgid())",
    "touch_a_file": "os.utime(T['secret'], (1, 1))",
    "make_a_folder_outside": "os.mkdir(T['outside'])",
    "write_to_shared_memory": "n = '/dev/shm/' + T['name']; open(n, 'w').write('x'); os.remove(n)",
    "write_to_tmp": "n = '/tmp/' + T['name']; open(n, 'w').write('x'); os.remove(n)",
    # other processes
    "environment_of_the_parent": "assert open(f\"/proc/{T['host']}/environ\", 'rb').read()",
    "command_of_the_parent": "assert open(f\"/proc/{T['host']}/cmdline\", 'rb').read()",
    "signal_another_process": "os.kill(T['victim'], signal.SIGTERM)",
    "probe_another_process": "os.kill(T['victim'], 0)",
    "queue_a_signal": "call(T['rt_sigqueueinfo'], T['victim'], 0, (ctypes.c_int * 32)(0, 0, -1))",
    "signal_by_handle": "signal.pidfd_send_signal(os.pidfd_open(T['victim']), signal.SIGTERM)",
    "affinity_of_another_process": "os.sched_setaffinity(T['victim'], {min(os.sched_getaffinity(T['victim']))})",
    "priority_of_another_process": "os.setpriority(os.PRIO_PROCESS, T['victim'], 19)",
    "limits_of_another_process": "import resource; resource.prlimit(T['victim'], resource.RLIMIT_CORE, (0, 0))",
    # more than it is given
    "file_in_memory": "os.memfd_create('x')",
    "shared_memory_of_system_v": "i = call(T['shmget'], 0, 4096, 0o1600); call(T['shmctl'], i, 0, 0)",
    "signals_by_files": "import fcntl; fcntl.fcntl(0, fcntl.F_SETOWN, T['victim'])",
    "outlive_the_parent": "assert libc.prctl(1, 0, 0, 0, 0) == 0",
}
"""Harmless without a sandbox."""

OPTIONAL = {
    "hard_link_out": "os.link(T['secret'], 'link'); open('link').read()",
    "tcp_v6_socket": "socket.socket(socket.AF_INET6, socket.SOCK_STREAM)",
    "write_to_the_interpreter": "n = os.path.join(sys.prefix, T['name']); open(n, 'w').close(); os.remove(n)",
    "a_key_for_later": "call(T['add_key'], b'user', b'x', b'y', 1, -2)",
    "etc_shadow": "open('/etc/shadow').read()",
    "memory_of_the_parent": (
        "f = open(f\"/proc/{T['host']}/mem\", 'rb', 0); f.seek(T['address']); assert f.read(6) == b'secret'"
    ),
    "memory_by_process_vm_readv": (
        "class V(ctypes.Structure): _fields_ = [('at', ctypes.c_void_p), ('n', ctypes.c_size_t)]\n"
        "b = ctypes.create_string_buffer(6)\n"
        "here, there = V(ctypes.addressof(b), 6), V(T['address'], 6)\n"
        "call(T['process_vm_readv'], T['host'], ctypes.byref(here), 1, ctypes.byref(there), 1, 0)\n"
        "assert b.raw == b'secret'"
    ),
    "ptrace": "call(T['ptrace'], 0x4206, T['victim'], 0, 0)",
    "new_namespaces": "assert libc.unshare(0x10000000 | 0x20000) == 0",
    "mount": "assert libc.unshare(0x20000) == 0; assert libc.mount(b'none', b'/mnt', b'tmpfs', 0, None) == 0",
    "chroot": "os.chroot('.')",
    "become_root": "os.setresuid(0, 0, 0)",
    "open_by_handle": (
        "h = (ctypes.c_uint32 * 34)(128); m = ctypes.c_int()\n"
        "assert libc.name_to_handle_at(-100, T['secret'].encode(), h, ctypes.byref(m), 0) == 0\n"
        "d = os.open(os.path.dirname(T['secret']), os.O_RDONLY); os.read(libc.open_by_handle_at(d, h, 0), 1)"
    ),
    "io_uring": "call(425, 4, (ctypes.c_char * 256)())",
    "bpf": "call(T['bpf'], 0, (ctypes.c_uint32 * 32)(2, 4, 4, 1), 128)",
}
"""May be refused by the system too; then there is no control."""
