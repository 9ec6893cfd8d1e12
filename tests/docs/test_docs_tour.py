"""The commands of the README and the how-tos do what the pages say: they run, in order, against a platform of their own."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from platform_fixture import ROOT, running_platform

PAGES = ["README.md", "docs/howto/first-function.md", "docs/howto/nats.md", "docs/howto/custom-runtime.md"]

#: What the commands of a page must have printed.
PROOF = {
    "README.md": [
        "hello Ada",
        "function:hello-python",
        "hello-python version 1",
        "myfunction.lambda",
        "REPORT RequestId",
    ],
    "docs/howto/first-function.md": [
        '{"greeting": "hello Ada"}',
        '{"greeting": "welcome Grace"}',
        "queued",
        "deleted greeter",
    ],
    "docs/howto/nats.md": ["greetings.hello", "unbound greetings.hello"],
    "docs/howto/custom-runtime.md": ["hello Ada"],
}


def marked_commands(page: Path) -> str:
    """All blocks that follow a `<!-- tour -->` line, as one script: a reader types them one after the other."""
    return "\n".join(re.findall(r"<!-- tour -->\n```sh\n(.*?)```", page.read_text(), re.DOTALL))


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_the_page_work(page: str, tmp_path: Path) -> None:
    script = marked_commands(ROOT / page)
    assert script
    # A folder that looks like the checkout, so that what a page creates lands in tmp_path.
    for name in ("lambent", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    with running_platform(tmp_path) as platform:
        environment = platform.environment() | {"LAMBENT_VENV": sys.prefix, "LAMBENT_HTTP_URL": platform.http_url}
        environment["PATH"] = f"{curl_folder(tmp_path)}:{environment['PATH']}"
        done = subprocess.run(
            ["bash", "-eu", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    missing = [proof for proof in PROOF[page] if proof not in printed]
    assert not missing, printed


def curl_folder(tmp_path: Path) -> Path:
    """A bare Debian has no curl; where there is none a few lines of Python stand in for it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    if shutil.which("curl") is None:
        script = "import sys, urllib.request\nprint(urllib.request.urlopen(sys.argv[-1]).read().decode())\n"
        (folder / "curl").write_text(f"#!{sys.executable}\n{script}")
        (folder / "curl").chmod(0o755)
    return folder
