"""Records as the members that Lambda answers with."""

from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

from lambent.arn import LATEST, runtime_version_arn
from lambent.functions.records import FunctionVersion

#: ListFunctions leaves these out (API reference, ListFunctions: "use GetFunction to get the additional fields").
_NOT_LISTED = ("State", "StateReason", "StateReasonCode", "LastUpdateStatus", "RuntimeVersionConfig")


def configuration(version: FunctionVersion, *, qualified: bool = False) -> dict[str, Any]:
    """FunctionConfiguration. `qualified`: `$LATEST` too carries its qualifier in the ARN, as where versions are listed.

    The state is always Active and the last update Successful: deploying ends before the call that asked for it does.
    """
    members: dict[str, Any] = {
        "FunctionName": version.name,
        "FunctionArn": f"{version.arn}:{LATEST}" if qualified and version.version == LATEST else version.arn,
        "Runtime": version.runtime,
        "Role": version.role,
        "Handler": version.handler,
        "CodeSize": version.code_size,
        "Description": version.description,
        "Timeout": version.timeout_s,
        "MemorySize": version.memory_mb,
        "LastModified": last_modified(version.last_modified_ms),
        "CodeSha256": code_sha256(version.code_digest),
        "Version": version.version,
        "TracingConfig": {"Mode": "PassThrough"},
        "RevisionId": version.revision_id,
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": "Zip",
        "Architectures": list(version.architectures),
        "EphemeralStorage": {"Size": version.tmp_mb},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "RuntimeVersionConfig": {"RuntimeVersionArn": runtime_version_arn(version.region, version.runtime)},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": version.log_group},
    }
    if version.variables:
        members["Environment"] = {"Variables": dict(version.variables)}
    return members


def listed(version: FunctionVersion, *, qualified: bool = False) -> dict[str, Any]:
    """FunctionConfiguration as ListFunctions gives it."""
    members = configuration(version, qualified=qualified)
    for name in _NOT_LISTED:
        members.pop(name, None)
    return members


def last_modified(unix_ms: int) -> str:
    """Such as `2026-01-01T00:00:00.000+0000`."""
    moment = datetime.fromtimestamp(unix_ms / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{unix_ms % 1000:03d}+0000"


def code_sha256(digest: str) -> str:
    """The hex digest in base64, as AWS gives it."""
    return b64encode(bytes.fromhex(digest)).decode()
