"""Memory, CPU and process limits by control groups: version 1, version 2, both side by side (hybrid), or none.

Standard library only. The three controllers are found one by one, so that any mixture works. Each instance has one parent
group in every hierarchy that it uses, and in it a group for each sandbox.

/tmp of a sandbox is memory too (tmpfs), and the kernel charges it to the sandbox's group, while on AWS /tmp does not count
as memory. So the hard limit is memory and /tmp together, and the group reports when its use crosses the memory limit;
the spawner then asks `over_memory` whether what is not /tmp is too much, and kills. See docs/decisions/own-sandbox.md.
"""

import contextlib
import errno
import os
import signal
from typing import NamedTuple

from lambent.sandbox.thresholds import Registrar

MIB = 1024 * 1024
CONTROLLERS = ("memory", "cpu", "pids")
#: AWS schedules in slices of 20 ms; with the kernel's usual 100 ms a small function would stand still for 90 ms at a time.
CPU_PERIOD_US = 20_000
#: The kernel's own minimum (min_cfs_quota_period).
_CPU_QUOTA_MIN_US = 1_000
#: How far use must fall to count as below the limit again, and how far past it /tmp may grow before the next report.
_REPORT_STEP_BYTES = 4 * MIB
_LEAF = "lambent-node"
_MOVE_ROUNDS = 5


class Mounted(NamedTuple):
    """Where a hierarchy is mounted, and which of its groups is the top of that mount."""

    path: str
    root: str


class Place(NamedTuple):
    """A controller's parent group for an instance."""

    version: int
    path: str


def parse_mounts(mountinfo: str) -> dict[str, Mounted]:
    """Hierarchies in the text of /proc/self/mountinfo: by v1 controller name, and `""` for version 2."""
    found: dict[str, Mounted] = {}
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")
        if len(fields) < 5 or len(kind) < 3:
            continue
        mounted = Mounted(path=fields[4], root=fields[3])
        if kind[0] == "cgroup2":
            found.setdefault("", mounted)
        elif kind[0] == "cgroup":
            for option in kind[2].split(","):
                found.setdefault(option, mounted)
    return found


def parse_own(text: str) -> dict[str, str]:
    """The groups in the text of /proc/self/cgroup: by v1 controller name, and `""` for version 2."""
    own: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            own[controller] = path
    return own


def own_path(mounted: Mounted, group: str) -> str:
    """The folder of a group as this process sees it."""
    inside = group.removeprefix(mounted.root) if mounted.root != "/" else group
    return os.path.normpath(f"{mounted.path}/{inside}")


def version_name(mounts: dict[str, Mounted], places: dict[str, Place]) -> str:
    """`v1`, `v2`, `hybrid` or `none`, as `Isolation.cgroups` says it."""
    versions = {place.version for place in places.values()}
    if not versions:
        return "none"
    if versions == {2}:
        return "v2"
    return "hybrid" if "" in mounts else "v1"


class Cgroups:
    """The parent groups of one instance."""

    def __init__(
        self,
        places: dict[str, Place],
        version: str,
        missing: tuple[str, ...],
        instance: str = "",
        mounts: dict[str, Mounted] | None = None,
    ) -> None:
        self.places = places
        self._instance = instance
        self._mounts = mounts or {}
        self.version = version
        #: Controllers that could not be had, each with the reason.
        self.missing = missing
        memory = places.get("memory")
        self._registrar = Registrar() if memory and memory.version == 1 else None

    @classmethod
    def open(cls, instance: str, rootless: bool) -> "Cgroups":
        """Finds the hierarchies and makes this instance's parents in them. Never raises `OSError`: what is not there is in
        `missing`.
        """
        with open("/proc/self/mountinfo") as file:
            mounts = parse_mounts(file.read())
        with open("/proc/self/cgroup") as file:
            own = parse_own(file.read())
        places: dict[str, Place] = {}
        missing: list[str] = []
        second = _v2_base(mounts, own, rootless)
        offered = _words(f"{second}/cgroup.controllers") if second else ()
        for controller in CONTROLLERS:
            try:
                if controller in mounts and controller in own:
                    path = f"{own_path(mounts[controller], own[controller])}/lambent-{instance}"
                    os.makedirs(path, exist_ok=True)
                    places[controller] = Place(1, path)
                elif second and controller in offered:
                    places[controller] = Place(2, make_v2_parent(second, instance, controller))
                else:
                    missing.append(f"{controller}: no control group hierarchy offers it to this process")
            except OSError as error:
                missing.append(f"{controller}: {error.strerror} ({error.filename})")
        return cls(places, version_name(mounts, places), tuple(missing), instance, mounts)

    def parents(self) -> list[str]:
        return sorted({place.path for place in self.places.values()})

    def sweep(self, record: str) -> int:
        """Kills and removes what a killed earlier run of this instance left in its groups. Returns how many groups.

        `record` is a file that says where they are: an earlier run may have been started from another control group.
        """
        swept = 0
        for parent in {*self._recorded(record), *self.parents()}:
            for path in _folders(parent):
                for pid in _words(f"{path}/cgroup.procs"):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
                remove_folder(path)
                swept += 1
            if parent not in self.parents():
                remove_folder(parent)
        with open(record, "w") as file:
            file.write("\n".join(self.parents()))
        return swept

    def _recorded(self, record: str) -> list[str]:
        """Parents of an earlier run. The file is the node's to write, so that nothing else may be named in it."""
        try:
            lines = _read(record).splitlines()
        except FileNotFoundError:
            return []
        tops = tuple(f"{mounted.path}/" for mounted in self._mounts.values())
        return [
            line
            for line in lines
            if line.startswith(tops) and ".." not in line and line.endswith(f"/lambent-{self._instance}")
        ]

    def close(self) -> None:
        """Removes the parents. What is still busy stays for the next `sweep`."""
        if self._registrar is not None:
            self._registrar.close()
        for parent in self.parents():
            remove_folder(parent)

    def make(self, name: str) -> "Group":
        """The groups of one sandbox. Raises `OSError`; then none is left."""
        folders: dict[str, Place] = {}
        try:
            for controller, place in self.places.items():
                path = f"{place.path}/{name}"
                if path not in {folder.path for folder in folders.values()}:
                    os.mkdir(path)
                folders[controller] = Place(place.version, path)
        except OSError:
            for folder in folders.values():
                remove_folder(folder.path)
            raise
        return Group(folders, self._registrar)


class Group:
    """The control groups of one sandbox, as one thing."""

    def __init__(self, folders: dict[str, Place], registrar: Registrar | None) -> None:
        self._folders = folders
        self._registrar = registrar
        self._hard_bytes = 0
        self._memory_bytes = 0
        #: Becomes readable (version 1) or exceptional (version 2) when use may have passed the memory limit; -1: never.
        self.report_fd = -1
        self._usage_fd = -1

    @property
    def has_memory(self) -> bool:
        return "memory" in self._folders

    def v2_folder(self) -> str:
        """The version 2 group that the first process is born into, or empty."""
        return next((folder.path for folder in self._folders.values() if folder.version == 2), "")

    def enter(self) -> None:
        """Moves the calling process into the version 1 groups."""
        for path in {folder.path for folder in self._folders.values() if folder.version == 1}:
            _write(f"{path}/cgroup.procs", "0")

    def limit(self, memory_mib: int, tmp_mib: int, cpu_milli: int, pids: int) -> None:
        """Sets the limits, now or again. Raises `OSError` when the kernel refuses (such as: less than is in use)."""
        if "memory" in self._folders:
            self._limit_memory(memory_mib * MIB, (memory_mib + tmp_mib) * MIB)
        self.limit_cpu(cpu_milli)
        if "pids" in self._folders:
            # One more for the sandbox's own first process, which the runtime does not know of.
            _write(f"{self._folders['pids'].path}/pids.max", str(pids + 1))

    def _limit_memory(self, memory_bytes: int, hard_bytes: int) -> None:
        folder = self._folders["memory"]
        if folder.version == 2:
            _write(f"{folder.path}/memory.max", str(hard_bytes))
            for name, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
                _write_if_there(f"{folder.path}/{name}", value)
            _write(f"{folder.path}/memory.high", str(memory_bytes))
        else:
            names = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
            # Memory with swap may never be below memory alone, so growing begins at the other end.
            if self._hard_bytes and hard_bytes > self._hard_bytes:
                names.reverse()
            for name in names:
                _write_if_there(f"{folder.path}/{name}", str(hard_bytes))
        self._memory_bytes, self._hard_bytes = memory_bytes, hard_bytes
        self._arm(memory_bytes)

    def limit_cpu(self, cpu_milli: int) -> None:
        """Sets the share of a core, and that what a sandbox left unused in one period may be used in the next: a short call
        after a pause is then not cut in two by the end of its period.
        """
        folder = self._folders.get("cpu")
        if folder is None:
            return
        quota = max(_CPU_QUOTA_MIN_US, CPU_PERIOD_US * cpu_milli // 1000)
        burst = "cpu.max.burst" if folder.version == 2 else "cpu.cfs_burst_us"
        # The kernel refuses a quota below the burst, so the burst goes first and comes back last (since Linux 5.14).
        _write_if_there(f"{folder.path}/{burst}", "0")
        if folder.version == 2:
            _write(f"{folder.path}/cpu.max", f"{quota} {CPU_PERIOD_US}")
        else:
            self._limit_cpu_v1(folder, quota)
        with contextlib.suppress(OSError):
            _write_if_there(f"{folder.path}/{burst}", str(quota))

    def _limit_cpu_v1(self, folder: Place, quota: int) -> None:
        _write(f"{folder.path}/cpu.cfs_period_us", str(CPU_PERIOD_US))
        try:
            _write(f"{folder.path}/cpu.cfs_quota_us", str(quota))
        except OSError as error:
            # Version 1 refuses more than a group above has. Then that one's limit is the limit.
            if error.errno != errno.EINVAL:
                raise
            _write(f"{folder.path}/cpu.cfs_quota_us", "-1")

    def _arm(self, threshold: int) -> None:
        """Asks for a report when use passes `threshold`."""
        folder = self._folders["memory"]
        if folder.version == 2:
            if self.report_fd < 0:
                self.report_fd = os.open(f"{folder.path}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
                os.pread(self.report_fd, 4096, 0)
            return
        if self.report_fd < 0:
            self.report_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._usage_fd = os.open(f"{folder.path}/memory.usage_in_bytes", os.O_RDONLY | os.O_CLOEXEC)
        assert self._registrar is not None
        self._registrar.register(folder.path, self.report_fd, self._usage_fd, threshold)

    def acknowledge_report(self) -> None:
        """Takes a report, so that the next one is seen."""
        if self._folders["memory"].version == 2:
            os.pread(self.report_fd, 4096, 0)
            return
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.report_fd)

    def over_memory(self, tmp_bytes: int) -> bool:
        """Is more in use than the memory limit, /tmp apart? `tmp_bytes` is what lies in the sandbox's /tmp.

        True as well when the kernel has killed a process at the hard limit: use is low again then, and on version 1 the
        others live on.
        """
        folder = self._folders["memory"]
        if self.out_of_memory_kills():
            return True
        usage = self._usage()
        if usage <= self._memory_bytes:
            return False
        held = self._held_bytes(usage, tmp_bytes)
        if held > self._memory_bytes or (folder.version == 1 and usage > self._memory_bytes + tmp_bytes):
            # Caches count as use until somebody asks for them back; version 1 has only its hard limit to do so.
            _ask_back(folder)
            held = self._held_bytes(self._usage(), tmp_bytes)
        if held > self._memory_bytes:
            return True
        if folder.version == 2:
            brake = min(self._memory_bytes + tmp_bytes + _REPORT_STEP_BYTES, self._hard_bytes)
            _write(f"{folder.path}/memory.high", str(brake))
        return False

    def settled(self) -> bool:
        """Whether reports suffice from here on. Version 1 reports a crossing of the limit, and no more while use stays
        around or above it; version 2 reports every time.
        """
        return self._folders["memory"].version == 2 or self._usage() < self._memory_bytes - _REPORT_STEP_BYTES

    def _usage(self) -> int:
        folder = self._folders["memory"]
        return int(_read(f"{folder.path}/" + ("memory.current" if folder.version == 2 else "memory.usage_in_bytes")))

    def _held_bytes(self, usage: int, tmp_bytes: int) -> int:
        folder = self._folders["memory"]
        stat = _counters(f"{folder.path}/memory.stat")
        if folder.version == 2:
            caches = stat.get("file", 0) - stat.get("shmem", 0) + stat.get("slab_reclaimable", 0)
            return held_bytes(usage, caches, tmp_bytes)
        return held_bytes(usage, stat.get("total_cache", 0) - stat.get("total_shmem", 0), tmp_bytes)

    def out_of_memory_kills(self) -> int:
        """How many processes the kernel has killed here for want of memory."""
        if "memory" not in self._folders:
            return 0
        folder = self._folders["memory"]
        name = "memory.events" if folder.version == 2 else "memory.oom_control"
        return _counters(f"{folder.path}/{name}").get("oom_kill", 0)

    def open_peak(self) -> tuple[str, int]:
        """(kind, descriptor) of the highest memory use: `peak` holds it, `current` must be sampled (version 2 before
        Linux 5.19), `none` with -1 cannot tell.
        """
        if "memory" not in self._folders:
            return "none", -1
        folder = self._folders["memory"]
        names = (
            (("peak", "memory.peak"), ("current", "memory.current"))
            if folder.version == 2
            else (("peak", "memory.max_usage_in_bytes"),)
        )
        for kind, name in names:
            with contextlib.suppress(FileNotFoundError):
                return kind, os.open(f"{folder.path}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        return "none", -1

    def close(self) -> None:
        """Closes the descriptors; the groups stay until `remove`."""
        for fd in (self.report_fd, self._usage_fd):
            if fd >= 0:
                os.close(fd)
        self.report_fd = self._usage_fd = -1

    def remove(self) -> bool:
        """Removes the groups. False while a process is still leaving one."""
        gone = [remove_folder(path) for path in {folder.path for folder in self._folders.values()}]
        return all(gone)


def held_bytes(usage: int, reclaimable: int, tmp_bytes: int) -> int:
    """What counts as a function's memory: all use but what the kernel can take back and what lies in /tmp."""
    return usage - max(0, reclaimable) - tmp_bytes


def remove_folder(path: str) -> bool:
    """True when the group is gone. Other failures than "busy" and "not there" raise `OSError`."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True


def make_v2_parent(base: str, instance: str, controller: str) -> str:
    """The instance's group below `base`, with the controller switched on for its children. Raises `OSError`."""
    parent = f"{base}/lambent-{instance}"
    _delegate(base, controller)
    os.makedirs(parent, exist_ok=True)
    _delegate(parent, controller)
    return parent


def _v2_base(mounts: dict[str, Mounted], own: dict[str, str], rootless: bool) -> str:
    """The version 2 group in which an instance may make groups, or empty.

    A group handed over by systemd (`Delegate=yes` sets the attribute) or writable to an ordinary user is used itself. Root
    otherwise uses the top of the tree, which is the one group that may hold processes and hand out controllers at once.
    """
    if "" not in mounts or "" not in own:
        return ""
    path = own_path(mounts[""], own[""])
    if os.path.basename(path) == _LEAF:
        path = os.path.dirname(path)
    if rootless:
        writable = os.access(f"{path}/cgroup.procs", os.W_OK) and os.access(path, os.W_OK)
        return path if writable else ""
    for attribute in ("trusted.delegate", "user.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(path, attribute) == b"1":
                return path
    return mounts[""].path


def _delegate(group: str, controller: str) -> None:
    """Switches a controller on for the children of a group. A group below the top may not hold processes then, so they
    are moved into a leaf of their own first.
    """
    if controller in _words(f"{group}/cgroup.subtree_control"):
        return
    for _ in range(_MOVE_ROUNDS):
        try:
            _write(f"{group}/cgroup.subtree_control", f"+{controller}")
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
        os.makedirs(f"{group}/{_LEAF}", exist_ok=True)
        for pid in _words(f"{group}/cgroup.procs"):
            with contextlib.suppress(ProcessLookupError):
                _write(f"{group}/{_LEAF}/cgroup.procs", pid)
    raise OSError(errno.EBUSY, "its processes could not be moved away", group)


def _write(path: str, value: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"{path} = {value}") from error
    finally:
        os.close(fd)


def _write_if_there(path: str, value: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        _write(path, value)


def _ask_back(folder: Place) -> None:
    """Makes the kernel take back what it can. It says EAGAIN or EBUSY when that is less than was asked for."""
    try:
        if folder.version == 2:
            _write(f"{folder.path}/memory.reclaim", str(_REPORT_STEP_BYTES))
        else:
            _write(f"{folder.path}/memory.force_empty", "1")
    except FileNotFoundError:
        return  # memory.reclaim came with Linux 5.19
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EBUSY):
            raise


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def _words(path: str) -> tuple[str, ...]:
    try:
        return tuple(_read(path).split())
    except FileNotFoundError:
        return ()


def _folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _counters(path: str) -> dict[str, int]:
    pairs = (line.split(" ") for line in _read(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}
