"""An HTTP request as an event in payload format 2.0. Pure.

Sources: Lambda developer guide, "Invoking Lambda function URLs" (request payload format); API Gateway developer guide,
"Create AWS Lambda proxy integrations for HTTP APIs" (payload format 2.0).
"""

import time
from base64 import b64encode
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from lambent.gateway.routes import Match, host_name
from lambent.httpd.messages import Request

_encode = msgspec.json.Encoder().encode

#: Content types that are text beside `text/*`, `*+json` and `*+xml`. Forms are not among them: function URLs and HTTP APIs
#: hand those over in base64.
_TEXT_TYPES = frozenset({"application/json", "application/javascript", "application/xml"})

#: Pairs of a query string; the rest of a longer one is still in rawQueryString.
_QUERY_PAIRS_MAX = 1000

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def is_text(content_type: str) -> bool:
    """Whether a body of this content type goes into the event as text. None given counts as text."""
    kind = content_type.partition(";")[0].strip().lower()
    return not kind or kind in _TEXT_TYPES or kind.startswith("text/") or kind.endswith(("+json", "+xml"))


def request_time(now_ms: int) -> str:
    """`12/Mar/2020:19:03:58 +0000`, as `requestContext.time` has it; not by locale."""
    at = time.gmtime(now_ms // 1000)
    return f"{at.tm_mday:02}/{_MONTHS[at.tm_mon - 1]}/{at.tm_year}:{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} +0000"


def query_parameters(query: str) -> dict[str, str]:
    """Decoded; the values of a repeated name joined with commas."""
    parameters: dict[str, str] = {}
    # Split here, so that the number of pairs is bounded without an error.
    for pair in query.split("&", _QUERY_PAIRS_MAX)[:_QUERY_PAIRS_MAX]:
        for name, value in parse_qsl(pair, keep_blank_values=True):
            parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    return parameters


def event_of(
    request: Request, match: Match, *, request_id: str, trace_id: str, now_ms: int, time_text: str, port: int
) -> bytes:
    """The event as JSON. `time_text` is `request_time(now_ms)`, made once a second by the caller."""
    given = request.headers
    headers = {name: value for name, value in given.items() if name != "cookie"}
    forwarded = given.get("x-forwarded-for")
    headers["x-forwarded-for"] = f"{forwarded}, {request.peer}" if forwarded else request.peer
    headers["x-forwarded-proto"] = request.scheme
    headers["x-forwarded-port"] = str(port)
    headers["x-amzn-trace-id"] = trace_id
    domain = host_name(given.get("host", ""))
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": match.route_key,
        "rawPath": request.path,
        "rawQueryString": request.query,
    }
    if "cookie" in given:
        event["cookies"] = [text for each in given["cookie"].split(";") if (text := each.strip())]
    event["headers"] = headers
    if request.query:
        event["queryStringParameters"] = query_parameters(request.query)
    event["requestContext"] = {
        "accountId": match.binding.account,
        "apiId": match.binding.id,
        "domainName": domain,
        "domainPrefix": domain.partition(".")[0],
        "http": {
            "method": request.method,
            "path": request.path,
            "protocol": f"HTTP/{request.version}",
            "sourceIp": request.peer,
            "userAgent": given.get("user-agent", ""),
        },
        "requestId": request_id,
        "routeKey": match.route_key,
        "stage": "$default",
        "time": time_text,
        "timeEpoch": now_ms,
    }
    if match.parameters:
        event["pathParameters"] = match.parameters
    event["isBase64Encoded"] = False
    if request.body:
        _put_body(event, request)
    return _encode(event)


def _put_body(event: dict[str, Any], request: Request) -> None:
    # A body that is compressed is not text, whatever its content type says.
    if is_text(request.headers.get("content-type", "")) and "content-encoding" not in request.headers:
        try:
            event["body"] = request.body.decode()
            return
        except UnicodeDecodeError:
            pass
    event["body"] = b64encode(request.body).decode()
    event["isBase64Encoded"] = True
