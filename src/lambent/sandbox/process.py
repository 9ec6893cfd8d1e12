"""`--isolation=process`: the contract with plain processes. No protection at all, for trusted code and for tests.

There are no mounts, so paths are mapped: what is below a bind's target is found below its source, and /var/task,
/var/runtime, /var/lang, /opt and /tmp are folders of the sandbox's own. argv, cwd and variables that are paths (or lists of
paths with `:`) are mapped before they reach the process; a path that is mapped already stays as it is.
"""

import asyncio
import contextlib
import ctypes
import os
import resource
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from lambent.sandbox.contract import Bind, Exit, Isolation, Limits, SandboxError, SandboxSpec
from lambent.sandbox.specs import check_arguments, check_limits, check_spec

_OWN_FOLDERS = ("/var/task", "/var/runtime", "/var/lang", "/opt", "/tmp")
_PR_SET_PDEATHSIG = 1
_CHANNEL_FD = 3
_BACKLOG = 128
_libc = ctypes.CDLL(None)

WEAKER = (
    "Functions run as plain processes with your rights: they see your files, processes and network.",
    "Memory, CPU time and the size of /tmp are not limited.",
)


class ProcessSandbox:
    """One process group; see `contract.Sandbox`."""

    def __init__(self, owner: "ProcessSandboxes", spec: SandboxSpec, folder: Path) -> None:
        self.id = spec.id
        self._owner = owner
        self._folder = folder
        self._limits = spec.limits
        self._binds = spec.binds
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._status_fd = -1
        self._peak_bytes = 0
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[Exit] = self._loop.create_future()
        for path in _OWN_FOLDERS:
            (folder / path[1:]).mkdir(parents=True)
        self.channel, self._its_channel = socket.socketpair()
        self.channel.setblocking(False)
        self.output, self._its_output = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.output, False)
        self.listeners = {port: _listener() for port in spec.listen_ports}

    def port_of(self, port: int) -> int:
        number: int = self.listeners[port].getsockname()[1]
        return number

    def path_of(self, path: str) -> str:
        return map_path(path, self._binds, str(self._folder))

    async def attach(self, binds: tuple[Bind, ...], limits: Limits) -> None:
        self._check_running()
        check_limits(limits)
        _check_sources(binds)
        self._binds = (*binds, *self._binds)
        self._limits = limits
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(self._process.pid, resource.RLIMIT_NOFILE, (limits.fds, limits.fds))

    def limit_cpu(self, cpu_milli: int) -> None:
        """Plain processes have no CPU limit."""

    async def start(self, argv: tuple[str, ...], environment: dict[str, str], cwd: str) -> None:
        self._check_running()
        if not argv:
            raise SandboxError("a sandbox cannot be started without a program")
        check_arguments(argv, environment)
        if self._process is not None:
            raise SandboxError("the sandbox's first process has been started before")
        reserved = _reserve_descriptor_three()
        try:
            # Blocks for the fork only, about 1 ms.
            self._process = subprocess.Popen(  # noqa: ASYNC220
                [self.path_of(word) for word in argv],
                env={name: self._mapped_list(value) for name, value in environment.items()},
                cwd=self.path_of(cwd),
                stdin=subprocess.DEVNULL,
                stdout=self._its_output,
                stderr=self._its_output,
                start_new_session=True,
                # The node has no other thread that could hold a lock over this fork's few calls.
                preexec_fn=self._before_exec,
                close_fds=False,  # every descriptor of the node is close-on-exec
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise SandboxError(f"could not run {argv[0]}: {error}") from error
        finally:
            if reserved:
                os.close(_CHANNEL_FD)
        self._close_its_ends()
        self._pidfd = os.pidfd_open(self._process.pid)
        with contextlib.suppress(OSError):
            self._status_fd = os.open(f"/proc/{self._process.pid}/status", os.O_RDONLY | os.O_CLOEXEC)
        self._loop.add_reader(self._pidfd, self._on_end)

    def _before_exec(self) -> None:
        os.dup2(self._its_channel.fileno(), _CHANNEL_FD)
        os.set_inheritable(_CHANNEL_FD, True)
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_NOFILE, (self._limits.fds, self._limits.fds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def _mapped_list(self, value: str) -> str:
        return ":".join(self.path_of(part) for part in value.split(":"))

    def memory_peak_bytes(self) -> int:
        if self._status_fd >= 0:
            with contextlib.suppress(OSError):
                text = os.pread(self._status_fd, 4096, 0)
                at = text.find(b"VmHWM:")
                if at >= 0:
                    self._peak_bytes = max(self._peak_bytes, int(text[at + 6 :].split(None, 1)[0]) * 1024)
        return self._peak_bytes

    def kill(self) -> None:
        if self.exited.done():
            return
        if self._process is None:
            self.exited.set_result(Exit(signal=signal.SIGKILL))
        elif self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def discard(self) -> None:
        self.kill()
        await asyncio.shield(self.exited)
        if self._closed:
            return
        self._closed = True
        self._owner.forget(self)
        self.channel.close()
        os.close(self.output)
        self._close_its_ends()
        for listener in self.listeners.values():
            listener.close()
        if self._status_fd >= 0:
            os.close(self._status_fd)
            self._status_fd = -1
        await asyncio.to_thread(shutil.rmtree, self._folder, True)

    def _on_end(self) -> None:
        assert self._process is not None
        self.memory_peak_bytes()
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        # What it left in its group must go before the number of the group may be given to another.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        code = self._process.wait()
        if not self.exited.done():
            self.exited.set_result(Exit(signal=-code) if code < 0 else Exit(status=code))

    def _close_its_ends(self) -> None:
        self._its_channel.close()
        if self._its_output >= 0:
            os.close(self._its_output)
            self._its_output = -1

    def _check_running(self) -> None:
        if self.exited.done() or self._closed:
            raise SandboxError("the sandbox has ended")


class ProcessSandboxes:
    """Makes plain processes; see `contract.Sandboxes`. `folder` is a folder of this instance alone."""

    def __init__(self, folder: str) -> None:
        self.isolation = Isolation(mode="process", cgroups="none", weaker=WEAKER)
        self._folder = Path(folder)
        self._sandboxes: dict[str, ProcessSandbox] = {}
        self._stopped = False
        shutil.rmtree(self._folder, ignore_errors=True)  # of an earlier run that was killed
        self._folder.mkdir(parents=True)

    async def create(self, spec: SandboxSpec) -> ProcessSandbox:
        check_spec(spec)
        if self._stopped:
            raise SandboxError("no more sandboxes are made: the platform stops")
        if spec.id in self._sandboxes:
            raise SandboxError(f"a sandbox {spec.id!r} exists already")
        _check_sources(spec.binds)
        sandbox = ProcessSandbox(self, spec, self._folder / spec.id)
        self._sandboxes[spec.id] = sandbox
        if spec.argv:
            try:
                await sandbox.start(spec.argv, spec.environment, spec.cwd)
            except BaseException:
                await sandbox.discard()
                raise
        return sandbox

    def forget(self, sandbox: ProcessSandbox) -> None:
        self._sandboxes.pop(sandbox.id, None)

    async def stop(self) -> None:
        self._stopped = True
        for sandbox in tuple(self._sandboxes.values()):
            await sandbox.discard()
        await asyncio.to_thread(shutil.rmtree, self._folder, True)


def map_path(path: str, binds: tuple[Bind, ...], folder: str) -> str:
    """Where a sandbox path lies on the host; the longest target wins, and among equal ones the first."""
    if not path.startswith("/") or any(_below(path, source) for source in (folder, *(bind.source for bind in binds))):
        return path
    places = [(bind.target, bind.source) for bind in binds] + [(own, folder + own) for own in _OWN_FOLDERS]
    best = max((place for place in places if _below(path, place[0])), key=lambda place: len(place[0]), default=None)
    return path if best is None else best[1] + path[len(best[0]) :]


def _reserve_descriptor_three() -> bool:
    """Occupies descriptor 3 if it is free, so that `subprocess` puts nothing of its own where the channel goes."""
    try:
        os.fstat(_CHANNEL_FD)
        return False
    except OSError:
        null = os.open("/dev/null", os.O_RDONLY)
        if null != _CHANNEL_FD:
            os.dup2(null, _CHANNEL_FD, inheritable=False)
            os.close(null)
        return True


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _check_sources(binds: tuple[Bind, ...]) -> None:
    for bind in binds:
        if not os.path.exists(bind.source):
            raise SandboxError(f"{bind.source}, to be mounted at {bind.target}, does not exist")


def _listener() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener
