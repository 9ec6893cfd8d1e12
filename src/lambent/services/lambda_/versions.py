"""PublishVersion and ListVersionsByFunction."""

from collections.abc import Mapping
from typing import Any

from lambent.aws.contract import Call
from lambent.functions.records import FunctionVersion
from lambent.functions.store import CodeMismatch, FunctionStore
from lambent.services.lambda_ import shapes
from lambent.services.lambda_.faults import NotSupportedHere
from lambent.services.lambda_.names import named_unqualified
from lambent.services.lambda_.paging import page


class Versions:
    """The operations on versions."""

    def __init__(self, store: FunctionStore) -> None:
        self._store = store

    async def publish_version(self, call: Call) -> Mapping[str, Any]:
        params = call.params
        found = named_unqualified(call)
        if params.get("PublishTo"):
            raise NotSupportedHere("PublishTo")
        digest = _digest(params.get("CodeSha256"), self._store.resolve(*found.place))
        published = await self._store.publish(
            *found.place,
            description=params.get("Description"),
            code_digest=digest,
            revision_id=params.get("RevisionId"),
        )
        return shapes.configuration(published)

    async def list_versions_by_function(self, call: Call) -> Mapping[str, Any]:
        found = named_unqualified(call)
        versions = self._store.versions(*found.place)
        chosen, next_marker = page(versions, call.params.get("Marker"), call.params.get("MaxItems"))
        return {"Versions": [shapes.listed(version, qualified=True) for version in chosen], "NextMarker": next_marker}


def _digest(code_sha256: str | None, latest: FunctionVersion) -> str | None:
    """The caller's CodeSha256 as hex. Raises `CodeMismatch` in the form in which the caller gave it."""
    if not code_sha256:
        return None
    if code_sha256 != shapes.code_sha256(latest.code_digest):
        raise CodeMismatch(code_sha256, latest.code_digest)
    return latest.code_digest
