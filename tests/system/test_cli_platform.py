"""The commands against a running platform: what a person types on the first day."""

import json
import stat
import subprocess
import sys
from pathlib import Path

from lambent.cli.telnet import dialogue
from platform_fixture import EXAMPLES, Platform, bare_environment, killed_at_last, lambent, running_platform


def ok(done: "subprocess.CompletedProcess[str]") -> str:
    """The command's stdout; fails with both texts when it failed."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def deploy(platform: Platform, name: str, *options: str) -> str:
    return ok(platform.lambent("deploy", str(EXAMPLES / name), *options))


def test_a_function_is_deployed_called_changed_and_removed(tmp_path: Path) -> None:
    with running_platform(tmp_path) as platform:
        assert deploy(platform, "hello-python", "--memory", "256").startswith("created hello-python")
        assert "is up to date" in deploy(platform, "hello-python")
        assert "updated hello-python: Timeout" in deploy(platform, "hello-python", "--timeout", "7")

        done = platform.lambent("invoke", "hello-python", '{"name": "Ada"}')
        assert ok(done) == '"hello Ada"\n'
        assert "START RequestId: " in done.stderr
        assert "greeting Ada" in done.stderr
        assert "Memory Size: 256 MB" in done.stderr
        assert ok(platform.lambent("invoke", "hello-python", "-", stdin='{"name": "Grace"}')) == '"hello Grace"\n'
        event = f"@{EXAMPLES / 'hello-python' / 'event.json'}"
        answer = json.loads(ok(platform.lambent("invoke", "hello-python", event, "--json")))
        assert (answer["Payload"], answer["FunctionError"], answer["StatusCode"]) == ('"hello Ada"', None, 200)
        assert "queued" in platform.lambent("invoke", "hello-python", "--async").stderr

        assert "hello-python version 1" in ok(platform.lambent("publish", "hello-python"))
        assert ok(platform.lambent("invoke", "hello-python", "--qualifier", "1")) == '"hello"\n'
        assert [f["FunctionName"] for f in json.loads(ok(platform.lambent("ls", "--json")))] == ["hello-python"]
        assert "hello-python" in ok(platform.lambent("ls"))
        assert "lambda_function.lambda_handler" in ok(platform.lambent("show", "hello-python"))
        assert ok(platform.lambent("rm", "hello-python")) == "deleted hello-python\n"
        gone = platform.lambent("invoke", "hello-python")
        assert gone.returncode == 1
        assert "ResourceNotFoundException" in gone.stderr


def test_a_failing_function_is_exit_code_one_with_its_error_on_stdout(tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "app.py").write_text("def handler(event, context):\n    raise ValueError('no good')\n")
    with running_platform(tmp_path) as platform:
        ok(platform.lambent("deploy", str(folder)))
        done = platform.lambent("invoke", "broken")
        assert done.returncode == 1
        assert json.loads(done.stdout)["errorType"] == "ValueError"
        assert "the function failed" in done.stderr
        assert json.loads(platform.lambent("invoke", "broken", "--json").stdout)["FunctionError"]


def test_variables_and_name_are_set_and_an_unknown_runtime_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "app.py").write_text("import os\ndef handler(event, context):\n    return os.environ['WORD']\n")
    with running_platform(tmp_path) as platform:
        ok(platform.lambent("deploy", str(folder), "--name", "worded", "--env", "WORD=a=b", "--description", "says it"))
        assert ok(platform.lambent("invoke", "worded")) == '"a=b"\n'
        assert "Environment" in deploy_text(platform, folder, "--env", "WORD=c")
        assert ok(platform.lambent("invoke", "worded")) == '"c"\n'
        refused = platform.lambent("deploy", str(folder), "--name", "other", "--runtime", "cobol85")
        assert refused.returncode == 1
        assert "Traceback" not in refused.stderr


def deploy_text(platform: Platform, folder: Path, *options: str) -> str:
    return ok(platform.lambent("deploy", str(folder), "--name", "worded", *options))


def test_bindings_are_made_listed_served_and_removed(tmp_path: Path) -> None:
    with running_platform(tmp_path) as platform:
        deploy(platform, "hello-python")
        ok(platform.lambent("bind", "-f", "hello-python", "/hello", "--method", "GET"))
        ok(platform.lambent("nats", "bind", "-f", "hello-python", "myfunction.lambda"))
        listed = json.loads(ok(platform.lambent("bindings", "--json")))
        assert [(b["Path"], b["Method"]) for b in listed["Http"]] == [("/hello", "GET")]
        assert [b["Subject"] for b in listed["Nats"]] == ["myfunction.lambda"]
        text = ok(platform.lambent("bindings"))
        assert "GET /hello" in text
        assert "myfunction.lambda" in text

        port = int(platform.nats_url.rsplit(":", 1)[1])
        typed = ["SUB reply-box 200", "PUB myfunction.lambda reply-box 0", ""]
        assert dialogue("127.0.0.1", port, typed) == ["MSG reply-box 200 5", "hello"]

        ok(platform.lambent("unbind", "/hello", "--method", "GET"))
        ok(platform.lambent("nats", "unbind", "myfunction.lambda"))
        assert json.loads(ok(platform.lambent("bindings", "--json"))) == {"Http": [], "Nats": []}


def test_logs_print_what_there_is_and_follow_what_comes(tmp_path: Path) -> None:
    with running_platform(tmp_path) as platform:
        deploy(platform, "hello-python")
        assert ok(platform.lambent("logs", "hello-python")) == ""
        started = subprocess.Popen(
            [sys.executable, "-P", "-m", "lambent.cli", "logs", "-f", "hello-python"],
            env=platform.environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        with killed_at_last(started) as follower:
            assert follower.stdout is not None
            ok(platform.lambent("invoke", "hello-python", '{"name": "Ada"}'))
            seen = []
            for line in follower.stdout:
                seen.append(line.split(" ", 1)[1])
                if line.split(" ", 1)[1].startswith("REPORT"):
                    break
            follower.terminate()
        assert [line.split()[0] for line in seen] == ["INIT_START", "START", "greeting", "END", "REPORT"]
        messages = ok(platform.lambent("logs", "hello-python", "--filter", "greeting"))
        assert messages.count("\n") == 1
        assert "greeting Ada" in messages


def test_env_points_clients_at_the_platform_and_its_file_is_private(tmp_path: Path) -> None:
    with running_platform(tmp_path) as platform:
        values = json.loads(ok(platform.lambent("env", "--json")))
        assert values["AWS_ENDPOINT_URL"] == platform.api_url
        assert values["NATS_URL"] == platform.nats_url
        assert stat.S_IMODE((platform.data_dir / "endpoint.json").stat().st_mode) == 0o600
        # The exports alone are enough, wherever the data directory is.
        only = bare_environment() | values
        assert lambent("ls", "--json", environment=only).stdout == "[]\n"
        text = ok(platform.lambent("env"))
        assert f"export AWS_ENDPOINT_URL={platform.api_url}\n" in text
    assert not (platform.data_dir / "endpoint.json").exists()


def test_runtimes_tell_what_serves_them(tmp_path: Path) -> None:
    with running_platform(tmp_path) as platform:
        rows = json.loads(ok(platform.lambent("runtimes", "--json")))
        usable = {row["Identifier"] for row in rows if not row.get("Unavailable")}
        assert "provided.al2023" in usable
        assert any(name.startswith("python3.") for name in usable)
        assert any(name.startswith("nodejs") for name in usable)
        assert "provided.al2023" in ok(platform.lambent("runtimes"))


def test_two_platforms_with_one_data_directory_are_refused(tmp_path: Path) -> None:
    with running_platform(tmp_path) as platform:
        second = platform.lambent("up", "--api-port", "0", "--http-port", "0", "--nats-port", "0", "--json")
        assert second.returncode == 1
        assert f"(pid {platform.ready['pid']})" in second.stderr
        assert second.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with running_platform(tmp_path) as platform:
        port = platform.api_url.rsplit(":", 1)[1]
        flags = ("--data-dir", str(tmp_path / "other"), "--api-port", port, "--http-port", "0", "--nats-port", "0")
        second = lambent("up", *flags)
        assert second.returncode == 1
        assert port in second.stderr
        assert "Traceback" not in second.stderr


def test_the_platform_in_plain_processes_warns_loudly(tmp_path: Path) -> None:
    with running_platform(tmp_path, "--isolation", "process") as platform:
        assert platform.ready["isolation"] == "process"
        assert "can read its files" in platform.log()
        deploy(platform, "hello-python")
        assert ok(platform.lambent("invoke", "hello-python")) == '"hello"\n'


def test_the_doctor_knows_a_running_platform(tmp_path: Path) -> None:
    with running_platform(tmp_path) as platform:
        found = json.loads(platform.lambent("doctor", "--json").stdout)
        subjects = {finding["subject"]: finding["state"] for finding in found["Findings"]}
        assert subjects["platform"] == "ok"
        assert subjects["nats-server"] == "ok"
