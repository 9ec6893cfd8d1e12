"""What is mounted, limited and set for a function."""

from pathlib import Path
from typing import Any, cast

import pytest

from lambent.runtimes import launch
from lambent.runtimes.contract import Family, Runtime
from lambent.sandbox.contract import Bind, Sandbox, SandboxError
from runtimes_fixtures import provided_runtime, start_values


class Paths:
    """The two look-ups of a sandbox that variables need."""

    def path_of(self, path: str) -> str:
        return path

    def port_of(self, port: int) -> int:
        return port


def variables(served_by: Runtime, endpoint: bool = True, **changes: Any) -> dict[str, str]:
    start = start_values(Path("/code"), "app.handler", **changes)
    return launch.variables(served_by, start, cast(Sandbox, Paths()), endpoint=endpoint)


PYTHON = Runtime(
    identifier="python3.12", family=Family.PYTHON, interpreter="/home/u/py/bin/python3.12", prefix="/home/u/py"
)
NODE = Runtime(identifier="nodejs20.x", family=Family.NODE, interpreter="/usr/bin/node")


def test_interpreter_outside_usr_is_mounted_at_var_lang() -> None:
    spec = launch.standby_spec(PYTHON, "id", Path("/cache/python"))
    assert spec.argv[0] == "/var/lang/bin/python3.12"
    assert spec.binds == (Bind("/cache/python", "/var/runtime"), Bind("/home/u/py", "/var/lang"))
    assert spec.listen_ports == (4566,)


def test_system_interpreter_runs_where_it_is() -> None:
    spec = launch.standby_spec(NODE, "id", Path("/cache/node"))
    assert spec.argv[0] == "/usr/bin/node"
    assert spec.binds == (Bind("/cache/node", "/var/runtime"), Bind("/cache/node/node_modules", "/var/node_modules"))


def test_custom_runtime_starts_empty_with_both_ports() -> None:
    spec = launch.standby_spec(provided_runtime(), "id", None)
    assert (spec.argv, spec.binds, spec.listen_ports) == ((), (), (9001, 4566))


def test_guest_without_its_folder_is_refused() -> None:
    with pytest.raises(SandboxError):
        launch.standby_spec(NODE, "id", None)


@pytest.mark.parametrize(
    ("memory_mb", "cpu_milli"), [(128, 100), (256, 144), (1769, 1000), (3538, 2000), (10240, 5788)]
)
def test_cpu_is_in_proportion_to_memory(memory_mb: int, cpu_milli: int) -> None:
    limits = launch.limits_of(start_values(Path("/code"), "h", memory_mb=memory_mb, tmp_mb=600))
    assert (limits.memory_mib, limits.cpu_milli, limits.tmp_mib) == (memory_mb, cpu_milli, 600)


def test_reserved_variables_cannot_be_overridden_and_others_can() -> None:
    own = {
        "AWS_REGION": "x",
        "_HANDLER": "x",
        "LAMBDA_TASK_ROOT": "x",
        "TZ": "Europe/Berlin",
        "AWS_ENDPOINT_URL": "http://x",
    }
    found = variables(PYTHON, variables=own)
    assert (found["AWS_REGION"], found["_HANDLER"], found["LAMBDA_TASK_ROOT"]) == (
        "us-east-1",
        "app.handler",
        "/var/task",
    )
    assert (found["TZ"], found["AWS_ENDPOINT_URL"]) == ("Europe/Berlin", "http://x")


def test_python_has_awss_values() -> None:
    found = variables(PYTHON)
    assert found["PYTHONPATH"] == "/var/runtime"
    assert found["LC_CTYPE"] == "C.UTF-8"
    assert found["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.12"
    assert found["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert "AWS_LAMBDA_RUNTIME_API" not in found


@pytest.mark.parametrize(
    ("identifier", "node_path"),
    [
        ("nodejs20.x", "/opt/nodejs/node20/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules"),
        ("nodejs16.x", "/opt/nodejs/node16/node_modules:/opt/nodejs/node_modules:/var/runtime/v2/node_modules"),
    ],
)
def test_node_path_has_the_sdk_that_aws_ships_with_the_identifier(identifier: str, node_path: str) -> None:
    found = variables(NODE, runtime=identifier)
    assert found["NODE_PATH"] == node_path
    assert found["AWS_EXECUTION_ENV"] == f"AWS_Lambda_{identifier}"


def test_custom_runtime_has_the_runtime_api_and_no_execution_env() -> None:
    found = variables(provided_runtime())
    assert found["AWS_LAMBDA_RUNTIME_API"] == "127.0.0.1:9001"
    assert "AWS_EXECUTION_ENV" not in found


def test_endpoint_that_is_not_served_is_not_named() -> None:
    assert "AWS_ENDPOINT_URL" not in variables(PYTHON, endpoint=False)
