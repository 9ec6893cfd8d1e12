"""CreateFunction, UpdateFunctionCode, UpdateFunctionConfiguration, GetFunction…, ListFunctions, DeleteFunction."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from lambent.arn import LATEST
from lambent.aws.contract import Call
from lambent.functions.records import FunctionVersion
from lambent.functions.store import FunctionExists, FunctionNotFound, FunctionStore, check_revision
from lambent.runtimes.contract import Runtime
from lambent.services.lambda_.code import CodeLinks
from lambent.services.lambda_.configuration import check_runtime, checked_architectures, settable
from lambent.services.lambda_.faults import CodeStorageExceeded, NotSupportedHere, ParameterRefused
from lambent.services.lambda_.names import Named, named, named_unqualified, new_name
from lambent.services.lambda_.paging import page
from lambent.services.lambda_.shapes import configuration, listed
from lambent.services.lambda_.tags import checked_tags
from lambent.settings import Settings

LAMBDA_PRINCIPAL = "lambda.amazonaws.com"

#: Whether the role lets the service assume it; None when there is no such role here.
RoleTrusts = Callable[[str, str], bool | None]


class Functions:
    """The operations on functions as a whole."""

    def __init__(
        self,
        store: FunctionStore,
        runtimes: Callable[[str], Runtime],
        role_trusts: RoleTrusts,
        links: CodeLinks,
        settings: Settings,
        architecture: str,
    ) -> None:
        self._store = store
        self._find_runtime = runtimes
        self._role_trusts = role_trusts
        self._links = links
        self._settings = settings
        self._architecture = architecture

    async def create_function(self, call: Call) -> Mapping[str, Any]:
        params = call.params
        name = new_name(call)
        fields = settable(params, name, self._settings)
        if not fields.get("runtime") or not fields.get("handler"):
            raise ParameterRefused(
                "Runtime and Handler are mandatory parameters for functions created with deployment packages."
            )
        check_runtime(fields["runtime"], self._find_runtime)
        self._check_role(fields["role"])
        architectures = checked_architectures(params, self._architecture)
        tags = checked_tags(params.get("Tags") or {})
        zip_file = zip_of(params["Code"])
        if self._exists(call, name):
            # Before the package is looked at: a large upload for a name that is taken should not cost an unpacking.
            raise FunctionExists(name)
        digest, size = await self._add_code(call, zip_file)
        version = FunctionVersion(
            account=call.account,
            region=call.region,
            name=name,
            architectures=architectures,
            code_digest=digest,
            code_size=size,
            revision_id="",
            last_modified_ms=0,
            **{"log_group": f"/aws/lambda/{name}", **fields},
        )
        made = await self._store.create(version, tags)
        if params.get("Publish"):
            made = await self._store.publish(call.account, call.region, name)
        return configuration(made)

    async def update_function_code(self, call: Call) -> Mapping[str, Any]:
        params = call.params
        found = named_unqualified(call)
        latest = self._store.resolve(*found.place)
        if params.get("PublishTo"):
            raise NotSupportedHere("PublishTo")
        changes: dict[str, Any] = {"architectures": checked_architectures(params, self._architecture)}
        zip_file = zip_of(params)
        revision_id = params.get("RevisionId")
        check_revision(latest, revision_id)
        if params.get("DryRun"):
            digest = await self._store.code.check(zip_file)
            return configuration(
                msgspec.structs.replace(latest, code_digest=digest, code_size=len(zip_file), **changes)
            )
        digest, size = await self._add_code(call, zip_file)
        changed = await self._store.update(
            *found.place, revision_id=revision_id, code_digest=digest, code_size=size, **changes
        )
        if params.get("Publish"):
            changed = await self._store.publish(*found.place)
        return configuration(changed)

    async def update_function_configuration(self, call: Call) -> Mapping[str, Any]:
        found = named_unqualified(call)
        self._store.resolve(*found.place)
        fields = settable(call.params, found.name, self._settings)
        if "runtime" in fields:
            check_runtime(fields["runtime"], self._find_runtime)
        if "role" in fields:
            self._check_role(fields["role"])
        return configuration(
            await self._store.update(*found.place, revision_id=call.params.get("RevisionId"), **fields)
        )

    async def get_function(self, call: Call) -> Mapping[str, Any]:
        found = named(call)
        version = self._resolve(found)
        tags = self._store.entry(*found.place).tags
        return {
            "Configuration": configuration(version, qualified=found.qualifier is not None),
            "Code": {"RepositoryType": "S3", "Location": self._links.link(version, call.request)},
            "Tags": dict(tags) or None,
        }

    async def get_function_configuration(self, call: Call) -> Mapping[str, Any]:
        found = named(call)
        return configuration(self._resolve(found), qualified=found.qualifier is not None)

    async def list_functions(self, call: Call) -> Mapping[str, Any]:
        params = call.params
        if params.get("MasterRegion") not in (None, "ALL"):
            return {"Functions": []}  # replicas of edge functions, of which there are none
        every = params.get("FunctionVersion") == "ALL"
        versions = self._store.latest_versions(call.account, call.region)
        if every:
            versions = [
                version
                for latest in versions
                for version in self._store.versions(call.account, call.region, latest.name)
            ]
        chosen, next_marker = page(versions, params.get("Marker"), params.get("MaxItems"))
        return {"Functions": [listed(version, qualified=every) for version in chosen], "NextMarker": next_marker}

    async def delete_function(self, call: Call) -> Mapping[str, Any]:
        found = named(call)
        if found.qualifier not in (None, LATEST) and not found.qualifier.isdecimal():
            # `version` would be an alias: AWS refuses that too.
            raise ParameterRefused("Deletion of aliases is not currently supported.")
        await self._store.delete(*found.place, version=found.qualifier)
        return {"StatusCode": 204}

    def _resolve(self, found: Named) -> FunctionVersion:
        return self._store.resolve(*found.place, found.qualifier)

    def _exists(self, call: Call, name: str) -> bool:
        try:
            self._store.entry(call.account, call.region, name)
        except FunctionNotFound:
            return False
        return True

    def _check_role(self, role_arn: str) -> None:
        """A role that is stored here must trust Lambda; one that is not stored is taken by its form (see
        docs/decisions/execution-roles-by-form.md).
        """
        if self._role_trusts(role_arn, LAMBDA_PRINCIPAL) is False:
            raise ParameterRefused("The role defined for the function cannot be assumed by Lambda.")

    async def _add_code(self, call: Call, zip_file: bytes) -> tuple[str, int]:
        used = self._store.code_bytes(call.account, call.region)
        if used + len(zip_file) > self._settings.code_storage_max:
            raise CodeStorageExceeded()
        return await self._store.code.add(zip_file)


def zip_of(code: Mapping[str, Any]) -> bytes:
    """The zip of a FunctionCode or an UpdateFunctionCode request. Raises `ParameterRefused`."""
    for member, part in (
        ("ImageUri", "Code from a container image (ImageUri)"),
        ("S3Bucket", "Code from Amazon S3 (S3Bucket, S3Key)"),
        ("S3Key", "Code from Amazon S3 (S3Bucket, S3Key)"),
        ("SourceKMSKeyArn", "SourceKMSKeyArn"),
    ):
        if code.get(member):
            raise NotSupportedHere(part)
    if code.get("ZipFile") is None:
        raise ParameterRefused("Please provide a source for function code.")
    return bytes(code["ZipFile"])
