"""The system calls that a sandbox may not make, as a BPF program built here. Standard library only.

A deny list with a reason for each group, and two nets below it: calls newer than those known here answer ENOSYS, so that
a new kernel does not open a new door, and other architectures' call tables answer ENOSYS. Calls whose answer does not
depend on arguments are looked up in a bitmap by the kernel (since 5.11), so that the length of the list costs nothing.
"""

import errno
import os
import struct

#: Group -> (why, {call: (number on x86_64, number on aarch64)}). None: that architecture has no such call.
DENIED: dict[str, tuple[str, dict[str, tuple[int | None, int | None]]]] = {
    "mounts": (
        "the view of files is fixed when the sandbox is made",
        {
            "mount": (165, 40),
            "umount2": (166, 39),
            "pivot_root": (155, 41),
            "chroot": (161, 51),
            "open_tree": (428, 428),
            "move_mount": (429, 429),
            "fsopen": (430, 430),
            "fsconfig": (431, 431),
            "fsmount": (432, 432),
            "fspick": (433, 433),
            "mount_setattr": (442, 442),
            "open_tree_attr": (467, 467),
            "quotactl": (179, 60),
            "quotactl_fd": (443, 443),
            "swapon": (167, 224),
            "swapoff": (168, 225),
        },
    ),
    "namespaces": ("entering one would leave the sandbox", {"setns": (308, 268)}),
    "other processes": (
        "debugging interfaces have a long record of kernel holes, and would reach the sandbox's first process",
        {
            "ptrace": (101, 117),
            "process_vm_readv": (310, 270),
            "process_vm_writev": (311, 271),
            "kcmp": (312, 272),
            "pidfd_getfd": (438, 438),
            "process_madvise": (440, 440),
            "process_mrelease": (448, 448),
        },
    ),
    "keys": (
        "kernel keyrings are not namespaced",
        {"add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219)},
    ),
    "kernel programs": (
        "code and probes inside the kernel",
        {
            "bpf": (321, 280),
            "perf_event_open": (298, 241),
            "init_module": (175, 105),
            "finit_module": (313, 273),
            "delete_module": (176, 106),
            "create_module": (174, None),
            "query_module": (178, None),
            "get_kernel_syms": (177, None),
            "kexec_load": (246, 104),
            "kexec_file_load": (320, 294),
            "lookup_dcookie": (212, 18),
        },
    ),
    "io_uring": (
        "performs calls that this filter never sees",
        {"io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427)},
    ),
    "userfaultfd": ("makes races in the kernel easy to win", {"userfaultfd": (323, 282)}),
    "clocks": (
        "time is the machine's",
        {
            "settimeofday": (164, 170),
            "clock_settime": (227, 112),
            "adjtimex": (159, 171),
            "clock_adjtime": (305, 266),
        },
    ),
    "machine": (
        "administration of the host",
        {
            "reboot": (169, 142),
            "sethostname": (170, 161),
            "setdomainname": (171, 162),
            "iopl": (172, None),
            "ioperm": (173, None),
            "syslog": (103, 116),
            "acct": (163, 89),
            "vhangup": (153, 58),
            "modify_ldt": (154, None),
            "migrate_pages": (256, 238),
            "move_pages": (279, 239),
        },
    ),
    "file handles": (
        "open files past the mount tree",
        {"open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "fanotify_init": (300, 262)},
    ),
    "watches on files": (
        "files of the host are mounted from their own inodes: a watch tells what the host and other functions do with them",
        {"inotify_add_watch": (254, 27)},
    ),
    "writing back": (
        "flushes the whole machine's disks; what a function may write lies in memory",
        {"sync": (162, 81), "syncfs": (306, 267)},
    ),
    "obsolete": (
        "no current program needs them",
        {
            "_sysctl": (156, None),
            "uselib": (134, None),
            "ustat": (136, None),
            "sysfs": (139, None),
            "nfsservctl": (180, 42),
            "vserver": (236, None),
        },
    ),
}

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
#: Calls whose arguments decide: (x86_64, aarch64).
_CLONE, _CLONE3, _UNSHARE, _SOCKET, _IOCTL, _PERSONALITY, _FCNTL = (
    (56, 220),
    (435, 435),
    (272, 97),
    (41, 198),
    (16, 29),
    (135, 92),
    (72, 25),
)
#: One past the newest call known here (file_setattr, Linux 6.17).
_FIRST_UNKNOWN = 470
_NAMESPACE_FLAGS = 0x7E020080  # NEWUSER, NEWPID, NEWNET, NEWIPC, NEWUTS, NEWCGROUP, NEWNS, NEWTIME
_CLONE_NAMESPACE_FLAGS = 0x7E020000  # for clone, bit 0x80 belongs to the exit signal
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK, _NETLINK_ROUTE = 1, 2, 10, 16, 0
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_F_NOTIFY = 0x402  # watches a folder, as inotify does
#: The default persona and the one that asks which it is (personality(2)); others switch hardening off.
_PERSONAS = (0, 0xFFFFFFFF)

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NR_OFFSET, _ARCH_OFFSET = 0, 4


def supported(machine: str = os.uname().machine) -> bool:
    return machine in _ARCHITECTURES


def program(machine: str = os.uname().machine) -> bytes:
    """The filter for `struct sock_fprog`, 8 bytes an instruction. Raises `KeyError` for other architectures."""
    column, architecture = _ARCHITECTURES[machine]
    out = [_op(_LOAD, _ARCH_OFFSET), _op(_EQUAL, architecture, 1, 0), _refuse(errno.ENOSYS), _op(_LOAD, _NR_OFFSET)]
    # x32 calls on x86_64 carry bit 30 and are caught here too.
    out += [_op(_AT_LEAST, _FIRST_UNKNOWN, 0, 1), _refuse(errno.ENOSYS)]
    # The flags of clone3 lie in memory where no filter sees them; libc falls back to clone on ENOSYS.
    out += [_op(_EQUAL, _CLONE3[column], 0, 1), _refuse(errno.ENOSYS)]
    for _, calls in DENIED.values():
        for numbers in calls.values():
            number = numbers[column]
            if number is not None:
                out += [_op(_EQUAL, number, 0, 1), _refuse(errno.EPERM)]
    out += _when(_CLONE[column], _refuse_bits(0, _CLONE_NAMESPACE_FLAGS))
    out += _when(_UNSHARE[column], _refuse_bits(0, _NAMESPACE_FLAGS))
    out += _when(_SOCKET[column], _sockets())
    out += _when(_IOCTL[column], _refuse_values(1, (_TIOCSTI, _TIOCLINUX)))
    out += _when(_FCNTL[column], _refuse_values(1, (_F_NOTIFY,)))
    out += _when(_PERSONALITY[column], _only_values(0, _PERSONAS))
    out.append(_op(_RETURN, _ALLOW))
    return b"".join(out)


def _op(code: int, k: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, k)


def _refuse(number: int) -> bytes:
    return _op(_RETURN, _ERRNO | number)


def _argument(index: int) -> bytes:
    """Loads the low half of an argument; the kernel reads no more of these (they are ints), but for clone's flags on
    64 bits, whose high half holds nothing that is known."""
    return _op(_LOAD, 16 + 8 * index)


def _when(number: int, body: list[bytes]) -> list[bytes]:
    """`body` for the one call, and the end: allowed if the body does not refuse."""
    block = [*body, _op(_RETURN, _ALLOW)]
    return [_op(_EQUAL, number, 0, len(block)), *block]


def _refuse_bits(index: int, mask: int) -> list[bytes]:
    return [_argument(index), _op(_ANY_BIT, mask, 0, 1), _refuse(errno.EPERM)]


def _refuse_values(index: int, values: tuple[int, ...]) -> list[bytes]:
    out = [_argument(index)]
    for value in values:
        out += [_op(_EQUAL, value, 0, 1), _refuse(errno.EPERM)]
    return out


def _only_values(index: int, values: tuple[int, ...]) -> list[bytes]:
    out = [_argument(index)]
    for position, value in enumerate(values):
        out.append(_op(_EQUAL, value, len(values) - position, 0))
    return [*out, _refuse(errno.EPERM)]


def _sockets() -> list[bytes]:
    """Local and internet sockets, and the routing netlink that getifaddrs needs. The other families are either not
    namespaced (AF_VSOCK reaches the hypervisor) or rich in kernel code that nothing here uses (AF_ALG, AF_PACKET …)."""
    allow, refuse = _op(_RETURN, _ALLOW), _refuse(errno.EAFNOSUPPORT)
    out = [_argument(0)]
    for family in (_AF_UNIX, _AF_INET, _AF_INET6):
        out += [_op(_EQUAL, family, 0, 1), allow]
    out += [_op(_EQUAL, _AF_NETLINK, 1, 0), refuse, _argument(2), _op(_EQUAL, _NETLINK_ROUTE, 1, 0), refuse]
    return out
