"""The node's side of the spawner: `Sandboxes` with real isolation."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from lambent.sandbox import rights
from lambent.sandbox.contract import Bind, Exit, Isolation, Limits, SandboxError, SandboxSpec
from lambent.sandbox.messages import (
    Decoder,
    Message,
    MessageError,
    encode,
    receive,
    send_some,
)
from lambent.sandbox.specs import check_arguments, check_limits, check_spec

#: How long the spawner may take to get ready, and to end before it is killed. It needs about 60 ms.
READY_SECONDS = 20.0
_END_SECONDS = 15.0
#: How long one request may take; the machine is overloaded or the spawner is stuck.
REQUEST_SECONDS = 30.0
_KILLED = 9
_NOWHERE = "the process that makes sandboxes has ended; "


@dataclass(frozen=True)
class SpawnerProcess:
    """A spawner that was started; `connect` makes it usable, `end` stops one that is not to be used."""

    process: subprocess.Popen[bytes]
    connection: socket.socket
    run_dir: str
    instance: str
    uid_base: int

    def end(self) -> None:
        """Ends it and everything it made. Blocks until it is gone."""
        self.connection.close()
        _wait(self.process)


def launch_spawner(run_dir: str, instance: str, uid_base: int) -> SpawnerProcess:
    """Starts the spawner with the rights that this process has now; blocks for the start of a process only.

    `run_dir` is a folder of this instance alone (it holds a lock and a mount point), `instance` names its control groups
    ([a-z0-9-], the same at every start, so that leftovers of a killed run are found). As root, sandboxes get host user ids
    from `uid_base` on; else they share this user's (rootless). Raises `SandboxError`.
    """
    ours, theirs = socket.socketpair()
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "spawner.py")
    command = [sys.executable, "-I", "-S", program, f"--socket={theirs.fileno()}", f"--run-dir={run_dir}"]
    command.append(f"--instance={instance}")
    if rights.has_root_rights():
        command.append(f"--uid-base={uid_base}")
    try:
        # A session of its own: a terminal's Ctrl-C is for the node. No environment: it may hold secrets.
        process = subprocess.Popen(
            command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, start_new_session=True, env={}, cwd="/"
        )
    except OSError as error:
        ours.close()
        raise SandboxError(f"could not start the process that makes sandboxes: {error.strerror}") from error
    finally:
        theirs.close()
    return SpawnerProcess(process, ours, run_dir, instance, uid_base)


def await_ready(spawner: SpawnerProcess) -> Isolation:
    """Blocks until the spawner has proved that it can make sandboxes. Raises `SandboxError` with what the host lacks."""
    spawner.connection.settimeout(READY_SECONDS)
    decoder = Decoder()
    try:
        while True:
            data, _ = receive(spawner.connection)
            if not data:
                raise SandboxError("the process that makes sandboxes ended at its start; its error output says why")
            for message, _ in decoder.feed(data):
                return _isolation(message)
    except (OSError, MessageError) as error:
        raise SandboxError(f"the process that makes sandboxes does not answer: {error}") from error


def _isolation(message: Message) -> Isolation:
    if message.get("event") != "ready":
        raise SandboxError(str(message.get("error", "the process that makes sandboxes sent something unexpected")))
    fields = message["isolation"]
    return Isolation(mode=fields["mode"], cgroups=fields["cgroups"], weaker=tuple(fields["weaker"]))


async def connect(spawner: SpawnerProcess) -> "SpawnedSandboxes":
    """Takes over a spawner that `launch_spawner` started. Raises `SandboxError`; then it is ended."""
    try:
        isolation = await asyncio.to_thread(await_ready, spawner)
    except BaseException:
        spawner.end()
        raise
    return SpawnedSandboxes(spawner, isolation)


async def start_spawner(run_dir: str, instance: str, uid_base: int) -> "SpawnedSandboxes":
    """`launch_spawner` and `connect` in one."""
    return await connect(launch_spawner(run_dir, instance, uid_base))


class SpawnedSandbox:
    """One sandbox; see `contract.Sandbox`."""

    def __init__(self, owner: "SpawnedSandboxes", id: str, reply: Message, fds: Sequence[int]) -> None:
        self.id = id
        self._owner = owner
        self.channel = socket.socket(fileno=fds[0])
        self.channel.setblocking(False)
        self.output = fds[1]
        ports: list[int] = reply["listen_ports"]
        self.listeners = {port: socket.socket(fileno=fd) for port, fd in zip(ports, fds[2:], strict=False)}
        for listener in self.listeners.values():
            listener.setblocking(False)
        self.exited: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._peak_kind: str = reply["peak"]
        self._peak_fd = -1
        self._peak_bytes = 0
        self._closed = False
        self._gone: asyncio.Future[None] | None = None
        self._take_peak(reply, fds[2 + len(ports) :])

    def port_of(self, port: int) -> int:
        return port

    def path_of(self, path: str) -> str:
        return path

    async def attach(self, binds: tuple[Bind, ...], limits: Limits) -> None:
        self._check_running()
        check_limits(limits)
        await self._owner.request("attach", self.id, {"binds": _binds(binds), "limits": _limits(limits)})

    async def start(self, argv: tuple[str, ...], environment: dict[str, str], cwd: str) -> None:
        self._check_running()
        check_arguments(argv, environment)
        if not argv:
            raise SandboxError("a sandbox cannot be started without a program")
        order = {"argv": list(argv), "environment": environment, "cwd": cwd}
        reply, fds = await self._owner.request("start", self.id, order)
        self._take_peak(reply, fds)

    def memory_peak_bytes(self) -> int:
        if self._peak_fd >= 0:
            with contextlib.suppress(OSError):  # ESRCH: the process or group is gone; the last value stands
                value = _peak_in(os.pread(self._peak_fd, 4096, 0), self._peak_kind)
                self._peak_bytes = max(self._peak_bytes, value)
        return self._peak_bytes

    def limit_cpu(self, cpu_milli: int) -> None:
        if not self.exited.done():
            self._owner.limit_cpu(self.id, cpu_milli)

    def kill(self) -> None:
        if not self.exited.done():
            self._owner.kill(self.id)

    async def discard(self) -> None:
        if self._gone is None:
            self.memory_peak_bytes()
            self._gone = self._owner.discard(self)
        # Shielded: a waiter that is cancelled must not take the answer away from the others.
        await asyncio.shield(self._gone)

    def end(self, exit: Exit, peak_bytes: int = 0) -> None:
        """Resolves `exited`; called by the owner."""
        if not self.exited.done():
            self._peak_bytes = max(self.memory_peak_bytes(), peak_bytes)
            self.exited.set_result(exit)

    def close(self) -> None:
        """Closes the descriptors; called by the owner when the spawner has removed everything else."""
        if self._closed:
            return
        self._closed = True
        self.channel.close()
        os.close(self.output)
        for listener in self.listeners.values():
            listener.close()
        if self._peak_fd >= 0:
            os.close(self._peak_fd)
            self._peak_fd = -1

    def _take_peak(self, reply: Message, fds: Sequence[int]) -> None:
        if fds:
            self._peak_kind, self._peak_fd = reply["peak"], fds[0]

    def _check_running(self) -> None:
        if self.exited.done() or self._closed:
            raise SandboxError("the sandbox has ended")

    def __repr__(self) -> str:
        return f"<SpawnedSandbox {self.id} {'ended' if self.exited.done() else 'running'}>"


class SpawnedSandboxes:
    """Makes sandboxes through the spawner; see `contract.Sandboxes`."""

    def __init__(self, spawner: SpawnerProcess, isolation: Isolation) -> None:
        self.isolation = isolation
        self._loop = asyncio.get_running_loop()
        self._sandboxes: dict[str, SpawnedSandbox] = {}
        self._leaving: dict[str, tuple[SpawnedSandbox, asyncio.Future[None]]] = {}
        #: By request number: who takes the answer, and what else it needs. Bounded by the callers that wait.
        self._waiting: dict[int, tuple[Callable[..., None], tuple[object, ...]]] = {}
        self._number = 0
        self._stopped = False
        self._use(spawner)

    def _use(self, spawner: SpawnerProcess) -> None:
        self._spawner = spawner
        self._decoder = Decoder()
        self._unsent = bytearray()
        self._writing = False
        self._alive = True
        #: Resolves when this spawner has ended, wanted or not.
        self.died: asyncio.Future[None] = self._loop.create_future()
        spawner.connection.setblocking(False)
        self._loop.add_reader(spawner.connection.fileno(), self._on_readable)

    @property
    def alive(self) -> bool:
        """Whether sandboxes can be made. When it has become False, every `exited` has been resolved."""
        return self._alive

    @property
    def idle(self) -> bool:
        """Whether no request waits for its answer."""
        return not self._waiting

    @property
    def instance(self) -> str:
        return self._spawner.instance

    @property
    def spawner_pid(self) -> int:
        return self._spawner.process.pid

    async def create(self, spec: SandboxSpec) -> SpawnedSandbox:
        check_spec(spec)
        order = {
            "limits": _limits(spec.limits),
            "argv": list(spec.argv),
            "environment": spec.environment,
            "cwd": spec.cwd,
            "binds": _binds(spec.binds),
            "listen_ports": list(spec.listen_ports),
        }
        sandbox = await self._request("create", spec.id, order, self._adopt)
        assert isinstance(sandbox, SpawnedSandbox)
        return sandbox

    def _adopt(self, id: str, reply: Message, fds: list[int]) -> SpawnedSandbox:
        sandbox = SpawnedSandbox(self, id, reply, fds)
        self._sandboxes[id] = sandbox
        return sandbox

    def discard(self, sandbox: SpawnedSandbox) -> "asyncio.Future[None]":
        """Begins to remove a sandbox; the future resolves when it is gone and never fails. Called by the sandbox."""
        gone: asyncio.Future[None] = self._loop.create_future()
        self._leaving[sandbox.id] = (sandbox, gone)
        if self._alive:
            self._say({"op": "discard", "id": sandbox.id, "n": self._next_number(self._left, sandbox.id)})
        else:
            self._left(sandbox.id)
        return gone

    async def stop(self) -> None:
        self._stopped = True
        self._lost()
        for sandbox in tuple(self._sandboxes.values()):
            await sandbox.discard()
        await asyncio.to_thread(_wait, self._spawner.process)

    async def restart(self) -> None:
        """After the spawner has died: starts another with the rights that this process still has. Raises `SandboxError`,
        also when sandboxes would be less isolated than before.
        """
        if self._alive or self._stopped:
            return
        if self.isolation.mode == "root" and not rights.has_root_rights():
            raise SandboxError(_NOWHERE + "this process has given up the rights to start it again: restart Lambent")
        await asyncio.to_thread(_wait, self._spawner.process)
        old = self._spawner
        spawner = launch_spawner(old.run_dir, old.instance, old.uid_base)
        try:
            isolation = await asyncio.to_thread(await_ready, spawner)
        except BaseException:
            spawner.end()
            raise
        self.isolation = isolation
        self._use(spawner)

    # -- the connection ----------------------------------------------------------------------------------------------

    async def request(self, operation: str, id: str, fields: Message) -> tuple[Message, list[int]]:
        """Asks the spawner about one sandbox. Returns its reply and descriptors. Raises `SandboxError`."""
        answer = await self._request(operation, id, fields, lambda _, reply, fds: (reply, fds))
        return cast("tuple[Message, list[int]]", answer)

    async def _request(self, operation: str, id: str, fields: Message, take: "Take") -> object:
        if not self._alive:
            raise SandboxError(_NOWHERE + "restart Lambent")
        future: asyncio.Future[object] = self._loop.create_future()
        number = self._next_number(self._settle, future, id, take)
        self._say({"op": operation, "id": id, "n": number, **fields})
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                return await future
        except TimeoutError:
            raise SandboxError(f"a sandbox could not be changed ({operation}) within {REQUEST_SECONDS:.0f} s") from None

    def _next_number(self, settle: "Callable[..., None]", *arguments: object) -> int:
        self._number += 1
        self._waiting[self._number] = (settle, arguments)
        return self._number

    def _say(self, message: Message) -> None:
        self._unsent += encode(message)
        if not self._writing:
            self._on_writable()

    def kill(self, id: str) -> None:
        if self._alive:
            self._say({"op": "kill", "id": id})

    def limit_cpu(self, id: str, cpu_milli: int) -> None:
        if self._alive:
            self._say({"op": "limit_cpu", "id": id, "cpu_milli": cpu_milli})

    def _on_writable(self) -> None:
        connection = self._spawner.connection
        try:
            while self._unsent:
                del self._unsent[: send_some(connection, self._unsent, ())]
        except BlockingIOError:
            if not self._writing:
                self._writing = True
                self._loop.add_writer(connection.fileno(), self._on_writable)
            return
        except OSError:
            self._lost()
            return
        if self._writing:
            self._writing = False
            self._loop.remove_writer(connection.fileno())

    def _on_readable(self) -> None:
        try:
            data, fds = receive(self._spawner.connection)
            if not data:
                self._lost()
                return
            for message, claimed in self._decoder.feed(data, fds):
                self._on_message(message, claimed)
        except BlockingIOError:
            return
        except (OSError, MessageError):
            self._lost()

    def _on_message(self, message: Message, fds: list[int]) -> None:
        if message.get("event") == "exit":
            sandbox = self._sandboxes.get(message["id"])
            if sandbox is not None:
                exit = Exit(message.get("status"), message.get("signal"), message["out_of_memory"])
                sandbox.end(exit, message["peak"])
            return
        settle, arguments = self._waiting.pop(message["n"], (None, ()))
        if settle is not None:
            settle(*arguments, message, fds)

    def _settle(
        self, future: "asyncio.Future[object]", id: str, take: "Take", message: Message, fds: list[int]
    ) -> None:
        if "error" in message:
            if not future.done():
                future.set_exception(SandboxError(message["error"]))
            return
        # Taken here and not by the waiter: the next message may already be about what this one brings.
        taken = take(id, message["ok"], fds)
        if not future.done():
            future.set_result(taken)
        elif isinstance(taken, SpawnedSandbox):
            self.discard(taken)  # its maker was cancelled or gave up waiting: nobody will ever ask for it
        else:
            for fd in fds:
                os.close(fd)

    def _left(self, id: str, *_: object) -> None:
        """A sandbox is gone."""
        self._sandboxes.pop(id, None)
        sandbox, gone = self._leaving.pop(id)
        sandbox.end(Exit(signal=_KILLED))
        sandbox.close()
        if not gone.done():
            gone.set_result(None)

    def _lost(self) -> None:
        """The spawner has ended, and so has every sandbox."""
        if not self._alive:
            return
        self._alive = False
        self._loop.remove_reader(self._spawner.connection.fileno())
        self._loop.remove_writer(self._spawner.connection.fileno())
        self._spawner.connection.close()
        for fd in self._decoder.unclaimed():
            os.close(fd)
        waiting, self._waiting = self._waiting, {}
        for settle, arguments in waiting.values():
            settle(*arguments, {"error": _NOWHERE + "restart Lambent"}, [])
        for sandbox in self._sandboxes.values():
            sandbox.end(Exit(signal=_KILLED))
        if not self.died.done():
            self.died.set_result(None)


Take = Callable[[str, Message, list[int]], object]


def _wait(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _binds(binds: tuple[Bind, ...]) -> list[list[str]]:
    return [[bind.source, bind.target] for bind in binds]


def _limits(limits: Limits) -> dict[str, int]:
    return {
        "memory_mib": limits.memory_mib,
        "cpu_milli": limits.cpu_milli,
        "tmp_mib": limits.tmp_mib,
        "pids": limits.pids,
        "fds": limits.fds,
    }


def _peak_in(text: bytes, kind: str) -> int:
    if kind != "status":
        return int(text)
    at = text.find(b"VmHWM:")
    return int(text[at + 6 :].split(None, 1)[0]) * 1024 if at >= 0 else 0
