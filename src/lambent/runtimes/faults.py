"""The error objects that the platform itself answers with, and the words for how a process ended. Pure.

Sources: execution contract, section 6; the exit texts are Go's `os/exec` and `syscall.Signal` texts, which AWS's runtime
interface emulator prints.
"""

import msgspec

from lambent.runtimes.contract import Answer, AnswerKind
from lambent.sandbox.contract import Exit

EXIT_ERROR = "Runtime.ExitError"
OUT_OF_MEMORY = "Runtime.OutOfMemory"
TIMED_OUT = "Sandbox.Timedout"
TOO_LARGE = "Function.ResponseSizeTooLarge"
INVALID_ENTRYPOINT = "Runtime.InvalidEntrypoint"
UNKNOWN = "Runtime.Unknown"

#: AWS's limit in its own text is 6 MB and 100 bytes (6291556): the setting bounds the payload, this the envelope.
RESULT_SLACK = 100

_SIGNALS = {
    1: "hangup",
    2: "interrupt",
    3: "quit",
    4: "illegal instruction",
    5: "trace/breakpoint trap",
    6: "aborted",
    7: "bus error",
    8: "floating point exception",
    9: "killed",
    10: "user defined signal 1",
    11: "segmentation fault",
    12: "user defined signal 2",
    13: "broken pipe",
    14: "alarm clock",
    15: "terminated",
    24: "CPU time limit exceeded",
    25: "file size limit exceeded",
    31: "bad system call",
}


def exit_text(end: Exit) -> str:
    """`exit status 1`, `signal: killed`; empty for status 0, which AWS calls "without providing a reason"."""
    if end.signal is not None:
        return f"signal: {_SIGNALS.get(end.signal, f'signal {end.signal}')}"
    return f"exit status {end.status}" if end.status else ""


def error_payload(error_type: str, message: str, request_id: str = "") -> bytes:
    """`{"errorType", "errorMessage"}`; with a request id the message starts with it, as AWS's platform errors do."""
    text = f"RequestId: {request_id} Error: {message}" if request_id else f"Error: {message}"
    return msgspec.json.encode({"errorType": error_type, "errorMessage": text})


def exited(end: Exit, request_id: str = "") -> Answer:
    """The answer of a call (or, without a request id, of an init phase) whose process ended."""
    text = exit_text(end)
    how = f"Runtime exited with error: {text}" if text else "Runtime exited without providing a reason"
    if end.out_of_memory:
        how = "Runtime exited with error: signal: killed"
        return Answer(
            AnswerKind.OUT_OF_MEMORY, error_payload(OUT_OF_MEMORY, how, request_id), OUT_OF_MEMORY, "signal: killed"
        )
    return Answer(AnswerKind.EXIT, error_payload(EXIT_ERROR, how, request_id), EXIT_ERROR, text)


def timed_out(limit_ms: int, request_id: str = "") -> Answer:
    """The answer at the deadline. `limit_ms` is the function's time-out, or the limit of the init phase."""
    message = f"Task timed out after {limit_ms / 1000:.2f} seconds"
    return Answer(AnswerKind.TIMEOUT, error_payload(TIMED_OUT, message, request_id), TIMED_OUT)


def too_large(size: int, payload_max: int) -> Answer:
    """AWS's words for a result past the limit; the environment lives on."""
    message = f"Response payload size exceeded maximum allowed payload size ({payload_max + RESULT_SLACK} bytes)."
    payload = msgspec.json.encode({"errorType": TOO_LARGE, "errorMessage": message})
    return Answer(AnswerKind.TOO_LARGE, payload, TOO_LARGE, size=size)


def failed(error_type: str, message: str, request_id: str = "") -> Answer:
    """An error that the platform found before or beside the runtime, such as a missing bootstrap."""
    return Answer(AnswerKind.ERROR, error_payload(error_type, message, request_id), error_type)


def with_request_id(answer: Answer, request_id: str) -> Answer:
    """An init phase's answer, completed for the call that waited for it (an init phase has no request id of its own)."""
    prefix = b'"errorMessage":"Error: '
    if prefix not in answer.payload[:200]:
        return answer
    payload = answer.payload.replace(prefix, f'"errorMessage":"RequestId: {request_id} Error: '.encode(), 1)
    return Answer(answer.kind, payload, answer.error_type, answer.exit_text, answer.size)
