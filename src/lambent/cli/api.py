"""A small AWS client for the commands: `http.client` and signature version 4. boto3 would cost each command half a second."""

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from lambent.access.sigv4 import sign
from lambent.cli.endpoint import Endpoint
from lambent.errors import LambentError

#: Longest wait for an answer: a function may run for 15 minutes, and queueing comes on top.
ANSWER_SECONDS = 960


class ApiError(LambentError):
    """The platform refused a request. `code` is AWS's error code, such as `ResourceNotFoundException`."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(f"{message} ({code})" if message else f"{code} (HTTP {status})")
        self.code = code
        self.status = status


class Unreachable(LambentError):
    """No answer came from the platform."""


class Reply(NamedTuple):
    """An answer below 300. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        value = json.loads(self.body) if self.body else {}
        assert isinstance(value, dict)
        return value


class Api:
    """Signed requests to one platform over one kept connection. Not for several threads at once."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        parts = urlsplit(endpoint.api_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Unreachable(f"{endpoint.api_url!r} is not an http URL; set LAMBENT_ENDPOINT_URL to one")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=ANSWER_SECONDS)
        self._host = parts.netloc

    def close(self) -> None:
        self._connection.close()

    def function(self, method: str, path: str, body: Any = None, **query: Any) -> dict[str, Any]:
        """A Lambda operation; `path` as in the service model, percent-encoded."""
        return self.call("lambda", method, path, None if body is None else json.dumps(body).encode(), query).json()

    def platform(self, method: str, path: str, body: Any = None, **query: Any) -> dict[str, Any]:
        """An operation of Lambent's own service."""
        data = None if body is None else json.dumps(body).encode()
        return self.call("lambent", method, f"/_lambent/v1{path}", data, query).json()

    def logs(self, operation: str, **members: Any) -> dict[str, Any]:
        """An operation of CloudWatch Logs (awsJson 1.1)."""
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"Logs_20140328.{operation}"}
        return self.call("logs", "POST", "/", json.dumps(members).encode(), {}, headers).json()

    def functions(self) -> Iterator[dict[str, Any]]:
        """All functions, page by page."""
        return _items(partial(self.function, "GET", "/2015-03-31/functions"), "Functions")

    def bindings(self, kind: str) -> Iterator[dict[str, Any]]:
        """All bindings of a kind, `http` or `nats`, page by page."""
        return _items(partial(self.platform, "GET", f"/{kind}-bindings"), "Bindings")

    def call(
        self,
        service: str,
        method: str,
        path: str,
        body: bytes | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request. `path` is percent-encoded; query members that are None are left out.

        Raises `ApiError` and `Unreachable`.
        """
        text = urlencode({k: v for k, v in (query or {}).items() if v is not None}, quote_via=quote)
        sent = {"content-type": "application/json", **(headers or {}), "host": self._host}
        payload = body or b""
        where = self.endpoint
        sent = sign(
            method,
            path,
            text,
            sent,
            payload,
            access_key_id=where.access_key_id,
            secret_access_key=where.secret_access_key,
            session_token=where.session_token,
            region=where.region,
            service=service,
            now_ms=int(time.time() * 1000),
        )
        return self._send(method, f"{path}?{text}" if text else path, payload, sent)

    def _send(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        try:
            self._connection.request(method, target, body=body, headers=dict(headers))
            response = self._connection.getresponse()
            reply = Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        except ConnectionRefusedError as error:
            raise Unreachable(
                f"nothing answers at {self.endpoint.api_url}; is the platform running? (`lambent up` starts it)"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unreachable(
                f"the connection to {self.endpoint.api_url} broke: {_reason(error)}; is the platform still running?"
            ) from error
        if reply.status >= 300:
            raise _refusal(reply)
        return reply


def function_path(name: str, rest: str = "") -> str:
    """The path of a function, or of something of it (`/code`); any text makes a path, and the platform says whether it is a name."""
    return f"/2015-03-31/functions/{quote(name, safe='')}{rest}"


def _items(fetch: Callable[..., dict[str, Any]], member: str) -> Iterator[dict[str, Any]]:
    marker: str | None = None
    while True:
        page = fetch(Marker=marker)
        yield from page.get(member, [])
        marker = page.get("NextMarker")
        if not marker:
            return


def _reason(error: Exception) -> str:
    """What broke, without the number that Python puts before it."""
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def _refusal(reply: Reply) -> ApiError:
    """rest-json and awsJson carry the code in a header or in `__type`, perhaps with a namespace or a URL behind it."""
    try:
        content = json.loads(reply.body)
    except ValueError:
        content = {}
    if not isinstance(content, dict):
        content = {}
    code = str(reply.headers.get("x-amzn-errortype") or content.get("__type") or content.get("code") or "UnknownError")
    message = content.get("message") or content.get("Message") or ""
    return ApiError(code.split(":")[0].rsplit("#", 1)[-1], str(message), reply.status)
