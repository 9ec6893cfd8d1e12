"""The roles that there are. Reads are from memory; every change is one conditional write of one record.

The table `roles` has the key account/name in lower case: names that differ only in case are one name (API reference,
CreateRole, RoleName).
"""

import re
from collections.abc import Callable

import msgspec

from lambent.clock import Clock
from lambent.errors import LambentError
from lambent.services.iam.documents import check_permission_policy, check_trust_policy, trusts_service
from lambent.services.iam.records import Role
from lambent.state.contract import AlreadyThere, Conflict, Entry, State, Table

#: Default quotas (IAM user guide, "IAM and AWS STS quotas"); sizes in characters without white space.
ROLES_MAX = 1000
TRUST_POLICY_MAX = 2048
INLINE_POLICIES_MAX = 10_240
ATTACHED_MAX = 10
TAGS_MAX = 50
WRITE_ATTEMPTS_MAX = 10

_ROLE_ARN = re.compile(r"arn:aws[a-zA-Z-]*:iam::(\d{12}):role(?:/[\x21-\x7e]+)?/([\w+=,.@-]+)")
_AWS_POLICY = re.compile(r"arn:aws[a-zA-Z-]*:iam::aws:policy/[\w+=,.@/-]+")


class RoleExists(LambentError):
    def __init__(self, name: str) -> None:
        super().__init__(f"Role with name {name} already exists.")


class NotThere(LambentError):
    """The role, policy or attachment does not exist; the message is AWS's."""


class InTheWay(LambentError):
    """The role still has policies."""


class QuotaExceeded(LambentError):
    """A quota of IAM would be exceeded."""


class ChangedMeanwhile(LambentError):
    def __init__(self) -> None:
        super().__init__("The role was changed by others at the same time; try again.")


class Roles:
    """Made by `Roles.open`."""

    def __init__(self, table: Table[Role], clock: Clock) -> None:
        self._table = table
        self._clock = clock

    @classmethod
    async def open(cls, state: State, clock: Clock) -> "Roles":
        return cls(await state.table("roles", Role), clock)

    def get(self, account: str, name: str) -> Role:
        """Raises `NotThere`."""
        return self._entry(account, name).record

    def all(self, account: str) -> list[Role]:
        return [entry.record for entry in self._table.entries(f"{account}/")]

    def by_arn(self, role_arn: str) -> Role | None:
        """The stored role that the ARN names."""
        match = _ROLE_ARN.fullmatch(role_arn)
        entry = self._table.get(_key(match[1], match[2])) if match else None
        return entry.record if entry is not None and entry.record.arn == role_arn else None

    def trusts(self, role_arn: str, service: str) -> bool | None:
        """Whether the role lets the service principal assume it; None when it is not stored here."""
        role = self.by_arn(role_arn)
        return None if role is None else trusts_service(role.trust_document, service)

    async def create(self, role: Role) -> Role:
        """Raises `RoleExists`, `MalformedPolicy`, `QuotaExceeded`."""
        _check_trust(role.trust_document)
        _check_tags(role.tags)
        if len(self._table.entries(f"{role.account}/")) >= ROLES_MAX:
            raise QuotaExceeded(f"Cannot exceed quota for RolesPerAccount: {ROLES_MAX}")
        role = msgspec.structs.replace(role, created_ms=self._clock.now_ms())
        try:
            return (await self._table.create(_key(role.account, role.name), role)).record
        except AlreadyThere as error:
            raise RoleExists(role.name) from error

    async def delete(self, account: str, name: str) -> None:
        """Raises `NotThere`, `InTheWay`."""
        for _ in range(WRITE_ATTEMPTS_MAX):
            entry = self._entry(account, name)
            if entry.record.attached:
                raise InTheWay("Cannot delete entity, must detach all policies first.")
            if entry.record.inline:
                raise InTheWay("Cannot delete entity, must delete policies first.")
            try:
                return await self._table.remove(entry.key, entry.revision)
            except Conflict:
                continue
        raise ChangedMeanwhile()

    async def set_trust(self, account: str, name: str, document: str) -> None:
        _check_trust(document)
        await self._change(account, name, lambda role: msgspec.structs.replace(role, trust_document=document))

    async def put_policy(self, account: str, name: str, policy: str, document: str) -> None:
        """Raises `NotThere`, `MalformedPolicy`, `QuotaExceeded`."""
        check_permission_policy(document)

        def change(role: Role) -> Role:
            inline = {**role.inline, policy: document}
            if sum(_measured(text) for text in inline.values()) > INLINE_POLICIES_MAX:
                raise QuotaExceeded(f"Maximum policy size of {INLINE_POLICIES_MAX} bytes exceeded for role {role.name}")
            return msgspec.structs.replace(role, inline=inline)

        await self._change(account, name, change)

    def policy(self, account: str, name: str, policy: str) -> str:
        """The document. Raises `NotThere`."""
        return _inline(self.get(account, name), policy)

    async def delete_policy(self, account: str, name: str, policy: str) -> None:
        def change(role: Role) -> Role:
            _inline(role, policy)
            return msgspec.structs.replace(role, inline={k: v for k, v in role.inline.items() if k != policy})

        await self._change(account, name, change)

    async def attach(self, account: str, name: str, policy_arn: str) -> None:
        """Attaches one of AWS's managed policies by its ARN; attaching twice is once. Raises `NotThere`: customers' own
        managed policies do not exist here.
        """

        def change(role: Role) -> Role:
            if policy_arn in role.attached:
                return role
            if len(role.attached) >= ATTACHED_MAX:
                raise QuotaExceeded(f"Cannot exceed quota for PoliciesPerRole: {ATTACHED_MAX}")
            return msgspec.structs.replace(role, attached=(*role.attached, policy_arn))

        self.get(account, name)
        if not _AWS_POLICY.fullmatch(policy_arn):
            raise NotThere(f"Policy {policy_arn} does not exist or is not attachable.")
        await self._change(account, name, change)

    async def detach(self, account: str, name: str, policy_arn: str) -> None:
        def change(role: Role) -> Role:
            if policy_arn not in role.attached:
                raise NotThere(f"Policy {policy_arn} was not found.")
            return msgspec.structs.replace(role, attached=tuple(arn for arn in role.attached if arn != policy_arn))

        await self._change(account, name, change)

    async def tag(self, account: str, name: str, tags: dict[str, str]) -> None:
        def change(role: Role) -> Role:
            merged = {**role.tags, **tags}
            _check_tags(merged)
            return msgspec.structs.replace(role, tags=merged)

        await self._change(account, name, change)

    async def untag(self, account: str, name: str, keys: set[str]) -> None:
        def change(role: Role) -> Role:
            return msgspec.structs.replace(role, tags={k: v for k, v in role.tags.items() if k not in keys})

        await self._change(account, name, change)

    def _entry(self, account: str, name: str) -> Entry[Role]:
        entry = self._table.get(_key(account, name))
        if entry is None:
            raise NotThere(f"The role with name {name} cannot be found.")
        return entry

    async def _change(self, account: str, name: str, change: Callable[[Role], Role]) -> None:
        for _ in range(WRITE_ATTEMPTS_MAX):
            entry = self._entry(account, name)
            changed = change(entry.record)
            if changed == entry.record:
                return
            try:
                await self._table.replace(entry.key, changed, entry.revision)
                return
            except Conflict:
                continue
        raise ChangedMeanwhile()


def _key(account: str, name: str) -> str:
    return f"{account}/{name.lower()}"


def _measured(text: str) -> int:
    return len("".join(text.split()))


def _check_trust(document: str) -> None:
    check_trust_policy(document)
    if _measured(document) > TRUST_POLICY_MAX:
        raise QuotaExceeded(f"Cannot exceed quota for ACLSizePerRole: {TRUST_POLICY_MAX}")


def _check_tags(tags: dict[str, str]) -> None:
    if len(tags) > TAGS_MAX:
        raise QuotaExceeded("The number of tags has reached the maximum limit.")


def _inline(role: Role, policy: str) -> str:
    if policy not in role.inline:
        raise NotThere(f"The role policy with name {policy} cannot be found.")
    return role.inline[policy]
