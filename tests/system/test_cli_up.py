"""`lambent up` as a person sees it: what it prints while it starts and while it ends."""

import signal
import subprocess
import sys
from pathlib import Path

from platform_fixture import PATIENCE_SECONDS, bare_environment, killed_at_last


def test_up_says_where_it_listens_and_ctrl_c_ends_it_without_noise(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "lambent.cli", "up", "--data-dir", str(tmp_path / "data")]
    command += ["--api-port", "0", "--http-port", "0", "--nats-port", "0", "--shutdown-grace-seconds", "3"]
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
        shown = ""
        while "Ctrl-C stops it" not in shown:
            line = process.stdout.readline()
            assert line, f"it ended early after printing {shown!r}"
            shown += line
        process.send_signal(signal.SIGINT)
        rest, noise = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    assert "AWS API    http://127.0.0.1:" in shown
    assert "./lambent deploy examples/hello-python" in shown
    assert rest == ""
    assert noise.splitlines()[-1] == "stopping; calls that run have 3 s to finish"
    assert all(line.startswith("warning: ") for line in noise.splitlines()[:-1])
