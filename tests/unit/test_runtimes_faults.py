"""The platform's error objects, word for word."""

import json

import pytest

from lambent.runtimes import faults
from lambent.runtimes.contract import AnswerKind
from lambent.sandbox.contract import Exit


@pytest.mark.parametrize(
    ("end", "kind", "error_type", "message", "exit_text"),
    [
        (
            Exit(status=1),
            AnswerKind.EXIT,
            "Runtime.ExitError",
            "Runtime exited with error: exit status 1",
            "exit status 1",
        ),
        (Exit(status=0), AnswerKind.EXIT, "Runtime.ExitError", "Runtime exited without providing a reason", ""),
        (
            Exit(signal=9),
            AnswerKind.EXIT,
            "Runtime.ExitError",
            "Runtime exited with error: signal: killed",
            "signal: killed",
        ),
        (
            Exit(signal=11),
            AnswerKind.EXIT,
            "Runtime.ExitError",
            "Runtime exited with error: signal: segmentation fault",
            "signal: segmentation fault",
        ),
        (
            Exit(signal=9, out_of_memory=True),
            AnswerKind.OUT_OF_MEMORY,
            "Runtime.OutOfMemory",
            "Runtime exited with error: signal: killed",
            "signal: killed",
        ),
    ],
)
def test_end_of_the_process_becomes_awss_error(
    end: Exit, kind: AnswerKind, error_type: str, message: str, exit_text: str
) -> None:
    answer = faults.exited(end, "abc")
    assert (answer.kind, answer.error_type, answer.exit_text) == (kind, error_type, exit_text)
    assert json.loads(answer.payload) == {"errorType": error_type, "errorMessage": f"RequestId: abc Error: {message}"}


def test_timeout_names_the_seconds_with_two_decimals() -> None:
    answer = faults.timed_out(3000, "abc")
    assert json.loads(answer.payload) == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": "RequestId: abc Error: Task timed out after 3.00 seconds",
    }


def test_too_large_result_names_awss_limit() -> None:
    answer = faults.too_large(7_000_000, 6 * 1024 * 1024)
    assert json.loads(answer.payload) == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    }
    assert answer.size == 7_000_000


def test_answer_of_an_init_phase_gets_the_request_id_of_the_call_that_waited() -> None:
    completed = faults.with_request_id(faults.exited(Exit(status=2)), "abc")
    assert completed == faults.exited(Exit(status=2), "abc")


def test_error_object_of_the_runtime_is_left_alone() -> None:
    answer = faults.exited(Exit(status=2), "abc")
    assert faults.with_request_id(answer, "other") == answer
