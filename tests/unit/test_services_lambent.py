import asyncio
import json
import random
from typing import Any
from urllib.parse import quote

import pytest

from aws_fixtures import ACCOUNT, KEY, REGION, SECRET, keys
from lambent.access import sigv4
from lambent.arn import function_arn
from lambent.aws.endpoint import Endpoint
from lambent.clock import FixedClock
from lambent.functions.store import FunctionNotFound
from lambent.gateway.routes import HttpBinding
from lambent.httpd.messages import Request
from lambent.ids import Ids
from lambent.runtimes.contract import Family, Runtime
from lambent.services.lambent_ import MODELS
from lambent.services.lambent_.platform import Status
from lambent.services.lambent_.service import service
from lambent.sources.bindings import SubjectBinding
from lambent.state.memory import MemoryState

FUNCTIONS = {("hello", None), ("hello", "3"), ("other", None)}


def resolve(account: str, region: str, name: str, qualifier: str | None) -> object:
    if (account, region) != (ACCOUNT, REGION) or (name, qualifier) not in FUNCTIONS:
        raise FunctionNotFound(function_arn(region, account, name, qualifier))
    return object()


class Api:
    """The service behind a real endpoint, asked with signed requests."""

    def __init__(self) -> None:
        self.clock = FixedClock()
        self.state = MemoryState()

        async def tables() -> tuple[Any, Any]:
            return await self.state.table("http-bindings", HttpBinding), await self.state.table(
                "nats-bindings", SubjectBinding
            )

        self.http_bindings, self.nats_bindings = asyncio.run(tables())
        built = service(
            http_bindings=self.http_bindings,
            nats_bindings=self.nats_bindings,
            resolve=resolve,
            runtimes=lambda: [
                Runtime(
                    identifier="python3.11", family=Family.PYTHON, interpreter="/usr/bin/python3", version="3.11.2"
                ),
                Runtime(identifier="java21", family=Family.PROVIDED, unavailable="no Java here"),
            ],
            status=lambda: Status(
                version="0.1.0",
                python_version="3.11.2",
                nats_version="2.15.1",
                region=REGION,
                account=ACCOUNT,
                pid=7,
                uptime_seconds=3,
                isolation="sandbox",
                ports={"api": 4566, "http": 8080},
                environments={"standby": 2},
                functions=1,
            ),
            clock=self.clock,
        )
        self.endpoint = Endpoint(
            [built],
            keys(self.clock),
            region=REGION,
            ids=Ids(random.Random(2)),
            clock=self.clock,
            extra_models=[MODELS],
        )

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, **query: str) -> tuple[int, Any]:
        path = "/_lambent/v1" + path
        text = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        data = json.dumps(body).encode() if body is not None else b""
        headers = sigv4.sign(
            method,
            path,
            text,
            {"host": "127.0.0.1:4566"},
            data,
            access_key_id=KEY,
            secret_access_key=SECRET,
            region=REGION,
            service="lambent",
            now_ms=self.clock.now_ms(),
        )
        response = asyncio.run(self.endpoint.handle(Request(method, path, text, headers, data)))
        assert isinstance(response.body, bytes)
        return response.status, json.loads(response.body) if response.body else None


def test_an_http_binding_is_made_listed_and_deleted() -> None:
    api = Api()
    status, made = api.ask("POST", "/http-bindings", {"FunctionName": "hello:3", "Path": "/a/{x}", "Method": "get"})
    assert status == 201
    assert made["Id"].startswith("http-")
    assert (made["FunctionName"], made["Method"], made["Path"]) == ("hello:3", "GET", "/a/{x}")
    assert "Host" not in made
    assert api.http_bindings.get(made["Id"]).record.account == ACCOUNT
    assert api.ask("GET", "/http-bindings") == (200, {"Bindings": [made]})
    assert api.ask("DELETE", "/http-bindings", Id=made["Id"]) == (204, None)
    assert api.ask("GET", "/http-bindings") == (200, {"Bindings": []})


def test_an_http_binding_is_deleted_by_its_place() -> None:
    api = Api()
    api.ask("POST", "/http-bindings", {"FunctionName": "hello", "Path": "/a", "Host": "API.test"})
    assert api.ask("DELETE", "/http-bindings", Path="/a")[0] == 404
    assert api.ask("DELETE", "/http-bindings", Path="/a", Host="api.test")[0] == 204
    assert api.ask("DELETE", "/http-bindings", Path="/a", Host="api.test")[0] == 404
    assert api.ask("DELETE", "/http-bindings")[0] == 400


def test_binding_again_is_no_change_and_binding_another_function_a_conflict() -> None:
    api = Api()
    first = api.ask("POST", "/http-bindings", {"FunctionName": "hello", "Path": "/a/{x}"})
    arn = function_arn(REGION, ACCOUNT, "hello")
    api.clock.advance(5)
    assert api.ask("POST", "/http-bindings", {"FunctionName": arn, "Path": "/a/{x}"}) == first
    status, error = api.ask("POST", "/http-bindings", {"FunctionName": "other", "Path": "/a/{y}"})
    assert status == 409
    assert "already bound to hello" in error["Message"]
    assert len(api.http_bindings.entries()) == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/http-bindings", {"FunctionName": "nope", "Path": "/a"}, 404),
        ("/http-bindings", {"FunctionName": "hello:9", "Path": "/a"}, 404),
        ("/http-bindings", {"FunctionName": "arn:aws:lambda:us-east-1:999999999999:function:hello", "Path": "/a"}, 404),
        ("/http-bindings", {"FunctionName": "arn:aws:lambda:eu-west-1:123456789012:function:hello", "Path": "/a"}, 404),
        ("/http-bindings", {"FunctionName": "he llo", "Path": "/a"}, 400),
        ("/http-bindings", {"FunctionName": "hello", "Path": "a"}, 400),
        ("/http-bindings", {"FunctionName": "hello", "Path": "/{a+}/b"}, 400),
        ("/http-bindings", {"FunctionName": "hello", "Path": "/a", "Method": "FETCH"}, 400),
        ("/http-bindings", {"FunctionName": "hello", "Path": "/a", "Host": "http://x"}, 400),
        ("/http-bindings", {"Path": "/a"}, 400),
        ("/http-bindings", {"FunctionName": "hello"}, 400),
        ("/nats-bindings", {"FunctionName": "nope", "Subject": "a"}, 404),
        ("/nats-bindings", {"FunctionName": "hello", "Subject": "a..b"}, 400),
        ("/nats-bindings", {"FunctionName": "hello", "Subject": "$SYS.>"}, 400),
        ("/nats-bindings", {"FunctionName": "hello", "Subject": "a", "QueueGroup": "a b"}, 400),
    ],
)
def test_what_cannot_be_bound_is_refused_and_leaves_nothing(path: str, body: dict[str, str], status: int) -> None:
    api = Api()
    given, error = api.ask("POST", path, body)
    assert given == status
    assert error.get("message") or error.get("Message")
    assert not api.http_bindings.entries()
    assert not api.nats_bindings.entries()


def test_a_nats_binding_is_made_listed_and_deleted() -> None:
    api = Api()
    status, made = api.ask("POST", "/nats-bindings", {"FunctionName": "hello", "Subject": "orders.*.>"})
    assert status == 201
    assert (made["Subject"], made["QueueGroup"], made["FunctionName"]) == ("orders.*.>", "lambent", "hello")
    assert api.ask("POST", "/nats-bindings", {"FunctionName": "other", "Subject": "orders.*.>"})[0] == 409
    body = {"FunctionName": "other", "Subject": "orders.*.>", "QueueGroup": "audit"}
    assert api.ask("POST", "/nats-bindings", body)[0] == 201
    assert [each["QueueGroup"] for each in api.ask("GET", "/nats-bindings", FunctionName="other")[1]["Bindings"]] == [
        "audit"
    ]
    target = "/nats-bindings/" + quote("orders.*.>", safe="")
    assert api.ask("DELETE", target, QueueGroup="audit")[0] == 204
    assert api.ask("DELETE", target, QueueGroup="audit")[0] == 404
    assert api.ask("DELETE", target)[0] == 204
    assert api.ask("GET", "/nats-bindings") == (200, {"Bindings": []})


def test_lists_come_in_pages() -> None:
    api = Api()
    made = {api.ask("POST", "/http-bindings", {"FunctionName": "hello", "Path": f"/{n}"})[1]["Id"] for n in range(5)}
    seen: list[str] = []
    marker = ""
    while True:
        status, page = api.ask("GET", "/http-bindings", MaxItems="2", **({"Marker": marker} if marker else {}))
        assert status == 200
        assert len(page["Bindings"]) <= 2
        seen += [each["Id"] for each in page["Bindings"]]
        marker = page.get("NextMarker", "")
        if not marker:
            break
    assert seen == sorted(made)


def test_state_that_cannot_be_written_is_unavailable() -> None:
    api = Api()
    api.state.available = False
    assert api.ask("POST", "/http-bindings", {"FunctionName": "hello", "Path": "/a"})[0] == 503


def test_runtimes_and_status_are_told() -> None:
    api = Api()
    api.ask("POST", "/http-bindings", {"FunctionName": "hello", "Path": "/a"})
    status, answer = api.ask("GET", "/runtimes")
    assert status == 200
    assert answer["Runtimes"][0] == {
        "Identifier": "python3.11",
        "Family": "python",
        "Interpreter": "/usr/bin/python3",
        "Version": "3.11.2",
    }
    assert answer["Runtimes"][1]["Unavailable"] == "no Java here"
    status, told = api.ask("GET", "/status")
    assert status == 200
    assert (told["Ports"], told["Environments"]) == ({"api": 4566, "http": 8080}, {"standby": 2})
    assert (told["HttpBindings"], told["NatsBindings"]) == (1, 0)
