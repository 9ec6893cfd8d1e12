"""The platform's lines in a function's log: START, END, REPORT and what stands between them when a call ends badly.

Forms as in the execution contract, section 5; both the older texts and the newer `Status:` members are written, so that
scrapers of either kind find what they look for.
"""

import math
from datetime import UTC, datetime

from lambent.invocation import OutcomeKind
from lambent.runtimes.contract import Answer, AnswerKind
from lambent.runtimes.faults import EXIT_ERROR, OUT_OF_MEMORY


def start_line(request_id: str, version: str) -> str:
    return f"START RequestId: {request_id} Version: {version}\n"


def end_line(request_id: str) -> str:
    return f"END RequestId: {request_id}\n"


def failure_line(request_id: str, answer: Answer, timeout_s: float, now_ms: int) -> str:
    """The line before END that says why the runtime did not answer; empty when it did."""
    if answer.kind is AnswerKind.TIMEOUT:
        moment = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return f"{moment} {request_id} Task timed out after {timeout_s:.2f} seconds\n\n"
    if answer.kind in (AnswerKind.EXIT, AnswerKind.OUT_OF_MEMORY):
        how = f"Runtime exited with error: {answer.exit_text}" if answer.exit_text else NO_REASON
        # The line of a call out of memory names the exit (contract 5); only REPORT says why.
        name = (answer.error_type if answer.kind is AnswerKind.EXIT else "") or EXIT_ERROR
        return f"RequestId: {request_id} Error: {how}\n{name}\n"
    return ""


NO_REASON = "Runtime exited without providing a reason"


def report_line(
    request_id: str, answer: Answer, duration_ms: float, init_ms: float | None, memory_mb: int, peak_mb: int
) -> str:
    """REPORT. Init time is billed, as AWS does since August 2025 (contract 5: 133.61 ms + 80.00 ms -> 214 ms)."""
    billed_ms = math.ceil(duration_ms + (init_ms or 0.0))
    used_mb = memory_mb if answer.kind is AnswerKind.OUT_OF_MEMORY else min(peak_mb, memory_mb)
    init = f"\tInit Duration: {init_ms:.2f} ms" if init_ms is not None else ""
    return (
        f"REPORT RequestId: {request_id}\tDuration: {duration_ms:.2f} ms\tBilled Duration: {billed_ms} ms\t"
        f"Memory Size: {memory_mb} MB\tMax Memory Used: {used_mb} MB{init}\t{_status(answer)}\n"
    )


def _status(answer: Answer) -> str:
    if answer.kind is AnswerKind.TIMEOUT:
        return "Status: timeout"
    if answer.kind is AnswerKind.EXIT:
        return f"Status: error\tError Type: {answer.error_type or EXIT_ERROR}"
    if answer.kind is AnswerKind.OUT_OF_MEMORY:
        return f"Status: error\tError Type: {answer.error_type or OUT_OF_MEMORY}"
    return ""


OUTCOME_OF: dict[AnswerKind, OutcomeKind] = {
    AnswerKind.RESULT: OutcomeKind.RESULT,
    AnswerKind.ERROR: OutcomeKind.FUNCTION_ERROR,
    AnswerKind.TIMEOUT: OutcomeKind.FUNCTION_ERROR,
    AnswerKind.EXIT: OutcomeKind.FUNCTION_ERROR,
    AnswerKind.OUT_OF_MEMORY: OutcomeKind.FUNCTION_ERROR,
    AnswerKind.TOO_LARGE: OutcomeKind.FUNCTION_ERROR,
    AnswerKind.BAD_EVENT: OutcomeKind.BAD_EVENT,
}
