"""One sandbox as the spawner holds it: its processes, groups and descriptors. Standard library only."""

import array
import contextlib
import json
import os
import signal
import socket
from typing import Any

from lambent.sandbox import entry, mounts
from lambent.sandbox import syscalls as sc
from lambent.sandbox.cgroups import Group

_FDS_MAX = 32
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
#: Processes looked at when there is no control group to ask; more than a sandbox may have.
_PROCESSES_MAX = 4096


class Box:
    """State of one sandbox. `pending` is the number of the request that waits for it, or None."""

    def __init__(self, name: str, slot: int, group: Group, request: int) -> None:
        self.name = name
        self.slot = slot
        self.group = group
        self.pending: int | None = request
        self.discards: list[int] = []
        self.waits_for_start = False
        self.started = False
        self.ended: dict[str, int] | None = None
        self.reaped = False
        self.over_memory = False
        self.failure = ""
        self.listen_ports: list[int] = []
        self.memory_mib = 0
        #: Highest use seen by the watchdog, where there is no memory group.
        self.peak_bytes = 0
        self.pid = 0
        self.pidfd = -1
        self.control: socket.socket | None = None
        self.mount_namespace = -1
        self.tmp = -1
        #: For the node, until they are sent: channel, output, listeners.
        self.gifts: list[int] = []

    def launch(self, plan: entry.Plan) -> None:
        """Clones the child. Raises `OSError`."""
        own_control, its_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        channel, its_channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        output, its_output = os.pipe2(os.O_CLOEXEC)
        folder = plan.group.v2_folder()
        born_into = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if folder else -1
        try:
            pid, pidfd = sc.clone(entry.NAMESPACES, born_into)
            if pid == 0:
                try:
                    entry.run(plan, its_control, its_channel.fileno(), its_output)
                except BaseException as error:
                    entry.refuse_to_return(error)
            self.pid, self.pidfd = pid, pidfd
            channel.setblocking(False)
            os.set_blocking(output, False)
            own_control.setblocking(False)
            self.control, self.gifts = own_control, [channel.detach(), output]
        except OSError:
            own_control.close()
            channel.close()
            os.close(output)
            raise
        finally:
            its_control.close()
            its_channel.close()
            os.close(its_output)
            if born_into >= 0:
                os.close(born_into)

    def receive(self) -> dict[str, Any]:
        """One packet of the child with its descriptors; empty when it has gone."""
        assert self.control is not None
        fds = array.array("i")
        try:
            data, ancillary, _, _ = self.control.recvmsg(
                entry.PACKET_MAX, socket.CMSG_SPACE(_FDS_MAX * fds.itemsize), socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionError:
            return {}
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(payload)
        if fds:
            self.mount_namespace, self.tmp = fds[0], fds[1]
            self.gifts += fds[2:]
        message: dict[str, Any] = json.loads(data) if data else {}
        return message

    def order_start(self, argv: list[str], environment: dict[str, str], cwd: str) -> None:
        assert self.control is not None
        self.control.send(json.dumps({"argv": argv, "environment": environment, "cwd": cwd}).encode())
        self.waits_for_start = False

    def kill(self) -> None:
        """SIGKILL to process 1; the kernel kills the whole pid namespace with it."""
        if not self.reaped and self.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def reap(self) -> None:
        """After the pidfd has become readable. By now every process of the sandbox is gone."""
        _, status = os.waitpid(self.pid, 0)
        self.reaped = True
        if self.ended is None:
            self.ended = {"signal": os.WTERMSIG(status)} if os.WIFSIGNALED(status) else {"signal": signal.SIGKILL.value}

    def exit_report(self) -> dict[str, Any]:
        assert self.ended is not None
        by_memory = self.over_memory or self.group.out_of_memory_kills() > 0
        return {"event": "exit", "id": self.name, **self.ended, "out_of_memory": by_memory, "peak": self.peak_bytes}

    def tmp_bytes(self) -> int:
        """What lies in /tmp."""
        if self.tmp < 0:
            return 0
        room = os.fstatvfs(self.tmp)
        return (room.f_blocks - room.f_bfree) * room.f_frsize

    def first_process(self) -> int:
        """Host pid of the first process, 0 when it cannot be told: process 1's only child at this moment."""
        children = _children(self.pid)
        return children[0] if children else 0

    def resident_bytes(self) -> int:
        """Private memory of all processes, for hosts without a memory group. Shared memory is not counted."""
        total, found = 0, [self.pid]
        for pid in found:
            with contextlib.suppress(OSError, IndexError, ValueError):
                with open(f"/proc/{pid}/statm") as file:
                    fields = file.read().split()
                total += (int(fields[1]) - int(fields[2])) * _PAGE_BYTES
            found += _children(pid)[: _PROCESSES_MAX - len(found)]
        return total

    def close(self) -> None:
        """Closes all that the spawner holds."""
        self.group.close()
        if self.control is not None:
            self.control.close()
        for fd in (self.pidfd, self.mount_namespace, self.tmp, *self.gifts):
            if fd >= 0:
                os.close(fd)
        self.control, self.pidfd, self.mount_namespace, self.tmp, self.gifts = None, -1, -1, -1, []

    def attach(self, own_namespace: int, binds: list[tuple[str, str]], tmp_mib: int) -> None:
        mounts.attach(own_namespace, self.mount_namespace, binds, tmp_mib)


def _children(pid: int) -> list[int]:
    out: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children") as file:
                out += [int(word) for word in file.read().split()]
    return out
