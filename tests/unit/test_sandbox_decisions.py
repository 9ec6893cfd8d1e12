"""Decisions of the sandbox room as tables: the filter, cgroup layouts, paths, messages, hints."""

import errno
import json
import os
import struct
from pathlib import Path

import pytest

from lambent.sandbox import cgroups, messages, mounts, rights, seccomp
from lambent.sandbox.cgroups import Cgroups, Group, Mounted, Place
from lambent.sandbox.confine import rights_of
from lambent.sandbox.contract import Bind
from lambent.sandbox.process import map_path

ALLOW, EPERM, ENOSYS, NO_FAMILY = (
    0x7FFF0000,
    0x50000 | errno.EPERM,
    0x50000 | errno.ENOSYS,
    0x50000 | errno.EAFNOSUPPORT,
)
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def judge(machine: str, number: int, *arguments: int, arch: int | None = None) -> int:
    """Runs the filter as the kernel would (classic BPF: load word, jumps, return)."""
    data = struct.pack(
        "=IIQ6Q", number, arch if arch is not None else ARCH[machine], 0, *(*arguments, *[0] * (6 - len(arguments)))
    )
    program = seccomp.program(machine)
    code = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    accumulator, position = 0, 0
    while True:
        operation, if_true, if_false, k = code[position]
        position += 1
        if operation == 0x06:
            return int(k)
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, k)
            continue
        holds = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}[operation]
        position += if_true if holds else if_false


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_denied_call_is_refused(machine: str) -> None:
    column = 0 if machine == "x86_64" else 1
    for group, (reason, calls) in seccomp.DENIED.items():
        assert reason, group
        for name, numbers in calls.items():
            if numbers[column] is not None:
                assert judge(machine, numbers[column]) == EPERM, name


#: Numbers on x86_64 and aarch64.
CALLS = {
    "read": (0, 63), "mmap": (9, 222), "execve": (59, 221), "futex": (202, 98), "prctl": (157, 167), "seccomp": (317, 277),
    "memfd_create": (319, 279), "statx": (332, 291), "rseq": (334, 293), "pidfd_open": (434, 434), "clone": (56, 220),
    "unshare": (272, 97), "socket": (41, 198), "ioctl": (16, 29), "personality": (135, 92), "clone3": (435, 435),
}  # fmt: skip


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(
    ("name", "arguments", "verdict"),
    [
        *((name, (), ALLOW) for name in ("read", "mmap", "execve", "futex", "prctl", "seccomp", "memfd_create", "statx", "rseq", "pidfd_open")),
        ("clone", (0x3D0F00,), ALLOW),  # a thread
        ("clone", (0x4111,), ALLOW),  # vfork
        ("clone", (0x10000011,), EPERM),
        ("clone", (0x20000,), EPERM),
        ("clone3", (), ENOSYS),
        ("unshare", (0x400,), ALLOW),  # only the table of files
        ("unshare", (0x10000000,), EPERM),
        ("unshare", (0x80,), EPERM),
        ("socket", (1, 1), ALLOW),
        ("socket", (2, 1), ALLOW),
        ("socket", (10, 2), ALLOW),
        ("socket", (16, 3, 0), ALLOW),
        ("socket", (16, 3, 9), NO_FAMILY),
        ("socket", (17, 3), NO_FAMILY),
        ("socket", (38, 5), NO_FAMILY),
        ("socket", (40, 1), NO_FAMILY),
        ("ioctl", (0, 0x5401), ALLOW),
        ("ioctl", (0, 0x5412), EPERM),
        ("ioctl", (0, 0x541C), EPERM),
        ("personality", (0,), ALLOW),
        ("personality", (0xFFFFFFFF,), ALLOW),
        ("personality", (0x40000,), EPERM),
    ],
)  # fmt: skip
def test_filter_judges_arguments(machine: str, name: str, arguments: tuple[int, ...], verdict: int) -> None:
    assert judge(machine, CALLS[name][0 if machine == "x86_64" else 1], *arguments) == verdict


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_other_tables_and_unknown_calls_do_not_exist(machine: str) -> None:
    assert judge(machine, 0, arch=0x40000003) == ENOSYS  # 32-bit x86
    assert judge(machine, 470) == ENOSYS
    assert judge(machine, 0x40000000) == ENOSYS  # x32


def test_other_processors_are_not_supported() -> None:
    assert not seccomp.supported("riscv64")


MOUNTINFO_V1 = """\
30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro
31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 /docker/abc /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
"""
MOUNTINFO_V2 = "30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def test_hierarchies_are_found_by_controller() -> None:
    found = cgroups.parse_mounts(MOUNTINFO_V1)
    assert found["memory"] == Mounted("/sys/fs/cgroup/memory", "/")
    assert found["cpu"] == found["cpuacct"] == Mounted("/sys/fs/cgroup/cpu,cpuacct", "/")
    assert found["pids"].root == "/docker/abc"
    assert cgroups.parse_mounts(MOUNTINFO_V2) == {"": Mounted("/sys/fs/cgroup", "/")}
    assert cgroups.parse_mounts("") == {}


def test_own_groups_are_read_for_both_versions() -> None:
    own = cgroups.parse_own("4:memory:/a/b\n2:cpu,cpuacct:/\n1:name=systemd:/x\n0::/user.slice\n")
    assert own == {"memory": "/a/b", "cpu": "/", "cpuacct": "/", "name=systemd": "/x", "": "/user.slice"}


@pytest.mark.parametrize(
    ("mounted", "group", "path"),
    [
        (Mounted("/cg/memory", "/"), "/a/b", "/cg/memory/a/b"),
        (Mounted("/cg/memory", "/"), "/", "/cg/memory"),
        (Mounted("/cg/pids", "/docker/abc"), "/docker/abc", "/cg/pids"),
        (Mounted("/cg/pids", "/docker/abc"), "/docker/abc/inner", "/cg/pids/inner"),
    ],
)
def test_own_group_is_found_below_its_mount(mounted: Mounted, group: str, path: str) -> None:
    assert cgroups.own_path(mounted, group) == path


@pytest.mark.parametrize(
    ("mounts_", "places", "name"),
    [
        ({}, {}, "none"),
        ({"": Mounted("/c", "/")}, {"memory": Place(2, "/c/x")}, "v2"),
        ({"memory": Mounted("/m", "/")}, {"memory": Place(1, "/m/x")}, "v1"),
        ({"memory": Mounted("/m", "/"), "": Mounted("/c", "/")}, {"memory": Place(1, "/m/x")}, "hybrid"),
        ({"": Mounted("/c", "/")}, {}, "none"),
    ],
)
def test_version_is_named(mounts_: dict[str, Mounted], places: dict[str, Place], name: str) -> None:
    assert cgroups.version_name(mounts_, places) == name


def v2_folder(folder: Path, *files: str) -> Group:
    """A folder whose files take what is written to them, as a double of a version 2 group."""
    for name in (
        "memory.max",
        "memory.high",
        "memory.events",
        "memory.stat",
        "memory.current",
        "cpu.max",
        "pids.max",
        *files,
    ):
        (folder / name).write_text("")
    (folder / "memory.events").write_text("low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n")
    place = Place(2, str(folder))
    return Group({"memory": place, "cpu": place, "pids": place}, None)


def test_version_2_limits_are_written_as_the_kernel_wants_them(tmp_path: Path) -> None:
    group = v2_folder(tmp_path, "memory.swap.max", "memory.oom.group")
    group.limit(memory_mib=128, tmp_mib=512, cpu_milli=72, pids=1024)
    read = {
        name: (tmp_path / name).read_text()
        for name in ("memory.max", "memory.high", "memory.swap.max", "memory.oom.group", "cpu.max", "pids.max")
    }
    assert read == {
        "memory.max": str(640 << 20), "memory.high": str(128 << 20), "memory.swap.max": "0", "memory.oom.group": "1",
        "cpu.max": "1440 20000", "pids.max": "1025",
    }  # fmt: skip
    group.close()


def test_version_2_without_swap_accounting_is_limited_all_the_same(tmp_path: Path) -> None:
    group = v2_folder(tmp_path)
    group.limit(memory_mib=128, tmp_mib=1, cpu_milli=1, pids=1)
    assert (tmp_path / "cpu.max").read_text() == "1000 20000"  # the kernel's smallest quota
    group.close()


@pytest.mark.parametrize(
    ("current", "file", "shmem", "slab", "tmp", "over"),
    [
        (100, 0, 0, 0, 0, False),
        (129, 0, 0, 0, 0, True),
        (300, 200, 0, 0, 0, False),  # read files are the kernel's to take back
        (300, 200, 200, 0, 200, False),  # all of it lies in /tmp
        (300, 200, 200, 0, 100, True),  # half of it is shared memory, which is memory
        (140, 0, 0, 20, 0, False),
    ],
)
def test_memory_over_the_limit_is_judged_without_tmp_and_caches(
    tmp_path: Path, current: int, file: int, shmem: int, slab: int, tmp: int, over: bool
) -> None:
    group = v2_folder(tmp_path)
    group.limit(memory_mib=128, tmp_mib=512, cpu_milli=1000, pids=10)
    (tmp_path / "memory.current").write_text(str(current << 20))
    (tmp_path / "memory.stat").write_text(f"file {file << 20}\nshmem {shmem << 20}\nslab_reclaimable {slab << 20}\n")
    assert group.over_memory(tmp << 20) is over
    group.close()


def test_version_2_raises_the_brake_when_tmp_fills(tmp_path: Path) -> None:
    group = v2_folder(tmp_path)
    group.limit(memory_mib=128, tmp_mib=512, cpu_milli=1000, pids=10)
    (tmp_path / "memory.current").write_text(str(200 << 20))
    (tmp_path / "memory.stat").write_text(f"file {100 << 20}\nshmem {100 << 20}\n")
    assert not group.over_memory(100 << 20)
    assert int((tmp_path / "memory.high").read_text()) == (128 + 100 + 4) << 20
    group.close()


def test_version_2_kills_are_counted_and_the_peak_is_found(tmp_path: Path) -> None:
    group = v2_folder(tmp_path)
    assert group.out_of_memory_kills() == 0
    (tmp_path / "memory.events").write_text("oom 1\noom_kill 3\noom_group_kill 1\n")
    assert group.out_of_memory_kills() == 3
    for name, kind in (("memory.current", "current"), ("memory.peak", "peak")):
        (tmp_path / name).write_text("7")
        found, fd = group.open_peak()
        assert (found, os.pread(fd, 10, 0)) == (kind, b"7")
        os.close(fd)


def test_group_without_controllers_limits_nothing_and_says_so() -> None:
    group = Group({}, None)
    group.enter()
    group.limit(128, 512, 1000, 10)
    assert (group.has_memory, group.out_of_memory_kills(), group.open_peak(), group.v2_folder()) == (
        False,
        0,
        ("none", -1),
        "",
    )
    assert group.remove()


def test_half_made_groups_are_removed(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "cpu" / "taken").mkdir(parents=True)
    places = {"memory": Place(2, str(tmp_path / "memory")), "cpu": Place(2, str(tmp_path / "cpu"))}
    with pytest.raises(FileExistsError):
        Cgroups(places, "v2", ()).make("taken")
    assert list((tmp_path / "memory").iterdir()) == []


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        ("/var/task", True), ("/opt", True), ("/root/.pyenv/versions/3.12", True), ("/usr/local/lib/x", True), ("/tmpx", True),
        ("/", False), ("", False), ("var/task", False), ("/var/../etc", False), ("/var/task/", False), ("/var//task", False),
        ("/proc", False), ("/proc/1", False), ("/dev/shm", False), ("/etc/passwd", False), ("/tmp", False), ("/tmp/x", False),
        ("/" + "a/" * 20 + "b", False), ("/" + "a" * 1100, False),
    ],
)  # fmt: skip
def test_targets_of_binds_are_checked(target: str, allowed: bool) -> None:
    assert (mounts.check_target(target) == "") is allowed


BINDS = (Bind("/host/code", "/var/task"), Bind("/host/deep", "/var/task/deep"), Bind("/usr/python", "/usr/python"))


@pytest.mark.parametrize(
    ("path", "mapped"),
    [
        ("/var/task", "/host/code"), ("/var/task/main.py", "/host/code/main.py"), ("/var/task/deep/x", "/host/deep/x"),
        ("/var/taskmaster", "/var/taskmaster"), ("/tmp/x", "/box/tmp/x"), ("/opt", "/box/opt"), ("/var/runtime/a", "/box/var/runtime/a"),
        ("/usr/bin/env", "/usr/bin/env"), ("/usr/python/bin/python", "/usr/python/bin/python"), ("relative", "relative"),
        ("/host/code/main.py", "/host/code/main.py"), ("/box/tmp/x", "/box/tmp/x"),
    ],
)  # fmt: skip
def test_plain_processes_find_sandbox_paths_on_the_host(path: str, mapped: str) -> None:
    assert map_path(path, BINDS, "/box") == mapped


def test_messages_survive_any_split() -> None:
    stream = messages.encode({"n": 1}, 2) + messages.encode({"text": "ä" * 100}) + messages.encode({"n": 2}, 1)
    for size in (1, 3, 7, len(stream)):
        decoder, found = messages.Decoder(), []
        fds = [10, 11, 12]
        for at in range(0, len(stream), size):
            found += list(decoder.feed(stream[at : at + size], fds))
            fds = []
        assert found == [({"n": 1}, [10, 11]), ({"text": "ä" * 100}, []), ({"n": 2}, [12])]
        assert decoder.unclaimed() == []


def test_message_without_its_descriptors_or_past_the_bound_is_an_error() -> None:
    with pytest.raises(messages.MessageError, match="promised"):
        list(messages.Decoder().feed(messages.encode({}, 1)))
    with pytest.raises(messages.MessageError, match="longer"):
        list(messages.Decoder().feed(struct.pack(">I", 1 << 30)))
    with pytest.raises(messages.MessageError, match="longer"):
        messages.encode({"x": "y" * messages.MESSAGE_MAX})


def test_missing_controllers_become_one_sentence_and_one_remedy() -> None:
    why = "Permission denied (/sys/fs/cgroup/x)"
    found = rights.isolation(True, "none", (f"memory: {why}", f"cpu: {why}", f"pids: {why}"))
    weaker = found["weaker"]
    assert isinstance(weaker, list)
    assert len(weaker) == 2
    assert weaker[1].startswith("Memory limits are watched ten times a second")
    for part in ("CPU time is not limited", "the number of processes is", "(control groups: Permission denied)."):
        assert weaker[1].count(part) == 1
    assert weaker[1].count("Delegate=yes") == 1
    assert rights.isolation(False, "v1", ("cpu: why",))["weaker"] == [
        "CPU time is not limited (control groups: why). Mount the control group hierarchies writable at /sys/fs/cgroup."
    ]
    assert rights.isolation(False, "v2", ()) == {"mode": "root", "cgroups": "v2", "weaker": []}
    json.dumps(found)


@pytest.mark.parametrize(
    ("error", "rootless", "expected"),
    [
        (OSError(errno.EPERM, "Operation not permitted", "unshare"), False, "--privileged"),
        (OSError(errno.EPERM, "Operation not permitted", "unshare"), True, "Started as root"),
        (OSError(errno.EPERM, "Operation not permitted", "mount /x/proc"), True, "systempaths=unconfined"),
        (
            RuntimeError("could not set up the file system: Operation not permitted (mount /x/proc)"),
            True,
            "systempaths",
        ),
        (RuntimeError("anything"), False, "--isolation=process"),
    ],
)
def test_failures_come_with_what_would_mend_them(error: Exception, rootless: bool, expected: str) -> None:
    assert expected in rights.explain(error, rootless)


def test_landlock_rights_grow_with_the_version() -> None:
    assert rights_of(1) < rights_of(2) < rights_of(3) == rights_of(7)
    assert rights_of(1) & 0b1101 == 0  # executing and reading stay free
