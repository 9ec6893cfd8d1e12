"""Nothing stays behind: not after use, not after the spawner or the node was killed."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lambent.sandbox.client import SpawnedSandboxes, launch_spawner, start_spawner
from lambent.sandbox.contract import Exit, SandboxError
from sandbox_fixtures import (
    PATIENCE_SECONDS,
    ended,
    instance,
    needs_sandboxes,
    python_spec,
    read_output,
    spawned,
    uid_base,
)

FOREVER = "import time; time.sleep(1000)"


def groups_of(instance: str) -> list[str]:
    """Folders of an instance in every control group hierarchy."""
    found = []
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        found += [f"{folder}/{name}" for name in names if name == f"lambent-{instance}"]
        found += [f"{folder}/{name}" for name in names if f"lambent-{instance}" in folder.split("/")]
    return found


def processes_of(uids: range) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and os.stat(f"/proc/{name}/task").st_uid in uids:
                found.append(int(name))
    return found


async def until(condition: object) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.01)


def test_nothing_is_left_of_fifty_sandboxes(tmp_path: Path) -> None:
    async def run() -> None:
        async with spawned(tmp_path) as sandboxes:
            await cycle(sandboxes, 2)
            before = footprint(sandboxes)
            await cycle(sandboxes, 50)
            assert footprint(sandboxes) == before

    async def cycle(sandboxes: SpawnedSandboxes, count: int) -> None:
        for number in range(count):
            sandbox = await sandboxes.create(python_spec(f"s{number}", FOREVER, listen_ports=(9001,)))
            await sandbox.discard()

    def footprint(sandboxes: SpawnedSandboxes) -> dict[str, object]:
        pid = sandboxes.spawner_pid
        return {
            "descriptors of the node": len(os.listdir("/proc/self/fd")),
            "descriptors of the spawner": len(os.listdir(f"/proc/{pid}/fd")),
            "mounts of the spawner": len(Path(f"/proc/{pid}/mountinfo").read_text().splitlines()),
            "mounts of the host": len(Path("/proc/self/mountinfo").read_text().splitlines()),
            "children of the spawner": Path(f"/proc/{pid}/task/{pid}/children").read_text(),
            "control groups": len(groups_of(sandboxes.instance)),
        }

    asyncio.run(run())


def test_nothing_is_left_of_an_instance_that_stopped(tmp_path: Path) -> None:
    async def run() -> str:
        async with spawned(tmp_path) as sandboxes:
            await sandboxes.create(python_spec("a", FOREVER))
            if sandboxes.isolation.cgroups != "none":
                assert groups_of(sandboxes.instance)
            return sandboxes.instance

    assert groups_of(asyncio.run(run())) == []
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def test_killed_spawner_leaves_no_process_and_the_next_run_removes_its_groups(tmp_path: Path) -> None:
    needs_sandboxes()
    name, base = instance(), uid_base() + 50_000
    uids = range(base, base + 10) if os.geteuid() == 0 else range(0)

    async def run() -> None:
        sandboxes = await start_spawner(str(tmp_path), name, base)
        boxes = [await sandboxes.create(python_spec(f"s{n}", "import os; os.fork(); " + FOREVER)) for n in range(3)]
        os.kill(sandboxes.spawner_pid, signal.SIGKILL)
        assert [await ended(box) for box in boxes] == [Exit(signal=9)] * 3
        for box in boxes:
            await read_output(box)  # ends when the last process that could print is gone
        await until(lambda: processes_of(uids) == [])
        assert not sandboxes.alive
        with pytest.raises(SandboxError, match="has ended"):
            await sandboxes.create(python_spec("late", FOREVER))
        with pytest.raises(SandboxError, match="ended"):
            await boxes[0].attach((), python_spec("x", "").limits)
        await asyncio.gather(*(box.discard() for box in boxes))
        await sandboxes.stop()
        again = await start_spawner(str(tmp_path), name, base)
        if again.isolation.cgroups != "none":
            assert [path for path in groups_of(name) if not path.endswith(f"lambent-{name}")] == []
        await again.stop()
        assert groups_of(name) == []

    asyncio.run(run())


def test_spawner_that_died_can_be_started_again(tmp_path: Path) -> None:
    async def run() -> str:
        async with spawned(tmp_path) as sandboxes:
            lost = await sandboxes.create(python_spec("a", FOREVER))
            os.kill(sandboxes.spawner_pid, signal.SIGKILL)
            await sandboxes.died
            await sandboxes.restart()
            assert sandboxes.alive
            sandbox = await sandboxes.create(python_spec("a", "print('again')"))
            output = await read_output(sandbox)
            await lost.discard()
            await sandbox.discard()
            return output

    assert asyncio.run(run()) == "again\n"


def test_create_that_waits_when_the_spawner_dies_fails(tmp_path: Path) -> None:
    async def run() -> None:
        async with spawned(tmp_path) as sandboxes:
            os.kill(sandboxes.spawner_pid, signal.SIGSTOP)
            creating = asyncio.ensure_future(sandboxes.create(python_spec("a", FOREVER)))
            await asyncio.sleep(0.05)
            os.kill(sandboxes.spawner_pid, signal.SIGKILL)
            with pytest.raises(SandboxError, match="has ended"):
                await creating

    asyncio.run(run())


def test_cancelled_create_leaves_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with spawned(tmp_path) as sandboxes:
            before = len(os.listdir("/proc/self/fd"))
            creating = asyncio.ensure_future(sandboxes.create(python_spec("a", FOREVER)))
            await asyncio.sleep(0)
            creating.cancel()
            with pytest.raises(asyncio.CancelledError):
                await creating
            spawner = sandboxes.spawner_pid
            children = Path(f"/proc/{spawner}/task/{spawner}/children")
            await until(lambda: sandboxes.idle)
            assert len(os.listdir("/proc/self/fd")) == before
            assert len(children.read_text().split()) <= 1  # the process that registers thresholds
            await (await sandboxes.create(python_spec("a", FOREVER))).discard()

    asyncio.run(run())


NODE = """
import asyncio, os, sys
from lambent.sandbox.client import start_spawner
from sandbox_fixtures import python_spec
async def main():
    sandboxes = await start_spawner(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    await sandboxes.create(python_spec("a", "import time; time.sleep(1000)"))
    print(sandboxes.spawner_pid, flush=True)
    await asyncio.sleep(1000)
asyncio.run(main())
"""


def test_killed_node_takes_spawner_and_sandboxes_with_it(tmp_path: Path) -> None:
    needs_sandboxes()
    name = instance()
    command = [sys.executable, "-c", NODE, str(tmp_path), name, str(uid_base() + 60_000)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    async def run() -> None:
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as node:
            assert node.stdout is not None
            spawner = int(await asyncio.to_thread(node.stdout.readline))
            node.kill()
            node.wait()
            await until(lambda: not Path(f"/proc/{spawner}").exists())
        assert groups_of(name) == []

    asyncio.run(run())


def test_one_folder_serves_one_spawner(tmp_path: Path) -> None:
    async def run() -> None:
        async with spawned(tmp_path) as sandboxes:
            with pytest.raises(SandboxError, match="uses"):
                await start_spawner(str(tmp_path / "run"), sandboxes.instance, uid_base())
            assert await read_output(await sandboxes.create(python_spec("a", "print('unharmed')"))) == "unharmed\n"

    asyncio.run(run())


def test_spawner_can_be_started_before_the_event_loop(tmp_path: Path) -> None:
    needs_sandboxes()
    from lambent.sandbox.client import connect

    spawner = launch_spawner(str(tmp_path), instance(), uid_base())

    async def run() -> str:
        sandboxes = await connect(spawner)
        try:
            return await read_output(await sandboxes.create(python_spec("a", "print('up')")))
        finally:
            await sandboxes.stop()

    assert asyncio.run(run()) == "up\n"


def test_spawner_that_is_not_used_is_ended(tmp_path: Path) -> None:
    needs_sandboxes()
    name = instance()
    spawner = launch_spawner(str(tmp_path), name, uid_base())
    spawner.end()
    assert spawner.process.returncode is not None
    assert groups_of(name) == []


def test_uvloop_serves_as_well(tmp_path: Path) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def run() -> str:
        async with spawned(tmp_path) as sandboxes:
            sandbox = await sandboxes.create(python_spec("a", "print('uv')", listen_ports=(9001,)))
            output = await read_output(sandbox)
            await sandbox.discard()
            return output

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(run()) == "uv\n"
