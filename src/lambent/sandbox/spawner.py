"""The one process with rights: it makes sandboxes and does nothing else.

A program of its own, started as a file with `python -I -S` and given a connected stream socket. Standard library only,
one thread, no network, no secrets. Requests and events are in `messages.py`; every request has a number `n` and gets one
answer with it. When the socket ends, so does every sandbox, and then the spawner. When the spawner is killed, every
sandbox's process 1 gets SIGKILL from the kernel; their empty control groups go at the next start.
"""

import contextlib
import fcntl
import gc
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

# The package's folder comes last, so that nothing beside it can take the place of a module of the standard library.
sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from lambent.sandbox import mounts, rights, seccomp
from lambent.sandbox import syscalls as sc
from lambent.sandbox.box import Box
from lambent.sandbox.cgroups import Cgroups
from lambent.sandbox.entry import Plan
from lambent.sandbox.messages import Decoder, Message, MessageError, encode, receive, send_some

#: Sandboxes at once: each has a host uid of its own, and this many uids are taken from the base.
SANDBOXES_MAX = 100_000
#: How often hosts without a memory group look at what processes use.
WATCHDOG_SECONDS = 0.1
#: How often a sandbox around its memory limit is looked at (version 1), and the part of the time that may take: 1/20.
SUSPECT_SECONDS = 0.05
_SUSPECT_SHARE = 20
#: How often a control group that was still busy is tried again.
_RETRY_SECONDS = 0.01
#: How long the end waits for killed sandboxes; a process in uninterruptible sleep may take longer than anybody waits.
_END_SECONDS = 10.0
_LOCK_TRIES = 50
_TRIAL = "trial"


class Refused(Exception):
    """A request that cannot be met; the text is for the person who reads it."""


class Spawner:
    """The loop and what it holds."""

    def __init__(self, connection: socket.socket, run_dir: str, instance: str, uid_base: int | None) -> None:
        self._connection = connection
        self._decoder = Decoder()
        self._out: list[tuple[bytes, list[int]]] = []
        self._uid_base = uid_base
        self._boxes: dict[str, Box] = {}
        self._slots: list[int] = []
        self._slots_used = 0
        self._busy_groups: list[Box] = []
        self._suspects: set[Box] = set()
        self._next_look = 0.0
        self._poll = select.epoll()
        self._ready: dict[int, Callable[[int], object]] = {}
        self._ending = False
        self._command_line = sc.argument_area()
        self._seccomp = seccomp.program()
        #: While the trial runs, what would have been said to the node.
        self._trial: list[Message] | None = None
        self._own_namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._template = mounts.Template(f"{run_dir}/root")
        self.cgroups = Cgroups.open(instance, rootless=uid_base is None)
        self.cgroups.sweep(f"{run_dir}/groups")
        self._watch(connection.fileno(), self._on_connection)

    # -- the loop ----------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Until the node goes away."""
        while not self._ending:
            self._turn()
        for box in tuple(self._boxes.values()):
            box.kill()
            if box.reaped:
                self._forget(box)
        end = time.monotonic() + _END_SECONDS
        while (self._boxes or self._busy_groups) and time.monotonic() < end:
            self._turn()
        self.cgroups.close()

    def _turn(self) -> None:
        for fd, events in self._poll.poll(self._timeout()):
            if fd in self._ready:
                self._ready[fd](events)
        if self._busy_groups:
            self._busy_groups = [box for box in self._busy_groups if not self._removed(box)]
        if self._suspects:
            self._look_at_suspects()
        if self._watched_by_eye():
            self._look_at_memory()

    def _timeout(self) -> float:
        if self._busy_groups:
            return _RETRY_SECONDS
        if self._suspects:
            return max(0.0, self._next_look - time.monotonic())
        return WATCHDOG_SECONDS if self._watched_by_eye() or self._ending else -1

    def _watch(self, fd: int, ready: Callable[[int], object], events: int = select.EPOLLIN) -> None:
        self._poll.register(fd, events)
        self._ready[fd] = ready

    def _unwatch(self, fd: int) -> None:
        if self._ready.pop(fd, None) is not None:
            self._poll.unregister(fd)

    # -- the node ----------------------------------------------------------------------------------------------------

    def _on_connection(self, events: int) -> None:
        try:
            if events & select.EPOLLOUT:
                self._flush()
            if events & ~select.EPOLLOUT:
                data, fds = receive(self._connection)
                if not data:
                    self._end()
                    return
                for request, _ in self._decoder.feed(data, fds):
                    self._on_request(request)
        except BlockingIOError:
            return
        except (OSError, MessageError):
            self._end()

    def _end(self) -> None:
        self._ending = True
        self._unwatch(self._connection.fileno())

    def _on_request(self, request: Message) -> None:
        operations = {
            "create": self._create,
            "attach": self._attach,
            "start": self._start,
            "limit_cpu": self._limit_cpu,
            "kill": self._kill,
            "discard": self._discard,
        }
        try:
            operations[request["op"]](request)
        except Refused as refusal:
            self._answer(request.get("n"), {"error": str(refusal)})
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            self._answer(request.get("n"), {"error": f"{error.strerror}{where}"})
        except Exception as error:  # a mistake of ours ends this request, not every sandbox of the node
            sys.excepthook(type(error), error, error.__traceback__)
            self._answer(request.get("n"), {"error": f"internal error of the spawner: {error!r}"})

    def _answer(self, number: int | None, message: Message, fds: list[int] | None = None) -> None:
        """Descriptors are copies made by `dup` or to be given away: they are closed when sent."""
        if number is not None:
            self._say({"n": number, **message}, fds)

    def _say(self, message: Message, fds: list[int] | None = None) -> None:
        if self._trial is not None:
            self._trial.append(message)
            for fd in fds or ():
                os.close(fd)
            return
        self._out.append((encode(message, len(fds or ())), fds or []))
        if len(self._out) == 1 and not self._ending:
            with contextlib.suppress(OSError):
                self._flush()

    def _flush(self) -> None:
        while self._out:
            data, fds = self._out[0]
            try:
                sent = send_some(self._connection, data, fds)
            except BlockingIOError:
                self._poll.modify(self._connection.fileno(), select.EPOLLIN | select.EPOLLOUT)
                return
            for fd in fds:
                os.close(fd)
            if sent < len(data):
                self._out[0] = (data[sent:], [])
            else:
                del self._out[0]
        self._poll.modify(self._connection.fileno(), select.EPOLLIN)

    # -- requests ----------------------------------------------------------------------------------------------------

    def _create(self, request: Message) -> None:
        name, limits = request["id"], request["limits"]
        if not name or "/" in name or name.startswith("."):
            raise Refused("a sandbox's id becomes the name of a folder")
        if name in self._boxes:
            raise Refused(f"a sandbox {name!r} exists already")
        binds = self._mount_points(request["binds"])
        slot = self._take_slot()
        try:
            group = self.cgroups.make(name)
        except OSError:
            self._slots.append(slot)
            raise
        box = Box(name, slot, group, request["n"])
        box.listen_ports = request["listen_ports"]
        box.waits_for_start = not request["argv"]
        try:
            self._set_limits(box, limits)
            box.launch(self._plan(request, box, binds))
        except OSError:
            self._slots.append(slot)
            box.close()
            self._remove_groups(box)
            raise
        self._boxes[name] = box
        assert box.control is not None
        self._watch(box.control.fileno(), lambda _: self._on_child(box))
        self._watch(box.pidfd, lambda _: self._on_end(box))

    def _plan(self, request: Message, box: Box, binds: list[tuple[str, str]]) -> Plan:
        limits = request["limits"]
        return Plan(
            template=self._template.path,
            hostname=mounts.HOSTNAME,
            host_id=None if self._uid_base is None else self._uid_base + box.slot,
            binds=binds,
            tmp_mib=limits["tmp_mib"],
            fds=limits["fds"],
            pids=limits["pids"],
            listen_ports=request["listen_ports"],
            argv=request["argv"],
            environment=request["environment"],
            cwd=request["cwd"],
            group=box.group,
            command_line=self._command_line,
            seccomp=self._seccomp,
        )

    def _mount_points(self, binds: list[list[str]]) -> list[tuple[str, str]]:
        for source, target in binds:
            refusal = mounts.check_target(target)
            if refusal:
                raise Refused(refusal)
            if not os.path.exists(source):
                raise Refused(f"{source}, to be mounted at {target}, does not exist")
            self._template.make_mount_point(target, os.path.isdir(source))
        return [(source, target) for source, target in binds]

    def _take_slot(self) -> int:
        if self._slots:
            return self._slots.pop()
        if self._slots_used >= SANDBOXES_MAX:
            raise Refused(f"{SANDBOXES_MAX} sandboxes are all that have user ids")
        self._slots_used += 1
        return self._slots_used - 1

    def _set_limits(self, box: Box, limits: Message) -> None:
        box.memory_mib = limits["memory_mib"]
        box.group.limit(limits["memory_mib"], limits["tmp_mib"], limits["cpu_milli"], limits["pids"])
        if box.group.report_fd >= 0 and box.group.report_fd not in self._ready:
            self._watch(box.group.report_fd, lambda _: self._on_memory(box), select.EPOLLIN | select.EPOLLPRI)

    def _running(self, request: Message) -> Box:
        box = self._boxes.get(request["id"])
        if box is None or box.ended is not None or box.reaped:
            raise Refused("the sandbox has ended")
        return box

    def _attach(self, request: Message) -> None:
        box, limits = self._running(request), request["limits"]
        binds = self._mount_points(request["binds"])
        box.attach(self._own_namespace, binds, limits["tmp_mib"])
        try:
            self._set_limits(box, limits)
        except OSError:
            mounts.detach(self._own_namespace, box.mount_namespace, [target for _, target in binds])
            raise
        self._answer(request["n"], {"ok": {}})

    def _start(self, request: Message) -> None:
        box = self._running(request)
        if not box.waits_for_start or box.pending is not None:
            raise Refused("the sandbox's first process has been started before")
        box.order_start(request["argv"], request["environment"], request["cwd"])
        box.pending = request["n"]

    def _limit_cpu(self, request: Message) -> None:
        box = self._boxes.get(request["id"])
        if box is not None and box.ended is None and not box.reaped:
            box.group.limit_cpu(request["cpu_milli"])

    def _kill(self, request: Message) -> None:
        box = self._boxes.get(request["id"])
        if box is not None:
            box.kill()

    def _discard(self, request: Message) -> None:
        box = self._boxes.get(request["id"])
        if box is None:
            self._answer(request["n"], {"ok": {}})
            return
        box.discards.append(request["n"])
        box.kill()
        if box.reaped:
            self._forget(box)

    # -- sandboxes ---------------------------------------------------------------------------------------------------

    def _on_child(self, box: Box) -> bool:
        """Takes one packet of the child; False when there is none."""
        assert box.control is not None
        try:
            message = box.receive()
        except BlockingIOError:
            return False
        if not message:
            self._unwatch(box.control.fileno())
            return False
        if "failed" in message:
            self._failed(box, message["failed"])
        elif "ready" in message or "started" in message:
            box.started = box.started or "started" in message
            self._made(box)
        elif "ended" in message:
            box.ended = message["ended"]
        return True

    def _made(self, box: Box) -> None:
        number, box.pending = box.pending, None
        reply: dict[str, Any] = {}
        fds: list[int] = []
        if box.gifts:
            reply["listen_ports"], fds, box.gifts = box.listen_ports, box.gifts, []
            kind, fd = box.group.open_peak()
            reply["peak"] = kind
            fds += [fd] if fd >= 0 else []
        if box.started and not box.group.has_memory:
            with contextlib.suppress(OSError):
                fds = [*fds, os.open(f"/proc/{box.first_process()}/status", os.O_RDONLY | os.O_CLOEXEC)]
                reply["peak"] = "status"
        self._answer(number, {"ok": reply}, fds)

    def _failed(self, box: Box, failure: str) -> None:
        """A sandbox that could not be made is taken away; one that waits may be given another order."""
        if box.gifts:
            box.failure = failure
            box.kill()
            return
        number, box.pending = box.pending, None
        box.waits_for_start = True
        self._answer(number, {"error": failure})

    def _on_end(self, box: Box) -> None:
        while self._on_child(box):
            pass  # what it said before it ended, in order
        assert box.control is not None
        self._unwatch(box.control.fileno())
        for fd in (box.pidfd, box.group.report_fd):
            self._unwatch(fd)
        self._suspects.discard(box)
        box.reap()
        if box.pending is not None:
            number, box.pending = box.pending, None
            self._answer(number, {"error": box.failure or "the sandbox ended before it was ready"})
        if box.gifts:
            self._forget(box)
            return
        self._say(box.exit_report())
        if box.discards or self._ending:
            self._forget(box)

    def _forget(self, box: Box) -> None:
        del self._boxes[box.name]
        box.close()
        self._slots.append(box.slot)
        self._remove_groups(box)

    def _remove_groups(self, box: Box) -> None:
        if not self._removed(box):
            self._busy_groups.append(box)

    def _removed(self, box: Box) -> bool:
        if not box.group.remove():
            return False
        for number in box.discards:
            self._answer(number, {"ok": {}})
        return True

    # -- memory ------------------------------------------------------------------------------------------------------

    def _on_memory(self, box: Box) -> None:
        """The kernel says that a sandbox's use has passed its limit, /tmp included."""
        box.group.acknowledge_report()
        if not self._judge_memory(box):
            self._suspects.add(box)

    def _judge_memory(self, box: Box) -> bool:
        """Kills a sandbox that uses too much. True when it need not be looked at again before the next report."""
        if box.reaped or box.over_memory:
            return True
        if box.group.over_memory(box.tmp_bytes()):
            box.over_memory = True
            box.kill()
            return True
        return box.group.settled()

    def _look_at_suspects(self) -> None:
        start = time.monotonic()
        if start < self._next_look:
            return
        self._suspects = {box for box in self._suspects if not self._judge_memory(box)}
        now = time.monotonic()
        self._next_look = now + max(SUSPECT_SECONDS, (now - start) * _SUSPECT_SHARE)

    def _watched_by_eye(self) -> bool:
        return "memory" not in self.cgroups.places and bool(self._boxes)

    def _look_at_memory(self) -> None:
        for box in self._boxes.values():
            if box.reaped:
                continue
            resident = box.resident_bytes()
            box.peak_bytes = max(box.peak_bytes, resident)
            if resident > box.memory_mib * 1024 * 1024:
                box.over_memory = True
                box.kill()

    # -- the trial ---------------------------------------------------------------------------------------------------

    def try_one(self) -> None:
        """Makes a sandbox and takes it away, so that what the host lacks is found at the start. Raises `Refused`."""
        limits = {"memory_mib": 64, "tmp_mib": 1, "cpu_milli": 1000, "fds": 64, "pids": 16}
        request: Message = {"op": "create", "id": _TRIAL, "n": 0, "limits": limits, "binds": [], "argv": []}
        answers = self._trial = []
        self._on_request({**request, "environment": {}, "cwd": "/", "listen_ports": []})
        while not answers:
            self._turn()
        self._discard({"id": _TRIAL, "n": 1})
        while self._boxes or self._busy_groups:
            self._turn()
        self._trial = None
        if "error" in answers[0]:
            raise Refused(str(answers[0]["error"]))


def prepare(connection: socket.socket, run_dir: str, instance: str, uid_base: int | None) -> Spawner:
    """Takes the instance's lock and the rights, and proves them. Raises `Refused` and `OSError`."""
    os.makedirs(run_dir, mode=0o700, exist_ok=True)
    lock = os.open(f"{run_dir}/spawner.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    _take_lock(lock, run_dir)
    # What is put together here must be readable for sandboxes, whatever the node's own files are to be.
    os.umask(0o022)
    _raise_descriptor_limit()
    if uid_base is None:
        rights.become_rootless()
    sc.unshare(sc.CLONE_NEWNS)
    # What the host mounts later is seen here; what is mounted here is seen nowhere else.
    sc.mount("", "/", "", sc.MS_REC | sc.MS_SLAVE)
    spawner = Spawner(connection, run_dir, instance, uid_base)
    try:
        spawner.try_one()
    except (Refused, OSError):
        spawner.cgroups.close()
        raise
    return spawner


def _take_lock(lock: int, run_dir: str) -> None:
    """Waits a moment: processes of a spawner that was killed just now still hold its lock."""
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(_RETRY_SECONDS)
    raise Refused(f"another Lambent uses {run_dir} already")


def _raise_descriptor_limit() -> None:
    """A sandbox costs the spawner six descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> int:
    """Arguments: `--socket=FD --run-dir=FOLDER --instance=NAME`, and `--uid-base=UID` for a spawner with root's rights."""
    given = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[1:])
    connection = socket.socket(fileno=int(given["socket"]))
    connection.set_inheritable(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the node, which then ends the socket
    signal.signal(signal.SIGTERM, lambda *_: connection.shutdown(socket.SHUT_RDWR))
    uid_base = int(given["uid-base"]) if "uid-base" in given else None
    try:
        spawner = prepare(connection, given["run-dir"], given["instance"], uid_base)
    except (Refused, OSError) as error:
        connection.sendall(encode({"event": "failed", "error": rights.explain(error, uid_base is None)}))
        return 1
    isolation = rights.isolation(uid_base is None, spawner.cgroups.version, spawner.cgroups.missing)
    with contextlib.suppress(OSError):  # a node that has gone is noticed below, and everything is removed
        connection.sendall(encode({"event": "ready", "isolation": isolation}))
    connection.setblocking(False)
    # A collection would write to every object's header, and so copy all of memory into each sandbox's process 1. Nothing
    # here makes reference cycles that grow.
    gc.disable()
    spawner.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
