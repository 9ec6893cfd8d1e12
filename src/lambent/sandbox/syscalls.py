"""The Linux calls that Python's `os` lacks, as thin functions over libc. Standard library only: the spawner imports it.

Every function raises `OSError` whose `filename` is the call's name, so that a failure names its step. Numbers of calls
without a libc wrapper are the same on x86_64 and aarch64 from Linux 5.1 on (arch/x86/entry/syscalls/syscall_64.tbl,
include/uapi/asm-generic/unistd.h); the older ones are in `_NUMBERS`.
"""

import ctypes
import os
import struct

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_PIDFD = 0x00001000
CLONE_INTO_CGROUP = 0x200000000

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_RDONLY = 2, 4, 8, 1
MS_REMOUNT, MS_BIND, MS_REC = 32, 4096, 16384
MS_PRIVATE, MS_SLAVE = 1 << 18, 1 << 19
MNT_DETACH = 2

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS = 1, 4, 8
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_READ, PR_CAPBSET_DROP = 38, 23, 24
PR_SET_NAME = 15
PR_SET_SECCOMP, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 22, 47, 4
SECCOMP_MODE_FILTER = 2

CAP_SETGID, CAP_SETUID, CAP_SETPCAP, CAP_SYS_ADMIN = 6, 7, 8, 21

_NUMBERS = {"x86_64": {"pivot_root": 155}, "aarch64": {"pivot_root": 41}}
_PIVOT_ROOT = _NUMBERS.get(os.uname().machine, {}).get("pivot_root", -1)
_OPEN_TREE, _MOVE_MOUNT, _CLONE3, _CLOSE_RANGE, _MOUNT_SETATTR = 428, 429, 435, 436, 442

# PyDLL keeps the interpreter's lock: a clone must come back on the one thread that there is, in parent and child alike.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _check(name: str, result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), name)
    return result


def syscall(name: str, number: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """A call by its number; bytes are passed as a pointer to them, None as no pointer."""
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _check(name, int(_libc.syscall(ctypes.c_long(number), *converted)))


def clone(flags: int, cgroup_fd: int = -1) -> tuple[int, int]:
    """A fork into new namespaces. Returns (pid, pidfd) in the parent and (0, -1) in the child.

    The process must have one thread and hold no lock. With `cgroup_fd` the child is born in that version 2 cgroup.
    """
    pidfd = ctypes.c_int(-1)
    flags |= CLONE_PIDFD | (CLONE_INTO_CGROUP if cgroup_fd >= 0 else 0)
    arguments = struct.pack(
        "=11Q", flags, ctypes.addressof(pidfd), 0, 0, 17, 0, 0, 0, 0, 0, cgroup_fd if cgroup_fd >= 0 else 0
    )
    pid = syscall("clone3", _CLONE3, ctypes.create_string_buffer(arguments, len(arguments)), len(arguments))
    return (pid, pidfd.value) if pid else (0, -1)


def unshare(flags: int) -> None:
    _check("unshare", _libc.unshare(ctypes.c_int(flags)))


def setns(fd: int, kind: int) -> None:
    _check("setns", _libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)))


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode() or None
    )
    _check(f"mount {target}", result)


def unmount(target: str) -> None:
    """Detaches the mount and everything below it."""
    _check(f"umount {target}", _libc.umount2(target.encode(), ctypes.c_int(MNT_DETACH)))


def pivot_root(new: str, old: str) -> None:
    syscall("pivot_root", _PIVOT_ROOT, new.encode(), old.encode())


def open_tree(path: str) -> int:
    """A descriptor of a detached copy of the mounts at and below `path`."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE
    return syscall(f"open_tree {path}", _OPEN_TREE, AT_FDCWD, path.encode(), flags)


def move_mount(tree_fd: int, target: str) -> None:
    """Puts a detached tree at `target`; a symbolic link there is not followed."""
    syscall(f"move_mount {target}", _MOVE_MOUNT, tree_fd, b"", AT_FDCWD, target.encode(), MOVE_MOUNT_F_EMPTY_PATH)


def mount_setattr(fd: int, attributes: int, propagation: int = 0, recursive: bool = True) -> None:
    """Adds attributes to the mount that `fd` stands for, and to those below it."""
    packed = struct.pack("=4Q", attributes, 0, propagation, 0)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    syscall(
        "mount_setattr", _MOUNT_SETATTR, fd, b"", flags, ctypes.create_string_buffer(packed, len(packed)), len(packed)
    )


def close_range(first: int) -> None:
    """Closes every descriptor from `first` on."""
    syscall("close_range", _CLOSE_RANGE, first, 0xFFFFFFFF, 0)


def prctl(option: int, value: int = 0, third: int = 0) -> int:
    result = _libc.prctl(
        ctypes.c_int(option), ctypes.c_ulong(value), ctypes.c_ulong(third), ctypes.c_ulong(0), ctypes.c_ulong(0)
    )
    return _check(f"prctl {option}", result)


def argument_area() -> tuple[int, int]:
    """Where this process's command line lies in memory, (start, end); a fork has it in the same place."""
    with open("/proc/self/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[45]), int(fields[46])  # arg_start and arg_end, 48 and 49 in proc_pid_stat(5)


def set_process_name(name: str, area: tuple[int, int]) -> None:
    """Makes `name` what `ps` shows of this process, and nothing else."""
    start, end = area
    room = end - start - 1
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, name.encode()[:room], min(len(name), room))
    short = ctypes.create_string_buffer(name.encode()[:15])
    prctl(PR_SET_NAME, ctypes.addressof(short))


def set_capabilities(mask: int) -> None:
    """Makes `mask` the effective and permitted set; the inheritable set becomes empty."""
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = struct.pack("=Ii", 0x20080522, 0)
    data = struct.pack("=6I", low, low, 0, high, high, 0)
    _check("capset", _libc.capset(header, data))


def effective_capabilities() -> int:
    """The effective set of this process as a bit mask."""
    header = struct.pack("=Ii", 0x20080522, 0)
    data = ctypes.create_string_buffer(24)
    _check("capget", _libc.capget(header, data))
    low, _, _, high, _, _ = struct.unpack("=6I", data.raw)
    return int(low | high << 32)


def drop_all_capabilities() -> None:
    """Empties the bounding, ambient, effective, permitted and inheritable sets."""
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            break  # EINVAL: past the kernel's last one. EPERM: without CAP_SETPCAP there is nothing to drop it with.
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    set_capabilities(0)


def install_seccomp(program: bytes) -> None:
    """Installs a BPF program (8 bytes an instruction). Needs no_new_privs."""
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    holder = ctypes.create_string_buffer(header, len(header))
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(holder))
