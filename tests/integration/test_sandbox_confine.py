"""What the node gives up, seen from a process that did; and what doctor says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lambent.sandbox.confine import landlock_version
from lambent.sandbox.probe import checks, probe
from sandbox_fixtures import missing_for_sandboxes, needs_root

PROGRAM = """
import errno, json, os, socket, subprocess, sys, tempfile
from lambent.sandbox.confine import confine
from lambent.sandbox import rights
def attempt(what):
    try:
        what()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
inside, outside = sys.argv[1:]
notes = confine((inside,))
os.makedirs(inside + "/a"); os.makedirs(inside + "/b")
def move():
    open(inside + "/a/x", "w").close(); os.rename(inside + "/a/x", inside + "/b/x")
found = {
    "notes": notes,
    "capabilities": [l.split()[1] for l in open("/proc/self/status") if l.startswith("Cap")],
    "root rights": rights.has_root_rights(),
    "write inside": attempt(lambda: open(inside + "/file", "w").write("x")),
    "append inside": attempt(lambda: open(inside + "/file", "a").write("x")),
    "move inside": attempt(move),
    "truncate inside": attempt(lambda: os.truncate(inside + "/file", 0)),
    "socket inside": attempt(lambda: socket.socket(socket.AF_UNIX).bind(inside + "/socket")),
    "write outside": attempt(lambda: open(outside + "/file", "w")),
    "overwrite outside": attempt(lambda: open(outside + "/there", "w")),
    "truncate outside": attempt(lambda: os.truncate(outside + "/there", 0)),
    "remove outside": attempt(lambda: os.unlink(outside + "/there")),
    "folder outside": attempt(lambda: os.mkdir(outside + "/folder")),
    "read outside": attempt(lambda: open(outside + "/there").read()),
    "null": attempt(lambda: open("/dev/null", "w").write("x")),
    "child": subprocess.run(["/bin/sh", "-c", f"echo x > {outside}/child"], stderr=subprocess.DEVNULL).returncode,
    "mount": attempt(lambda: __import__("lambent.sandbox.syscalls").sandbox.syscalls.mount("x", inside, "tmpfs", 0)),
}
print(json.dumps(found))
"""


def test_confined_process_keeps_no_rights_and_writes_in_its_folder_only(tmp_path: Path) -> None:
    needs_root()
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "there").write_text("original")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(inside), str(outside)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["capabilities"]) == {"0" * 16}
    assert not found["root rights"]
    assert found["mount"] == "EPERM"
    if landlock_version() < 3:
        pytest.skip("this kernel has no Landlock that knows truncation")
    assert found["notes"] == []
    allowed = {name for name, answer in found.items() if answer == "done"}
    assert allowed == {
        "write inside", "append inside", "move inside", "truncate inside", "socket inside", "read outside", "null",
    }  # fmt: skip
    refused = {found[name] for name in found if name.endswith("outside")} - {"done"}
    assert refused == {"EACCES"}
    assert found["child"] != 0
    assert (outside / "there").read_text() == "original"


def test_probe_and_checks_agree() -> None:
    found = {check.name: check for check in checks()}
    assert {"kernel", "processor", "rights", "control groups", "sandbox"} <= set(found)
    assert all(check.hint for check in found.values() if not check.ok)
    if missing_for_sandboxes():
        assert not found["sandbox"].ok
        pytest.skip(missing_for_sandboxes())
    assert found["sandbox"].ok
    assert probe().mode in found["sandbox"].detail
