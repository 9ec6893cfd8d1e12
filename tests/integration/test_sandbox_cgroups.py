"""Control groups of the real kernel. Version 2 is tested with whatever controller it has on this host."""

import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lambent.sandbox import cgroups
from lambent.sandbox import syscalls as sc
from lambent.sandbox.cgroups import Cgroups, Place, make_v2_parent
from sandbox_fixtures import instance, needs_root


@pytest.fixture
def second() -> Iterator[tuple[str, str]]:
    """The top of the version 2 hierarchy and a controller that it has; both as before afterwards."""
    needs_root()
    mounted = cgroups.parse_mounts(Path("/proc/self/mountinfo").read_text()).get("")
    if mounted is None:
        pytest.skip("no version 2 hierarchy is mounted")
    controllers = Path(f"{mounted.path}/cgroup.controllers").read_text().split()
    if not controllers:
        pytest.skip("the version 2 hierarchy has no controller")
    control = Path(f"{mounted.path}/cgroup.subtree_control")
    with open(control) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the hierarchy is the machine's: one test at a time
        before = control.read_text().split()
        yield mounted.path, controllers[-1]
        if controllers[-1] not in before:
            with contextlib.suppress(OSError):  # somebody else uses it by now
                control.write_text(f"-{controllers[-1]}")


def remove_tree(path: str) -> None:
    for folder, _, _ in os.walk(path, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def sleeper(group: str = "") -> tuple[int, int]:
    """A process that sleeps, born into a version 2 group."""
    fd = os.open(group, os.O_PATH | os.O_DIRECTORY) if group else -1
    pid, pidfd = sc.clone(0, fd)
    if pid == 0:
        os.execv("/bin/sleep", ["sleep", "1000"])
    if fd >= 0:
        os.close(fd)
    return pid, pidfd


def end(pid: int, pidfd: int) -> int:
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)
    return os.waitpid(pid, 0)[1]


def test_process_is_born_into_its_version_2_group_and_the_group_goes(second: tuple[str, str]) -> None:
    base, controller = second
    parent = make_v2_parent(base, instance(), controller)
    try:
        assert controller in Path(f"{parent}/cgroup.subtree_control").read_text().split()
        group = Cgroups({controller: Place(2, parent)}, "v2", ()).make("one")
        pid, pidfd = sleeper(group.v2_folder())
        assert Path(f"{parent}/one/cgroup.procs").read_text().split() == [str(pid)]
        assert not group.remove()
        end(pid, pidfd)
        assert group.remove()
        assert group.remove()
    finally:
        remove_tree(parent)
    assert not os.path.exists(parent)


def test_processes_are_moved_into_a_leaf_before_controllers_are_handed_on(second: tuple[str, str]) -> None:
    base, controller = second
    scope = make_v2_parent(base, instance(), controller) + "/scope"
    os.mkdir(scope)
    pid, pidfd = sleeper(scope)
    try:
        parent = make_v2_parent(scope, "inner", controller)
        assert parent == f"{scope}/lambent-inner"
        assert Path(f"{scope}/lambent-node/cgroup.procs").read_text().split() == [str(pid)]
        assert controller in Path(f"{scope}/cgroup.subtree_control").read_text().split()
    finally:
        end(pid, pidfd)
        remove_tree(os.path.dirname(scope))


def test_sweep_kills_what_an_earlier_run_left(second: tuple[str, str], tmp_path: Path) -> None:
    base, controller = second
    parent = make_v2_parent(base, instance(), controller)
    try:
        found = Cgroups({controller: Place(2, parent)}, "v2", ())
        pid, pidfd = sleeper(found.make("left").v2_folder())
        assert found.sweep(f"{tmp_path}/groups") == 1
        assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
        os.close(pidfd)
        found.sweep(f"{tmp_path}/groups")
        assert os.listdir(parent).count("left") == 0
    finally:
        remove_tree(parent)


def test_sweep_goes_where_the_record_says_and_nowhere_else(second: tuple[str, str], tmp_path: Path) -> None:
    base, _ = second
    name, stranger = instance(), instance()
    old, other = f"{base}/elsewhere-{name}/lambent-{name}", f"{base}/lambent-{stranger}"
    for path in (f"{old}/left", f"{other}/left"):
        os.makedirs(path)
    record = tmp_path / "groups"
    record.write_text(f"{old}\n{other}\n{tmp_path}/lambent-{name}\n/sys/../etc/lambent-{name}\n")
    try:
        found = Cgroups({}, "none", (), name, cgroups.parse_mounts(Path("/proc/self/mountinfo").read_text()))
        assert found.sweep(str(record)) == 1
        assert not os.path.exists(old)
        assert os.path.exists(f"{other}/left")
    finally:
        remove_tree(f"{base}/elsewhere-{name}")
        remove_tree(other)


# The process beside is forked here from a test runner that has threads; in the product the spawner has none.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_kernel_takes_the_limits_and_shows_them() -> None:
    needs_root()
    name = instance()
    found = Cgroups.open(name, rootless=False)
    try:
        if set(found.places) != {"memory", "cpu", "pids"}:
            pytest.skip(f"controllers are missing: {found.missing}")
        group = found.make("a")
        for memory, tmp, cpu, pids in ((128, 512, 72, 1024), (1769, 512, 1000, 100), (64, 1, 10, 5)):
            group.limit(memory, tmp, cpu, pids)
            shown = Path(f"{found.places['pids'].path}/a/pids.max").read_text().strip()
            assert shown == str(pids + 1)
            memory_file = "memory.max" if found.places["memory"].version == 2 else "memory.limit_in_bytes"
            assert int(Path(f"{found.places['memory'].path}/a/{memory_file}").read_text()) == (memory + tmp) << 20
        group.close()
        assert group.remove()
    finally:
        found.close()
    assert all(not os.path.exists(path) for path in found.parents())
