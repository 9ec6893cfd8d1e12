"""What code in a sandbox tries, and what it gets. Each test is one sentence about one door that is shut."""

import asyncio
import os
import re
import socket
import sys
from pathlib import Path

import pytest

from lambent.sandbox.contract import Bind, Limits, SandboxError
from sandbox_fixtures import (
    LIMITS,
    PATIENCE_SECONDS,
    ended,
    needs_root,
    needs_sandboxes,
    printed,
    python_spec,
    read_output,
    spawned,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sandboxes are Linux namespaces")

#: Prints the name of the error that an expression ends with, or what it gave.
TRY = """
import ctypes, errno, os, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), 'call')
    return result
def attempt(what):
    try:
        print(repr(what()))
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


def attempt(folder: Path, expression: str, binds: tuple[Bind, ...] = ()) -> str:
    return printed(folder, f"{TRY}\nattempt(lambda: {expression})", binds=binds)


def test_password_hashes_of_the_host_are_not_there(tmp_path: Path) -> None:
    assert attempt(tmp_path, "open('/etc/shadow').read()") == "ENOENT"


def test_users_of_the_host_are_not_listed(tmp_path: Path) -> None:
    names = printed(tmp_path, "print(*[l.split(':')[0] for l in open('/etc/passwd')])")
    assert names == "root sbx_user1051 nobody"


def test_function_runs_as_the_user_that_aws_has(tmp_path: Path) -> None:
    assert printed(
        tmp_path, "import os, pwd; print(os.getuid(), os.getgid(), os.getgroups(), pwd.getpwuid(os.getuid()).pw_name)"
    ) == ("993 993 [993] sbx_user1051" if os.geteuid() != 0 else "993 993 [] sbx_user1051")


@pytest.mark.parametrize(
    "path", ["/root", "/home", "/sys", "/boot", "/mnt", "/srv", "/var/lib", "/var/log", "/dev/shm", "/dev/pts"]
)
def test_folders_of_the_host_are_absent_or_empty(tmp_path: Path, path: str) -> None:
    (tmp_path / "run").mkdir()
    found = printed(tmp_path, f"import os; print(os.listdir({path!r}) if os.path.isdir({path!r}) else [])")
    allowed = (
        []
        if path != "/root"
        else [name for name in (".pyenv", ".local") if sys.base_prefix.startswith(f"/root/{name}")]
    )
    assert found == str(allowed)


def test_top_folder_holds_only_what_a_function_needs(tmp_path: Path) -> None:
    names = set(printed(tmp_path, "import os; print(*os.listdir('/'))").split())
    interpreter = sys.base_prefix.split("/")[1]
    assert names - {interpreter} <= {
        "bin", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "opt", "proc", "run", "sbin", "tmp", "usr", "var",
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/x", "/usr/x", "/etc/x", "/var/task/x", "/opt/x", "/dev/x", "/var/tmp/x", "/proc/x"])
def test_writing_outside_tmp_is_impossible(tmp_path: Path, path: str) -> None:
    assert attempt(tmp_path, f"open({path!r}, 'w')") in ("EROFS", "EACCES", "ENOENT")


def test_code_folder_is_read_only_even_when_its_owner_may_write(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir(mode=0o777)
    code.chmod(0o777)
    (code / "main.py").write_text("original")
    (code / "main.py").chmod(0o666)
    binds = (Bind(str(code), "/var/task"),)
    assert attempt(tmp_path, "open('/var/task/main.py', 'w')", binds) == "EROFS"
    assert (code / "main.py").read_text() == "original"


def test_folder_attached_later_is_read_only_too(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir(mode=0o777)
    code.chmod(0o777)

    async def run() -> str:
        async with spawned(tmp_path) as sandboxes:
            program = f"{TRY}\nos.read(3, 1)\nattempt(lambda: open('/var/task/x', 'w'))"
            sandbox = await sandboxes.create(python_spec("a", program))
            await sandbox.attach((Bind(str(code), "/var/task"),), LIMITS)
            sandbox.channel.send(b".")
            return await read_output(sandbox)

    assert asyncio.run(run()) == "EROFS\n"


def test_programs_with_the_setuid_bit_give_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "code"
    folder.mkdir()
    target = folder / "shell"
    target.write_bytes(Path("/bin/sh").read_bytes())
    target.chmod(0o6755)
    code = "import subprocess; print(subprocess.check_output(['/var/task/shell', '-pc', 'id -u'], text=True))"
    assert printed(tmp_path, code, binds=(Bind(str(folder), "/var/task"),)) == "993"


def test_no_capability_is_held_or_can_be_gained(tmp_path: Path) -> None:
    status = printed(tmp_path, "print(open('/proc/self/status').read())")
    assert set(re.findall(r"Cap\w+:\s*(\w+)", status)) == {"0" * 16}
    assert re.search(r"NoNewPrivs:\s*1", status)
    assert re.search(r"Seccomp:\s*2", status)


def test_only_processes_of_the_sandbox_are_seen(tmp_path: Path) -> None:
    pids = printed(
        tmp_path, "import os; print(*sorted(int(p) for p in os.listdir('/proc') if p.isdigit()), os.getpid())"
    )
    assert pids == "1 2 2"


def test_first_process_of_the_sandbox_tells_nothing(tmp_path: Path) -> None:
    code = TRY + (
        "print(open('/proc/1/cmdline').read().strip(chr(0)), open('/proc/1/comm').read().strip())\n"
        "for name in ('environ', 'mem', 'maps', 'fd', 'root', 'cwd', 'exe'):\n"
        "    attempt(lambda: os.listdir('/proc/1/fd') if name == 'fd' else os.readlink(f'/proc/1/{name}') if name in ('root', 'cwd', 'exe') else open(f'/proc/1/{name}', 'rb').read(1))"
    )
    lines = printed(tmp_path, code).splitlines()
    assert lines[0] == "init init"
    assert set(lines[1:]) <= {"EACCES", "EPERM"}
    assert len(lines) == 8


def test_first_process_of_the_sandbox_cannot_be_killed_from_inside(tmp_path: Path) -> None:
    assert printed(tmp_path, "import os; os.kill(1, 9); os.kill(1, 15); print(os.getppid())") == "1"


def test_processes_of_the_host_cannot_be_signalled(tmp_path: Path) -> None:
    assert attempt(tmp_path, f"os.kill({os.getpid() + 100_000}, 9)") == "ESRCH"


def test_orphans_are_reaped(tmp_path: Path) -> None:
    code = (
        "import os, time\n"
        "r, w = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    if os.fork() == 0: os.write(w, str(os.getpid()).encode()); os._exit(0)\n"
        "    os._exit(0)\n"
        "os.wait(); orphan = os.read(r, 9).decode()\n"
        "while os.path.exists('/proc/' + orphan): time.sleep(0.01)\n"
        "print('gone')"
    )
    assert printed(tmp_path, code) == "gone"


@pytest.mark.parametrize(
    "path",
    [
        "/proc/keys",
        "/proc/kallsyms",
        "/proc/kcore",
        "/proc/cmdline",
        "/proc/interrupts",
        "/proc/partitions",
        "/proc/kmsg",
    ],
)
def test_parts_of_proc_about_the_host_are_empty(tmp_path: Path, path: str) -> None:
    assert attempt(tmp_path, f"open({path!r}, 'rb').read(10)") in ("b''", "ENOENT", "EACCES")


@pytest.mark.parametrize(
    "path",
    ["/proc/sys/kernel/hostname", "/proc/sys/kernel/core_pattern", "/proc/self/oom_score_adj", "/proc/self/uid_map"],
)
def test_proc_cannot_be_written(tmp_path: Path, path: str) -> None:
    assert attempt(tmp_path, f"open({path!r}, 'w').write('0')") in ("EROFS", "EACCES", "EPERM")


def test_no_descriptor_but_the_four_is_inherited(tmp_path: Path) -> None:
    code = "import os; print({int(f): os.readlink(f'/proc/self/fd/{f}').split(':')[0] for f in os.listdir('/proc/self/fd') if int(f) < 4 or os.path.exists(f'/proc/self/fd/{f}')})"
    assert printed(tmp_path, code) == str({0: "/dev/null", 1: "pipe", 2: "pipe", 3: "socket"})


def test_network_is_a_loopback_of_its_own(tmp_path: Path) -> None:
    assert (
        printed(tmp_path, "import socket; print(socket.if_nameindex(), socket.gethostname())") == "[(1, 'lo')] sandbox"
    )


def test_services_on_the_hosts_loopback_are_not_reached(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert attempt(tmp_path, f"socket.create_connection(('127.0.0.1', {port}), 5)") == "ECONNREFUSED"


def test_addresses_outside_are_not_reached(tmp_path: Path) -> None:
    assert attempt(tmp_path, "socket.create_connection(('192.0.2.1', 80), 5)") == "ENETUNREACH"


def test_abstract_sockets_of_the_host_are_not_reached(tmp_path: Path) -> None:
    name = f"\0lambent-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(name)  # it can be reached from here
        assert attempt(tmp_path, f"socket.socket(socket.AF_UNIX).connect({name!r})") == "ECONNREFUSED"


@pytest.mark.parametrize(
    ("name", "family"), [("packet", 17), ("vsock", 40), ("crypto", 38), ("bluetooth", 31), ("can", 29)]
)
def test_exotic_sockets_cannot_be_made(tmp_path: Path, name: str, family: int) -> None:
    assert attempt(tmp_path, f"socket.socket({family}, socket.SOCK_RAW)") == "EAFNOSUPPORT", name


def test_raw_sockets_and_audit_sockets_cannot_be_made(tmp_path: Path) -> None:
    assert attempt(tmp_path, "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)") == "EPERM"
    assert attempt(tmp_path, "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9)") == "EAFNOSUPPORT"


X86 = os.uname().machine == "x86_64"


@pytest.mark.parametrize(
    ("name", "number", "arguments"),
    [
        ("mount", 165 if X86 else 40, "b'tmpfs', b'/tmp', b'tmpfs', 0, None"),
        ("umount2", 166 if X86 else 39, "b'/proc', 2"),
        ("pivot_root", 155 if X86 else 41, "b'/tmp', b'/tmp'"),
        ("chroot", 161 if X86 else 51, "b'/tmp'"),
        ("open_tree", 428, "-100, b'/', 1"),
        ("fsopen", 430, "b'tmpfs', 0"),
        ("mount_setattr", 442, "-100, b'/', 0, None, 0"),
        ("ptrace", 101 if X86 else 117, "0, 0, 0, 0"),
        ("process_vm_readv", 310 if X86 else 270, "1, None, 0, None, 0, 0"),
        ("pidfd_getfd", 438, "0, 0, 0"),
        ("keyctl", 250 if X86 else 219, "0, -3, 1"),
        ("add_key", 248 if X86 else 217, "b'user', b'a', b'b', 1, -3"),
        ("bpf", 321 if X86 else 280, "0, None, 0"),
        ("perf_event_open", 298 if X86 else 241, "None, 0, -1, -1, 0"),
        ("io_uring_setup", 425, "8, None"),
        ("userfaultfd", 323 if X86 else 282, "0"),
        ("init_module", 175 if X86 else 105, "None, 0, None"),
        ("kexec_load", 246 if X86 else 104, "0, 0, None, 0"),
        ("open_by_handle_at", 304 if X86 else 265, "0, None, 0"),
        ("setns", 308 if X86 else 268, "0, 0"),
        ("unshare of a user namespace", 272 if X86 else 97, "0x10000000"),
        ("unshare of a mount namespace", 272 if X86 else 97, "0x20000"),
        ("clone of a user namespace", 56 if X86 else 220, "0x10000011, 0, 0, 0, 0"),
        ("clone of a network namespace", 56 if X86 else 220, "0x40000011, 0, 0, 0, 0"),
        ("clock_settime", 227 if X86 else 112, "0, None"),
        ("reboot", 169 if X86 else 142, "0, 0, 0, None"),
        ("sethostname", 170 if X86 else 161, "b'x', 1"),
        ("syslog", 103 if X86 else 116, "3, None, 0"),
        ("inotify_add_watch", 254 if X86 else 27, "0, b'/usr/bin', 0x20"),
        ("sync", 162 if X86 else 81, ""),
        ("syncfs", 306 if X86 else 267, "0"),
        ("personality without address randomisation", 135 if X86 else 92, "0x40000"),
    ],
)
def test_dangerous_call_is_refused(tmp_path: Path, name: str, number: int, arguments: str) -> None:
    assert attempt(tmp_path, f"call({number}, {arguments})") == "EPERM", name


@pytest.mark.parametrize("number", [435, 470, 600, *([0x40000000 + 39] if X86 else [])])
def test_unknown_calls_and_clone3_are_not_implemented(tmp_path: Path, number: int) -> None:
    assert attempt(tmp_path, f"call({number}, 0, 0)") == "ENOSYS"


def test_terminal_input_cannot_be_faked(tmp_path: Path) -> None:
    assert attempt(tmp_path, "__import__('fcntl').ioctl(0, 0x5412, b'x')") == "EPERM"


def test_threads_and_children_still_work(tmp_path: Path) -> None:
    code = (
        "import threading, subprocess\n"
        "t = threading.Thread(target=lambda: print('thread')); t.start(); t.join()\n"
        "print(subprocess.check_output(['/bin/echo', 'child'], text=True))"
    )
    assert printed(tmp_path, code).split() == ["thread", "child"]


def test_what_others_do_with_shared_files_cannot_be_watched(tmp_path: Path) -> None:
    watch = "fcntl.fcntl(os.open('/usr/bin', os.O_RDONLY), fcntl.F_NOTIFY, fcntl.DN_ACCESS)"
    assert printed(tmp_path, f"{TRY}\nimport fcntl\nattempt(lambda: {watch})") == "EPERM"
    assert printed(tmp_path, f"{TRY}\nimport fcntl\nattempt(lambda: fcntl.fcntl(1, fcntl.F_GETFD))") == "0"


def test_user_cannot_be_changed(tmp_path: Path) -> None:
    assert attempt(tmp_path, "os.setuid(0)") in ("EINVAL", "EPERM")
    assert attempt(tmp_path, "os.setgroups([0])") == "EPERM"


def test_each_sandbox_has_a_host_user_of_its_own(tmp_path: Path) -> None:
    needs_root()

    async def run() -> set[int]:
        async with spawned(tmp_path) as sandboxes:
            boxes = [await sandboxes.create(python_spec(f"s{n}", "import time; time.sleep(1000)")) for n in range(3)]
            spawner = sandboxes.spawner_pid
            children = Path(f"/proc/{spawner}/task/{spawner}/children").read_text().split()
            users = {
                os.stat(f"/proc/{pid}/task").st_uid
                for child in children
                for pid in Path(f"/proc/{child}/task/{child}/children").read_text().split()
            }
            assert len(boxes) == 3
            return users

    users = asyncio.run(run())
    assert len(users) == 3
    assert 0 not in users


def test_files_of_one_sandbox_are_invisible_to_the_next(tmp_path: Path) -> None:
    needs_sandboxes()

    async def run() -> str:
        async with spawned(tmp_path) as sandboxes:
            first = await sandboxes.create(
                python_spec(
                    "a", "open('/tmp/secret', 'w').write('x'); print(flush=True); __import__('time').sleep(1000)"
                )
            )
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not os.get_blocking(first.output) and not _has_output(first.output):
                    await asyncio.sleep(0.01)
            second = await sandboxes.create(
                python_spec("b", "import os; print(os.listdir('/tmp'), os.path.exists('/tmp/secret'))")
            )
            return await read_output(second)

    assert asyncio.run(run()) == "[] False\n"


def _has_output(fd: int) -> bool:
    try:
        return bool(os.read(fd, 1))
    except BlockingIOError:
        return False


def test_core_dumps_are_off(tmp_path: Path) -> None:
    assert printed(tmp_path, "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))") == "(0, 0)"


def test_bind_targets_cannot_cover_what_protects(tmp_path: Path) -> None:
    async def run(target: str) -> None:
        async with spawned(tmp_path) as sandboxes:
            with pytest.raises(SandboxError, match=r"belongs to the sandbox itself|absolute path"):
                await sandboxes.create(python_spec("a", "pass", binds=(Bind(str(tmp_path), target),)))

    for target in ("/proc", "/proc/sys", "/dev", "/etc/passwd", "/tmp/x", "/", "/var/../etc", "relative"):
        asyncio.run(run(target))


def test_fork_bomb_stays_in_its_sandbox(tmp_path: Path) -> None:
    limits = Limits(memory_mib=256, cpu_milli=1000, tmp_mib=16, pids=20)

    async def run() -> tuple[str, str]:
        async with spawned(tmp_path) as sandboxes:
            bomb = await sandboxes.create(
                python_spec("bomb", "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass", limits)
            )
            neighbour = await sandboxes.create(python_spec("neighbour", "print('fine')"))
            output = await read_output(neighbour)
            bomb.kill()
            return output, str((await ended(bomb)).signal)

    assert asyncio.run(run()) == ("fine\n", "9")
