"""What the tests of `aws` and `access` share: an endpoint with chosen operations, signed requests, generated values."""

import asyncio
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from lambent.access import sigv4
from lambent.access.keys import Keys
from lambent.aws.contract import Call, Service
from lambent.aws.endpoint import Endpoint
from lambent.clock import FixedClock
from lambent.httpd.messages import Request, Response
from lambent.ids import Ids

ACCOUNT = "123456789012"
KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
MASTER = b"0123456789abcdef0123456789abcdef"
REGION = "us-east-1"


def keys(clock: FixedClock, *, open: bool = False) -> Keys:
    return Keys(
        account=ACCOUNT,
        access_key_id=KEY,
        secret_access_key=SECRET,
        master=MASTER,
        clock=clock,
        ids=Ids(random.Random(1)),
        open=open,
    )


class Rig:
    """An endpoint whose operations keep the calls they get and answer with what the test put into `answers`."""

    def __init__(self, operations: Mapping[str, list[str]], *, open: bool = False, **options: Any) -> None:
        self.clock = FixedClock()
        self.keys = keys(self.clock, open=open)
        self.calls: list[Call] = []
        self.answers: dict[str, Any] = {}
        services = [Service(model, dict.fromkeys(names, self._run)) for model, names in operations.items()]
        self.endpoint = Endpoint(
            services, self.keys, region=REGION, ids=Ids(random.Random(2)), clock=self.clock, **options
        )

    async def _run(self, call: Call) -> Mapping[str, Any]:
        self.calls.append(call)
        answer = self.answers.get(call.operation, {})
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def send(self, request: Request) -> Response:
        return asyncio.run(self.endpoint.handle(request))

    def signed(
        self,
        method: str,
        path: str,
        service: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        region: str = REGION,
        **credentials: str,
    ) -> Request:
        credentials = {"access_key_id": KEY, "secret_access_key": SECRET, **credentials}
        sent = sigv4.sign(
            method,
            path,
            query,
            {"host": "127.0.0.1:4566", **(headers or {})},
            body,
            region=region,
            service=service,
            now_ms=self.clock.now_ms(),
            **credentials,
        )
        return Request(method, path, query, sent, body)

    def call(self, *arguments: Any, **options: Any) -> Response:
        return self.send(self.signed(*arguments, **options))


def header(response: Response, name: str) -> str | None:
    return next((value for key, value in response.headers if key.lower() == name.lower()), None)


_WORDS = [
    "a",
    "Zebra",
    "with space",
    "slash/in",
    "ünï",
    "100%",
    "a+b",
    "x=y&z",
    "<tag>",
    '"quoted"',
    "comma, here",
    "日本",
]
_HEADER_WORDS = ["a", "Zebra", "with space", "slash/in", "100%", "a+b", "x=y&z", "semi;colon"]


class Values:
    """Seeded values for botocore's shapes. `limit` bounds how deep recursive shapes go."""

    def __init__(self, seed: str, *, milliseconds: bool = True, limit: int = 5, empty: bool = True) -> None:
        #: False where an empty structure or map would leave no trace.
        self._empty = empty
        self.rng = random.Random(seed)
        self._milliseconds = milliseconds
        self._limit = limit

    def of(self, shape: Any, depth: int = 0, *, place: str = "body", flattened: bool = False) -> Any:
        rng = self.rng
        match shape.type_name:
            case "structure":
                return self._structure(shape, depth)
            case "list":
                # A flattened list that is empty leaves no trace, and neither does an empty list in a header or query.
                least = 1 if shape.serialization.get("flattened") or place != "body" else 0
                if depth >= self._limit:
                    return [] if least == 0 else [self.of(shape.member, depth + 1, place=place)]
                return [self.of(shape.member, depth + 1, place=place) for _ in range(rng.randint(least, 3))]
            case "map":
                least = 1 if shape.serialization.get("flattened") or place != "body" or not self._empty else 0
                count = rng.randint(least, 3) if depth < self._limit else least
                return {f"{self._key(shape.key)}": self.of(shape.value, depth + 1, place=place) for _ in range(count)}
            case "string" | "character":
                return self._string(shape, place)
            case "integer":
                return rng.randint(-(2**31), 2**31 - 1)
            case "long":
                return rng.randint(-(2**53), 2**53)
            case "float" | "double":
                return rng.choice([0.0, 1.5, -2.25, 1e10, 0.1])
            case "boolean":
                return rng.random() < 0.5
            case "blob":
                return rng.randbytes(rng.randint(1, 20))
            case "timestamp":
                whole = datetime(2001, 1, 1, tzinfo=UTC) + timedelta(seconds=rng.randint(0, 10**9))
                form = shape.serialization.get("timestampFormat", "").lower()
                if place == "header" or form == "rfc822" or not self._milliseconds:
                    return whole
                return whole + timedelta(milliseconds=rng.choice([0, 1, 250, 999]))
        raise AssertionError(shape.type_name)

    def _key(self, shape: Any) -> str:
        return self.rng.choice(shape.enum) if shape.enum else f"key{self.rng.randint(0, 99)}"

    def _string(self, shape: Any, place: str) -> Any:
        if shape.serialization.get("jsonvalue") and place == "header":
            return {"k": [1, "two"]}
        if shape.enum:
            return self.rng.choice(shape.enum)
        return self.rng.choice(_HEADER_WORDS if place == "header" else _WORDS) + str(self.rng.randint(0, 999))

    def _structure(self, shape: Any, depth: int) -> Any:
        if shape.is_document_type:
            return {"any": ["thing", 1, None]}
        members = dict(shape.members)
        if shape.is_tagged_union:
            name = self.rng.choice(sorted(members))
            return {name: self._member(members[name], depth)}
        chosen = {}
        for name, member in members.items():
            needed = name in shape.required_members or member.serialization.get("location") == "uri"
            if needed or (depth < self._limit and self.rng.random() < 0.7):
                chosen[name] = self._member(member, depth)
        if not chosen and members and not self._empty:
            simple = [name for name in members if members[name].type_name not in ("structure", "list", "map")]
            name = self.rng.choice(sorted(simple or members))
            chosen[name] = self._member(members[name], depth)
        return chosen

    def _member(self, member: Any, depth: int) -> Any:
        location = member.serialization.get("location")
        if member.serialization.get("hostLabel"):
            return f"route-{self.rng.randint(0, 99)}"
        places = {"header": "header", "headers": "header", "querystring": "query", "uri": "uri", None: "body"}
        if location == "statusCode":
            return self.rng.choice([200, 201, 202])
        return self.of(member, depth + 1, place=places[location])
