"""`lambent run`: a handler once, without a platform."""

import json
from pathlib import Path

import pytest

from platform_fixture import EXAMPLES, lambent


@pytest.mark.parametrize("name", ["hello-python", "hello-node", "hello-custom"])
def test_an_example_runs_without_a_platform(name: str) -> None:
    done = lambent("run", str(EXAMPLES / name), "-e", str(EXAMPLES / name / "event.json"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == '"hello Ada"\n'
    assert "greeting Ada" in done.stderr


def test_a_failing_handler_is_exit_code_one_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def handler(event, context):\n    raise KeyError('name')\n")
    done = lambent("run", str(tmp_path), "--json")
    assert done.returncode == 1
    assert json.loads(json.loads(done.stdout)["Payload"])["errorType"] == "KeyError"


def test_a_handler_past_its_time_out_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import time\ndef handler(event, context):\n    time.sleep(60)\n")
    done = lambent("run", str(tmp_path), "--timeout", "1")
    assert done.returncode == 1
    assert "Task timed out after 1.00 seconds" in done.stdout


def test_an_event_file_that_is_not_there_is_one_line() -> None:
    done = lambent("run", str(EXAMPLES / "hello-python"), "-e", "/nowhere.json")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
