"""Policy documents: their grammar (IAM user guide, "Grammar of the IAM JSON policy language"), without what they mean.

The texts of the errors are AWS's, from recorded answers.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from lambent.errors import LambentError

_VERSIONS = ("2012-10-17", "2008-10-17")
_TOP = {"Version", "Id", "Statement"}
_STATEMENT = {
    "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition",
}  # fmt: skip
_TRUST_ACTION = re.compile(
    r"sts:(AssumeRole|AssumeRoleWithSAML|AssumeRoleWithWebIdentity|TagSession|SetSourceIdentity|SetContext)",
    re.IGNORECASE,
)


class MalformedPolicy(LambentError):
    """The document is no policy of its kind."""


def check_trust_policy(text: str) -> None:
    """Raises `MalformedPolicy` unless `text` can say who may assume a role."""
    for statement in _statements(text):
        if "Principal" not in statement:
            raise MalformedPolicy("Missing required field Principal")
        for prohibited in ("Resource", "NotResource"):
            if prohibited in statement:
                raise MalformedPolicy(f"Has prohibited field {prohibited}")
        if "Action" not in statement:
            raise MalformedPolicy("Missing required field Action")
        if not all(_TRUST_ACTION.fullmatch(action) for action in _texts(statement["Action"])):
            raise MalformedPolicy("AssumeRole policy may only specify STS AssumeRole actions.")


def check_permission_policy(text: str) -> None:
    """Raises `MalformedPolicy` unless `text` can say what an identity may do."""
    for statement in _statements(text):
        if "Principal" in statement or "NotPrincipal" in statement:
            raise MalformedPolicy("Policy document should not specify a principal.")
        if not any(_texts(statement.get(name, [])) for name in ("Action", "NotAction")):
            raise MalformedPolicy("Policy statement must contain actions.")
        if not any(_texts(statement.get(name, [])) for name in ("Resource", "NotResource")):
            raise MalformedPolicy("Policy statement must contain resources.")


def trusts_service(text: str, service: str) -> bool:
    """Whether a (checked) trust policy lets the service principal assume the role; conditions are not looked at."""
    allowed = False
    for statement in _statements(text):
        principal = statement["Principal"]
        named = principal == "*" or service in _texts(principal.get("Service", []))
        assumes = any(action.lower() == "sts:assumerole" for action in _texts(statement["Action"]))
        if named and assumes:
            if statement["Effect"] == "Deny":
                return False
            allowed = True
    return allowed


def _statements(text: str) -> list[dict[str, Any]]:
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedPolicy("This policy contains invalid Json") from error
    if not isinstance(document, dict) or set(document) - _TOP or document.get("Version", _VERSIONS[0]) not in _VERSIONS:
        raise MalformedPolicy("Syntax errors in policy.")
    found = document.get("Statement")
    statements: list[Any] = found if isinstance(found, list) else [found]
    if not statements or not all(_well_formed(statement) for statement in statements):
        raise MalformedPolicy("Syntax errors in policy.")
    return statements


def _well_formed(statement: Any) -> bool:
    return (
        isinstance(statement, dict)
        and not set(statement) - _STATEMENT
        and statement.get("Effect") in ("Allow", "Deny")
        and all(
            _is_texts(statement[name])
            for name in ("Action", "NotAction", "Resource", "NotResource")
            if name in statement
        )
        and not ("Action" in statement and "NotAction" in statement)
        and not ("Resource" in statement and "NotResource" in statement)
        and isinstance(statement.get("Condition", {}), dict)
        and _is_principal(statement.get("Principal", "*"))
    )


def _is_principal(value: Any) -> bool:
    return value == "*" or (
        isinstance(value, dict)
        and bool(value)
        and set(value) <= {"AWS", "Service", "Federated", "CanonicalUser"}
        and all(_is_texts(member) for member in value.values())
    )


def _is_texts(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(item, str) for item in value))


def _texts(value: Any) -> Iterable[str]:
    return [value] if isinstance(value, str) else list(value)
