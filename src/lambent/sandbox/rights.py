"""What rights a process has, how an ordinary user gets those that sandboxes need, and what to tell a person who has not.

Standard library only: the spawner imports it.
"""

import errno
import os

from lambent.sandbox import mounts, seccomp
from lambent.sandbox import syscalls as sc

_ROOT_NEEDS = (sc.CAP_SYS_ADMIN, sc.CAP_SETUID, sc.CAP_SETGID, sc.CAP_SETPCAP)
#: mount_setattr came with 5.12, the youngest call that a sandbox is made with.
KERNEL_MIN = (5, 12)


def has_root_rights() -> bool:
    """Whether this process may make sandboxes with host user ids of their own."""
    have = sc.effective_capabilities()
    return os.geteuid() == 0 and all(have >> capability & 1 for capability in _ROOT_NEEDS)


def kernel_version() -> tuple[int, int]:
    numbers = "".join(c if c.isdigit() else " " for c in os.uname().release).split()
    return (int(numbers[0]), int(numbers[1])) if len(numbers) > 1 else (0, 0)


def become_rootless() -> None:
    """Enters a user namespace in which this process has every right over what it makes there. Raises `OSError`."""
    uid, gid = os.geteuid(), os.getegid()
    sc.unshare(sc.CLONE_NEWUSER)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{mounts.UID} {uid} 1"),
        ("gid_map", f"{mounts.UID} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def isolation(rootless: bool, cgroups: str, missing: tuple[str, ...]) -> dict[str, object]:
    """The fields of `contract.Isolation`."""
    weaker: list[str] = []
    if rootless:
        weaker.append("All sandboxes run under your own user id; started as root, each would have one of its own.")
    if missing:
        weaker.append(f"{_without_cgroups(missing)} {_CGROUP_HINT if rootless else _ROOT_CGROUP_HINT}")
    return {"mode": "rootless" if rootless else "root", "cgroups": cgroups, "weaker": weaker}


_CONSEQUENCES = {
    "memory": "memory limits are watched ten times a second instead of enforced by the kernel, and memory that processes share"
    " or keep in anonymous files is not limited",
    "cpu": "CPU time is not limited",
    "pids": "the number of processes is limited by a resource limit only",
}


def _without_cgroups(missing: tuple[str, ...]) -> str:
    """One sentence for all controllers: they mostly fail together and for one reason, which stands before a path."""
    pairs = [reason.partition(": ") for reason in missing]
    what = "; ".join(_CONSEQUENCES[controller] for controller, _, _ in pairs)
    why = "; ".join(dict.fromkeys(why.split(" (/")[0] for _, _, why in pairs))
    return f"{what[0].upper()}{what[1:]} (control groups: {why})."


_CGROUP_HINT = "`systemd-run --user --scope -p Delegate=yes lambent up` hands a control group over."
_ROOT_CGROUP_HINT = "Mount the control group hierarchies writable at /sys/fs/cgroup."


def explain(error: Exception, rootless: bool) -> str:
    """A failure to get the rights, and what would mend it."""
    text = str(error)
    code = None
    if isinstance(error, OSError):
        code = error.errno
        text = f"{error.strerror}" + (f" ({error.filename})" if error.filename else "")
    hints = hints_of(code, text, rootless)
    return f"this host lets nobody make a sandbox here: {text}." + "".join(f" {hint}" for hint in hints)


def hints_of(code: int | None, text: str, rootless: bool) -> list[str]:
    """What a person can do about a failure, most likely first."""
    hints: list[str] = []
    if kernel_version() < KERNEL_MIN:
        hints.append(f"Linux {KERNEL_MIN[0]}.{KERNEL_MIN[1]} or newer is needed, this is {os.uname().release}.")
    if not seccomp.supported():
        hints.append(f"The processor must be x86_64 or aarch64, not {os.uname().machine}.")
    if rootless:
        hints += user_namespace_hints()
        if "proc" in text and (code == errno.EPERM or "not permitted" in text):
            hints.append(
                "Inside a container, /proc must not be masked (Docker: --security-opt systempaths=unconfined)."
            )
        hints.append("Started as root, Lambent needs none of this.")
    else:
        hints.append("Inside a container, start it privileged (Docker: --privileged).")
    hints.append("For code that you trust, --isolation=process runs without any protection.")
    return hints


def user_namespace_hints() -> list[str]:
    """Which setting of the host forbids user namespaces to ordinary users."""
    hints: list[str] = []
    if _setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        hints.append(
            "AppArmor forbids user namespaces to ordinary programs:"
            " `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0` allows them."
        )
    if _setting("kernel/unprivileged_userns_clone") == "0":
        hints.append("`sudo sysctl kernel.unprivileged_userns_clone=1` allows user namespaces.")
    if _setting("user/max_user_namespaces") == "0":
        hints.append("`sudo sysctl user.max_user_namespaces=15000` allows user namespaces.")
    return hints


def _setting(name: str) -> str:
    try:
        with open(f"/proc/sys/{name}") as file:
            return file.read().strip()
    except OSError:
        return ""
