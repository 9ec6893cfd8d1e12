"""What the sandbox tests share: sandboxes of either kind, and running a piece of Python in one."""

import asyncio
import contextlib
import functools
import itertools
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import leftovers
from lambent.sandbox.client import SpawnedSandboxes, start_spawner
from lambent.sandbox.contract import Bind, Exit, Limits, Sandbox, SandboxError, Sandboxes, SandboxSpec
from lambent.sandbox.probe import probe
from lambent.sandbox.process import ProcessSandboxes

LIMITS = Limits(memory_mib=256, cpu_milli=1000, tmp_mib=16)
PYTHON = os.path.realpath(sys.executable)
PYTHON_BINDS = () if sys.base_prefix.startswith("/usr") else (Bind(sys.base_prefix, sys.base_prefix),)
#: Generous: no test waits for it unless something is broken.
PATIENCE_SECONDS = 30.0

_numbers = itertools.count()


@functools.cache
def missing_for_sandboxes() -> str:
    """Why this host cannot make sandboxes; empty if it can."""
    try:
        probe()
    except SandboxError as error:
        return str(error)
    return ""


def needs_sandboxes() -> None:
    if missing_for_sandboxes():
        pytest.skip(missing_for_sandboxes())


def needs_root() -> None:
    needs_sandboxes()
    if os.geteuid() != 0:
        pytest.skip("only root gives each sandbox a host user id and control groups of its own")


def needs_memory_groups() -> None:
    needs_sandboxes()
    if probe().cgroups == "none":
        pytest.skip("this host gives no control groups: memory that is shared or in anonymous files has no limit")


def instance() -> str:
    """Names the run, so that its end finds what it left in control groups."""
    return f"test-{os.environ[leftovers.MARK]}-{os.getpid()}-{next(_numbers)}"


def uid_base() -> int:
    """Its own range for each test process, so that parallel tests never share a user id."""
    return 200_000_000 + os.getpid() % 10_000 * 100_000


@contextlib.asynccontextmanager
async def spawned(folder: Path) -> AsyncIterator[SpawnedSandboxes]:
    needs_sandboxes()
    sandboxes = await start_spawner(str(folder / "run"), instance(), uid_base())
    try:
        yield sandboxes
    finally:
        if not sandboxes.alive:
            await sandboxes.restart()  # what a killed spawner leaves is removed by the next one
        await sandboxes.stop()


@contextlib.asynccontextmanager
async def sandboxes_of(kind: str, folder: Path) -> AsyncIterator[Sandboxes]:
    if kind == "sandbox":
        async with spawned(folder) as made:
            yield made
        return
    processes = ProcessSandboxes(str(folder / "processes"))
    try:
        yield processes
    finally:
        await processes.stop()


def python_spec(
    id: str, code: str, limits: Limits = LIMITS, binds: tuple[Bind, ...] = (), **more: object
) -> SandboxSpec:
    """A sandbox that runs a piece of Python, and nothing of the host's Python settings."""
    return SandboxSpec(
        id=id,
        limits=limits,
        argv=(PYTHON, "-I", "-S", "-u", "-c", code),
        environment={"PATH": "/usr/bin:/bin"},
        binds=(*PYTHON_BINDS, *binds),
        **more,  # type: ignore[arg-type]
    )


async def read_output(sandbox: Sandbox) -> str:
    """Everything it prints, until nobody can print any more."""
    loop, read, ended = asyncio.get_running_loop(), bytearray(), asyncio.Event()

    def readable() -> None:
        try:
            data = os.read(sandbox.output, 65536)
        except BlockingIOError:
            return
        if data:
            read.extend(data)
        else:
            ended.set()

    loop.add_reader(sandbox.output, readable)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await ended.wait()
    finally:
        loop.remove_reader(sandbox.output)
    return read.decode(errors="replace")


async def ended(sandbox: Sandbox) -> Exit:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await asyncio.shield(sandbox.exited)


def run_in_sandbox(folder: Path, code: str, limits: Limits = LIMITS, binds: tuple[Bind, ...] = ()) -> tuple[Exit, str]:
    """Runs a piece of Python in a fresh sandbox; how it ended and what it printed."""

    async def run() -> tuple[Exit, str]:
        async with spawned(folder) as sandboxes:
            sandbox = await sandboxes.create(python_spec("only", code, limits, binds))
            output = await read_output(sandbox)
            exit = await ended(sandbox)
            await sandbox.discard()
            return exit, output

    return asyncio.run(run())


def printed(folder: Path, code: str, limits: Limits = LIMITS, binds: tuple[Bind, ...] = ()) -> str:
    """As `run_in_sandbox`, for code that must end well."""
    exit, output = run_in_sandbox(folder, code, limits, binds)
    assert exit == Exit(status=0), output
    return output.strip()
