"""The embedded NATS server: a real nats-server as a child process that starts, restarts and ends with the node."""

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import secrets
import shutil
import signal
from pathlib import Path
from typing import NamedTuple

from lambent.bus import store_lock
from lambent.bus.binary import find_server
from lambent.bus.faults import BusFault, DataDirUnusable, StoreDamaged
from lambent.bus.server_config import ServerConfig, damage, failure, render
from lambent.bus.tasks import end_task
from lambent.settings import Settings

_log = logging.getLogger("lambent.bus")

#: Recovery of a large store takes a while; a server that is not ready by then is reported.
START_TIMEOUT_S = 60.0
#: How long the server may take to write out its store before it is killed.
STOP_TIMEOUT_S = 10.0
_POLL_S = 0.002
_RESTART_DELAY_MIN_S = 0.05
_RESTART_DELAY_MAX_S = 5.0
#: Log text that is read back to explain a failure.
_LOG_READ_MAX = 256 * 1024

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Credential(NamedTuple):
    user: str
    password: str


class EmbeddedServer:
    """States: new -> running <-> restarting -> stopped. After `start` the attributes `url` and `credential` hold."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = Path(settings.data_dir) / "nats"
        self._port = settings.nats_port or -1
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._lock: int | None = None
        self._stopping = False
        self._log_from = 0
        self.credential = Credential("", "")
        self.restarts = 0

    @property
    def url(self) -> str:
        """Without credential: where plain clients connect."""
        return f"nats://{_connect_host(self._settings.listen)}:{self._port}"

    @property
    def port(self) -> int:
        return self._port

    @property
    def pid(self) -> int:
        """Of the running server; 0 while it is not running."""
        return self._process.pid if self._process is not None and self._process.returncode is None else 0

    async def start(self) -> None:
        """Returns when clients can connect. Raises a `BusFault` that says what is wrong and leaves nothing behind."""
        self._make_folders()
        self._lock = await asyncio.to_thread(store_lock.acquire, self._folder / "lock")
        try:
            self._binary = find_server()
            self.credential = _load_credential(self._folder / "credential.json")
            await self._launch()
        except BaseException:
            await self._end_process()
            self._unlock()
            raise
        self._supervisor = asyncio.create_task(self._supervise(), name="nats-server supervisor")

    async def stop(self) -> None:
        """Ends the server cleanly and frees the data directory. Idempotent."""
        self._stopping = True
        if self._supervisor is not None:
            await end_task(self._supervisor)
            self._supervisor = None
        await self._end_process()
        self._unlock()

    def _make_folders(self) -> None:
        try:
            Path(self._settings.data_dir).mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self._folder, self._folder / "run", self._folder.parent / "jetstream"):
                folder.mkdir(mode=0o700, exist_ok=True)
            probe = self._folder / ".writable"
            probe.write_text("")
            probe.unlink()
        except OSError as error:
            raise DataDirUnusable(
                f"the data directory {self._settings.data_dir} cannot be used: {error.strerror}; "
                "choose another one with --data-dir"
            ) from error

    def _config(self) -> ServerConfig:
        free = shutil.disk_usage(self._folder).free
        return ServerConfig(
            listen=self._settings.listen,
            port=self._port,
            folder=self._folder,
            user=self.credential.user,
            password=self.credential.password,
            relaxed=self._settings.relaxed_durability,
            # The log stream reserves its bound; the rest is bounded by the disk.
            store_bytes_max=free * 3 // 4 + 2 * self._settings.log_bytes_max,
        )

    async def _launch(self) -> None:
        """One start of the process; returns when it listens."""
        config = self._config()
        path = self._folder / "server.conf"
        _write_private(path, render(config))
        for old in (self._folder / "run").glob("*.ports"):
            old.unlink(missing_ok=True)
        log = self._folder / "server.log"
        self._log_from = log.stat().st_size if log.exists() else 0
        node = os.getpid()
        assert self._lock is not None
        self._process = await asyncio.create_subprocess_exec(
            str(self._binary.path),
            "-c",
            str(path),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            pass_fds=(self._lock,),
            # Its own session: Ctrl-C in the node's terminal must not reach it before the node has drained.
            start_new_session=True,
            preexec_fn=lambda: _die_with(node),
        )
        self._port = await self._wait_ready(self._process, config)
        lost = damage(self._new_log())
        if lost:
            raise StoreDamaged(
                f"JetStream could not recover part of {self._folder.parent / 'jetstream'}: {'; '.join(lost[:3])}. "
                "Restore the folder from a backup, or move it away to start empty"
            )

    async def _wait_ready(self, process: asyncio.subprocess.Process, config: ServerConfig) -> int:
        """The server writes its ports file once it listens. Returns the port."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_TIMEOUT_S
        ports = self._folder / "run" / f"{self._binary.path.name}_{process.pid}.ports"
        while loop.time() < deadline:
            if process.returncode is not None:
                raise failure(self._new_log(), config, process.returncode)
            with contextlib.suppress(OSError, ValueError, KeyError, IndexError):
                return int(json.loads(ports.read_text())["nats"][0].rsplit(":", 1)[1])
            await asyncio.sleep(_POLL_S)
        raise failure(self._new_log(), config, None)

    async def _supervise(self) -> None:
        """Restarts the server on the same port whenever it ends, with back-off; never gives up while the node runs."""
        delay_s = _RESTART_DELAY_MIN_S
        loop = asyncio.get_running_loop()
        while True:
            assert self._process is not None
            since = loop.time()
            code = await self._process.wait()
            _log.error("nats-server ended with status %s; starting it again in %.2f s", code, delay_s)
            if loop.time() - since > _RESTART_DELAY_MAX_S:
                delay_s = _RESTART_DELAY_MIN_S
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, _RESTART_DELAY_MAX_S)
            try:
                await self._launch()
                self.restarts += 1
            except (BusFault, OSError) as error:
                _log.error("nats-server could not be started again: %s", error)
                await self._end_process()

    async def _end_process(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            _log.error("nats-server did not end within %.0f s and was killed", STOP_TIMEOUT_S)
            process.kill()
            await process.wait()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _new_log(self) -> str:
        """What the server wrote since its last start (it rotates the file, then the position starts over)."""
        try:
            with (self._folder / "server.log").open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                start = self._log_from if self._log_from <= size else 0
                file.seek(max(start, size - _LOG_READ_MAX))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""


def _die_with(node: int) -> None:
    """In the child: ends with its parent. Checked after the call, as the parent may have died before it."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != node:
        os._exit(1)


def _load_credential(path: Path) -> Credential:
    """The credential of Lambent's own account, made at the first start."""
    try:
        found = json.loads(path.read_text())
        return Credential(found["user"], found["password"])
    except FileNotFoundError:
        credential = Credential(f"lambent-{secrets.token_hex(4)}", secrets.token_urlsafe(32))
        _write_private(path, json.dumps(credential._asdict()))
        return credential
    except OSError as error:
        raise DataDirUnusable(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataDirUnusable(f"{path} is damaged; remove it and a new credential is made") from error


def _write_private(path: Path, text: str) -> None:
    """Replaces the file as a whole, readable for its owner only."""
    new = path.with_name(path.name + ".new")
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise DataDirUnusable(f"cannot write {path}: {error.strerror}") from error


def _connect_host(listen: str) -> str:
    """Where the node itself and the printed URL connect to: a wildcard address is reached by loopback."""
    if listen in ("0.0.0.0", ""):
        return "127.0.0.1"
    if listen == "::":
        return "[::1]"
    return f"[{listen}]" if ":" in listen else listen
