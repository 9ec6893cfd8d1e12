"""GetCallerIdentity and AssumeRole."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from lambent.access.contract import Authenticator
from lambent.access.tokens import role_id
from lambent.aws.contract import Call, Operation, Service, answering
from lambent.services.sts.faults import ParameterRefused, RoleRefused, fault_of

DURATION_DEFAULT_S = 3600
#: What would narrow or mark the session: refused rather than ignored until policies are evaluated.
_NOT_HONOURED = (
    "Policy", "PolicyArns", "Tags", "TransitiveTagKeys", "SerialNumber", "TokenCode", "SourceIdentity", "ProvidedContexts",
)  # fmt: skip


class AssumableRole(Protocol):
    """What STS must know of a role."""

    @property
    def account(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def arn(self) -> str: ...

    @property
    def max_session_s(self) -> int: ...


class StsService:
    """The STS API. `find_role` gives the stored role of an ARN, or None."""

    def __init__(self, authenticator: Authenticator, find_role: Callable[[str], AssumableRole | None]) -> None:
        self._authenticator = authenticator
        self._find_role = find_role

    def service(self) -> Service:
        operations: dict[str, Operation] = {
            "GetCallerIdentity": self.get_caller_identity,
            "AssumeRole": self.assume_role,
        }
        return Service("sts", answering(operations, fault_of))

    async def get_caller_identity(self, call: Call) -> Mapping[str, Any]:
        identity = call.identity
        return {"UserId": identity.user_id, "Account": identity.account, "Arn": identity.arn}

    async def assume_role(self, call: Call) -> Mapping[str, Any]:
        """Any caller of the role's account may assume it: trust policies are stored, and enforced in a later version."""
        params = call.params
        for name in _NOT_HONOURED:
            if params.get(name):
                raise ParameterRefused(f"{name} is not supported by this Lambent installation; leave it out.")
        role = self._find_role(params["RoleArn"])
        if role is None or role.account != call.account:
            raise RoleRefused(call.identity.arn, params["RoleArn"])
        seconds = params.get("DurationSeconds") or min(DURATION_DEFAULT_S, role.max_session_s)
        if seconds > role.max_session_s:
            raise ParameterRefused("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
        session = params["RoleSessionName"]
        made = self._authenticator.temporary(
            account=role.account, role_arn=role.arn, session_name=session, seconds=seconds
        )
        return {
            "Credentials": {
                "AccessKeyId": made.access_key_id,
                "SecretAccessKey": made.secret_access_key,
                "SessionToken": made.session_token,
                "Expiration": datetime.fromtimestamp(made.expires_ms // 1000, UTC),
            },
            "AssumedRoleUser": {
                "AssumedRoleId": f"{role_id(role.arn)}:{session}",
                "Arn": f"arn:aws:sts::{role.account}:assumed-role/{role.name}/{session}",
            },
        }
