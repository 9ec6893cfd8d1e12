"""The record of a role."""

import msgspec


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """One role with everything that belongs to it, so that every change is one conditional write."""

    account: str
    name: str
    path: str = "/"
    created_ms: int
    #: JSON text as the caller gave it.
    trust_document: str
    description: str = ""
    max_session_s: int = 3600
    permissions_boundary: str = ""
    tags: dict[str, str] = {}
    #: Inline policies: JSON text by name.
    inline: dict[str, str] = {}
    #: ARNs of attached managed policies, in the order of attachment.
    attached: tuple[str, ...] = ()

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:role{self.path}{self.name}"
