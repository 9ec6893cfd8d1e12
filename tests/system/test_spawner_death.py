"""What happens when the process that makes sandboxes is killed: as root the platform says so and ends, for a supervisor to
start it again; with rights left it starts another.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from platform_fixture import PATIENCE_SECONDS, bare_environment, killed_at_last


def child_of(pid: int, program: str) -> int:
    """The child process whose command line holds `program`."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == pid and program.encode() in words:
            return int(folder.name)
    raise AssertionError(f"{pid} has no child {program}")


@pytest.mark.skipif(os.geteuid() != 0, reason="without root the spawner is started again, see the sandbox's own tests")
def test_as_root_a_killed_spawner_ends_the_platform_with_a_reason(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "lambent.cli", "up", "--json", "--data-dir", str(tmp_path / "data")]
    command += ["--api-port", "0", "--http-port", "0", "--nats-port", "0", "--no-node-sdk"]
    started = subprocess.Popen(
        command,
        env=bare_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with killed_at_last(started) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        os.kill(child_of(ready["pid"], "spawner.py"), signal.SIGKILL)
        _, noise = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
    assert "restart Lambent" in noise
    assert "Traceback" not in noise
    assert not (tmp_path / "data" / "endpoint.json").exists()
