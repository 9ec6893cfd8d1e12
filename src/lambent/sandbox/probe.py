"""Can this host make sandboxes? For `lambent doctor` and for the start."""

import os
import tempfile
from dataclasses import dataclass

from lambent.sandbox import rights, seccomp
from lambent.sandbox.cgroups import parse_mounts
from lambent.sandbox.client import await_ready, launch_spawner
from lambent.sandbox.confine import landlock_version
from lambent.sandbox.contract import Isolation, SandboxError

#: Far from the range of real instances, whose base is a setting.
_PROBE_UID_BASE = 1_290_000


@dataclass(frozen=True)
class Check:
    """One line of `lambent doctor`. `hint` says what would mend it; empty when there is nothing to mend."""

    name: str
    ok: bool
    detail: str
    hint: str = ""


def probe() -> Isolation:
    """Makes a sandbox, takes it away and says what it was like. Blocks about 0.1 s. Raises `SandboxError` with what the
    host lacks and what would mend it.
    """
    with tempfile.TemporaryDirectory(prefix="lambent-probe-") as folder:
        spawner = launch_spawner(folder, f"probe-{os.getpid()}", _PROBE_UID_BASE)
        try:
            return await_ready(spawner)
        finally:
            spawner.end()


def checks() -> list[Check]:
    """What sandboxes need, one by one, and at the end whether one can really be made."""
    root = rights.has_root_rights()
    found = [_kernel(), _processor(), _user(root)]
    if not root:
        found.append(_user_namespaces())
    return [*found, _cgroups(), _landlock(), _trial()]


def _kernel() -> Check:
    release, minimum = os.uname().release, ".".join(map(str, rights.KERNEL_MIN))
    ok = rights.kernel_version() >= rights.KERNEL_MIN
    return Check("kernel", ok, f"Linux {release}", "" if ok else f"Linux {minimum} or newer is needed.")


def _processor() -> Check:
    ok = seccomp.supported()
    hint = "" if ok else "Sandboxes need x86_64 or aarch64; --isolation=process runs anywhere, without protection."
    return Check("processor", ok, os.uname().machine, hint)


def _user(root: bool) -> Check:
    if root:
        return Check("rights", True, "root: every sandbox gets a user id of its own")
    return Check("rights", True, f"user {os.geteuid()} without root's rights: all sandboxes share one user id")


def _user_namespaces() -> Check:
    hints = rights.user_namespace_hints()
    detail = "allowed for ordinary users" if not hints else "forbidden for ordinary users"
    return Check("user namespaces", not hints, detail, " ".join(hints))


def _cgroups() -> Check:
    with open("/proc/self/mountinfo") as file:
        mounts = parse_mounts(file.read())
    ok = bool(mounts)
    names = ", ".join(sorted(name or "version 2" for name in mounts)) or "not mounted"
    return Check("control groups", ok, names, "" if ok else "Mount control groups at /sys/fs/cgroup.")


def _landlock() -> Check:
    version = landlock_version()
    if version:
        return Check("Landlock", True, f"version {version}")
    hint = "Optional: with it the node itself can write only below its data folder (kernel option lsm=landlock,…)."
    return Check("Landlock", False, "not in this kernel", hint)


def _trial() -> Check:
    try:
        isolation = probe()
    except SandboxError as error:
        return Check("sandbox", False, "could not be made", str(error))
    detail = f"made and removed ({isolation.mode}, control groups: {isolation.cgroups})"
    return Check("sandbox", True, detail, " ".join(isolation.weaker))
