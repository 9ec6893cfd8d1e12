"""AWS signature version 4 as pure functions: canonical request, string to sign, signature; to verify with and to sign with.

The rules are those of the IAM user guide, "Create a signed AWS API request". Two of them differ by service: S3 covers the path
encoded once and not normalised, every other service normalises it and encodes it a second time; and S3's presigned
URLs do not cover the body. Text is latin-1 text as it came from the socket, so that the bytes that are hashed are the bytes
that were sent.
"""

import hashlib
import hmac
import time
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote_to_bytes

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()

#: What `presign` may ask for at most: AWS's seven days.
PRESIGNED_SECONDS_MAX = 7 * 24 * 3600

#: Signing keys kept. One per credential, day, region and service; a function's credentials need one or two.
_SIGNING_KEYS_MAX = 4096
#: Canonical paths kept. Names are few and repeat; a scan of many names only empties the cache.
_PATHS_MAX = 4096

_UNRESERVED = "-_.~"


class SigningKeys:
    """Signing keys by (secret, date, region, service): four HMACs the first time, a look-up after that."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str, str, str], bytes] = {}

    def of(self, secret: str, date: str, region: str, service: str) -> bytes:
        wanted = (secret, date, region, service)
        key = self._keys.get(wanted)
        if key is None:
            if len(self._keys) >= _SIGNING_KEYS_MAX:
                self._keys.clear()
            key = self._keys[wanted] = signing_key(secret, date, region, service)
        return key


class CanonicalPaths:
    """Canonical paths of services that encode twice, by the path as sent."""

    def __init__(self) -> None:
        self._paths: dict[str, str] = {}

    def of(self, path: str, service: str) -> str:
        if service == "s3":
            return canonical_path(path, service)
        found = self._paths.get(path)
        if found is None:
            if len(self._paths) >= _PATHS_MAX:
                self._paths.clear()
            found = self._paths[path] = canonical_path(path, service)
        return found


def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """The key derived for one day, region and service. `date` is YYYYMMDD."""
    key = ("AWS4" + secret).encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode("latin-1"), "sha256")
    return key


def canonical_path(path: str, service: str) -> str:
    """The path line of the canonical request, from the path as sent (still percent-encoded)."""
    if service == "s3":
        return "/".join([_encoded(segment) for segment in path.split("/")]) or "/"
    return quote(_without_dots(path).encode("latin-1"), safe="/" + _UNRESERVED)


def _without_dots(path: str) -> str:
    """RFC 3986 section 5.2.4, and repeated slashes as one, as AWS's published test suite has it ("normalize-path")."""
    if "//" not in path and "/." not in path:
        return path or "/"
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            if kept:
                kept.pop()
        elif segment not in ("", "."):
            kept.append(segment)
    slash = "/" if kept and path.endswith(("/", "/.", "/..")) else ""
    return "/" + "/".join(kept) + slash


def canonical_query(query: str, *, without: str = "") -> str:
    """The query line: pairs encoded alike and sorted, without the parameter that carries the signature itself."""
    if not query:
        return ""
    pairs = []
    for piece in query.split("&"):
        if not piece:
            continue
        name, _, value = piece.partition("=")
        name = _encoded(name)
        if name != without:
            pairs.append((name, _encoded(value)))
    pairs.sort()
    return "&".join([f"{name}={value}" for name, value in pairs])


def _encoded(text: str) -> str:
    return quote(unquote_to_bytes(text.encode("latin-1")), safe=_UNRESERVED)


def header_value(text: str) -> str:
    """A header's value as it is signed: no spaces around it, runs of spaces inside it as one."""
    if "  " in text:
        return " ".join([part for part in text.split(" ") if part])
    return text.strip(" \t") if text[:1] in (" ", "\t") or text[-1:] in (" ", "\t") else text


def canonical_request(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    signed_headers: Iterable[str],
    signed_names: str,
    payload_hash: str,
) -> str:
    """Joins the lines. `path` and `query` are canonical already; `headers` has lower-case names; `signed_names` is
    `signed_headers` joined with ";". Raises `KeyError` for a signed header that the request does not have.
    """
    lines = [method, path, query]
    for name in signed_headers:
        value = headers[name]
        if "  " in value or value[:1] == " " or value[-1:] == " ":
            value = header_value(value)
        lines.append(name + ":" + value)
    lines.append("")
    lines.append(signed_names)
    lines.append(payload_hash)
    return "\n".join(lines)


def string_to_sign(amz_date: str, scope: str, canonical: str) -> str:
    digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
    return f"{ALGORITHM}\n{amz_date}\n{scope}\n{digest}"


def signature(key: bytes, to_sign: str) -> str:
    return hmac.digest(key, to_sign.encode("latin-1"), "sha256").hex()


def amz_date(now_ms: int) -> str:
    """`20240102T030405Z`."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_ms // 1000))


def sign(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    access_key_id: str,
    secret_access_key: str,
    region: str,
    service: str,
    now_ms: int,
    session_token: str = "",
    unsigned_payload: bool = False,
) -> dict[str, str]:
    """The headers to send: those given (names lowered; `host` must be among them) and those that carry the signature.

    `path` and `query` are as they will be sent: percent-encoded.
    """
    sent = {name.lower(): value for name, value in headers.items()}
    sent.pop("authorization", None)
    sent["x-amz-date"] = stamp = amz_date(now_ms)
    if session_token:
        sent["x-amz-security-token"] = session_token
    payload_hash = UNSIGNED_PAYLOAD if unsigned_payload else hashlib.sha256(body).hexdigest()
    if unsigned_payload or service == "s3":
        sent["x-amz-content-sha256"] = payload_hash
    names = sorted(sent)
    signed_names = ";".join(names)
    canonical = canonical_request(
        method, canonical_path(path, service), canonical_query(query), sent, names, signed_names, payload_hash
    )
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    key = signing_key(secret_access_key, stamp[:8], region, service)
    mark = signature(key, string_to_sign(stamp, scope, canonical))
    sent["authorization"] = (
        f"{ALGORITHM} Credential={access_key_id}/{scope}, SignedHeaders={signed_names}, Signature={mark}"
    )
    return sent


def presign(
    method: str,
    path: str,
    query: str,
    host: str,
    *,
    access_key_id: str,
    secret_access_key: str,
    region: str,
    service: str,
    now_ms: int,
    expires_seconds: int,
    session_token: str = "",
    body: bytes = b"",
) -> str:
    """The whole query string, signature included, of a URL that is good for `expires_seconds` (1 to seven days)."""
    if not 1 <= expires_seconds <= PRESIGNED_SECONDS_MAX:
        raise ValueError(f"a presigned URL is good for 1 to {PRESIGNED_SECONDS_MAX} seconds, not {expires_seconds}")
    stamp = amz_date(now_ms)
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    added = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{access_key_id}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(expires_seconds),
        "X-Amz-SignedHeaders": "host",
    }
    if session_token:
        added["X-Amz-Security-Token"] = session_token
    pieces = [query] if query else []
    pieces += [f"{name}={quote(value, safe=_UNRESERVED)}" for name, value in added.items()]
    whole = "&".join(pieces)
    payload_hash = UNSIGNED_PAYLOAD if service == "s3" else hashlib.sha256(body).hexdigest()
    canonical = canonical_request(
        method, canonical_path(path, service), canonical_query(whole), {"host": host}, ("host",), "host", payload_hash
    )
    key = signing_key(secret_access_key, stamp[:8], region, service)
    return f"{whole}&X-Amz-Signature={signature(key, string_to_sign(stamp, scope, canonical))}"
