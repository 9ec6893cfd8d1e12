"""Calls through dispatcher and pool over scripted environments."""

import asyncio
import re

import pytest

from dispatch_fixtures import Stage, call, version
from lambent.invocation import Invocation, OutcomeKind
from lambent.runtimes.contract import Answer, AnswerKind
from lambent.sandbox.contract import SandboxError


def test_second_call_reuses_the_environment_and_reports_no_init():
    async def scenario() -> None:
        stage = Stage()
        first = await stage.dispatcher.run(version(), call(b'{"n": 1}'))
        second = await stage.dispatcher.run(version(), call(b'{"n": 2}'))
        assert (first.payload, second.payload) == (b'{"n": 1}', b'{"n": 2}')
        assert (first.init_ms, second.init_ms) == (12.5, None)
        assert stage.environments.made == 1
        lines = stage.logs[0].lines
        assert lines[0].startswith("INIT_START Runtime Version: python3.11:3.11.2")
        assert lines[1] == "START RequestId: id-1 Version: $LATEST\n"
        assert lines[2] == "END RequestId: id-1\n"
        assert re.fullmatch(
            r"REPORT RequestId: id-1\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\t"
            r"Max Memory Used: 40 MB\tInit Duration: 12\.50 ms\t\n",
            lines[3],
        )
        assert "Init Duration" not in lines[6]
        await stage.stop()

    asyncio.run(scenario())


def test_concurrent_calls_get_an_environment_each():
    async def scenario() -> None:
        meeting = asyncio.Barrier(5)

        async def meet(invocation: Invocation) -> Answer:
            await meeting.wait()
            return Answer(AnswerKind.RESULT, payload=b"1")

        stage = Stage(meet)
        outcomes = await asyncio.gather(*(stage.dispatcher.run(version(), call()) for _ in range(5)))
        assert [outcome.kind for outcome in outcomes] == [OutcomeKind.RESULT] * 5
        assert stage.pool.counts() == {"idle": 5, "busy": 0, "starting": 0}
        await stage.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answer", "line", "status"),
    [
        (
            Answer(AnswerKind.TIMEOUT, payload=b"{}", error_type="Sandbox.Timedout"),
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z id-1 Task timed out after 3\.00 seconds\n\n",
            "Status: timeout\n",
        ),
        (
            Answer(AnswerKind.EXIT, payload=b"{}", exit_text="exit status 1"),
            r"RequestId: id-1 Error: Runtime exited with error: exit status 1\nRuntime\.ExitError\n",
            "Status: error\tError Type: Runtime.ExitError\n",
        ),
        (
            Answer(AnswerKind.EXIT, payload=b"{}"),
            r"RequestId: id-1 Error: Runtime exited without providing a reason\nRuntime\.ExitError\n",
            "Status: error\tError Type: Runtime.ExitError\n",
        ),
        (
            # A guest that breaks the frame protocol is killed; what the caller reads as errorType is in the lines too.
            Answer(AnswerKind.EXIT, payload=b"{}", error_type="Runtime.Unknown", exit_text="signal: killed"),
            r"RequestId: id-1 Error: Runtime exited with error: signal: killed\nRuntime\.Unknown\n",
            "Status: error\tError Type: Runtime.Unknown\n",
        ),
        (
            Answer(
                AnswerKind.OUT_OF_MEMORY, payload=b"{}", error_type="Runtime.OutOfMemory", exit_text="signal: killed"
            ),
            r"RequestId: id-1 Error: Runtime exited with error: signal: killed\nRuntime\.ExitError\n",
            "Status: error\tError Type: Runtime.OutOfMemory\n",
        ),
        (
            Answer(AnswerKind.OUT_OF_MEMORY, payload=b"{}", exit_text="signal: killed"),
            r"RequestId: id-1 Error: Runtime exited with error: signal: killed\nRuntime\.ExitError\n",
            "Status: error\tError Type: Runtime.OutOfMemory\n",
        ),
    ],
)
def test_a_call_that_ends_badly_says_so_in_the_log_and_the_next_call_works(answer, line, status):
    async def scenario() -> None:
        answers = [answer, Answer(AnswerKind.RESULT, payload=b"2")]

        async def script(invocation: Invocation) -> Answer:
            return answers.pop(0)

        stage = Stage(script)
        bad = await stage.dispatcher.run(version(), call())
        good = await stage.dispatcher.run(version(), call())
        assert (bad.kind, good.kind) == (OutcomeKind.FUNCTION_ERROR, OutcomeKind.RESULT)
        assert stage.environments.made == 2
        lines = stage.logs[0].lines
        assert re.fullmatch(line, lines[2])
        assert lines[3] == "END RequestId: id-1\n"
        assert lines[4].endswith(status)
        await stage.stop()

    asyncio.run(scenario())


def test_out_of_memory_reports_all_of_the_memory_as_used_and_a_time_out_exactly_the_time_out():
    async def scenario() -> None:
        answers = [Answer(AnswerKind.OUT_OF_MEMORY), Answer(AnswerKind.TIMEOUT)]

        async def script(invocation: Invocation) -> Answer:
            return answers.pop(0)

        stage = Stage(script)
        await stage.dispatcher.run(version(), call())
        await stage.dispatcher.run(version(), call())
        assert "Max Memory Used: 128 MB" in stage.logs[0].lines[-1]
        assert "\tDuration: 3000.00 ms\tBilled Duration: 3013 ms\t" in stage.logs[1].lines[-1]
        await stage.stop()

    asyncio.run(scenario())


def test_a_failed_init_phase_is_the_callers_error_and_is_logged_as_a_call():
    async def scenario() -> None:
        stage = Stage()
        answer = Answer(
            AnswerKind.ERROR,
            payload=b'{"errorType":"Runtime.ImportModuleError"}',
            error_type="Runtime.ImportModuleError",
        )
        stage.environments.init_failure = lambda start, limit_ms: answer
        outcome = await stage.dispatcher.run(version(), call(tail=True))
        assert outcome.kind is OutcomeKind.FUNCTION_ERROR
        assert outcome.payload == answer.payload
        lines = stage.logs[0].lines
        assert lines[1] == (
            "INIT_REPORT Init Duration: 12.50 ms\tPhase: init\tStatus: error\tError Type: Runtime.ImportModuleError\n"
        )
        assert [line.split()[0] for line in lines[2:]] == ["START", "END", "REPORT"]
        assert b"INIT_REPORT" in outcome.log_tail
        stage.environments.init_failure = lambda start, limit_ms: None
        assert (await stage.dispatcher.run(version(), call())).kind is OutcomeKind.RESULT
        await stage.stop()

    asyncio.run(scenario())


def test_an_init_phase_that_times_out_is_done_again_under_the_functions_own_time_out():
    async def scenario() -> None:
        limits: list[int] = []

        def slow_init(start: object, limit_ms: int) -> Answer | None:
            limits.append(limit_ms)
            return Answer(AnswerKind.TIMEOUT) if len(limits) == 1 else None

        stage = Stage()
        stage.environments.init_failure = slow_init
        outcome = await stage.dispatcher.run(version(timeout_s=60), call())
        assert outcome.kind is OutcomeKind.RESULT
        assert limits == [10_000, 60_000]
        await stage.stop()

    asyncio.run(scenario())


def test_a_sandbox_that_cannot_be_made_is_the_platforms_error():
    async def scenario() -> None:
        stage = Stage()
        stage.environments.refusals = [SandboxError("no user namespaces here")]
        outcome = await stage.dispatcher.run(version(), call())
        assert (outcome.kind, outcome.message) == (OutcomeKind.UNAVAILABLE, "no user namespaces here")
        await stage.stop()

    asyncio.run(scenario())


def test_calls_past_the_accounts_concurrency_are_throttled_with_awss_reason():
    async def scenario() -> None:
        gate = asyncio.Event()

        async def script(invocation: Invocation) -> Answer:
            await gate.wait()
            return Answer(AnswerKind.RESULT)

        stage = Stage(script, account_concurrency=2)
        running = [asyncio.create_task(stage.dispatcher.run(version(), call())) for _ in range(2)]
        await asyncio.sleep(0)
        refused = await stage.dispatcher.run(version(), call())
        assert (refused.kind, refused.reason) == (OutcomeKind.THROTTLED, "ConcurrentInvocationLimitExceeded")
        gate.set()
        await asyncio.gather(*running)
        assert (await stage.dispatcher.run(version(), call())).kind is OutcomeKind.RESULT
        await stage.stop()

    asyncio.run(scenario())


def test_when_all_environments_are_busy_a_call_is_throttled_and_an_idle_one_makes_room_for_another_function():
    async def scenario() -> None:
        gate = asyncio.Event()

        async def script(invocation: Invocation) -> Answer:
            if invocation.payload == b"wait":
                await gate.wait()
            return Answer(AnswerKind.RESULT)

        stage = Stage(script, environments_max=1)
        assert (await stage.dispatcher.run(version("a"), call())).kind is OutcomeKind.RESULT
        assert (await stage.dispatcher.run(version("b"), call())).kind is OutcomeKind.RESULT
        busy = asyncio.create_task(stage.dispatcher.run(version("b"), call(b"wait")))
        await asyncio.sleep(0)
        assert (await stage.dispatcher.run(version("a"), call())).kind is OutcomeKind.THROTTLED
        gate.set()
        await busy
        assert stage.environments.made == 2
        await stage.stop()

    asyncio.run(scenario())


def test_a_replaced_version_serves_its_running_calls_and_no_other():
    async def scenario() -> None:
        gate = asyncio.Event()

        async def script(invocation: Invocation) -> Answer:
            await gate.wait()
            return Answer(AnswerKind.RESULT, payload=b'"old"')

        stage = Stage(script)
        running = asyncio.create_task(stage.dispatcher.run(version(), call()))
        while not stage.pool.counts()["busy"]:
            await asyncio.sleep(0)
        stage.pool.retire(version().key)
        gate.set()
        assert (await running).payload == b'"old"'
        assert stage.pool.counts() == {"idle": 0, "busy": 0, "starting": 0}
        await stage.stop()

    asyncio.run(scenario())


def test_a_caller_that_gives_up_as_its_environment_comes_leaves_it_to_the_next():
    async def scenario() -> None:
        stage = Stage()
        running = asyncio.create_task(stage.dispatcher.run(version(), call()))
        while not stage.pool.counts()["busy"]:
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert stage.pool.counts() == {"idle": 1, "busy": 0, "starting": 0}
        assert stage.admission.running() == 0
        await stage.stop()

    asyncio.run(scenario())


def test_a_call_that_is_cut_off_takes_its_environment_with_it():
    async def scenario() -> None:
        begun = asyncio.Event()

        async def script(invocation: Invocation) -> Answer:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError

        stage = Stage(script)
        running = asyncio.create_task(stage.dispatcher.run(version(), call()))
        await begun.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert stage.pool.counts() == {"idle": 0, "busy": 0, "starting": 0}
        assert stage.admission.running() == 0
        await stage.stop()

    asyncio.run(scenario())


def test_an_environment_that_dies_between_calls_is_not_used_again():
    async def scenario() -> None:
        stage = Stage()
        await stage.dispatcher.run(version(), call())
        (environment,) = stage.environments.live
        environment.die()
        assert stage.pool.counts()["idle"] == 0
        assert (await stage.dispatcher.run(version(), call())).kind is OutcomeKind.RESULT
        await stage.stop()

    asyncio.run(scenario())


def test_a_taken_standby_is_replaced_and_a_dead_one_is_not_taken():
    async def scenario() -> None:
        stage = Stage(standby=2)
        await stage.standby.fill(stage.runtime("python3.11"))
        assert stage.environments.made == 2
        first = next(iter(stage.environments.live))
        first.die()
        await stage.dispatcher.run(version(), call())
        while sum(stage.standby.levels().values()) < 2:
            await asyncio.sleep(0.01)
        assert stage.pool.counts()["idle"] == 1
        await stage.stop()

    asyncio.run(scenario())


def test_draining_refuses_new_calls_and_waits_for_running_ones():
    async def scenario() -> None:
        gate = asyncio.Event()

        async def script(invocation: Invocation) -> Answer:
            await gate.wait()
            return Answer(AnswerKind.RESULT)

        stage = Stage(script)
        running = asyncio.create_task(stage.dispatcher.run(version(), call()))
        while not stage.pool.counts()["busy"]:
            await asyncio.sleep(0)
        draining = asyncio.create_task(stage.dispatcher.drain(30))
        await asyncio.sleep(0)
        assert (await stage.dispatcher.run(version(), call())).kind is OutcomeKind.UNAVAILABLE
        assert not draining.done()
        gate.set()
        await draining
        assert (await running).kind is OutcomeKind.RESULT
        await stage.stop()

    asyncio.run(scenario())


def test_the_tail_holds_the_lines_of_this_call_only():
    async def scenario() -> None:
        stage = Stage()
        await stage.dispatcher.run(version(), call(request_id="one"))
        outcome = await stage.dispatcher.run(version(), call(request_id="two", tail=True))
        assert outcome.log_tail.startswith(b"START RequestId: two")
        assert b"one" not in outcome.log_tail
        await stage.stop()

    asyncio.run(scenario())
