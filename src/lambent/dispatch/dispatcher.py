"""Runs one call: admit, lease, run under its deadline, report. Read `run` from top to bottom."""

import asyncio
import logging

from lambent.clock import Clock
from lambent.dispatch.admission import Admission
from lambent.dispatch.report import OUTCOME_OF, end_line, failure_line, report_line, start_line
from lambent.errors import LambentError
from lambent.functions.records import FunctionVersion
from lambent.invocation import Invocation, Outcome, OutcomeKind
from lambent.observe.function_log import FunctionLog
from lambent.pool.environment import NoRoom, PooledEnvironment, StartFailed
from lambent.pool.pool import Pool
from lambent.runtimes.contract import Answer, AnswerKind
from lambent.runtimes.faults import with_request_id

logger = logging.getLogger("lambent.dispatch")

THROTTLED_MESSAGE = "Rate Exceeded."

#: The kernel is asked for the memory peak after a call of this length, and after shorter ones this often: a call of less than
#: a millisecond cannot touch more than a few MB, and asking costs as much as the rest of its report.
PEAK_CALL_MS = 1.0
PEAK_SECONDS = 0.1


class Dispatcher:
    """The one way into a function, for every door."""

    def __init__(self, pool: Pool, admission: Admission, clock: Clock) -> None:
        self._pool = pool
        self._admission = admission
        self._clock = clock
        self._draining = False
        self._drained = asyncio.Event()

    async def run(self, version: FunctionVersion, invocation: Invocation) -> Outcome:
        """Runs one call of one version to its end. Expected failures are outcomes; nothing expected is raised."""
        if self._draining:
            return Outcome(OutcomeKind.UNAVAILABLE, message="the platform is shutting down")
        reason = self._admission.enter(version.account)
        if reason:
            return Outcome(OutcomeKind.THROTTLED, message=THROTTLED_MESSAGE, reason=reason)
        try:
            held = self._pool.take_idle(version)
            if held is None:
                try:
                    held = await self._lease(version)
                except StartFailed as error:
                    return self._failed_start(version, invocation, error)
                except NoRoom as error:
                    return Outcome(
                        OutcomeKind.THROTTLED, message=str(error), reason="ConcurrentInvocationLimitExceeded"
                    )
                except LambentError as error:
                    logger.warning("no environment for %s: %s", version.arn, error)
                    return Outcome(OutcomeKind.UNAVAILABLE, message=str(error))
            try:
                outcome = await self._run_in(held, version, invocation)
            except BaseException:
                # The call was cut off in the middle: what runs in there is not fit for another call.
                self._pool.release(held, reusable=False)
                raise
            self._pool.release(held)
            return outcome
        finally:
            self._leave(version.account)

    def _leave(self, account: str) -> None:
        self._admission.leave(account)
        if self._draining and not self._admission.running():
            self._drained.set()

    async def drain(self, grace_seconds: float) -> None:
        """Refuses new calls and waits until the running ones have ended, at most `grace_seconds`."""
        self._draining = True
        if self._admission.running():
            try:
                async with asyncio.timeout(grace_seconds):
                    await self._drained.wait()
            except TimeoutError:
                logger.warning("%d calls were cut off at shutdown", self._admission.running())

    async def _lease(self, version: FunctionVersion) -> PooledEnvironment:
        """An init phase that runs into its limit is done once more under the function's own time-out (contract 1)."""
        try:
            return await self._pool.lease(version)
        except StartFailed as error:
            if error.failure.answer.kind is not AnswerKind.TIMEOUT:
                raise
        return await self._pool.lease(version, init_limit_ms=version.timeout_s * 1000)

    async def _run_in(self, held: PooledEnvironment, version: FunctionVersion, invocation: Invocation) -> Outcome:
        log = held.log
        if invocation.tail:
            log.begin_tail()
        log.write(start_line(invocation.request_id, version.version))
        begun = self._clock.monotonic()
        deadline_ms = self._clock.now_ms() + version.timeout_s * 1000
        answer = await held.environment.invoke(invocation, deadline_ms)
        ended = self._clock.monotonic()
        duration_ms = (ended - begun) * 1000
        init_ms, held.init_ms = held.init_ms, None
        if duration_ms >= PEAK_CALL_MS or ended - held.peak_read >= PEAK_SECONDS:
            held.peak_mb, held.peak_read = held.environment.memory_peak_mib(), ended
        self._report(log, version, invocation, answer, duration_ms, init_ms, held.peak_mb)
        if answer.kind is AnswerKind.BAD_EVENT:
            # Its payload is the guest's text about what is wrong with the event.
            return Outcome(OutcomeKind.BAD_EVENT, message=answer.payload.decode("utf-8", "replace"))
        return Outcome(
            OUTCOME_OF[answer.kind],
            payload=answer.payload,
            executed_version=version.version,
            log_tail=log.tail() if invocation.tail else b"",
            duration_ms=duration_ms,
            init_ms=init_ms,
        )

    def _failed_start(self, version: FunctionVersion, invocation: Invocation, error: StartFailed) -> Outcome:
        """The init phase failed: the call that waited for it gets the error, with the log lines of a call."""
        log, failure = error.log, error.failure
        answer = with_request_id(failure.answer, invocation.request_id)
        log.write(start_line(invocation.request_id, version.version))
        self._report(log, version, invocation, answer, failure.init_ms, None, 0)
        return Outcome(
            OUTCOME_OF[answer.kind],
            payload=answer.payload,
            executed_version=version.version,
            log_tail=log.tail() if invocation.tail else b"",
            duration_ms=failure.init_ms,
        )

    def _report(
        self,
        log: FunctionLog,
        version: FunctionVersion,
        invocation: Invocation,
        answer: Answer,
        duration_ms: float,
        init_ms: float | None,
        peak_mb: int,
    ) -> None:
        if answer.kind is AnswerKind.TIMEOUT:
            # AWS reports exactly the time-out, not the moment at which the kill was noticed.
            duration_ms = version.timeout_s * 1000.0
        why = failure_line(invocation.request_id, answer, version.timeout_s, self._clock.now_ms())
        if why:
            log.write(why)
        log.write(end_line(invocation.request_id))
        log.write(report_line(invocation.request_id, answer, duration_ms, init_ms, version.memory_mb, peak_mb))
