"""Subjects that run functions, against a real server with a scripted call."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NoRespondersError

from bus_fixtures import bus_settings, running_bus
from lambent.bus.bus import Bus
from lambent.functions.store import FunctionNotFound
from lambent.invocation import Outcome, OutcomeKind
from lambent.sources import subjects
from lambent.sources.bindings import SubjectBinding
from lambent.sources.subjects import SubjectSource
from lambent.state.contract import Table
from lambent.state.memory import MemoryState

ACCOUNT = "123456789012"


class Stage:
    """A source on a real events account. `respond` makes the outcome from (function, payload, context)."""

    def __init__(self, bus: Bus, table: Table[SubjectBinding], source: SubjectSource, client: Client) -> None:
        self.bus = bus
        self.table = table
        self.source = source
        self.client = client

    async def bind(self, subject: str, function: str = "hello", queue: str = "lambent") -> None:
        key = f"{subject} {queue}"
        record = SubjectBinding(id=key, account=ACCOUNT, function=function, subject=subject, queue=queue, created_ms=1)
        await self.table.put(key, record)
        await _until(lambda: key in self.source._bound)
        await self.bus.events.flush()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


Respond = Callable[[str, bytes, dict[str, Any]], Awaitable[Outcome]]


async def _hello(function: str, payload: bytes, context: dict[str, Any]) -> Outcome:
    return Outcome(OutcomeKind.RESULT, b'"hello"')


@asynccontextmanager
async def _stage(folder: Path, respond: Respond = _hello, **changes: Any) -> AsyncIterator[Stage]:
    async def call(account: str, function: str, payload: bytes, context: str) -> Outcome:
        assert account == ACCOUNT
        return await respond(function, payload, msgspec.json.decode(context))

    async with running_bus(folder, **changes) as bus:
        table = await MemoryState().table("bindings", SubjectBinding)
        source = SubjectSource(bus.events, table, call, bus_settings(folder, **changes))
        await source.start()
        client = Client()
        await client.connect(bus.url)
        try:
            yield Stage(bus, table, source, client)
        finally:
            await client.close()
            await source.stop()


def test_a_telnet_session_gets_the_plain_result(tmp_path: Path) -> None:
    async def main() -> None:
        async with _stage(tmp_path) as stage:
            await stage.bind("myfunction.lambda")
            assert stage.bus.server is not None
            reader, writer = await asyncio.open_connection("127.0.0.1", stage.bus.server.port)
            assert (await reader.readline()).startswith(b"INFO ")
            writer.write(b"SUB reply-box 200\r\nPUB myfunction.lambda reply-box 0\r\n\r\n")
            lines = []
            async with asyncio.timeout(10):
                while b"hello\r\n" not in lines:
                    lines.append(await reader.readline())
            assert lines[-2:] == [b"MSG reply-box 200 5\r\n", b"hello\r\n"]
            writer.close()
            await writer.wait_closed()

    asyncio.run(main())


def test_subject_reply_headers_and_encoding_reach_the_function(tmp_path: Path) -> None:
    seen: list[tuple[bytes, dict[str, Any]]] = []

    async def respond(function: str, payload: bytes, context: dict[str, Any]) -> Outcome:
        seen.append((payload, context["custom"]["nats"]))
        return Outcome(OutcomeKind.RESULT, payload)

    async def main() -> None:
        async with _stage(tmp_path, respond) as stage:
            await stage.bind("orders.*.created")
            answer = await stage.client.request("orders.7.created", b'{"n": 1}', timeout=10, headers={"X-One": "1"})
            assert answer.data == b'{"n": 1}'
            assert (await stage.client.request("orders.8.created", b"plain", timeout=10)).data == b"plain"
            await stage.client.request("orders.9.created", b"\xff", timeout=10)

    asyncio.run(main())
    assert [payload for payload, _ in seen] == [b'{"n": 1}', b'"plain"', b'"/w=="']
    first = seen[0][1]
    assert first["subject"] == "orders.7.created"
    assert first["headers"] == {"X-One": "1"}
    assert first["reply"].startswith("_INBOX.")
    assert [nats["encoding"] for _, nats in seen] == ["json", "text", "base64"]


def test_failures_carry_the_headers_of_nats_services(tmp_path: Path) -> None:
    async def respond(function: str, payload: bytes, context: dict[str, Any]) -> Outcome:
        if function == "gone":
            raise FunctionNotFound("gone")
        if function == "mistake":
            raise ZeroDivisionError
        kinds = {"fails": OutcomeKind.FUNCTION_ERROR, "full": OutcomeKind.THROTTLED, "bad": OutcomeKind.BAD_EVENT}
        return Outcome(kinds[function], b'{"errorType":"Oops","errorMessage":"two\\nlines"}', message="no room")

    async def main() -> None:
        async with _stage(tmp_path, respond) as stage:
            found = {}
            for function in ("fails", "full", "bad", "gone", "mistake"):
                await stage.bind(f"f.{function}", function)
                answer = await stage.client.request(f"f.{function}", b"", timeout=10)
                assert answer.headers is not None
                body = msgspec.json.decode(answer.data)
                assert body["errorMessage"]
                found[function] = (answer.headers["Nats-Service-Error-Code"], answer.headers["Lambent-Error"])
                if function == "fails":
                    assert answer.headers["Nats-Service-Error"] == "two lines"
            assert found == {
                "fails": ("500", "Oops"),
                "full": ("429", "TooManyRequestsException"),
                "bad": ("400", "InvalidRequestContentException"),
                "gone": ("404", "ResourceNotFoundException"),
                "mistake": ("500", "ServiceException"),
            }

    asyncio.run(main())


def test_an_unbound_subject_is_not_answered_any_more(tmp_path: Path) -> None:
    async def main() -> None:
        async with _stage(tmp_path) as stage:
            await stage.bind("a")
            await stage.bind("b")
            assert (await stage.client.request("a", b"", timeout=10)).data == b"hello"
            await stage.table.remove("a lambent")
            await _until(lambda: not stage.source._leaving and "a lambent" not in stage.source._bound)
            with pytest.raises(NoRespondersError):
                await stage.client.request("a", b"", timeout=10)
            assert (await stage.client.request("b", b"", timeout=10)).data == b"hello"

    asyncio.run(main())


def test_a_second_source_in_the_queue_group_shares_the_messages(tmp_path: Path) -> None:
    calls: list[str] = []

    async def respond(function: str, payload: bytes, context: dict[str, Any]) -> Outcome:
        calls.append("first")
        return Outcome(OutcomeKind.RESULT, b"1")

    async def second_call(account: str, function: str, payload: bytes, context: str) -> Outcome:
        calls.append("second")
        return Outcome(OutcomeKind.RESULT, b"2")

    async def main() -> None:
        async with _stage(tmp_path, respond) as stage:
            await stage.bind("shared")
            second = SubjectSource(stage.bus.events, stage.table, second_call, bus_settings(tmp_path))
            await second.start()
            for _ in range(100):
                await stage.client.request("shared", b"", timeout=10)
            await second.stop()

    asyncio.run(main())
    assert len(calls) == 100
    assert set(calls) == {"first", "second"}


def test_no_more_than_nats_in_flight_run_at_once_and_the_rest_is_throttled(tmp_path: Path) -> None:
    running = 0
    most = 0

    async def main() -> None:
        release = asyncio.Event()

        async def respond(function: str, payload: bytes, context: dict[str, Any]) -> Outcome:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await release.wait()
            running -= 1
            return Outcome(OutcomeKind.RESULT, b"1")

        async with _stage(tmp_path, respond, nats_in_flight=3) as stage:
            await stage.bind("busy")
            requests = [asyncio.ensure_future(stage.client.request("busy", b"", timeout=10)) for _ in range(10)]
            await _until(lambda: sum(request.done() for request in requests) == 4)
            release.set()
            answers = await asyncio.gather(*requests)
            codes = [(answer.headers or {}).get("Nats-Service-Error-Code", "") for answer in answers]
            assert sorted(codes) == [""] * 6 + ["429"] * 4

    asyncio.run(main())
    assert most == 3


def test_bindings_work_again_after_the_server_was_killed(tmp_path: Path) -> None:
    async def main() -> None:
        async with _stage(tmp_path) as stage:
            await stage.bind("f")
            assert stage.bus.server is not None and stage.bus.server._process is not None
            stage.bus.server._process.kill()
            async with asyncio.timeout(30):
                while True:
                    try:
                        answer = await stage.client.request("f", b"", timeout=1)
                        break
                    except Exception:
                        await asyncio.sleep(0.05)
            assert answer.data == b"hello"

    asyncio.run(main())


def test_stop_waits_for_the_running_call_and_sends_its_reply(tmp_path: Path) -> None:
    async def main() -> None:
        started = asyncio.Event()

        async def respond(function: str, payload: bytes, context: dict[str, Any]) -> Outcome:
            started.set()
            await asyncio.sleep(0.1)
            return Outcome(OutcomeKind.RESULT, b'"late"')

        async with _stage(tmp_path, respond) as stage:
            await stage.bind("slow")
            request = asyncio.ensure_future(stage.client.request("slow", b"", timeout=10))
            await started.wait()
            await stage.source.stop()
            assert (await request).data == b"late"

    asyncio.run(main())


def test_a_result_larger_than_a_message_is_answered_with_an_error(tmp_path: Path) -> None:
    async def respond(function: str, payload: bytes, context: dict[str, Any]) -> Outcome:
        return Outcome(OutcomeKind.RESULT, b'"' + b"x" * (9 * 1024 * 1024) + b'"')

    async def main() -> None:
        async with _stage(tmp_path, respond) as stage:
            await stage.bind("large")
            answer = await stage.client.request("large", b"", timeout=10)
            assert (answer.headers or {})["Nats-Service-Error-Code"] == "413"

    asyncio.run(main())


@pytest.mark.parametrize(
    "line",
    [
        b"PUB events.caf\xff answers 2\r\n{}\r\n",
        b"PUB events.a answers\xff 2\r\n{}\r\n",
        b"HPUB events.a answers 8 10\r\nNATS/1.0{}\r\n",
        b"HPUB events.a answers 16 18\r\nNATS/1.0 \xff\xff\xff\r\n\r\n{}\r\n",
        b"HPUB events.a answers 20 22\r\nNATS/1.0 200 \xff\xff\xff\r\n\r\n{}\r\n",
        b"HPUB events.a answers 19 21\r\nNATS/1.0\r\n\xff: \xff\xff\r\n\r\n{}\r\n",
    ],
)
def test_message_that_is_not_utf8_does_not_silence_the_subjects(tmp_path: Path, line: bytes) -> None:
    async def main() -> None:
        async with _stage(tmp_path) as stage:
            await stage.bind("events.*")
            assert stage.bus.server is not None
            reader, writer = await asyncio.open_connection("127.0.0.1", stage.bus.server.port)
            writer.write(b'CONNECT {"verbose":false,"pedantic":false,"headers":true}\r\n' + line + b"PING\r\n")
            # The server has taken the line, and all subjects are served on one connection: what is asked now comes after it.
            await reader.readuntil(b"PONG\r\n")
            assert (await stage.client.request("events.b", b"{}", timeout=5)).data == b"hello"
            assert (await stage.client.request("events.b", b"{}", timeout=5)).data == b"hello"
            writer.close()
            await writer.wait_closed()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("reply", "watched"),
    [
        ("lambent.async.1.f", "lambent.>"),
        ("$JS.API.STREAM.DELETE.KEPT", "$JS.API.STREAM.DELETE.*"),
        ("$KV.lambent_functions.a", "$KV.>"),
        ("a..b", "a.>"),
    ],
)
def test_reply_to_a_reserved_subject_is_not_sent_and_the_function_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, reply: str, watched: str
) -> None:
    ran: list[str] = []
    seen: list[tuple[str, bytes]] = []

    async def respond(function: str, payload: bytes, context: dict[str, Any]) -> Outcome:
        ran.append(context["custom"]["nats"]["reply"])
        return Outcome(OutcomeKind.RESULT, b'"hello"')

    async def look(message: Msg) -> None:
        seen.append((message.subject, message.data))

    async def main() -> None:
        async with _stage(tmp_path, respond) as stage:
            await stage.bind("events.a")
            await stage.client.subscribe(watched, cb=look)
            await stage.client.subscribe("reply-box", cb=look)
            await stage.client.publish("events.a", b"{}", reply=reply)
            await stage.client.publish("events.a", b"{}", reply="reply-box")
            await _until(lambda: ("reply-box", b"hello") in seen)

    asyncio.run(main())
    assert ran == [reply, "reply-box"]
    assert seen == [("reply-box", b"hello")]
    assert f"got no reply: {reply!r}" in caplog.text


def test_event_larger_than_functions_take_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with _stage(tmp_path, payload_max=1024) as stage:
            await stage.bind("events.a")
            assert (await stage.client.request("events.a", b"1" * 1024, timeout=5)).data == b"hello"
            # As text it becomes a JSON string, as binary base64: what the function would get is what counts.
            for body in (b"1" * 1025, b"x" * 1023, b"\xff" * 1000):
                answer = await stage.client.request("events.a", body, timeout=5)
                assert answer.headers is not None
                assert answer.headers["Nats-Service-Error-Code"] == "413"
                assert answer.headers["Lambent-Error"] == "RequestTooLargeException"

    asyncio.run(main())


def test_messages_held_have_a_bound_in_bytes_over_all_bindings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subjects, "HELD_BYTES_MAX", 1000)
    release = asyncio.Event()

    async def respond(function: str, payload: bytes, context: dict[str, Any]) -> Outcome:
        await release.wait()
        return Outcome(OutcomeKind.RESULT, b'"hello"')

    async def main() -> None:
        async with _stage(tmp_path, respond) as stage:
            for subject in ("events.a", "events.b"):
                await stage.bind(subject)
            body = b"1" * 400
            held = [asyncio.create_task(stage.client.request("events.a", body, timeout=30)) for _ in range(2)]
            await _until(lambda: stage.source._held.size == 800)
            answer = await stage.client.request("events.b", body, timeout=5)
            assert answer.headers is not None
            assert answer.headers["Nats-Service-Error-Code"] == "429"
            release.set()
            assert [(await task).data for task in held] == [b"hello"] * 2
            await _until(lambda: stage.source._held.size == 0)
            assert (await stage.client.request("events.b", body, timeout=5)).data == b"hello"

    asyncio.run(main())
