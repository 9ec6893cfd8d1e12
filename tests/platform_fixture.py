"""A whole platform of its own for one test: `lambent up` as a child process, free ports, its own data directory.

    with running_platform(tmp_path) as platform:
        client = platform.client("lambda")

Any number can run side by side. A platform that does not start, does not stop, or leaves processes behind fails the test.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import leftovers

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"

#: Far more than a start or a stop takes on a busy machine; only a hang reaches it.
PATIENCE_SECONDS = 60


class Platform:
    """A running platform: what its ready line said, and clients for it."""

    def __init__(self, process: "subprocess.Popen[str]", ready: dict[str, Any], log: Path) -> None:
        self.process = process
        self.ready = ready
        self._log = log
        self.api_url: str = ready["api_url"]
        self.http_url: str = ready["http_url"]
        self.nats_url: str = ready["nats_url"]
        self.region: str = ready["region"]
        self.account: str = ready["account"]
        self.data_dir = Path(ready["data_dir"])

    def client(self, service: str, **options: Any) -> Any:
        """A boto3 client with the root key, without retries (a retry would hide a wrong answer)."""
        import boto3
        from botocore.config import Config

        # A session of its own: boto3's default one is shared and not safe to make clients from in threads.
        return boto3.session.Session().client(
            service,
            endpoint_url=self.api_url,
            region_name=self.region,
            aws_access_key_id=self.ready["access_key_id"],
            aws_secret_access_key=self.ready["secret_access_key"],
            config=Config(retries={"total_max_attempts": 1}, read_timeout=120),
            **options,
        )

    def environment(self) -> dict[str, str]:
        """The environment of a command that talks to this platform; nothing of the developer's own settings is in it."""
        return {
            **bare_environment(),
            "LAMBENT_DATA_DIR": str(self.data_dir),
            "AWS_ENDPOINT_URL": self.api_url,
            "AWS_ACCESS_KEY_ID": self.ready["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": self.ready["secret_access_key"],
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
        }

    def lambent(self, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """Runs a command against this platform."""
        return lambent(*arguments, environment=self.environment(), stdin=stdin)

    def log(self) -> str:
        """What the platform itself printed on stderr so far."""
        return self._log.read_text(errors="replace")


def bare_environment() -> dict[str, str]:
    """Without the developer's own settings, and as `--no-node-sdk`: no test fetches the AWS SDK from npm."""
    dropped = ("AWS_", "LAMBENT_", "NATS_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return kept | {"PYTHONPATH": str(ROOT / "src"), "LAMBENT_NODE_SDK": "false"}


def lambent(
    *arguments: str, environment: dict[str, str] | None = None, stdin: str = "", cwd: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Runs `lambent ARGUMENTS` to its end and returns it with its texts."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "lambent.cli", *arguments],
        env=environment or bare_environment(),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_SECONDS,
        cwd=cwd,
        check=False,
    )


@contextlib.contextmanager
def running_platform(tmp_path: Path, *flags: str, data_dir: Path | None = None) -> Iterator[Platform]:
    """Starts a platform and stops it with SIGTERM. `data_dir` given twice in a row is a restart."""
    data_dir = data_dir or tmp_path / "data"
    command = [sys.executable, "-P", "-m", "lambent.cli", "up", "--json", "--data-dir", str(data_dir)]
    command += ["--api-port", "0", "--http-port", "0", "--nats-port", "0", *flags]
    descriptor, name = tempfile.mkstemp(prefix="platform-", suffix=".log", dir=tmp_path)
    with os.fdopen(descriptor, "w") as log:
        process = subprocess.Popen(
            command, env=bare_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (
            f"the platform did not start (exit code {process.wait(PATIENCE_SECONDS)}):\n{Path(name).read_text()}"
        )
        platform = Platform(process, json.loads(line), Path(name))
        yield platform
        stop(process, Path(name))
        left = leftovers.control_groups(f"lambent-{platform.account}") + leftovers.mounts([str(data_dir)])
        assert not left, f"the platform left behind {left}:\n{platform.log()[-4000:]}"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()


@contextlib.contextmanager
def killed_at_last(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    """A process that does not end by itself fails its test and no other: `Popen` alone would wait for it for ever."""
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def stop(process: "subprocess.Popen[str]", log: Path) -> None:
    """SIGTERM, then wait; anything but a clean end fails."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    status = process.wait(PATIENCE_SECONDS)
    assert status == 0, f"the platform ended with {status}:\n{log.read_text(errors='replace')[-4000:]}"
