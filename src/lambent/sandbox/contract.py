"""What a sandbox is, to the rest of the program. Implemented by the spawner's client (`client.py`, real isolation) and by
plain processes (`process.py`, `--isolation=process`); one contract suite runs on both.
"""

import asyncio
import socket
from typing import Protocol

import msgspec

from lambent.errors import LambentError


class SandboxError(LambentError):
    """A sandbox could not be made or changed. Says which step failed and what the host lacks."""


class Bind(msgspec.Struct, frozen=True):
    """A read-only bind mount of a host file or folder."""

    source: str
    target: str


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the kernel enforces. May be changed once, when a standby sandbox is attached to a function; CPU alone any time."""

    memory_mib: int
    #: CPU in thousandths of a core. AWS: one core at 1769 MB, in proportion.
    cpu_milli: int
    #: Size of the private /tmp; writing past it is ENOSPC.
    tmp_mib: int = 512
    #: Processes and threads (AWS: 1024).
    pids: int = 1024
    #: Open descriptors per process (AWS: 1024).
    fds: int = 1024


class SandboxSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How to make a sandbox. With an empty `argv` it is made and waits for `Sandbox.start`."""

    id: str
    limits: Limits
    argv: tuple[str, ...] = ()
    #: The complete environment of the first process.
    environment: dict[str, str] = {}
    cwd: str = "/"
    binds: tuple[Bind, ...] = ()
    #: TCP ports on the sandbox's own 127.0.0.1 whose listening sockets are handed to the node.
    listen_ports: tuple[int, ...] = ()


class Exit(msgspec.Struct, frozen=True):
    """How the first process ended. Exactly one of `status` and `signal` is set."""

    status: int | None = None
    signal: int | None = None
    #: The kernel's out-of-memory killer ended it, or one of its children.
    out_of_memory: bool = False


class Sandbox(Protocol):
    """One sandbox. It serves one owner for life and is then discarded. Every method may be called in any state; after
    the first process has ended, `attach` and `start` raise `SandboxError`, the others do nothing.
    """

    id: str
    #: The node's end of a stream socketpair; the other end is descriptor 3 of the first process. Non-blocking.
    channel: socket.socket
    #: Read end of the pipe that is stdout and stderr of everything in the sandbox. Non-blocking. The owner closes neither;
    #: `discard` does.
    output: int
    #: Listening sockets inside the sandbox's network namespace, by port (`process`: a port map, see `port_of`).
    listeners: dict[int, socket.socket]
    #: Resolves when the first process has ended, however it ended. Never raises.
    exited: "asyncio.Future[Exit]"

    def port_of(self, port: int) -> int:
        """The port under which a process in the sandbox reaches `listen_ports` entry `port` (itself, but for `process`)."""

    def path_of(self, path: str) -> str:
        """Where a process in the sandbox finds the sandbox path (itself, but for `process`, which has no mounts)."""

    async def attach(self, binds: tuple[Bind, ...], limits: Limits) -> None:
        """Mounts more folders into the running sandbox and sets its final limits, all or nothing."""

    async def start(self, argv: tuple[str, ...], environment: dict[str, str], cwd: str) -> None:
        """Runs the first process of a sandbox that was made without one."""

    def limit_cpu(self, cpu_milli: int) -> None:
        """Changes the CPU limit alone, within a moment and as often as wanted; does not wait. `process`: no effect."""

    def memory_peak_bytes(self) -> int:
        """Highest memory use so far as the kernel counted it; cheap enough for every call. 0 when the host cannot tell."""

    def kill(self) -> None:
        """SIGKILL to everything in it, at once. Idempotent, does not wait; `exited` tells when it is over."""

    async def discard(self) -> None:
        """Kills it and removes everything of it (processes, mounts, cgroups, descriptors). Idempotent; returns when it is gone."""


class Isolation(msgspec.Struct, frozen=True):
    """What the host gives. Shown by `lambent doctor`, at start, and in the ready line."""

    #: "root", "rootless" or "process".
    mode: str
    #: "v1", "v2", "hybrid" or "none".
    cgroups: str
    #: Sentences that say what is weaker than full isolation, and what would mend it.
    weaker: tuple[str, ...] = ()


class Sandboxes(Protocol):
    """Makes sandboxes."""

    isolation: Isolation

    async def create(self, spec: SandboxSpec) -> Sandbox:
        """A sandbox whose first process runs (or waits). Raises `SandboxError`; then nothing of it is left."""

    async def stop(self) -> None:
        """Discards every sandbox and ends the spawner. Idempotent."""
