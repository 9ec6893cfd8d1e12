"""One suite for everything that says it is a `Sandboxes`: real isolation and plain processes."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from lambent.sandbox.contract import Bind, Exit, Limits, Sandbox, SandboxError, Sandboxes, SandboxSpec
from sandbox_fixtures import (
    LIMITS,
    PATIENCE_SECONDS,
    PYTHON,
    PYTHON_BINDS,
    ended,
    python_spec,
    read_output,
    sandboxes_of,
)

FOREVER = "import time; time.sleep(1000)"

Body = Callable[[Sandboxes, Path], Awaitable[None]]


@pytest.fixture(params=["sandbox", "process"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Body], None]:
    """Runs a coroutine function with sandboxes of each kind."""

    async def around(body: Body) -> None:
        async with sandboxes_of(request.param, tmp_path) as sandboxes, asyncio.timeout(PATIENCE_SECONDS):
            await body(sandboxes, tmp_path)

    return lambda body: asyncio.run(around(body))


async def received(sandbox: Sandbox, count: int) -> bytes:
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < count:
        more = await loop.sock_recv(sandbox.channel, count - len(data))
        assert more, "the channel ended early"
        data += more
    return data


def waiting(id: str, **more: object) -> SandboxSpec:
    return SandboxSpec(id=id, limits=LIMITS, binds=PYTHON_BINDS, **more)  # type: ignore[arg-type]


def test_first_process_speaks_over_descriptor_three(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        code = "import socket; s = socket.socket(fileno=3); s.sendall(s.recv(100).upper())"
        sandbox = await sandboxes.create(python_spec("a", code))
        await asyncio.get_running_loop().sock_sendall(sandbox.channel, b"hello")
        assert await received(sandbox, 5) == b"HELLO"

    run(body)


def test_channel_ends_when_the_first_process_ends(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        sandbox = await sandboxes.create(python_spec("a", "pass"))
        assert await asyncio.get_running_loop().sock_recv(sandbox.channel, 10) == b""
        assert await ended(sandbox) == Exit(status=0)

    run(body)


def test_channel_ends_when_the_first_process_closes_it(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        sandbox = await sandboxes.create(python_spec("a", "import os; os.close(3); " + FOREVER))
        assert await asyncio.get_running_loop().sock_recv(sandbox.channel, 10) == b""
        assert not sandbox.exited.done()

    run(body)


def test_both_outputs_arrive_in_one_pipe(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        code = "import os; os.write(1, b'one '); os.write(2, b'two'); print(end=os.environ['WORD'])"
        spec = python_spec("a", code)
        order = SandboxSpec(id="a", limits=LIMITS, argv=spec.argv, binds=spec.binds, environment={"WORD": " three"})
        assert await read_output(await sandboxes.create(order)) == "one two three"

    run(body)


def test_input_is_empty(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        sandbox = await sandboxes.create(python_spec("a", "import os; print(os.read(0, 10))"))
        assert await read_output(sandbox) == "b''\n"

    run(body)


def test_environment_is_exactly_what_was_given(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        code = "import os; print(sorted(k for k in os.environ if not k.startswith('LC_')))"
        spec = SandboxSpec(
            id="a", limits=LIMITS, argv=(PYTHON, "-I", "-S", "-c", code), binds=PYTHON_BINDS, environment={"A": "ä=\n"}
        )
        assert await read_output(await sandboxes.create(spec)) == "['A']\n"

    run(body)


@pytest.mark.parametrize("status", [0, 1, 64, 255])
def test_exit_status_is_reported(run: Callable[[Body], None], status: int) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        sandbox = await sandboxes.create(python_spec("a", f"import os; os._exit({status})"))
        assert await ended(sandbox) == Exit(status=status)

    run(body)


@pytest.mark.parametrize("signal", [6, 9, 11, 15])
def test_signal_that_a_process_sends_itself_is_reported(run: Callable[[Body], None], signal: int) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        sandbox = await sandboxes.create(python_spec("a", f"import os; os.kill(os.getpid(), {signal})"))
        assert await ended(sandbox) == Exit(signal=signal)

    run(body)


def test_kill_ends_everything_at_once(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        code = "import os, sys; os.fork(); os.fork(); os.write(1, b'.'); " + FOREVER
        sandbox = await sandboxes.create(python_spec("a", code))
        sandbox.kill()
        sandbox.kill()
        assert await ended(sandbox) == Exit(signal=9)
        await read_output(sandbox)  # ends only when the last process has ended

    run(body)


def test_children_do_not_outlive_the_first_process(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        code = "import os, time\nif os.fork() == 0: time.sleep(1000)\nos._exit(7)"
        sandbox = await sandboxes.create(python_spec("a", code))
        assert await ended(sandbox) == Exit(status=7)
        await read_output(sandbox)

    run(body)


def test_sandbox_without_a_program_waits_for_start(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        sandbox = await sandboxes.create(waiting("a"))
        assert not sandbox.exited.done()
        await sandbox.start((PYTHON, "-I", "-S", "-c", "import os; print(os.environ['A'])"), {"A": "b"}, "/")
        assert await read_output(sandbox) == "b\n"
        assert await ended(sandbox) == Exit(status=0)

    run(body)


def test_start_happens_once(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        sandbox = await sandboxes.create(python_spec("a", FOREVER))
        with pytest.raises(SandboxError, match="started before"):
            await sandbox.start((PYTHON,), {}, "/")

    run(body)


def test_start_of_a_missing_program_says_so_and_may_be_tried_again(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        sandbox = await sandboxes.create(waiting("a"))
        with pytest.raises(SandboxError, match="/var/task/bootstrap"):
            await sandbox.start(("/var/task/bootstrap",), {}, "/")
        await sandbox.start((PYTHON, "-I", "-S", "-c", "print('second')"), {}, "/")
        assert await read_output(sandbox) == "second\n"

    run(body)


def test_waiting_sandbox_can_be_killed(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        sandbox = await sandboxes.create(waiting("a"))
        sandbox.kill()
        assert await ended(sandbox) == Exit(signal=9)

    run(body)


def test_binds_show_the_host_folder(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, folder: Path) -> None:
        (folder / "code").mkdir()
        (folder / "code" / "main.py").write_text("print('from the host')")
        spec = SandboxSpec(
            id="a",
            limits=LIMITS,
            argv=(PYTHON, "-S", "/var/task/main.py"),
            cwd="/var/task",
            binds=(*PYTHON_BINDS, Bind(str(folder / "code"), "/var/task")),
        )
        assert await read_output(await sandboxes.create(spec)) == "from the host\n"

    run(body)


def test_attach_mounts_into_a_running_sandbox(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, folder: Path) -> None:
        for name in ("code", "layer"):
            (folder / name).mkdir()
            (folder / name / "word").write_text(name)
        code = (
            "import socket; s = socket.socket(fileno=3); s.sendall(b'up');"
            "[print(open(p).read()) for p in s.recv(1000).decode().split()]"
        )
        sandbox = await sandboxes.create(python_spec("a", code))
        assert await received(sandbox, 2) == b"up"
        binds = (Bind(str(folder / "code"), "/var/task"), Bind(str(folder / "layer"), "/opt"))
        await sandbox.attach(binds, Limits(memory_mib=512, cpu_milli=2000, tmp_mib=32))
        paths = f"{sandbox.path_of('/var/task/word')} {sandbox.path_of('/opt/word')}"
        await asyncio.get_running_loop().sock_sendall(sandbox.channel, paths.encode())
        assert await read_output(sandbox) == "code\nlayer\n"

    run(body)


def test_attach_of_a_missing_folder_changes_nothing(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, folder: Path) -> None:
        (folder / "code").mkdir()
        (folder / "code" / "word").write_text("code")
        sandbox = await sandboxes.create(waiting("a"))
        binds = (Bind(str(folder / "code"), "/var/task"), Bind(str(folder / "nowhere"), "/opt"))
        with pytest.raises(SandboxError, match="nowhere"):
            await sandbox.attach(binds, LIMITS)
        await sandbox.start(
            (PYTHON, "-I", "-S", "-c", f"import os; print(os.listdir({sandbox.path_of('/var/task')!r}))"), {}, "/"
        )
        assert await read_output(sandbox) == "[]\n"

    run(body)


def test_tmp_is_writable_and_private(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        boxes = [await sandboxes.create(waiting(id)) for id in ("a", "b")]
        for box in boxes:
            tmp = box.path_of("/tmp")
            code = f"import os; print(os.listdir({tmp!r})); open({tmp!r} + '/mine', 'w').close()"
            await box.start((PYTHON, "-I", "-S", "-c", code), {}, "/")
            assert await read_output(box) == "[]\n"

    run(body)


def test_listening_ports_are_reached_from_inside(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        sandbox = await sandboxes.create(waiting("a", listen_ports=(9001, 9002)))
        assert set(sandbox.listeners) == {9001, 9002}
        port = sandbox.port_of(9002)
        code = (
            f"import socket; s = socket.create_connection(('127.0.0.1', {port})); s.sendall(b'hello'); print(s.recv(9))"
        )
        await sandbox.start((PYTHON, "-I", "-S", "-c", code), {}, "/")
        loop = asyncio.get_running_loop()
        connection, _ = await loop.sock_accept(sandbox.listeners[9002])
        with connection:
            assert await loop.sock_recv(connection, 9) == b"hello"
            await loop.sock_sendall(connection, b"welcome")
        assert await read_output(sandbox) == "b'welcome'\n"

    run(body)


def test_two_sandboxes_may_listen_on_the_same_port(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        first = await sandboxes.create(waiting("a", listen_ports=(9001,)))
        second = await sandboxes.create(waiting("b", listen_ports=(9001,)))
        assert isinstance(first.listeners[9001], socket.socket)
        assert isinstance(second.listeners[9001], socket.socket)

    run(body)


def test_memory_peak_grows_with_use_and_stays_after_the_end(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        code = "x = bytearray(b'x') * (50 << 20); import socket; s = socket.socket(fileno=3); s.send(b'.'); s.recv(1)"
        sandbox = await sandboxes.create(python_spec("a", code))
        await received(sandbox, 1)
        peak = sandbox.memory_peak_bytes()
        assert peak > 50 << 20
        sandbox.kill()
        await ended(sandbox)
        assert sandbox.memory_peak_bytes() >= peak

    run(body)


def test_open_files_are_limited(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        code = "import os\nn = 0\ntry:\n  while True: os.dup(0); n += 1\nexcept OSError as e: print(e.errno, n < 20)"
        limits = Limits(memory_mib=256, cpu_milli=1000, tmp_mib=16, fds=20)
        assert await read_output(await sandboxes.create(python_spec("a", code, limits))) == "24 True\n"

    run(body)


def test_missing_program_leaves_nothing_and_its_id_free(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        missing = SandboxSpec(id="a", limits=LIMITS, argv=("/usr/bin/no-such-program",))
        for _attempt in range(2):
            with pytest.raises(SandboxError, match="no-such-program"):
                await sandboxes.create(missing)
        assert await ended(await sandboxes.create(python_spec("a", "pass"))) == Exit(status=0)

    run(body)


def test_missing_source_of_a_bind_is_named(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        with pytest.raises(SandboxError, match="/no/such/folder"):
            await sandboxes.create(python_spec("a", "pass", binds=(Bind("/no/such/folder", "/var/task"),)))

    run(body)


def test_an_id_is_used_once_at_a_time(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        first = await sandboxes.create(waiting("a"))
        with pytest.raises(SandboxError, match="exists already"):
            await sandboxes.create(waiting("a"))
        await first.discard()
        await sandboxes.create(waiting("a"))

    run(body)


@pytest.mark.parametrize(
    "spec",
    [
        SandboxSpec(id="../a", limits=LIMITS),
        SandboxSpec(id="", limits=LIMITS),
        SandboxSpec(id="a", limits=Limits(memory_mib=0, cpu_milli=1)),
        SandboxSpec(id="a", limits=LIMITS, argv=("relative",)),
        SandboxSpec(id="a", limits=LIMITS, argv=("/bin/true", "zero\0byte")),
        SandboxSpec(id="a", limits=LIMITS, argv=("/bin/true",), environment={"a=b": "c"}),
        SandboxSpec(id="a", limits=LIMITS, argv=("/bin/true",), environment={"A": "x" * 200_000}),
        SandboxSpec(id="a", limits=LIMITS, listen_ports=(70_000,)),
        SandboxSpec(id="a", limits=LIMITS, listen_ports=(9001, 9001)),
    ],
)
def test_impossible_specs_are_refused(run: Callable[[Body], None], spec: SandboxSpec) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        with pytest.raises(SandboxError):
            await sandboxes.create(spec)

    run(body)


def test_ended_sandbox_refuses_attach_and_start_and_allows_the_rest(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        sandbox = await sandboxes.create(python_spec("a", "pass"))
        await ended(sandbox)
        with pytest.raises(SandboxError, match="ended"):
            await sandbox.attach((), LIMITS)
        with pytest.raises(SandboxError, match="ended"):
            await sandbox.start((PYTHON,), {}, "/")
        sandbox.kill()
        sandbox.limit_cpu(500)
        sandbox.memory_peak_bytes()
        await sandbox.discard()
        await sandbox.discard()
        sandbox.kill()
        sandbox.memory_peak_bytes()

    run(body)


def test_discard_of_a_running_sandbox_resolves_its_exit_and_closes_its_descriptors(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        before = len(os.listdir("/proc/self/fd"))
        sandbox = await sandboxes.create(python_spec("a", FOREVER, listen_ports=(9001,)))
        await asyncio.gather(sandbox.discard(), sandbox.discard())
        assert sandbox.exited.result() == Exit(signal=9)
        assert len(os.listdir("/proc/self/fd")) == before

    run(body)


def test_stop_ends_every_sandbox_and_can_be_repeated(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        boxes = [await sandboxes.create(python_spec(f"s{n}", FOREVER)) for n in range(3)]
        await sandboxes.stop()
        await sandboxes.stop()
        assert [box.exited.result() for box in boxes] == [Exit(signal=9)] * 3
        with pytest.raises(SandboxError):
            await sandboxes.create(python_spec("late", FOREVER))

    run(body)


def test_many_are_made_at_once(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        boxes = await asyncio.gather(*(sandboxes.create(python_spec(f"s{n}", f"print({n})")) for n in range(12)))
        outputs = await asyncio.gather(*(read_output(box) for box in boxes))
        assert outputs == [f"{n}\n" for n in range(12)]

    run(body)


def test_isolation_says_what_it_is(run: Callable[[Body], None]) -> None:
    async def body(sandboxes: Sandboxes, _: Path) -> None:
        isolation = sandboxes.isolation
        assert isolation.mode in ("root", "rootless", "process")
        assert isolation.cgroups in ("v1", "v2", "hybrid", "none")
        assert all(sentence.endswith(".") for sentence in isolation.weaker)
        assert isolation.weaker or isolation.mode == "root"

    run(body)
