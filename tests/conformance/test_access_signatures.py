"""Signatures against AWS's published test suite and against botocore's signers."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from aws_fixtures import KEY, REGION, SECRET, keys
from lambent.access import sigv4
from lambent.access.claims import Claims
from lambent.access.contract import NotAuthenticated
from lambent.access.keys import Keys
from lambent.clock import FixedClock
from lambent.httpd.messages import Request
from lambent.ids import Ids

SUITE = json.loads((Path(__file__).parent / "signatures" / "cases.json").read_text())
SUITE_SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SUITE_TIME_MS = int(datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp() * 1000)

#: Requests that cannot be verified as they stand, with the reason.
UNREADABLE = {
    "get-header-value-multiline": "a header on several lines, which HTTP/1.1 no longer allows (RFC 9112, 5.2)",
    "get-vanilla-with-session-token": "the suite signs a token that it adds only after it has shown the request",
}


def read(text: str) -> Request:
    """The request as the server would hand it on: latin-1 text, repeated headers joined."""
    head, _, body = text.replace("\r\n", "\n").encode().decode("latin-1").partition("\n\n")
    first, *lines = head.split("\n")
    method, _, rest = first.partition(" ")
    target = rest.rpartition(" ")[0]
    path, _, query = target.partition("?")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Request(method, path, query, headers, body.encode("latin-1"))


@pytest.mark.parametrize("case", [c for c in SUITE if c["name"] not in UNREADABLE], ids=lambda case: case["name"])
def test_the_published_suite_gives_its_canonical_requests_and_signatures(case):
    request = read(case["request"])
    request.headers["authorization"] = case["authorization"]
    claim = Claims().read(request)
    joined = {name: value.replace(", ", ",") for name, value in request.headers.items()}
    canonical = sigv4.canonical_request(
        request.method,
        sigv4.canonical_path(request.path, "service"),
        sigv4.canonical_query(request.query),
        joined,
        claim.scope.signed_headers,
        claim.scope.signed_names,
        case["canonical"].rpartition("\n")[2],
    )
    assert canonical.encode("latin-1").decode() == case["canonical"].replace("\r\n", "\n")
    to_sign = sigv4.string_to_sign(claim.amz_date, claim.scope.text, canonical)
    assert to_sign == case["string_to_sign"].replace("\r\n", "\n")
    key = sigv4.signing_key(SUITE_SECRET, "20150830", "us-east-1", "service")
    assert sigv4.signature(key, to_sign) == claim.signature


@pytest.mark.parametrize(
    "case",
    [c for c in SUITE if c["name"] not in UNREADABLE and "Security-Token" not in c["request"]],
    ids=lambda case: case["name"],
)
def test_the_published_suite_is_let_in_and_a_changed_body_is_not(case):
    clock = FixedClock(SUITE_TIME_MS)
    authenticator = Keys(
        account="123456789012",
        access_key_id="AKIDEXAMPLE",
        secret_access_key=SUITE_SECRET,
        master=b"m" * 32,
        clock=clock,
        ids=Ids(),
    )
    request = read(case["request"])
    request.headers["authorization"] = case["authorization"]
    assert authenticator.authenticate(request, "service").account == "123456789012"
    request.body += b"x"
    with pytest.raises(NotAuthenticated) as refused:
        authenticator.authenticate(request, "service")
    assert refused.value.code == "SignatureDoesNotMatch"


REQUESTS = [
    ("GET", "/", ""),
    ("POST", "/2015-03-31/functions/hello/invocations", ""),
    (
        "GET",
        "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Aa",
        "Qualifier=%24LATEST",
    ),
    ("GET", "/a%20b/%E6%97%A5/c%2Fd", "z=1&a=%2F&a=%20&empty="),
    ("PUT", "/bucket/key%3Dwith~odd%21signs", "x-id=PutObject"),
]


def signed_by_botocore(signer, method: str, path: str, query: str, body: bytes) -> Request:
    url = f"http://127.0.0.1:4566{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method, url, data=body, headers={"Content-Type": "text/plain", "X-Two": " a   b "})
    signer.add_auth(request)
    sent_path, _, sent_query = request.url.removeprefix("http://127.0.0.1:4566").partition("?")
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Request(method, sent_path, sent_query, {"host": "127.0.0.1:4566", **headers}, body)


@pytest.mark.parametrize(("service", "header_signer", "query_signer"), [
    ("lambda", SigV4Auth, SigV4QueryAuth),
    ("s3", S3SigV4Auth, S3SigV4QueryAuth),
])  # fmt: skip
@pytest.mark.parametrize(("method", "path", "query"), REQUESTS)
def test_what_botocore_signs_is_let_in(service, header_signer, query_signer, method, path, query):
    clock = FixedClock(int(datetime.now(UTC).timestamp() * 1000))
    authenticator = keys(clock)
    temporary = authenticator.temporary(
        account="123456789012", role_arn="arn:aws:iam::123456789012:role/r", session_name="s", seconds=900
    )
    root = Credentials(KEY, SECRET)
    role = Credentials(temporary.access_key_id, temporary.secret_access_key, temporary.session_token)
    for credentials, arn in [
        (root, "arn:aws:iam::123456789012:root"),
        (role, "arn:aws:sts::123456789012:assumed-role/r/s"),
    ]:
        in_header = signed_by_botocore(header_signer(credentials, service, REGION), method, path, query, b"body")
        assert authenticator.authenticate(in_header, service).arn == arn
        presigned = signed_by_botocore(query_signer(credentials, service, REGION, 60), method, path, query, b"")
        assert authenticator.authenticate(presigned, service).arn == arn


@pytest.mark.parametrize("service", ["lambda", "s3"])
@pytest.mark.parametrize(("method", "path", "query"), REQUESTS)
def test_our_own_signatures_are_botocores(service, method, path, query):
    signer = {"lambda": SigV4Auth, "s3": S3SigV4Auth}[service](Credentials(KEY, SECRET), service, REGION)
    request = signed_by_botocore(signer, method, path, query, b"body")
    stamp = datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    headers = {name: request.headers[name] for name in ("host", "content-type", "x-two")}
    ours = sigv4.sign(
        method,
        path,
        query,
        headers,
        b"body",
        access_key_id=KEY,
        secret_access_key=SECRET,
        region=REGION,
        service=service,
        now_ms=int(stamp.timestamp() * 1000),
    )
    assert ours["authorization"] == request.headers["authorization"]
