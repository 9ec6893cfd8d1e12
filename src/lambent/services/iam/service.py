"""The IAM service: its operations in a table."""

from lambent.aws.contract import Operation, Service, answering
from lambent.services.iam.faults import fault_of
from lambent.services.iam.operations import PolicyOperations, RoleOperations
from lambent.services.iam.roles import Roles


class IamService:
    """The IAM API on the stored roles."""

    def __init__(self, roles: Roles) -> None:
        self._roles = RoleOperations(roles)
        self._policies = PolicyOperations(roles)

    def service(self) -> Service:
        operations: dict[str, Operation] = {
            "CreateRole": self._roles.create_role,
            "GetRole": self._roles.get_role,
            "DeleteRole": self._roles.delete_role,
            "ListRoles": self._roles.list_roles,
            "UpdateAssumeRolePolicy": self._roles.update_assume_role_policy,
            "TagRole": self._roles.tag_role,
            "UntagRole": self._roles.untag_role,
            "ListRoleTags": self._roles.list_role_tags,
            "ListInstanceProfilesForRole": self._roles.list_instance_profiles_for_role,
            "PutRolePolicy": self._policies.put_role_policy,
            "GetRolePolicy": self._policies.get_role_policy,
            "DeleteRolePolicy": self._policies.delete_role_policy,
            "ListRolePolicies": self._policies.list_role_policies,
            "AttachRolePolicy": self._policies.attach_role_policy,
            "DetachRolePolicy": self._policies.detach_role_policy,
            "ListAttachedRolePolicies": self._policies.list_attached_role_policies,
        }
        return Service("iam", answering(operations, fault_of))
