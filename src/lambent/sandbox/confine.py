"""What the node gives up once the spawner runs: every capability, the way to get one back, and writing outside its folders."""

import errno
import os
import struct

from lambent.sandbox import syscalls as sc
from lambent.sandbox.contract import SandboxError

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _RULE_PATH_BENEATH = 1, 1
#: Access rights of struct landlock_ruleset_attr (include/uapi/linux/landlock.h) by the version that brought them. Reading
#: and executing are left out: a ruleset forbids only what it names.
_WRITE_FILE, _REMOVE_DIR, _REMOVE_FILE = 1 << 1, 1 << 4, 1 << 5
_MAKE = sum(1 << bit for bit in range(6, 13))  # char device, folder, file, socket, fifo, block device, link
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_FILE_RIGHTS = _WRITE_FILE | _TRUNCATE
#: Written to by ordinary programs wherever they run.
_ALWAYS_WRITABLE = ("/dev/null", "/dev/tty", "/dev/shm", "/proc/self")


def confine(read_write_paths: tuple[str, ...]) -> tuple[str, ...]:
    """Drops all capabilities for good and, where the kernel has Landlock, lets this process and its children write only
    below `read_write_paths` (which must exist). Returns what could not be done, as sentences. Raises `SandboxError` when
    the process could not be confined although it has rights to lose.

    Landlock binds the calling thread and the threads and children that it starts later: call it before there are others.
    """
    try:
        sc.drop_all_capabilities()
        sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
        if sc.effective_capabilities():
            raise SandboxError("the node could not give up its capabilities")
    except OSError as error:
        raise SandboxError(f"the node could not give up its rights: {error.strerror} ({error.filename})") from error
    version = landlock_version()
    if version == 0:
        return ("The kernel has no Landlock: the node itself may write wherever its user may.",)
    try:
        _landlock(version, read_write_paths)
    except OSError as error:
        raise SandboxError(
            f"the node could not be confined to its folders: {error.strerror} ({error.filename})"
        ) from error
    return ()


def landlock_version() -> int:
    """The kernel's Landlock version, 0 without it."""
    try:
        return sc.syscall("landlock_create_ruleset", _CREATE_RULESET, None, 0, _VERSION_FLAG)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
            return 0
        raise


def rights_of(version: int) -> int:
    """The rights to forbid outside the given folders, as the kernel's version knows them."""
    mask = _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE
    # Version 1 forbids moving files between folders altogether, inside the allowed ones too; it is only named from 2 on.
    return mask | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)


def _landlock(version: int, paths: tuple[str, ...]) -> None:
    mask = rights_of(version)
    attributes = struct.pack("=Q", mask)
    ruleset = sc.syscall("landlock_create_ruleset", _CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path in paths:
            _allow(ruleset, path, mask)
        for path in _ALWAYS_WRITABLE:
            if os.path.exists(path):
                _allow(ruleset, path, mask)
        sc.syscall("landlock_restrict_self", _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, mask: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        allowed = mask if os.path.isdir(path) else mask & _FILE_RIGHTS
        # struct landlock_path_beneath_attr is packed: a 64-bit mask and a 32-bit descriptor.
        rule = struct.pack("=Qi", allowed, fd)
        sc.syscall(f"landlock_add_rule {path}", _ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(fd)
