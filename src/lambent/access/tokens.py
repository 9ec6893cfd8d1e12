"""Session tokens: everything about temporary credentials in one authenticated text, so that no node stores them.

A token is `base64url(mac || payload)`: readable by whoever holds it, made only by whoever knows the master secret. The secret
access key that belongs to it is derived from it under the same master, so any node with the master verifies any token.
"""

import base64
import binascii
import hashlib
import hmac

import msgspec

from lambent.errors import LambentError

#: Bytes of the authenticator in front of the payload.
_MAC_BYTES = 32
#: Longest token that is looked at; ours are about 300 characters, AWS asks clients to allow 4,096.
TOKEN_LENGTH_MAX = 4096


class Session(msgspec.Struct, frozen=True, array_like=True):
    """What a token says. `expires_ms` is Unix milliseconds."""

    access_key_id: str
    account: str
    role_arn: str
    session_name: str
    expires_ms: int


class NotOurToken(LambentError):
    """The text is not a token that was made under this master secret."""


class Tokens:
    """Makes and reads tokens under `master`, at least 32 secret bytes that every node of an installation shares."""

    def __init__(self, master: bytes) -> None:
        if len(master) < 32:
            raise ValueError("the master secret must have at least 32 bytes")
        self._seal = hmac.digest(master, b"lambent session token v1", "sha256")
        self._derive = hmac.digest(master, b"lambent secret access key v1", "sha256")

    def make(self, session: Session) -> str:
        payload = msgspec.msgpack.encode(session)
        mac = hmac.digest(self._seal, payload, "sha256")
        return base64.urlsafe_b64encode(mac + payload).decode().rstrip("=")

    def read(self, token: str) -> Session:
        """Raises `NotOurToken`. Does not look at the expiry."""
        if len(token) > TOKEN_LENGTH_MAX:
            raise NotOurToken("the session token is too long")
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except (binascii.Error, ValueError) as error:
            raise NotOurToken("the session token is not base64") from error
        mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, hmac.digest(self._seal, payload, "sha256")):
            raise NotOurToken("the session token was not made here")
        return msgspec.msgpack.decode(payload, type=Session)

    def secret(self, token: str) -> str:
        """The 40 characters of the secret access key that belong to `token`."""
        return base64.b64encode(hmac.digest(self._derive, token.encode("latin-1"), "sha512"))[:40].decode()


def role_id(role_arn: str) -> str:
    """A stable unique id in IAM's form (`AROA…`) for a role that is known by its ARN only."""
    return "AROA" + base64.b32encode(hashlib.sha256(role_arn.encode()).digest())[:17].decode()
