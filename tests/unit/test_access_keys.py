"""Who is let in and who is not, with AWS's codes."""

import pytest

from aws_fixtures import ACCOUNT, KEY, REGION, SECRET, keys
from lambent.access import sigv4
from lambent.access.contract import NotAuthenticated
from lambent.access.keys import Keys
from lambent.access.tokens import NotOurToken, Session, Tokens
from lambent.clock import FixedClock
from lambent.httpd.messages import Request
from lambent.ids import Ids

PATH = "/2015-03-31/functions/hello/invocations"


def request(clock: FixedClock, *, body: bytes = b"{}", headers: dict[str, str] | None = None, **options) -> Request:
    given = {
        "access_key_id": KEY,
        "secret_access_key": SECRET,
        "region": REGION,
        "service": "lambda",
        "now_ms": clock.now_ms(),
        **options,
    }
    sent = sigv4.sign("POST", PATH, "", {"host": "h", **(headers or {})}, body, **given)
    return Request("POST", PATH, "", sent, body)


def presigned(clock: FixedClock, **options) -> Request:
    given = {
        "access_key_id": KEY,
        "secret_access_key": SECRET,
        "region": REGION,
        "service": "lambda",
        "now_ms": clock.now_ms(),
        "expires_seconds": 60,
        **options,
    }
    return Request("GET", "/a", sigv4.presign("GET", "/a", "x=1", "h", **given), {"host": "h"})


def refusal(authenticator: Keys, asked: Request, service: str = "lambda") -> NotAuthenticated:
    with pytest.raises(NotAuthenticated) as refused:
        authenticator.authenticate(asked, service)
    return refused.value


def test_the_root_key_is_the_root_user():
    clock = FixedClock()
    identity = keys(clock).authenticate(request(clock), "lambda")
    assert (identity.account, identity.arn, identity.user_id) == (ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT)
    assert identity.access_key_id == KEY


def test_a_second_request_with_the_same_head_is_verified_as_the_first():
    clock = FixedClock()
    authenticator = keys(clock)
    authenticator.authenticate(request(clock), "lambda")
    forged = request(clock)
    forged.body = b'{"other":1}'
    assert refusal(authenticator, forged).code == "SignatureDoesNotMatch"
    assert authenticator.authenticate(request(clock, body=b"new"), "lambda").account == ACCOUNT


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda r: r.headers.pop("authorization"), "MissingAuthenticationToken", "missing Authentication Token"),
        (lambda r: r.headers.update(authorization="Basic abc"), "IncompleteSignature", "'algorithm'"),
        (lambda r: r.headers.update(authorization="AWS4-HMAC-SHA256 nonsense"), "IncompleteSignature", "equal-sign"),
        (
            lambda r: r.headers.update(authorization="AWS4-HMAC-SHA256 Credential=a"),
            "IncompleteSignature",
            "Authorization header requires 'Signature' parameter.",
        ),
        (
            lambda r: r.headers.update(authorization="AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host, Signature=b"),
            "IncompleteSignature",
            "Credential must have exactly 5 slash-delimited elements",
        ),
        (lambda r: r.headers.pop("x-amz-date"), "IncompleteSignature", "'X-Amz-Date' or a 'Date' header"),
        (lambda r: r.headers.update({"x-amz-date": "yesterday"}), "IncompleteSignature", "ISO-8601 'basic format'"),
        (lambda r: r.headers.update(host="other"), "SignatureDoesNotMatch", "Check your AWS Secret Access Key"),
        (lambda r: r.headers.pop("host"), "SignatureDoesNotMatch", "'host' is not in the request"),
        (lambda r: setattr(r, "body", b"tampered"), "SignatureDoesNotMatch", "signature we calculated does not match"),
        (lambda r: setattr(r, "path", PATH + "x"), "SignatureDoesNotMatch", "signature we calculated does not match"),
        (lambda r: setattr(r, "query", "a=b"), "SignatureDoesNotMatch", "signature we calculated does not match"),
        (lambda r: setattr(r, "method", "PUT"), "SignatureDoesNotMatch", "signature we calculated does not match"),
        (lambda r: r.headers.update({"x-amz-security-token": "x"}), "InvalidClientTokenId", "security token"),
        (
            lambda r: r.headers.update({"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}),
            "NotImplemented",
            "signed in chunks",
        ),
        (
            lambda r: r.headers.update({"x-amz-content-sha256": sigv4.EMPTY_SHA256}),
            "SignatureDoesNotMatch",
            "does not match",
        ),
        (
            lambda r: r.headers.update({"x-amz-content-sha256": sigv4.UNSIGNED_PAYLOAD}),
            "SignatureDoesNotMatch",
            "does not match",
        ),
    ],
)
def test_a_changed_request_is_refused_with_awss_code(change, code, words):
    clock = FixedClock()
    asked = request(clock)
    change(asked)
    refused = refusal(keys(clock), asked)
    assert refused.code == code
    assert words in str(refused)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (
            {"access_key_id": "AKIAUNKNOWN"},
            "InvalidClientTokenId",
            "The security token included in the request is invalid.",
        ),
        (
            {"secret_access_key": "wrong"},
            "SignatureDoesNotMatch",
            "The Canonical String for this request should have been",
        ),
        ({"service": "logs"}, "SignatureDoesNotMatch", "Credential should be scoped to correct service: 'lambda'."),
    ],
)
def test_a_wrong_credential_is_refused(options, code, words):
    clock = FixedClock()
    refused = refusal(keys(clock), request(clock, **options))
    assert (refused.code, refused.status) == (code, 403)
    assert words in str(refused)


def test_a_refusal_never_repeats_the_secret_or_the_authorization_header():
    clock = FixedClock()
    asked = request(clock)
    asked.headers["authorization"] = "AWS4-HMAC-SHA256 Credential=very-private"
    assert "very-private" not in str(refusal(keys(clock), asked))
    assert SECRET not in str(refusal(keys(clock), request(clock, body=b"x", secret_access_key="no")))


@pytest.mark.parametrize(("seconds", "let_in"), [(-301, False), (-299, True), (0, True), (299, True), (301, False)])
def test_a_signature_may_be_five_minutes_off(seconds, let_in):
    clock = FixedClock()
    asked = request(clock)
    clock.advance(seconds)
    if let_in:
        assert keys(clock).authenticate(asked, "lambda").account == ACCOUNT
        return
    refused = refusal(keys(clock), asked)
    assert refused.code == "SignatureDoesNotMatch"
    words = "Signature expired: {} is now earlier than {} ({} - 5 min.)"
    if seconds < 0:
        words = "Signature not yet current: {} is still later than {} ({} + 5 min.)"
    edge = clock.now_ms() + (300_000 if seconds < 0 else -300_000)
    stamps = (asked.headers["x-amz-date"], sigv4.amz_date(edge), sigv4.amz_date(clock.now_ms()))
    assert str(refused) == words.format(*stamps)


def test_the_date_of_the_scope_must_be_the_date_of_the_request():
    clock = FixedClock()
    asked = request(clock)
    asked.headers["x-amz-date"] = sigv4.amz_date(clock.now_ms() - 24 * 3600 * 1000)
    assert "Date in Credential scope does not match" in str(refusal(keys(clock), asked))


def test_a_presigned_url_is_good_for_as_long_as_it_says():
    clock = FixedClock()
    asked = presigned(clock, expires_seconds=3600)
    clock.advance(3599)
    assert keys(clock).authenticate(asked, "lambda").account == ACCOUNT
    clock.advance(2)
    assert "Signature expired" in str(refusal(keys(clock), asked))


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("X-Amz-Expires=60", "X-Amz-Expires=61", "SignatureDoesNotMatch"),
        ("X-Amz-Expires=60", "X-Amz-Expires=604801", "IncompleteSignature"),
        ("X-Amz-Expires=60", "X-Amz-Expires=-1", "IncompleteSignature"),
        ("x=1", "x=2", "SignatureDoesNotMatch"),
        ("&X-Amz-Date=", "&Y=", "IncompleteSignature"),
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256", "IncompleteSignature"),
    ],
)
def test_a_changed_presigned_url_is_refused(old, new, code):
    clock = FixedClock()
    asked = presigned(clock)
    assert old in asked.query
    asked.query = asked.query.replace(old, new)
    assert refusal(keys(clock), asked).code == code


def test_a_presigned_url_of_more_than_seven_days_is_not_made():
    with pytest.raises(ValueError, match="604800"):
        presigned(FixedClock(), expires_seconds=604801)


def test_an_unsigned_payload_is_let_in_when_the_client_signed_that_it_is_unsigned():
    clock = FixedClock()
    asked = request(clock, unsigned_payload=True)
    asked.body = b"any"
    assert keys(clock).authenticate(asked, "lambda").account == ACCOUNT


def temporary(authenticator: Keys, seconds: int = 900):
    return authenticator.temporary(
        account=ACCOUNT, role_arn=f"arn:aws:iam::{ACCOUNT}:role/path/worker", session_name="hello", seconds=seconds
    )


def with_credentials(clock: FixedClock, made, **changes) -> Request:
    options = {
        "access_key_id": made.access_key_id,
        "secret_access_key": made.secret_access_key,
        "session_token": made.session_token,
        **changes,
    }
    return request(clock, **options)


def test_temporary_credentials_are_the_role_on_any_node_with_the_same_master():
    clock = FixedClock()
    made = temporary(keys(clock))
    assert made.access_key_id.startswith("ASIA")
    assert made.expires_ms == clock.now_ms() + 900_000
    identity = keys(clock).authenticate(with_credentials(clock, made), "lambda")
    assert identity.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/hello"
    assert identity.user_id.startswith("AROA")
    assert identity.user_id.endswith(":hello")


def test_temporary_credentials_expire():
    clock = FixedClock()
    authenticator = keys(clock)
    made = temporary(authenticator)
    authenticator.authenticate(with_credentials(clock, made), "lambda")
    clock.advance(901)
    refused = refusal(authenticator, with_credentials(clock, made))
    assert (refused.code, str(refused)) == ("ExpiredToken", "The security token included in the request is expired")


@pytest.mark.parametrize(
    "changes",
    [{"session_token": ""}, {"session_token": "AAAA"}, {"session_token": "é"}, {"access_key_id": "ASIAOTHER"}],
)
def test_temporary_credentials_need_their_own_token(changes):
    clock = FixedClock()
    authenticator = keys(clock)
    made = temporary(authenticator)
    assert refusal(authenticator, with_credentials(clock, made, **changes)).code == "InvalidClientTokenId"


def test_a_token_with_one_changed_character_is_refused():
    tokens = Tokens(b"m" * 32)
    token = tokens.make(Session("ASIA1", ACCOUNT, "arn:aws:iam::1:role/a", "s", 1))
    assert tokens.read(token).session_name == "s"
    for position in (0, 50, len(token) // 2):
        changed = token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]
        with pytest.raises(NotOurToken):
            tokens.read(changed)


def test_a_token_of_another_master_is_refused():
    token = Tokens(b"a" * 32).make(Session("ASIA1", ACCOUNT, "arn:aws:iam::1:role/a", "s", 1))
    with pytest.raises(NotOurToken):
        Tokens(b"b" * 32).read(token)


def test_a_short_master_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        Tokens(b"short")


def test_an_open_installation_lets_anyone_in_as_root_and_roles_as_themselves():
    clock = FixedClock()
    authenticator = keys(clock, open=True)
    nobody = Request("GET", "/", "", {})
    assert authenticator.authenticate(nobody, "lambda").arn.endswith(":root")
    assert authenticator.authenticate(request(clock, access_key_id="test"), "logs").arn.endswith(":root")
    foreign = Request("GET", "/", "", {"x-amz-security-token": "test"})
    assert authenticator.authenticate(foreign, "lambda").arn.endswith(":root")
    made = temporary(authenticator)
    assert "assumed-role/worker" in authenticator.authenticate(with_credentials(clock, made), "lambda").arn


def test_caches_stay_bounded():
    signing_keys = sigv4.SigningKeys()
    for number in range(5000):
        signing_keys.of("secret", str(number), REGION, "lambda")
    assert len(signing_keys._keys) <= 4096
    paths = sigv4.CanonicalPaths()
    for number in range(5000):
        paths.of(f"/{number}", "lambda")
    assert len(paths._paths) <= 4096


def test_ids_of_keys_are_awss_form():
    assert Ids().access_key_id("ASIA").startswith("ASIA")
