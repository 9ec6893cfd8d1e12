"""Whatever is sent to the endpoint, the answer is an error in AWS's form: nothing raises, nothing hangs, nothing inner shows."""

import json
import logging
import time
from xml.parsers import expat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aws_fixtures import KEY, Rig, header
from lambent.aws.models import Models
from lambent.httpd.messages import Request, Response

SERVICES = {
    name: [operation for operation in Models().get(name).operations if operation not in streams]
    for name, streams in {
        "lambda": {"InvokeWithResponseStream"},
        "logs": {"StartLiveTail", "GetLogObject"},
        "sts": set(),
        "iam": set(),
        "s3": {"SelectObjectContent"},
    }.items()
}
RIG = Rig(SERVICES, open=True, any_region=True)
CLOSED = Rig(SERVICES)
LOGS = {"x-amz-target": "Logs_20140328.PutLogEvents", "content-type": "application/x-amz-json-1.1"}
FORM = {"content-type": "application/x-www-form-urlencoded"}

quick = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def nothing_is_a_mistake_of_ours(caplog):
    caplog.set_level(logging.ERROR, "lambent.aws")
    yield
    assert caplog.records == []


def well_formed(response: Response) -> bool:
    """An answer that a client can read: a request id, and an error in one of the forms or a success."""
    assert header(response, "x-amzn-RequestId") or header(response, "x-amz-request-id")
    assert response.status in (200, 201, 202, 204) or 400 <= response.status < 500 or response.status == 501
    body = response.body
    assert b"Traceback" not in body
    if body.startswith(b"<?xml"):
        expat.ParserCreate().Parse(body, True)
    elif body:
        json.loads(body)
    return response.status >= 400


latin = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["logGroupName", "logEvents", "timestamp", "message", "FunctionName", "Code", "ZipFile", "x"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@quick
@given(st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "X"]), latin, latin, st.binary(max_size=60))
def test_any_path_query_and_body(method, path, query, body):
    well_formed(RIG.send(Request(method, "/" + path, query, {"host": "lambda.localhost"}, body)))


@quick
@given(st.binary(max_size=200))
def test_any_bytes_as_json_form_and_xml(body):
    requests = [
        Request("POST", "/", "", LOGS, body),
        Request("POST", "/", "", FORM, b"Action=CreateRole&" + body),
        Request("POST", "/2015-03-31/functions", "", {}, body),
        Request("PUT", "/bucket?tagging".partition("?")[0], "tagging", {"host": "s3.localhost"}, body),
    ]
    for request in requests:
        well_formed(RIG.send(request))


@quick
@given(json_values)
def test_any_json_where_another_was_expected(value):
    body = json.dumps(value).encode()
    well_formed(RIG.send(Request("POST", "/", "", LOGS, body)))
    well_formed(RIG.send(Request("POST", "/2015-03-31/functions", "", {}, body)))


@quick
@given(
    st.lists(
        st.tuples(
            st.lists(
                st.sampled_from(["Tags", "member", "1", "2", "x", "Key", "Value", "RoleName", "entry", ""]), max_size=6
            ),
            latin,
        ),
        max_size=6,
    )
)
def test_any_names_in_a_form(fields):
    form = "&".join([f"{'.'.join(name)}={value}" for name, value in fields])
    well_formed(RIG.send(Request("POST", "/", "", FORM, f"Action=CreateRole&{form}".encode("latin-1"))))


@quick
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "authorization",
                "x-amz-date",
                "date",
                "x-amz-security-token",
                "x-amz-content-sha256",
                "x-amz-target",
                "host",
            ]
        ),
        latin,
    ),
    st.sampled_from(
        ["", "AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/lambda/aws4_request, "]
    ),
    latin,
)
def test_any_authorization_is_refused_and_never_believed(headers, start, query):
    if "authorization" in headers:
        headers["authorization"] = start + headers["authorization"]
    for given_query in (query, f"X-Amz-Algorithm=AWS4-HMAC-SHA256&{query}"):
        assert well_formed(CLOSED.send(Request("POST", "/2015-03-31/functions", given_query, dict(headers), b"{}")))
    assert CLOSED.calls == []


@quick
@given(st.integers(0, 63), st.sampled_from("0123456789abcdef"))
def test_a_signature_with_one_other_digit_is_refused(position, digit):
    request = CLOSED.signed("POST", "/2015-03-31/functions/a/invocations", "lambda")
    head, _, mark = request.headers["authorization"].rpartition("=")
    if mark[position] == digit:
        return
    request.headers["authorization"] = f"{head}={mark[:position]}{digit}{mark[position + 1 :]}"
    assert CLOSED.send(request).status == 403
    assert KEY in request.headers["authorization"]


BOMB = b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><a>&b;</a>'

TAGGING = ("PUT", "/bucket", "tagging", {"host": "s3.localhost"})


@pytest.mark.parametrize(
    ("request_", "body", "words"),
    [
        (("POST", "/", "", LOGS), b"[" * 100_000, b"nested deeper"),
        (("POST", "/", "", LOGS), b'{"a":' * 5_000 + b"1" + b"}" * 5_000, b"nested deeper"),
        (("POST", "/", "", LOGS), b'{"logGroupName":"' + b"[{" * 500 + b'"}', b"validation error"),
        (("POST", "/", "", LOGS), b'{"logGroupName":"\xff"}', b"SerializationException"),
        (("POST", "/", "", LOGS), b'{"logGroupName":"\\ud800"}', b"Exception"),
        (("POST", "/", "", LOGS), b'{"logGroupName":' + b"9" * 10_000 + b"}", b"SerializationException"),
        (("POST", "/", "", LOGS), b'{"logEvents":[{"timestamp":1e999}]}', b"SerializationException"),
        (("POST", "/", "", FORM), b"Action=CreateRole&" + b"a=1&" * 30_000, b"more than 20000 fields"),
        (("POST", "/", "", FORM), b"Action=CreateRole&" + b"a." * 5_000 + b"=1", b"more than 64 parts"),
        (("POST", "/", "", FORM), b"Action=CreateRole&Tags.member.99999999999999999999.Key=1", b"not the number"),
        (("POST", "/", "", FORM), b"Action=CreateRole&RoleName=%FF", b"UTF-8"),
        (TAGGING, b"<a>" * 50_000, b"levels"),
        (TAGGING, b"<a>" + b"<b/>" * 200_000 + b"</a>", b"elements"),
        (TAGGING, BOMB, b"document type declaration"),
        (TAGGING, b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', b"document type declaration"),
        (TAGGING, b"", b"Value null at"),
    ],
    ids=range(16),
)
def test_bodies_made_to_hurt_are_refused(request_, body, words):
    started = time.process_time()
    response = RIG.send(Request(*request_, body))
    assert well_formed(response)
    assert words in response.body
    assert time.process_time() - started < 20  # a loop without end, not a measurement


def test_a_long_value_is_not_matched_against_the_pattern_of_a_short_one():
    body = json.dumps({"logGroupName": "a" * 10_000_000, "logStreamName": "b", "logEvents": []}).encode()
    response = RIG.send(Request("POST", "/", "", LOGS, body))
    assert response.status == 400
    assert len(response.body) < 10_000
