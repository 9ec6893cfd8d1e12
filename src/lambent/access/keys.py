"""The authenticator: the installation's root access key and temporary credentials, verified without any stored state."""

import hashlib
import hmac
from datetime import UTC, datetime

import msgspec

from lambent.access import sigv4
from lambent.access.claims import Claim, Claims
from lambent.access.contract import Credentials, Identity, NotAuthenticated
from lambent.access.tokens import NotOurToken, Session, Tokens, role_id
from lambent.clock import Clock
from lambent.httpd.messages import Request
from lambent.ids import Ids

#: How far a signature's time may be from ours; AWS's services say "(… - 5 min.)" in their refusals, STS and IAM 15.
SKEW_SECONDS = 300
#: Sessions kept after their token was verified once: one per running function and role, plus those of users.
_SESSIONS_MAX = 4096
#: Times kept after they were read once: clients of one second share one.
_TIMES_MAX = 64

_INVALID_TOKEN = "The security token included in the request is invalid."
_NO_MATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key"
    " and signing method. Consult the service documentation for details."
)


class _Known(msgspec.Struct, frozen=True):
    """A credential that a claim may name."""

    secret: str
    identity: Identity
    expires_ms: int


class Keys:
    """Implements `Authenticator`.

    `master` (at least 32 bytes) seals session tokens and must be the same on every node. With `open` no signature is
    verified: whoever asks is the root user of `account`, unless a session token of ours says who else it is.
    """

    def __init__(
        self,
        *,
        account: str,
        access_key_id: str,
        secret_access_key: str,
        master: bytes,
        clock: Clock,
        ids: Ids,
        open: bool = False,
    ) -> None:
        self.account = account
        self._clock = clock
        self._ids = ids
        self._open = open
        self._tokens = Tokens(master)
        self._claims = Claims()
        self._signing_keys = sigv4.SigningKeys()
        self._paths = sigv4.CanonicalPaths()
        self._sessions: dict[str, _Known] = {}
        self._times: dict[str, int] = {}
        root = Identity(
            account=account, arn=f"arn:aws:iam::{account}:root", user_id=account, access_key_id=access_key_id
        )
        self._root = _Known(secret_access_key, root, 0)

    def authenticate(self, request: Request, service: str) -> Identity:
        """Verifies the header or presigned signature. Raises `NotAuthenticated` with the codes of AWS's query services."""
        if self._open:
            return self._anyone(request)
        claim = self._claims.read(request)
        scope = claim.scope
        if scope.service != service:
            raise NotAuthenticated(
                "SignatureDoesNotMatch", f"Credential should be scoped to correct service: '{service}'."
            )
        known = self._known(scope.access_key_id, claim.session_token)
        self._check_time(claim)
        self._check_signature(request, claim, known)
        return known.identity

    def temporary(self, *, account: str, role_arn: str, session_name: str, seconds: int) -> Credentials:
        """Credentials for an assumed role, verified later without any stored state."""
        key = self._ids.access_key_id("ASIA")
        expires_ms = self._clock.now_ms() + seconds * 1000
        token = self._tokens.make(Session(key, account, role_arn, session_name, expires_ms))
        return Credentials(
            access_key_id=key,
            secret_access_key=self._tokens.secret(token),
            session_token=token,
            expires_ms=expires_ms,
        )

    def _anyone(self, request: Request) -> Identity:
        token = request.headers.get("x-amz-security-token")
        if token:
            try:
                return self._session(token).identity
            except NotOurToken:
                pass  # open means: credentials that are not ours are as good as any
        return self._root.identity

    def _known(self, access_key_id: str, token: str) -> _Known:
        if not token:
            if access_key_id == self._root.identity.access_key_id:
                return self._root
            raise NotAuthenticated("InvalidClientTokenId", _INVALID_TOKEN)
        try:
            known = self._session(token)
        except NotOurToken as error:
            raise NotAuthenticated("InvalidClientTokenId", _INVALID_TOKEN) from error
        if known.identity.access_key_id != access_key_id:
            raise NotAuthenticated("InvalidClientTokenId", _INVALID_TOKEN)
        if known.expires_ms <= self._clock.now_ms():
            self._sessions.pop(token, None)
            raise NotAuthenticated("ExpiredToken", "The security token included in the request is expired")
        return known

    def _session(self, token: str) -> _Known:
        known = self._sessions.get(token)
        if known is None:
            session = self._tokens.read(token)
            if len(self._sessions) >= _SESSIONS_MAX:
                self._sessions.pop(next(iter(self._sessions)))
            known = _Known(self._tokens.secret(token), _identity(session), session.expires_ms)
            self._sessions[token] = known
        return known

    def _check_time(self, claim: Claim) -> None:
        signed = self._seconds(claim.amz_date)
        if claim.amz_date[:8] != claim.scope.date:
            raise NotAuthenticated(
                "SignatureDoesNotMatch",
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP:"
                f" '{claim.scope.date}' != '{claim.amz_date[:8]}', from '{claim.amz_date}'.",
            )
        now_ms = self._clock.now_ms()
        late = now_ms // 1000 - signed
        allowed = claim.expires_seconds or SKEW_SECONDS
        if -SKEW_SECONDS <= late <= allowed:
            return
        now = sigv4.amz_date(now_ms)
        if late > allowed:
            edge = sigv4.amz_date(now_ms - allowed * 1000)
            words = f"Signature expired: {claim.amz_date} is now earlier than {edge} ({now} - {_span(allowed)}.)"
        else:
            edge = sigv4.amz_date(now_ms + SKEW_SECONDS * 1000)
            words = f"Signature not yet current: {claim.amz_date} is still later than {edge} ({now} + 5 min.)"
        raise NotAuthenticated("SignatureDoesNotMatch", words)

    def _seconds(self, stamp: str) -> int:
        found = self._times.get(stamp)
        if found is None:
            if len(self._times) >= _TIMES_MAX:
                self._times.clear()
            found = self._times[stamp] = _read_stamp(stamp)
        return found

    def _check_signature(self, request: Request, claim: Claim, known: _Known) -> None:
        scope = claim.scope
        headers = request.headers
        payload_hash = _payload_hash(request, claim)
        query = request.query
        if query:
            query = sigv4.canonical_query(query, without="X-Amz-Signature" if claim.expires_seconds else "")
        key = self._signing_keys.of(known.secret, scope.date, scope.region, scope.service)
        path = self._paths.of(request.path, scope.service)
        try:
            canonical = sigv4.canonical_request(
                request.method, path, query, headers, scope.signed_headers, scope.signed_names, payload_hash
            )
        except KeyError as error:
            raise NotAuthenticated(
                "SignatureDoesNotMatch", f"{_NO_MATCH} The signed header {error.args[0]!r} is not in the request."
            ) from error
        to_sign = sigv4.string_to_sign(claim.amz_date, scope.text, canonical)
        if _same(sigv4.signature(key, to_sign), claim.signature):
            return
        # A header that was sent twice arrives joined with ", " but was signed joined with ","; which of the two it was cannot
        # be told from the joined value, and both mean the same.
        joined = {name: headers[name].replace(", ", ",") for name in scope.signed_headers}
        other = sigv4.canonical_request(
            request.method, path, query, joined, scope.signed_headers, scope.signed_names, payload_hash
        )
        other_signature = sigv4.signature(key, sigv4.string_to_sign(claim.amz_date, scope.text, other))
        if not _same(other_signature, claim.signature):
            raise NotAuthenticated(
                "SignatureDoesNotMatch",
                f"{_NO_MATCH}\n\nThe Canonical String for this request should have been\n'{canonical}'\n\n"
                f"The String-to-Sign should have been\n'{to_sign}'\n",
            )


def _same(ours: str, theirs: str) -> bool:
    return hmac.compare_digest(ours.encode(), theirs.encode("utf-8", "replace"))


def _payload_hash(request: Request, claim: Claim) -> str:
    """The last line of the canonical request. A hash that the client states must be the body's."""
    stated = request.headers.get("x-amz-content-sha256")
    if stated is None:
        if claim.expires_seconds and claim.scope.service == "s3":
            return sigv4.UNSIGNED_PAYLOAD
        return hashlib.sha256(request.body).hexdigest()
    if stated == sigv4.UNSIGNED_PAYLOAD:
        return stated
    if stated.startswith("STREAMING-"):
        raise NotAuthenticated(
            "NotImplemented",
            f"A body signed in chunks (x-amz-content-sha256: {stated[:64]}) is not supported here.",
            501,
        )
    actual = hashlib.sha256(request.body).hexdigest()
    if not _same(actual, stated):
        if claim.scope.service == "s3":
            raise NotAuthenticated(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
                400,
            )
        raise NotAuthenticated("SignatureDoesNotMatch", _NO_MATCH)
    return actual


def _read_stamp(stamp: str) -> int:
    try:
        return int(datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp())
    except ValueError as error:
        raise NotAuthenticated(
            "IncompleteSignature",
            f"Date must be in ISO-8601 'basic format'. Got '{stamp[:64]}'. See http://en.wikipedia.org/wiki/ISO_8601",
            400,
        ) from error


def _span(seconds: int) -> str:
    return f"{seconds // 60} min" if seconds % 60 == 0 else f"{seconds} sec"


def _identity(session: Session) -> Identity:
    role = session.role_arn.rsplit("/", 1)[-1]
    return Identity(
        account=session.account,
        arn=f"arn:aws:sts::{session.account}:assumed-role/{role}/{session.session_name}",
        user_id=f"{role_id(session.role_arn)}:{session.session_name}",
        access_key_id=session.access_key_id,
    )
