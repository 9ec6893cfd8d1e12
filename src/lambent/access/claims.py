"""What a request claims about its sender: the parts of the Authorization header or of a presigned query, read but not yet believed.

Codes are those of AWS's query services ("Common errors" of the IAM API reference); the wire translates them for the
services that have other names for the same refusal.
"""

import base64
import hashlib
from urllib.parse import parse_qsl

import msgspec

from lambent.access import sigv4
from lambent.access.contract import NotAuthenticated
from lambent.httpd.messages import Request

#: Heads of Authorization headers kept: one per credential, day, service and set of signed headers.
_HEADS_MAX = 4096

#: Parameters of a presigned query; AWS's own have fewer than ten, the rest belongs to the operation.
_QUERY_FIELDS_MAX = 1000


class Scope(msgspec.Struct, frozen=True):
    """The part of a signature that stays the same from one request to the next."""

    access_key_id: str
    date: str
    region: str
    service: str
    #: `date/region/service/aws4_request`
    text: str
    signed_headers: tuple[str, ...]
    #: The same, joined with ";".
    signed_names: str


class Claim(msgspec.Struct, frozen=True):
    """A signature as a request carries it."""

    scope: Scope
    signature: str
    #: `20240102T030405Z`
    amz_date: str
    session_token: str = ""
    #: Seconds that a presigned URL is good for; 0 for a signature in the header.
    expires_seconds: int = 0


class Claims:
    """Reads claims. Keeps what it has read of the heads of Authorization headers, since clients repeat them."""

    def __init__(self) -> None:
        self._heads: dict[str, Scope] = {}

    def read(self, request: Request) -> Claim:
        """Raises `NotAuthenticated` for a request without or with a malformed claim."""
        headers = request.headers
        text = headers.get("authorization")
        if text is None:
            if "X-Amz-Algorithm=" in request.query:
                return _from_query(request.query)
            raise NotAuthenticated("MissingAuthenticationToken", "Request is missing Authentication Token")
        head, found, mark = text.rpartition("Signature=")
        scope = self._heads.get(head)
        if scope is None or not found:
            return self._from_header(text, headers)
        stamp = headers.get("x-amz-date")
        if stamp is None:
            return self._from_header(text, headers)
        return Claim(scope, mark, stamp, headers.get("x-amz-security-token", ""))

    def _from_header(self, text: str, headers: dict[str, str]) -> Claim:
        algorithm, _, rest = text.partition(" ")
        if algorithm != sigv4.ALGORITHM:
            raise NotAuthenticated(
                "IncompleteSignature",
                f"Unsupported AWS 'algorithm': '{algorithm[:64]}', must be {sigv4.ALGORITHM}.",
                400,
            )
        parts = _key_values(rest)
        stamp = headers.get("x-amz-date") or _iso_basic(headers.get("date", ""))
        missing = [
            f"Authorization header requires '{name}' parameter."
            for name in ("Credential", "Signature", "SignedHeaders")
            if not parts.get(name)
        ]
        if not stamp:
            missing.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
        if missing:
            raise NotAuthenticated("IncompleteSignature", f"{' '.join(missing)} {_hashed('Authorization', text)}", 400)
        scope = _scope(parts["Credential"], parts["SignedHeaders"])
        head, _, mark = text.rpartition("Signature=")
        if mark == parts["Signature"]:
            if len(self._heads) >= _HEADS_MAX:
                self._heads.clear()
            self._heads[head] = scope
        return Claim(scope, parts["Signature"], stamp, headers.get("x-amz-security-token", ""))


def _key_values(text: str) -> dict[str, str]:
    parts = {}
    for piece in text.split(","):
        name, equals, value = piece.strip().partition("=")
        if not equals:
            raise NotAuthenticated(
                "IncompleteSignature",
                f"Invalid key=value pair (missing equal-sign) in {_hashed('Authorization header', text)}",
                400,
            )
        parts[name] = value
    return parts


def _hashed(what: str, text: str) -> str:
    """AWS no longer echoes the header, which may hold a secret, but its hash."""
    digest = base64.b64encode(hashlib.sha256(text.encode("latin-1", "replace")).digest()).decode()
    return f"{what} (hashed with SHA-256 and encoded with Base64): '{digest}'."


def _scope(credential: str, signed_names: str) -> Scope:
    parts = credential.rsplit("/", 4)
    if len(parts) != 5:
        raise NotAuthenticated(
            "IncompleteSignature",
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term,"
            f" got '{credential[:128]}'",
            400,
        )
    key, date, region, service, term = parts
    if term != "aws4_request":
        raise NotAuthenticated(
            "SignatureDoesNotMatch",
            f"Credential should be scoped with a valid terminator: 'aws4_request', not '{term[:64]}'.",
        )
    signed = tuple(signed_names.split(";"))
    if "host" not in signed:
        raise NotAuthenticated(
            "SignatureDoesNotMatch", "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
        )
    return Scope(key, date, region, service, f"{date}/{region}/{service}/{term}", signed, signed_names)


def _from_query(query: str) -> Claim:
    try:
        fields = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=_QUERY_FIELDS_MAX))
    except ValueError as error:
        raise NotAuthenticated("IncompleteSignature", "The query string has too many parameters.", 400) from error
    needed = ("X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date")
    missing = [f"AWS query-string parameters must include '{name}'." for name in needed if not fields.get(name)]
    if missing:
        raise NotAuthenticated("IncompleteSignature", " ".join(missing), 400)
    if fields["X-Amz-Algorithm"] != sigv4.ALGORITHM:
        raise NotAuthenticated(
            "IncompleteSignature", f"Unsupported AWS 'algorithm': '{fields['X-Amz-Algorithm'][:64]}'.", 400
        )
    expires = fields.get("X-Amz-Expires", "900")
    if not expires.isascii() or not expires.isdigit() or not 1 <= int(expires[:9]) <= sigv4.PRESIGNED_SECONDS_MAX:
        raise NotAuthenticated(
            "IncompleteSignature", "X-Amz-Expires must be a number of seconds from 1 to 604800 (seven days).", 400
        )
    scope = _scope(fields["X-Amz-Credential"], fields["X-Amz-SignedHeaders"])
    return Claim(
        scope, fields["X-Amz-Signature"], fields["X-Amz-Date"], fields.get("X-Amz-Security-Token", ""), int(expires)
    )


_MONTHS = {
    name: number
    for number, name in enumerate(
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], 1
    )
}


def _iso_basic(date: str) -> str:
    """A `Date` header as `YYYYMMDDTHHMMSSZ`; what is no such date comes back as it is and fails as one later."""
    parts = date.split()
    if len(parts) == 6 and parts[2] in _MONTHS and parts[5] == "GMT":
        return f"{parts[3]}{_MONTHS[parts[2]]:02d}{int(parts[1]) if parts[1].isdigit() else 0:02d}T{parts[4].replace(':', '')}Z"
    return date
