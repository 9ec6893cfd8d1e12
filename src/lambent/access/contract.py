"""An identity and how a request proves it."""

from typing import Protocol

import msgspec

from lambent.errors import LambentError
from lambent.httpd.messages import Request


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """The principal behind a request, as STS GetCallerIdentity would tell it."""

    account: str
    arn: str
    user_id: str
    access_key_id: str = ""


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """Temporary credentials, valid until `expires_ms` (Unix)."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expires_ms: int


class NotAuthenticated(LambentError):
    """The signature, key or token was refused. `code` is AWS's error code, such as `SignatureDoesNotMatch`; `status` AWS's."""

    def __init__(self, code: str, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class Authenticator(Protocol):
    def authenticate(self, request: Request, service: str) -> Identity:
        """Verifies the header or presigned signature. Raises `NotAuthenticated`."""

    def temporary(self, *, account: str, role_arn: str, session_name: str, seconds: int) -> Credentials:
        """Credentials for an assumed role, verified later without any stored state."""
