"""The operations on roles and on their policies."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from lambent.access.tokens import role_id
from lambent.aws.contract import Call
from lambent.services.iam.faults import MarkerRefused
from lambent.services.iam.records import Role
from lambent.services.iam.roles import Roles

#: Items of a page when the caller does not say (API reference, ListRoles, MaxItems).
PAGE_DEFAULT = 100


class RoleOperations:
    """Roles: CreateRole, GetRole, DeleteRole, ListRoles, UpdateAssumeRolePolicy, tags."""

    def __init__(self, roles: Roles) -> None:
        self._roles = roles

    async def create_role(self, call: Call) -> Mapping[str, Any]:
        params = call.params
        role = Role(
            account=call.account,
            name=params["RoleName"],
            path=params.get("Path") or "/",
            created_ms=0,
            trust_document=params["AssumeRolePolicyDocument"],
            description=params.get("Description") or "",
            max_session_s=params.get("MaxSessionDuration") or 3600,
            permissions_boundary=params.get("PermissionsBoundary") or "",
            tags=_tags_of(params),
        )
        return {"Role": role_members(await self._roles.create(role), complete=True)}

    async def get_role(self, call: Call) -> Mapping[str, Any]:
        return {"Role": role_members(self._roles.get(call.account, call.params["RoleName"]), complete=True)}

    async def delete_role(self, call: Call) -> Mapping[str, Any]:
        await self._roles.delete(call.account, call.params["RoleName"])
        return {}

    async def list_roles(self, call: Call) -> Mapping[str, Any]:
        prefix = call.params.get("PathPrefix") or "/"
        found = [role for role in self._roles.all(call.account) if role.path.startswith(prefix)]
        names, more = page([role.name.lower() for role in found], call.params)
        by_name = {role.name.lower(): role for role in found}
        # ListRoles leaves out tags and boundary (API reference).
        return {"Roles": [role_members(by_name[name], complete=False) for name in names], **more}

    async def update_assume_role_policy(self, call: Call) -> Mapping[str, Any]:
        await self._roles.set_trust(call.account, call.params["RoleName"], call.params["PolicyDocument"])
        return {}

    async def tag_role(self, call: Call) -> Mapping[str, Any]:
        await self._roles.tag(call.account, call.params["RoleName"], _tags_of(call.params))
        return {}

    async def untag_role(self, call: Call) -> Mapping[str, Any]:
        await self._roles.untag(call.account, call.params["RoleName"], set(call.params["TagKeys"]))
        return {}

    async def list_role_tags(self, call: Call) -> Mapping[str, Any]:
        tags = self._roles.get(call.account, call.params["RoleName"]).tags
        keys, more = page(sorted(tags), call.params)
        return {"Tags": [{"Key": key, "Value": tags[key]} for key in keys], **more}

    async def list_instance_profiles_for_role(self, call: Call) -> Mapping[str, Any]:
        """Always none: instance profiles belong to EC2. Terraform asks before it deletes a role."""
        self._roles.get(call.account, call.params["RoleName"])
        return {"InstanceProfiles": [], "IsTruncated": False}


class PolicyOperations:
    """Policies of roles: inline ones and attachments."""

    def __init__(self, roles: Roles) -> None:
        self._roles = roles

    async def put_role_policy(self, call: Call) -> Mapping[str, Any]:
        params = call.params
        await self._roles.put_policy(call.account, params["RoleName"], params["PolicyName"], params["PolicyDocument"])
        return {}

    async def get_role_policy(self, call: Call) -> Mapping[str, Any]:
        role, policy = call.params["RoleName"], call.params["PolicyName"]
        document = self._roles.policy(call.account, role, policy)
        return {"RoleName": role, "PolicyName": policy, "PolicyDocument": quote(document, safe="")}

    async def delete_role_policy(self, call: Call) -> Mapping[str, Any]:
        await self._roles.delete_policy(call.account, call.params["RoleName"], call.params["PolicyName"])
        return {}

    async def list_role_policies(self, call: Call) -> Mapping[str, Any]:
        names, more = page(sorted(self._roles.get(call.account, call.params["RoleName"]).inline), call.params)
        return {"PolicyNames": names, **more}

    async def attach_role_policy(self, call: Call) -> Mapping[str, Any]:
        await self._roles.attach(call.account, call.params["RoleName"], call.params["PolicyArn"])
        return {}

    async def detach_role_policy(self, call: Call) -> Mapping[str, Any]:
        await self._roles.detach(call.account, call.params["RoleName"], call.params["PolicyArn"])
        return {}

    async def list_attached_role_policies(self, call: Call) -> Mapping[str, Any]:
        prefix = call.params.get("PathPrefix") or "/"
        attached = self._roles.get(call.account, call.params["RoleName"]).attached
        arns = sorted(arn for arn in attached if _policy_path(arn).startswith(prefix))
        chosen, more = page(arns, call.params)
        return {
            "AttachedPolicies": [{"PolicyName": arn.rsplit("/", 1)[1], "PolicyArn": arn} for arn in chosen],
            **more,
        }


def role_members(role: Role, *, complete: bool) -> dict[str, Any]:
    """The structure Role. Documents are percent-encoded (RFC 3986), as the API reference says; clients decode them."""
    members: dict[str, Any] = {
        "Path": role.path,
        "RoleName": role.name,
        "RoleId": role_id(role.arn),
        "Arn": role.arn,
        "CreateDate": datetime.fromtimestamp(role.created_ms // 1000, UTC),
        "AssumeRolePolicyDocument": quote(role.trust_document, safe=""),
        "MaxSessionDuration": role.max_session_s,
    }
    if role.description:
        members["Description"] = role.description
    if complete and role.tags:
        members["Tags"] = [{"Key": key, "Value": value} for key, value in role.tags.items()]
    if complete and role.permissions_boundary:
        members["PermissionsBoundary"] = {
            "PermissionsBoundaryType": "Policy",
            "PermissionsBoundaryArn": role.permissions_boundary,
        }
    return members


def page(names: Sequence[str], params: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """The page of sorted `names` that the caller wants, and the members that say whether there is more."""
    after = ""
    if params.get("Marker"):
        try:
            after = urlsafe_b64decode(params["Marker"].encode()).decode()
        except ValueError as error:
            raise MarkerRefused() from error
    rest = [name for name in names if name > after]
    size = params.get("MaxItems") or PAGE_DEFAULT
    if len(rest) <= size:
        return rest, {"IsTruncated": False}
    return rest[:size], {"IsTruncated": True, "Marker": urlsafe_b64encode(rest[size - 1].encode()).decode()}


def _tags_of(params: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in params.get("Tags") or []}


def _policy_path(arn: str) -> str:
    """`/service-role/` of `…:policy/service-role/AWSLambdaBasicExecutionRole`."""
    return arn.split(":policy", 1)[1].rpartition("/")[0] + "/"
