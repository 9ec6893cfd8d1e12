"""The Python guest, as functions see it. Texts are those of awslambdaric 4.2.2."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lambent.clock import SystemClock
from lambent.runtimes.contract import AnswerKind, Family, InitFailed, Runtime
from lambent.runtimes.python_sdk import PACKAGES
from lambent.runtimes.sdk import GUESTS, Sdk
from lambent.runtimes.table import RuntimeTable
from lambent.settings import executable_folders
from runtimes_fixtures import REQUEST_ID, Bench, python_runtime, run, write_code


def bench(folder: Path, code: str, handler: str = "app.handler", **changes: Any) -> Bench:
    return Bench(python_runtime(), write_code(folder, {"app.py": code}), handler, **changes)


def answer_of(folder: Path, code: str, payload: bytes = b"{}", log: list[str] | None = None, **changes: Any) -> Any:
    async def body() -> Any:
        variables = changes.pop("variables", {})
        async with bench(folder, code, variables=variables) as given:
            answer = await given.call(payload, **changes)
            if log is not None:
                log.extend(given.log.events)
            return answer

    return run(body)


def result_of(folder: Path, code: str, payload: bytes = b"{}", **changes: Any) -> Any:
    answer = answer_of(folder, code, payload, **changes)
    assert answer.kind is AnswerKind.RESULT, answer
    return json.loads(answer.payload)


def init_failure(folder: Path, files: dict[str, str], handler: str) -> tuple[Any, list[str]]:
    given = Bench(python_runtime(), write_code(folder, files), handler)

    async def body() -> None:
        async with given:
            pass

    with pytest.raises(InitFailed) as failed:
        run(body)
    return failed.value.answer, given.log.events


def test_raised_exception_is_the_error_object_without_our_frames(tmp_path: Path) -> None:
    log: list[str] = []
    answer = answer_of(
        tmp_path, "def handler(event, context):\n    return deep()\ndef deep():\n    raise ValueError('no')\n", log=log
    )
    assert answer.kind is AnswerKind.ERROR
    assert answer.error_type == "ValueError"
    assert json.loads(answer.payload) == {
        "errorMessage": "no",
        "errorType": "ValueError",
        "requestId": REQUEST_ID,
        "stackTrace": [
            f'  File "{tmp_path}/app.py", line 2, in handler\n    return deep()\n',
            f"  File \"{tmp_path}/app.py\", line 4, in deep\n    raise ValueError('no')\n",
        ],
    }
    assert log == [
        "[ERROR] ValueError: no\nTraceback (most recent call last):\n"
        f'\xa0\xa0File "{tmp_path}/app.py", line 2, in handler\n\xa0\xa0\xa0\xa0return deep()\n'
        f"\xa0\xa0File \"{tmp_path}/app.py\", line 4, in deep\n\xa0\xa0\xa0\xa0raise ValueError('no')\n"
    ]


@pytest.mark.parametrize(
    ("files", "handler", "error_type", "message"),
    [
        ({}, "app.handler", "Runtime.ImportModuleError", "Unable to import module 'app': No module named 'app'"),
        (
            {"app.py": "import not_there"},
            "app.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'not_there'",
        ),
        ({"app.py": ""}, "app.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        (
            {"app.py": ""},
            "app",
            "Runtime.MalformedHandlerName",
            "Bad handler 'app': not enough values to unpack (expected 2, got 1)",
        ),
        (
            {},
            "sys.handler",
            "Runtime.BuiltInModuleConflict",
            "Cannot use built-in module sys as a handler module",
        ),
    ],
)
def test_init_failure_has_awss_type_and_text(
    tmp_path: Path, files: dict[str, str], handler: str, error_type: str, message: str
) -> None:
    answer, events = init_failure(tmp_path, files, handler)
    assert (answer.kind, answer.error_type) == (AnswerKind.ERROR, error_type)
    found = json.loads(answer.payload)
    assert found == {"errorMessage": message, "errorType": error_type, "requestId": "", "stackTrace": []}
    assert events == [f"[ERROR] {error_type}: {message}\nTraceback (most recent call last):\n"]


def test_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    answer, _ = init_failure(tmp_path, {"app.py": "def handler(:\n"}, "app.handler")
    found = json.loads(answer.payload)
    assert found["errorType"] == answer.error_type == "Runtime.UserCodeSyntaxError"
    assert found["errorMessage"].startswith("Syntax error in module 'app': ")
    assert found["stackTrace"][0].startswith(f'  File "{tmp_path}/app.py" Line 1\n')


def test_exception_at_import_is_the_answer(tmp_path: Path) -> None:
    answer, _ = init_failure(tmp_path, {"app.py": "1 / 0\n"}, "app.handler")
    found = json.loads(answer.payload)
    assert (found["errorType"], found["errorMessage"]) == ("ZeroDivisionError", "division by zero")
    assert [entry for entry in found["stackTrace"] if entry.startswith(f'  File "{tmp_path}/app.py", line 1')]
    assert not [entry for entry in found["stackTrace"] if "bootstrap.py" in entry or "_lambent_guest.py" in entry]


@pytest.mark.parametrize("handler", ["pkg/sub/mod.run", "pkg.sub.mod.run"])
def test_handler_may_be_in_a_package(tmp_path: Path, handler: str) -> None:
    async def body() -> None:
        code = write_code(tmp_path, {"pkg/sub/mod.py": "def run(event, context): return __name__\n"})
        async with Bench(python_runtime(), code, handler) as given:
            assert (await given.call()).payload == b'"pkg.sub.mod"'

    run(body)


@pytest.mark.parametrize(
    ("expression", "payload"),
    [
        ("{'a': [1, 2]}", b'{"a": [1, 2]}'),
        ("None", b"null"),
        ("__import__('decimal').Decimal('1.10')", b"1.10"),
        ("[__import__('decimal').Decimal('1e3'), 'decimal-0']", b'[1E+3, "decimal-0"]'),
        ("{'b': b'bytes'}", b'{"b": "bytes"}'),
        ("b'raw \\xff'", b"raw \xff"),
        ("(1, 2)", b"[1, 2]"),
    ],
)
def test_result_is_encoded_as_on_aws(tmp_path: Path, expression: str, payload: bytes) -> None:
    answer = answer_of(tmp_path, f"def handler(event, context): return {expression}\n")
    assert (answer.kind, answer.payload) == (AnswerKind.RESULT, payload)


def test_result_without_json_is_a_marshal_error(tmp_path: Path) -> None:
    answer = answer_of(tmp_path, "def handler(event, context): return {1, 2}\n")
    assert answer.kind is AnswerKind.ERROR
    assert json.loads(answer.payload) == {
        "errorMessage": "Unable to marshal response: Object of type set is not JSON serializable",
        "errorType": "Runtime.MarshalError",
        "requestId": REQUEST_ID,
        "stackTrace": [],
    }


CONTEXT = """
def handler(event, context):
    names = ("aws_request_id log_group_name log_stream_name function_name memory_limit_in_mb function_version"
             " invoked_function_arn tenant_id").split()
    found = {name: getattr(context, name) for name in names}
    found["client_context"] = repr(context.client_context)
    found["identity"] = repr(context.identity)
    found["w3c"] = context.w3c()
    context.leak = event
    return found
"""


def test_context_object_has_awss_fields(tmp_path: Path) -> None:
    client_context = {"client": {"app_title": "t"}, "custom": {"k": 1}, "w3c": {"traceparent": "00-1", "other": "x"}}
    found = result_of(
        tmp_path,
        CONTEXT,
        client_context=json.dumps(client_context),
        identity='{"cognitoIdentityId": "i", "cognitoIdentityPoolId": "p"}',
    )
    assert found == {
        "aws_request_id": REQUEST_ID,
        "log_group_name": "/aws/lambda/probe",
        "log_stream_name": "2026/01/02/[$LATEST]0123456789abcdef0123456789abcdef",
        "function_name": "probe",
        "memory_limit_in_mb": "128",
        "function_version": "$LATEST",
        "invoked_function_arn": "arn:aws:lambda:us-east-1:123456789012:function:probe",
        "tenant_id": None,
        "client_context": "ClientContext([custom={'k': 1},env=None,client=Client([installation_id=None,app_title=t,"
        "app_version_name=None,app_version_code=None,app_package_name=None])])",
        "identity": "CognitoIdentity([cognito_identity_id=i,cognito_identity_pool_id=p])",
        "w3c": {"traceparent": "00-1"},
    }


def test_nothing_of_one_call_is_in_the_next_context(tmp_path: Path) -> None:
    async def body() -> None:
        code = CONTEXT.replace("context.leak = event", "found['leak'] = hasattr(context, 'leak'); context.leak = event")
        async with bench(tmp_path, code) as given:
            await given.call(client_context='{"custom": {"secret": 1}}', identity='{"cognitoIdentityId": "i"}')
            found = json.loads((await given.call()).payload)
            assert (found["client_context"], found["leak"], found["w3c"]) == ("None", False, {})
            assert found["identity"] == "CognitoIdentity([cognito_identity_id=None,cognito_identity_pool_id=None])"

    run(body)


def test_client_context_that_is_not_json_is_an_error(tmp_path: Path) -> None:
    answer = answer_of(tmp_path, CONTEXT, client_context="{")
    assert answer.error_type == "Runtime.LambdaContextUnmarshalError"
    assert json.loads(answer.payload)["errorMessage"].startswith("Unable to parse Client Context JSON: ")


LOGGING = """
import logging, os, sys
log = logging.getLogger("own")
def handler(event, context):
    print("printed")
    log.warning("two\\nlines %s", 1)
    log.info("hidden")
    sys.stderr.write("error output\\n")
    os.write(1, b"raw\\n")
    logging.error("last", extra={"key": "value"})
    context.log("by context")
"""


def test_log_has_the_order_of_writing_and_awss_format(tmp_path: Path) -> None:
    log: list[str] = []
    answer_of(tmp_path, LOGGING, log=log)
    stamp = log[1].split("\t")[1]
    assert stamp.endswith("Z") and len(stamp) == len("2026-01-02T03:04:05.678Z")
    assert [event.replace(stamp, "T") if i == 1 else event for i, event in enumerate(log[:4])] == [
        "printed\n",
        f"[WARNING]\tT\t{REQUEST_ID}\ttwo\nlines 1\n",
        "error output\n",
        "raw\n",
    ]
    assert log[4].startswith("[ERROR]\t") and log[4].endswith(f"Z\t{REQUEST_ID}\tlast\n")
    assert log[5:] == ["by context\n"]


def test_json_log_format_gives_objects(tmp_path: Path) -> None:
    log: list[str] = []
    answer_of(tmp_path, LOGGING, log=log, variables={"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "INFO"})
    events = [json.loads(event) for event in log if event.startswith("{")]
    assert [(event["level"], event["message"], event["logger"]) for event in events] == [
        ("WARNING", "two\nlines 1", "own"),
        ("INFO", "hidden", "own"),
        ("ERROR", "last", "root"),
    ]
    assert all(event["requestId"] == REQUEST_ID for event in events)
    assert events[2]["key"] == "value"


def test_system_exit_ends_the_process_with_its_status(tmp_path: Path) -> None:
    answer = answer_of(tmp_path, "import sys\ndef handler(event, context): sys.exit(4)\n")
    assert (answer.kind, answer.exit_text) == (AnswerKind.EXIT, "exit status 4")


def test_variable_that_counts_at_start_gets_a_new_process(tmp_path: Path) -> None:
    code = "import os, sys\ndef handler(event, context): return [sys.flags.dev_mode, os.environ.get('PYTHONDEVMODE'), os.getpid()]\n"
    found = result_of(tmp_path, code, variables={"PYTHONDEVMODE": "1", "QUOTED": 'a "b" \n c'})
    assert found[:2] == [True, "1"]


def test_exec_wrapper_starts_the_runtime(tmp_path: Path) -> None:
    wrapper = (
        write_code(tmp_path, {"wrapper/bootstrap": '#!/bin/sh\nexport WRAPPED=yes\nexec "$@"\n'}) / "wrapper/bootstrap"
    )
    code = "import os\ndef handler(event, context): return os.environ['WRAPPED']\n"
    assert result_of(tmp_path, code, variables={"AWS_LAMBDA_EXEC_WRAPPER": str(wrapper)}) == "yes"


def test_empty_event_is_an_empty_object(tmp_path: Path) -> None:
    assert result_of(tmp_path, "def handler(event, context): return event\n", b"") == {}


def test_process_that_starts_again_finds_the_guest_without_its_folder_on_the_path(tmp_path: Path) -> None:
    code = "import sys\ndef handler(event, context): return sys.flags.dev_mode\n"
    variables = {"PYTHONDEVMODE": "1", "PYTHONSAFEPATH": "1", "PYTHONPATH": "/nowhere"}
    assert result_of(tmp_path, code, variables=variables) is True


def python_row(minor: int) -> Runtime:
    row = next(row for row in RuntimeTable(executable_folders()).rows() if row.identifier == f"python3.{minor}")
    if row.unavailable:
        pytest.skip(row.unavailable)
    return row


@pytest.mark.parametrize("minor", range(8, 15))
def test_init_phase_imports_nothing_but_the_functions_code(tmp_path: Path, minor: int) -> None:
    """Everything else was imported while the environment stood by."""
    row = python_row(minor)
    before = "import sys, os; sys.path.insert(0, os.environ['GUEST']); import _lambent_guest; print(*sys.modules)"
    environment = {"GUEST": str(GUESTS / "python"), "LANG": "en_US.UTF-8", "LC_CTYPE": "C.UTF-8"}
    printed = subprocess.run(
        [row.interpreter, "-u", "-S", "-B", "-c", before], env=environment, capture_output=True, text=True, check=True
    )

    async def body() -> None:
        code = write_code(tmp_path, {"app.py": "import sys\ndef handler(event, context): return list(sys.modules)\n"})
        async with Bench(row, code, "app.handler") as given:
            imported = json.loads((await given.call()).payload)
            assert set(imported) - set(printed.stdout.split()) == {"app"}

    run(body)


@pytest.mark.parametrize("minor", range(8, 15))
def test_guest_runs_on_every_python(tmp_path: Path, minor: int) -> None:
    row = python_row(minor)

    async def body() -> None:
        code = write_code(
            tmp_path,
            {
                "app.py": "import logging, sys\ndef handler(event, context):\n    logging.warning('w')\n"
                "    if event.get('fail'): raise KeyError('ü')\n    return [sys.version_info[1], 'ü']\n"
            },
        )
        async with Bench(row, code, "app.handler") as given:
            answer = await given.call()
            assert json.loads(answer.payload) == [minor, "ü"]
            # AWS writes other characters than ASCII as they are from 3.12 on.
            assert (b"\\u00fc" in answer.payload) == (minor < 12)
            assert given.log.events[0].endswith("\tw\n")
            failed = await given.call(b'{"fail": true}')
            assert json.loads(failed.payload)["errorMessage"] == "'ü'"

    run(body)


def test_boto3_is_there_and_readable_for_everyone(tmp_path: Path) -> None:
    sdk = Sdk(tmp_path / "cache", (), SystemClock())
    folders = sdk.prepare()
    assert sdk.prepare() == folders
    for path in folders[Family.PYTHON].rglob("*"):
        assert path.stat().st_mode & (0o005 if path.is_dir() else 0o004), path

    async def body() -> None:
        code = write_code(
            tmp_path / "code",
            {
                "app.py": "import importlib.metadata as m, boto3\ndef handler(event, context):\n"
                f"    return [boto3.__file__, [m.version(n) for n in {PACKAGES!r}]]\n"
            },
        )
        async with Bench(python_runtime(), code, "app.handler", made_with={"folders": folders}) as given:
            found = json.loads((await given.call()).payload)
            assert found[0] == str(folders[Family.PYTHON] / "boto3" / "__init__.py")
            assert all(found[1])

    run(body)
