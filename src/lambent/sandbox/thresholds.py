"""Asks the kernel for reports about memory use (control groups version 1), off the spawner's path.

Registering a threshold waits for an RCU grace period, 8 to 16 ms measured, in which the spawner could have made four
sandboxes. So a process beside it, forked at its start, does the waiting on a few threads. Standard library only.
"""

import _thread
import array
import contextlib
import os
import signal
import socket

from lambent.sandbox import syscalls as sc

#: Waits that overlap share a grace period, so that each thread is worth about 100 registrations a second.
_THREADS = 6
_TEXT_MAX = 64


class Registrar:
    """The spawner's end. Made before the spawner holds anything that a fork should not keep."""

    def __init__(self) -> None:
        self._socket, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid = os.fork()
        if self._pid == 0:
            self._socket.close()
            _serve(its_end)
        its_end.close()
        self._socket.setblocking(False)

    def close(self) -> None:
        """Ends the process beside."""
        self._socket.close()
        os.waitpid(self._pid, 0)

    def register(self, group: str, report: int, usage: int, threshold: int) -> None:
        """The eventfd `report` becomes readable when the group's use passes `threshold` bytes, and once when the kernel
        knows of it: what was passed before that is not reported. Does not wait, unless the process beside is flooded or
        gone. Raises `OSError`.
        """
        control = os.open(f"{group}/cgroup.event_control", os.O_WRONLY | os.O_CLOEXEC)
        try:
            rights = array.array("i", (control, report, usage))
            self._socket.sendmsg([b"%d" % threshold], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        except (BlockingIOError, ConnectionError):
            _register(control, report, usage, threshold)
        finally:
            os.close(control)


def _register(control: int, report: int, usage: int, threshold: int) -> None:
    os.write(control, b"%d %d %d" % (report, usage, threshold))
    os.eventfd_write(report, 1)


def _serve(requests: socket.socket) -> None:
    """The process beside: ends when the spawner does."""
    try:
        sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
        sc.set_process_name("lambent-thresholds", sc.argument_area())
        # Nothing of the spawner's: a copy of its connection or its lock would outlive it for a moment.
        requests = socket.socket(fileno=os.dup2(requests.detach(), 3, inheritable=False))
        sc.close_range(4)
        for _ in range(_THREADS - 1):
            _thread.start_new_thread(_work, (requests,))
        _work(requests)
    finally:
        os._exit(0)


def _work(requests: socket.socket) -> None:
    fds = array.array("i")
    while True:
        text, ancillary, _, _ = requests.recvmsg(_TEXT_MAX, socket.CMSG_SPACE(3 * fds.itemsize))
        if not text:
            return
        received = array.array("i")
        for _, _, payload in ancillary:
            received.frombytes(payload)
        # A sandbox that has ended meanwhile has no group any more, and nobody waits for its report.
        with contextlib.suppress(OSError):
            _register(received[0], received[1], received[2], int(text))
        for fd in received:
            os.close(fd)
