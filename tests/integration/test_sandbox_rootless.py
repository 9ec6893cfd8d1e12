"""Sandboxes made by an ordinary user. As root, the tests become one: a user id without any right runs a copy of the room."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

UID = 64_321
ROOM = Path(__file__).parents[2] / "src" / "lambent"

#: What the ordinary user runs. Prints one JSON object.
PROGRAM = """
import asyncio, json, os, sys
from lambent.sandbox.contract import Bind, Exit, Limits, SandboxError, SandboxSpec
from lambent.sandbox.client import start_spawner
from lambent.sandbox.probe import checks
folder, prefix = sys.argv[1], sys.argv[2]
binds = () if prefix.startswith("/usr") else (Bind(prefix, "/var/lang"),)
python = os.path.join("/var/lang" if binds else prefix, "bin", "python3")
async def output_of(sandbox):
    data = b""
    while not sandbox.exited.done() or data[-1:] != b"\\n":
        await asyncio.sleep(0.01)
        try:
            more = os.read(sandbox.output, 65536)
            if not more and sandbox.exited.done():
                break
            data += more
        except BlockingIOError:
            pass
    return data.decode()
async def run(sandboxes, name, code, limits=Limits(memory_mib=128, cpu_milli=1000, tmp_mib=8), attach=()):
    argv = (python, "-I", "-S", "-c", code)
    sandbox = await sandboxes.create(SandboxSpec(id=name, limits=limits, binds=binds))
    if attach:
        await sandbox.attach(attach, limits)
    await sandbox.start(argv, {}, "/")
    exit = await sandbox.exited
    output = await output_of(sandbox)
    peak = sandbox.memory_peak_bytes()
    await sandbox.discard()
    return {"output": output.strip(), "status": exit.status, "signal": exit.signal, "oom": exit.out_of_memory, "peak": peak}
async def main():
    try:
        sandboxes = await start_spawner(folder + "/run", "rootless-" + str(os.getpid()), 0)
    except SandboxError as error:
        print(json.dumps({"impossible": str(error)}))
        return
    os.makedirs(folder + "/code")
    open(folder + "/code/word", "w").write("attached")
    found = {"mode": sandboxes.isolation.mode, "weaker": sandboxes.isolation.weaker, "cgroups": sandboxes.isolation.cgroups}
    found["checks"] = {check.name: check.ok for check in checks()}
    found["who"] = await run(sandboxes, "who", "import os; print(os.getuid(), os.getgid(), sorted(p for p in os.listdir('/proc') if p.isdigit()))")
    found["attach"] = await run(sandboxes, "attach", "print(open('/var/task/word').read())", attach=(Bind(folder + "/code", "/var/task"),))
    found["write"] = await run(sandboxes, "write", "\\ntry: open('/var/task/x', 'w')\\nexcept OSError as e: print(e.errno)", attach=(Bind(folder + "/code", "/var/task"),))
    found["own_files"] = await run(sandboxes, "own", f"import os; print(os.path.exists({folder!r}))")
    found["status"] = await run(sandboxes, "status", "print(open('/proc/self/status').read())")
    found["network"] = await run(sandboxes, "network", "import socket; print(socket.if_nameindex())")
    found["tmp"] = await run(sandboxes, "tmp", "\\ntry:\\n  with open('/tmp/x', 'wb', 0) as f:\\n    while True: f.write(bytes(65536))\\nexcept OSError as e: print(e.errno)")
    found["memory"] = await run(sandboxes, "memory", "import time; x = bytearray(b'x') * (400 << 20); time.sleep(60)")
    found["pids"] = await run(sandboxes, "pids", "\\nimport os, signal\\ntry:\\n  while True:\\n    if os.fork() == 0: signal.pause()\\nexcept OSError as e: print(e.errno)", Limits(memory_mib=256, cpu_milli=1000, tmp_mib=8, pids=10))
    found["peak"] = await run(sandboxes, "peak", "x = bytearray(b'x') * (40 << 20); import time; time.sleep(0.3)")
    await sandboxes.stop()
    print(json.dumps(found))
asyncio.run(main())
"""


def reachable(path: Path) -> bool:
    """Whether others may enter every folder on the way."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the program printed."""
    folder = Path(f"/tmp/lambent-rootless-{os.getpid()}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755)
    try:
        return run_program(folder)
    finally:
        shutil.rmtree(folder)


def run_program(folder: Path) -> dict[str, Any]:
    (folder / "work").mkdir()
    (folder / "python").mkdir()
    shutil.copytree(
        ROOM / "sandbox", folder / "room" / "lambent" / "sandbox", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("__init__.py", "errors.py"):
        shutil.copy(ROOM / name, folder / "room" / "lambent" / name)
    msgspec = importlib.util.find_spec("msgspec")
    assert msgspec is not None and msgspec.submodule_search_locations
    shutil.copytree(msgspec.submodule_search_locations[0], folder / "room" / "msgspec")
    (folder / "program.py").write_text(PROGRAM)
    prefix = Path(sys.base_prefix)
    steps = []
    if os.geteuid() == 0:
        os.chown(folder / "work", UID, UID)
        if not reachable(prefix):
            # The interpreter lies where only root may go: the ordinary user gets it under another name.
            steps.append(f"mount --bind '{prefix}' '{folder}/python'")
            prefix = folder / "python"
        become = f"setpriv --reuid={UID} --regid={UID} --clear-groups "
        for tool in ("unshare", "setpriv"):
            if shutil.which(tool) is None:
                pytest.skip(f"{tool} of util-linux is needed to become an ordinary user")
    else:
        become = ""
    start = (
        f'import sys, runpy; sys.path.insert(0, "{folder}/room"); sys.argv = ["x", "{folder}/work", "{prefix}"];'
        f' runpy.run_path("{folder}/program.py")'
    )
    steps.append(f"exec {become}'{prefix}/bin/python3' -I -c '{start}'")
    command = ["sh", "-ec", "; ".join(steps)]
    if os.geteuid() == 0:
        command = ["unshare", "-m", *command]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd="/", env={"PATH": os.environ["PATH"]}, check=False
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if "impossible" in result:
        pytest.skip(f"this host lets ordinary users make no sandbox: {result['impossible']}")
    return result


def test_ordinary_user_makes_sandboxes_and_is_told_what_is_weaker(found: dict[str, Any]) -> None:
    assert found["mode"] == "rootless"
    assert any("user id" in sentence for sentence in found["weaker"])
    if found["cgroups"] == "none":
        assert any("Memory" in sentence for sentence in found["weaker"])
        assert any("CPU" in sentence for sentence in found["weaker"])


def test_checks_of_an_ordinary_user_are_fine(found: dict[str, Any]) -> None:
    assert found["checks"]["user namespaces"]
    assert found["checks"]["sandbox"]


def test_function_sees_the_user_of_aws_and_only_its_processes(found: dict[str, Any]) -> None:
    assert found["who"]["output"] == "993 993 ['1', '2']"


def test_code_is_attached_late_and_read_only(found: dict[str, Any]) -> None:
    assert found["attach"]["output"] == "attached"
    assert found["write"]["output"] == "30"


def test_files_of_the_user_are_not_there(found: dict[str, Any]) -> None:
    assert found["own_files"]["output"] == "False"


def test_function_has_no_rights(found: dict[str, Any]) -> None:
    lines = dict(line.split(":\t", 1) for line in found["status"]["output"].splitlines() if ":\t" in line)
    assert {lines[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (lines["NoNewPrivs"], lines["Seccomp"]) == ("1", "2")


def test_network_is_a_loopback_of_its_own(found: dict[str, Any]) -> None:
    assert found["network"]["output"] == "[(1, 'lo')]"


def test_tmp_has_its_size(found: dict[str, Any]) -> None:
    assert found["tmp"]["output"] == "28"


def test_too_much_memory_is_out_of_memory(found: dict[str, Any]) -> None:
    assert (found["memory"]["signal"], found["memory"]["oom"]) == (9, True)


def test_processes_are_limited(found: dict[str, Any]) -> None:
    assert found["pids"]["output"] == "11"


def test_memory_peak_is_measured(found: dict[str, Any]) -> None:
    assert found["peak"]["peak"] > 40 << 20
