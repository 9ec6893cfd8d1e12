"""Limits are the kernel's: what goes past one gets the kernel's answer, and neighbours do not notice."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from lambent.sandbox.contract import Bind, Exit, Limits, SandboxSpec
from sandbox_fixtures import (
    LIMITS,
    PATIENCE_SECONDS,
    PYTHON,
    PYTHON_BINDS,
    ended,
    needs_memory_groups,
    needs_root,
    printed,
    python_spec,
    read_output,
    run_in_sandbox,
    spawned,
)

SMALL = Limits(memory_mib=64, cpu_milli=1000, tmp_mib=32)
HOLD = "\nimport time; time.sleep(1000)"


def test_allocating_past_the_memory_limit_is_out_of_memory(tmp_path: Path) -> None:
    exit, output = run_in_sandbox(tmp_path, "x = bytearray(b'x') * (400 << 20); print('got it')" + HOLD, SMALL)
    assert exit == Exit(signal=9, out_of_memory=True)
    assert output == ""


def test_growing_slowly_past_the_memory_limit_is_out_of_memory(tmp_path: Path) -> None:
    code = "import time\nx = []\nfor _ in range(80): x.append(bytearray(b'x') * (1 << 20)); time.sleep(0.002)" + HOLD
    exit, _ = run_in_sandbox(tmp_path, code, SMALL)
    assert exit == Exit(signal=9, out_of_memory=True)


def test_child_that_allocates_past_the_limit_takes_the_sandbox_with_it(tmp_path: Path) -> None:
    code = "import os\nif os.fork() == 0: x = bytearray(b'x') * (400 << 20)\nos.wait()" + HOLD
    exit, _ = run_in_sandbox(tmp_path, code, SMALL)
    assert exit == Exit(signal=9, out_of_memory=True)


def test_child_that_the_kernel_killed_before_anyone_looked_takes_the_sandbox_with_it(tmp_path: Path) -> None:
    """On version 1 the kernel kills one process, and what is in use is below the limit again by then."""
    needs_memory_groups()
    code = (
        "import os\nif os.fork() == 0: os.read(3, 1); x = bytearray(b'x') * (400 << 20)\n"
        "os.wait(); print('the child has ended', flush=True)" + HOLD
    )

    async def run() -> Exit:
        async with spawned(tmp_path) as sandboxes:
            sandbox = await sandboxes.create(python_spec("a", code, SMALL))
            child_ended = asyncio.Event()
            asyncio.get_running_loop().add_reader(sandbox.output, child_ended.set)
            os.kill(sandboxes.spawner_pid, signal.SIGSTOP)
            try:
                sandbox.channel.send(b".")
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await child_ended.wait()
            finally:
                asyncio.get_running_loop().remove_reader(sandbox.output)
                os.kill(sandboxes.spawner_pid, signal.SIGCONT)
            return await ended(sandbox)

    assert asyncio.run(run()) == Exit(signal=9, out_of_memory=True)


def test_memory_in_anonymous_files_counts(tmp_path: Path) -> None:
    needs_memory_groups()
    code = "import os\nf = os.memfd_create('x')\nfor _ in range(100): os.write(f, bytes(1 << 20))" + HOLD
    exit, _ = run_in_sandbox(tmp_path, code, SMALL)
    assert exit == Exit(signal=9, out_of_memory=True)


def test_ordinary_exit_is_not_out_of_memory(tmp_path: Path) -> None:
    exit, _ = run_in_sandbox(tmp_path, "import os; x = bytearray(b'x') * (20 << 20); os.kill(os.getpid(), 9)", SMALL)
    assert exit == Exit(signal=9, out_of_memory=False)


def test_full_tmp_says_no_space_left(tmp_path: Path) -> None:
    code = (
        "import errno, os\nn = 0\n"
        "try:\n  with open('/tmp/x', 'wb', 0) as f:\n    while True: n += f.write(bytes(1 << 20))\n"
        "except OSError as e: print(errno.errorcode[e.errno], n >> 20)"
    )
    assert printed(tmp_path, code, SMALL) == "ENOSPC 32"


def test_tmp_may_be_larger_than_memory(tmp_path: Path) -> None:
    code = (
        "import errno\nn = 0\n"
        "try:\n  with open('/tmp/x', 'wb', 0) as f:\n    while True: n += f.write(bytes(1 << 20))\n"
        "except OSError as e: print(errno.errorcode[e.errno], n >> 20)\n"
        "import time; time.sleep(0.3); print('alive')"
    )
    limits = Limits(memory_mib=64, cpu_milli=1000, tmp_mib=200)
    assert printed(tmp_path, code, limits) == "ENOSPC 200\nalive"


def test_memory_is_limited_beside_a_full_tmp(tmp_path: Path) -> None:
    code = (
        "with open('/tmp/x', 'wb', 0) as f:\n  for _ in range(100): f.write(bytes(1 << 20))\n"
        "print('written', flush=True)\nimport time; time.sleep(0.1)\n"
        "x = bytearray(b'x') * (300 << 20)" + HOLD
    )
    exit, output = run_in_sandbox(tmp_path, code, Limits(memory_mib=64, cpu_milli=1000, tmp_mib=200))
    assert exit == Exit(signal=9, out_of_memory=True)
    assert output == "written\n"


def test_reading_large_files_is_not_out_of_memory(tmp_path: Path) -> None:
    code_folder = tmp_path / "code"
    code_folder.mkdir(mode=0o755)
    with open(code_folder / "big", "wb") as file:
        file.write(bytes(150 << 20))
        file.flush()
        os.fsync(file.fileno())
        # Out of the cache, so that the sandbox is who brings it in and who is charged.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    code = (
        "f = open('/var/task/big', 'rb', 0)\nwhile f.read(1 << 20): pass\nprint('read')\nimport time; time.sleep(0.2)"
    )
    assert printed(tmp_path, code, SMALL, (Bind(str(code_folder), "/var/task"),)) == "read"


def test_files_in_tmp_are_limited_in_number(tmp_path: Path) -> None:
    code = (
        "import errno\nn = 0\ntry:\n  while True: open(f'/tmp/{n}', 'x').close(); n += 1\n"
        "except OSError as e: print(errno.errorcode[e.errno], n < 600)"
    )
    assert printed(tmp_path, code, Limits(memory_mib=64, cpu_milli=1000, tmp_mib=2)) == "ENOSPC True"


def test_processes_are_limited(tmp_path: Path) -> None:
    code = (
        "import errno, os, signal\nn = 0\ntry:\n  while True:\n    if os.fork() == 0: signal.pause()\n    n += 1\n"
        "except OSError as e: print(errno.errorcode[e.errno], n)"
    )
    limits = Limits(memory_mib=256, cpu_milli=1000, tmp_mib=16, pids=10)
    assert printed(tmp_path, code, limits) == "EAGAIN 9"


def test_threads_count_as_processes(tmp_path: Path) -> None:
    code = (
        "import threading\nstop = threading.Event(); n = 0\ntry:\n"
        "  while True: threading.Thread(target=stop.wait, daemon=True).start(); n += 1\n"
        "except RuntimeError: print(n, flush=True)\nimport os; os._exit(0)"
    )
    limits = Limits(memory_mib=256, cpu_milli=1000, tmp_mib=16, pids=10)
    assert printed(tmp_path, code, limits) == "9"


def test_cpu_time_is_limited(tmp_path: Path) -> None:
    needs_root()
    code = (
        "import time\nstart = time.monotonic(); used = time.process_time()\n"
        "while time.monotonic() - start < 1: pass\n"
        "print((time.process_time() - used) < 0.5)"
    )
    assert printed(tmp_path, code, Limits(memory_mib=64, cpu_milli=200, tmp_mib=1)) == "True"


def test_the_cpu_limit_of_a_running_sandbox_changes_at_any_time(tmp_path: Path) -> None:
    needs_root()
    code = (
        "import os, time\nos.write(3, b'.'); os.read(3, 1); time.sleep(0.5)\n"
        "start = time.monotonic(); used = time.process_time()\n"
        "while time.monotonic() - start < 1: pass\n"
        "print((time.process_time() - used) < 0.5)"
    )

    async def run() -> str:
        async with spawned(tmp_path) as sandboxes:
            sandbox = await sandboxes.create(python_spec("a", code, Limits(memory_mib=64, cpu_milli=1000, tmp_mib=1)))
            await asyncio.get_running_loop().sock_recv(sandbox.channel, 1)
            sandbox.limit_cpu(200)
            sandbox.channel.send(b".")
            await ended(sandbox)
            return await read_output(sandbox)

    assert asyncio.run(run()) == "True\n"


def test_attach_changes_every_limit(tmp_path: Path) -> None:
    async def run() -> tuple[str, Exit]:
        async with spawned(tmp_path) as sandboxes:
            code = (
                "import os\nos.write(3, b'.'); os.read(3, 1)\n"
                "s = os.statvfs('/tmp'); print(s.f_blocks * s.f_frsize >> 20, flush=True)\n"
                "x = bytearray(b'x') * (100 << 20); print('more than before', flush=True)\n"
                "y = bytearray(b'x') * (300 << 20)" + HOLD
            )
            sandbox = await sandboxes.create(python_spec("a", code, SMALL))
            await asyncio.get_running_loop().sock_recv(sandbox.channel, 1)
            await sandbox.attach((), Limits(memory_mib=200, cpu_milli=1500, tmp_mib=64))
            sandbox.channel.send(b".")
            return await read_output(sandbox), await ended(sandbox)

    output, exit = asyncio.run(run())
    assert output == "64\nmore than before\n"
    assert exit == Exit(signal=9, out_of_memory=True)


def test_attach_can_make_limits_smaller(tmp_path: Path) -> None:
    async def run() -> Exit:
        async with spawned(tmp_path) as sandboxes:
            code = "import os\nos.write(3, b'.'); os.read(3, 1)\nx = bytearray(b'x') * (150 << 20)" + HOLD
            sandbox = await sandboxes.create(python_spec("a", code, LIMITS))
            await asyncio.get_running_loop().sock_recv(sandbox.channel, 1)
            await sandbox.attach((), SMALL)
            sandbox.channel.send(b".")
            return await ended(sandbox)

    assert asyncio.run(run()) == Exit(signal=9, out_of_memory=True)


def test_one_sandbox_out_of_memory_leaves_its_neighbour_alone(tmp_path: Path) -> None:
    async def run() -> tuple[Exit, str]:
        async with spawned(tmp_path) as sandboxes:
            neighbour = await sandboxes.create(python_spec("neighbour", "import os; os.read(3, 1); print('fine')"))
            greedy = await sandboxes.create(python_spec("greedy", "x = bytearray(b'x') * (400 << 20)" + HOLD, SMALL))
            exit = await ended(greedy)
            neighbour.channel.send(b".")
            return exit, await read_output(neighbour)

    assert asyncio.run(run()) == (Exit(signal=9, out_of_memory=True), "fine\n")


@pytest.mark.parametrize("port", [9001, 1])
def test_any_port_can_be_listened_on_in_a_sandbox(tmp_path: Path, port: int) -> None:
    async def run() -> bool:
        async with spawned(tmp_path) as sandboxes:
            spec = SandboxSpec(id="a", limits=LIMITS, binds=PYTHON_BINDS, listen_ports=(port,))
            sandbox = await sandboxes.create(spec)
            code = f"import socket; socket.create_connection(('127.0.0.1', {port})).recv(1)"
            await sandbox.start((PYTHON, "-I", "-S", "-c", code), {}, "/")
            connection, _ = await asyncio.get_running_loop().sock_accept(sandbox.listeners[port])
            connection.close()
            return (await ended(sandbox)).status == 0

    assert asyncio.run(run())
