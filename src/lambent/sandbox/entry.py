"""The child's side of making a sandbox: from the clone to the first process. Standard library only.

The clone becomes process 1 of the sandbox and stays: it builds the sandbox around itself, gives up every right, starts the
first process, reaps what becomes its child, and reports how the first process ended. A runtime as process 1 would not get
signals with their default action (`kill -TERM $$`, abort) and would have to reap strangers' children; on AWS it is not
process 1 either. The price is what this fork keeps to itself, see docs/decisions/own-sandbox.md.
"""

import array
import fcntl
import json
import os
import resource
import signal
import socket
import sys
from typing import Any, NamedTuple, NoReturn

from lambent.sandbox import mounts, network
from lambent.sandbox import syscalls as sc
from lambent.sandbox.cgroups import Group

NAMESPACES = sc.CLONE_NEWNS | sc.CLONE_NEWPID | sc.CLONE_NEWNET | sc.CLONE_NEWIPC | sc.CLONE_NEWUTS
#: Packets on the control socket hold an argv and environment (`messages.ARGUMENTS_MAX`) and their JSON quoting.
PACKET_MAX = 160 * 1024
#: Prefer a sandbox over the platform when the whole machine is out of memory.
_OOM_SCORE_ADJUST = 500
_CHANNEL_FD, _CONTROL_FD, _PROC_FD = 3, 4, 5
_DEFAULT_AGAIN = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


class Plan(NamedTuple):
    """What the spawner decided about one sandbox."""

    template: str
    hostname: str
    #: Host uid and gid of the sandbox, or None when the spawner has only its own (rootless).
    host_id: int | None
    binds: list[tuple[str, str]]
    tmp_mib: int
    fds: int
    pids: int
    listen_ports: list[int]
    argv: list[str]
    environment: dict[str, str]
    cwd: str
    group: Group
    #: Where the spawner's command line lies in memory.
    command_line: tuple[int, int]
    seccomp: bytes


def _yield_to_the_node() -> None:
    """Batch scheduling, for everything in the sandbox: the same share of time, but waking up does not push aside what runs.

    Else each frame that the node sends ends its own turn on a busy core (measured: 10 to 15 % of the node's time per call).
    """
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def run(plan: Plan, control: socket.socket, channel: int, output: int) -> NoReturn:
    """Everything that happens in the child. `control` is a seqpacket socket to the spawner."""
    step = "start"
    try:
        # With no handler, process 1 is deaf to every signal from inside its sandbox.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
        _yield_to_the_node()
        os.setsid()
        sc.set_process_name("init", plan.command_line)  # the spawner's own holds paths of the host
        step = "enter the control group"
        plan.group.enter()
        sc.unshare(sc.CLONE_NEWCGROUP)
        step = "set up the network"
        socket.sethostname(plan.hostname)
        network.loopback_up()
        listeners = [network.listen(port) for port in plan.listen_ports]
        step = "set up the file system"
        proc = mounts.enter_root(plan.template, plan.binds, plan.tmp_mib)
        own_mounts = os.open("/proc/self/ns/mnt", os.O_RDONLY)
        tmp = os.open("/tmp", os.O_PATH)
        gifts = [own_mounts, tmp, *(listener.fileno() for listener in listeners)]
        step = "hand over descriptors"
        _send(control, {"made": True}, gifts)
        # Before the limit on descriptors is lowered: the spawner may have more open than a sandbox may.
        control = _arrange_descriptors(control, channel, output, proc)
        step = "give up rights"
        _become_unprivileged(plan, _PROC_FD)
        if not plan.argv:
            _send(control, {"ready": True})
    except (OSError, ValueError) as error:
        _send(control, {"failed": _sentence(step, error)})
        os._exit(1)
    try:
        _serve(plan, control)
    except OSError:
        os._exit(1)  # the spawner is gone


def _sentence(step: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        where = f" ({error.filename})" if error.filename else ""
        return f"could not {step}: {os.strerror(error.errno)}{where}"
    return f"could not {step}: {error}"


def _become_unprivileged(plan: Plan, proc: int) -> None:
    """From here on the process has no rights on the host, and no way to get any."""
    _raise_oom_score(proc)
    inner = mounts.UID
    outer = inner
    if plan.host_id is not None:
        outer = plan.host_id
        # The user namespace is made by the sandbox's own user, who may then map itself; only making it needs a right,
        # which is kept over the change of user for that.
        sc.prctl(sc.PR_SET_KEEPCAPS, 1)
        os.setgroups([])
        os.setresgid(outer, outer, outer)
        os.setresuid(outer, outer, outer)
        sc.set_capabilities(1 << sc.CAP_SYS_ADMIN)
        sc.prctl(sc.PR_SET_DUMPABLE, 1)  # or /proc/self would belong to root and could not be written
    sc.unshare(sc.CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{inner} {outer} 1"), ("gid_map", f"{inner} {outer} 1")):
        _write_at(proc, f"self/{name}", text)
    os.close(proc)
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, plan.fds),
        # After the namespace is made: a namespace inherits its maker's limit as the limit for all its maker's processes.
        (resource.RLIMIT_NPROC, plan.pids + 1),
        (resource.RLIMIT_MEMLOCK, 64 * 1024),
    ):
        _lower_limit(kind, value)
    os.umask(0o022)
    sc.drop_all_capabilities()
    sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
    sc.install_seccomp(plan.seccomp)
    # The change of user has cleared this one. What is killed here takes the whole pid namespace with it.
    sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
    # The runtime has the same user: it shall not see into this process, which it could not signal anyway.
    sc.prctl(sc.PR_SET_DUMPABLE, 0)


def _raise_oom_score(proc: int) -> None:
    try:
        _write_at(proc, "self/oom_score_adj", str(_OOM_SCORE_ADJUST))
    except PermissionError:
        return  # the platform itself runs with a higher one, which may not be lowered


def _write_at(folder: int, path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY, dir_fd=folder)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(fd)


def _lower_limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))


def _arrange_descriptors(control: socket.socket, channel: int, output: int, proc: int) -> socket.socket:
    """0 /dev/null, 1 and 2 the output, 3 the channel; not inherited: 4 the control socket, 5 /proc; nothing else."""
    null = os.open("/dev/null", os.O_RDONLY)
    old = (control.detach(), channel, output, null, proc)
    # Copies above the final places first, so that none is overwritten before it is moved.
    control_fd, channel, output, null, proc = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _PROC_FD + 1) for fd in old)
    for fd, place in ((null, 0), (output, 1), (output, 2), (channel, _CHANNEL_FD)):
        os.dup2(fd, place, inheritable=True)
    os.dup2(control_fd, _CONTROL_FD, inheritable=False)
    os.dup2(proc, _PROC_FD, inheritable=False)
    sc.close_range(_PROC_FD + 1)
    return socket.socket(fileno=_CONTROL_FD)


def _serve(plan: Plan, control: socket.socket) -> NoReturn:
    """Waits for the order to start if none was given, starts, and outlives the first process by one report."""
    order: dict[str, Any] = {"argv": plan.argv, "environment": plan.environment, "cwd": plan.cwd}
    while True:
        if not order["argv"]:
            packet = control.recv(PACKET_MAX)
            if not packet:
                os._exit(0)
            order = json.loads(packet)
        try:
            first = _spawn(order["argv"], order["environment"], order["cwd"])
            break
        except (OSError, ValueError) as error:
            _send(control, {"failed": _sentence(f"run {order['argv'][0]}", error)})
            if plan.argv:
                os._exit(1)
            order["argv"] = []
    # The pipe and the channel belong to the first process now: their end is its end.
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (1, 2, _CHANNEL_FD):
        os.dup2(null, fd)
    os.close(null)
    _send(control, {"started": True})
    status = _reap_until(first)
    if os.WIFSIGNALED(status):
        _send(control, {"ended": {"signal": os.WTERMSIG(status)}})
    else:
        _send(control, {"ended": {"status": os.WEXITSTATUS(status)}})
    os._exit(0)


def _spawn(argv: list[str], environment: dict[str, str], cwd: str) -> int:
    os.chdir(cwd)
    try:
        # posix_spawn shares memory until the exec, so that nothing is copied; rights and limits are this process's own.
        return os.posix_spawn(argv[0], argv, environment, setsid=True, setsigdef=_DEFAULT_AGAIN, setsigmask=())
    finally:
        os.chdir("/")


def _reap_until(first: int) -> int:
    """Reaps whatever ends until the first process does; returns its wait status."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == first:
            return status


def _send(control: socket.socket, message: dict[str, Any], fds: list[int] | None = None) -> None:
    body = json.dumps(message).encode()
    if not fds:
        control.send(body)
        return
    control.sendmsg([body], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])


def refuse_to_return(error: BaseException) -> NoReturn:
    """A mistake of ours in the child: it must end here, for below it lies the spawner's own stack."""
    print(f"lambent sandbox child: {error!r}", file=sys.stderr, flush=True)  # noqa: T201
    os._exit(70)
