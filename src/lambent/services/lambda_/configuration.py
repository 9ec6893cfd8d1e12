"""What a caller may set of a function: checked here, without I/O, and turned into fields of the record."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from lambent.errors import LambentError
from lambent.runtimes.contract import Runtime
from lambent.services.lambda_.faults import NotSupportedHere, OutOfRange, ParameterRefused
from lambent.settings import Settings

#: AWS's quota for MemorySize and EphemeralStorage.Size; the model's higher maximum is for managed instances.
MEMORY_MB_MAX = 10_240
TMP_MB_MAX = 10_240
VARIABLES_BYTES_MAX = 4096

#: Contract 2: cannot be set by the user.
RESERVED_VARIABLES = frozenset(
    [
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
        "AWS_LAMBDA_MAX_CONCURRENCY",
        "AWS_LAMBDA_METADATA_API",
        "AWS_LAMBDA_METADATA_TOKEN",
    ]
)


def _empty(value: Any) -> bool:
    """Nothing is asked for: absent, empty, or a structure of nothing but that."""
    if isinstance(value, Mapping):
        return all(_empty(member) for member in value.values())
    return value in (None, "", False) or (isinstance(value, (list, tuple)) and not value)


def _member(name: str, harmless: Any) -> Callable[[Any], bool]:
    """The structure asks for nothing beside `harmless` as its member `name`."""

    def harmless_or_empty(value: Any) -> bool:
        rest = {key: member for key, member in value.items() if not (key == name and member == harmless)}
        return _empty(rest)

    return harmless_or_empty


#: Parameters of features that do not exist here, with what may be said of them without asking for anything.
UNSUPPORTED: tuple[tuple[str, Callable[[Any], bool]], ...] = (
    ("VpcConfig", _empty),
    ("DeadLetterConfig", _empty),
    ("KMSKeyArn", _empty),
    ("TracingConfig", _member("Mode", "PassThrough")),
    ("Layers", _empty),
    ("FileSystemConfigs", _empty),
    ("CodeSigningConfigArn", _empty),
    ("ImageConfig", _empty),
    ("SnapStart", _member("ApplyOn", "None")),
    ("TenancyConfig", _empty),
    ("CapacityProviderConfig", _empty),
    ("DurableConfig", _empty),
    ("RuntimeConfig", _empty),
    ("AcceleratorConfig", _empty),
    ("PublishTo", _empty),
)


def check_supported(params: Mapping[str, Any]) -> None:
    """Raises `NotSupportedHere` for the first parameter that asks for a part of Lambda that is not there."""
    for name, harmless in UNSUPPORTED:
        if name in params and not harmless(params[name]):
            raise NotSupportedHere(name)
    if params.get("PackageType", "Zip") != "Zip":
        raise NotSupportedHere("PackageType Image")
    logging = params.get("LoggingConfig", {})
    if logging.get("LogFormat", "Text") != "Text":
        raise NotSupportedHere("LoggingConfig.LogFormat JSON")
    for level in ("ApplicationLogLevel", "SystemLogLevel"):
        if logging.get(level):
            # On AWS too: levels need the JSON format.
            raise NotSupportedHere(f"LoggingConfig.{level}")


def settable(params: Mapping[str, Any], name: str, settings: Settings) -> dict[str, Any]:
    """The record fields that `params` set; what they leave out is not in it. Raises `LambentError`s of `faults.py`."""
    check_supported(params)
    fields: dict[str, Any] = {}
    for member, field in (
        ("Role", "role"),
        ("Handler", "handler"),
        ("Description", "description"),
        ("Runtime", "runtime"),
    ):
        if member in params:
            fields[field] = params[member]
    if "Timeout" in params:
        fields["timeout_s"] = _at_most(params["Timeout"], settings.function_timeout_max, "timeout")
    if "MemorySize" in params:
        fields["memory_mb"] = _at_most(params["MemorySize"], MEMORY_MB_MAX, "memorySize")
    if "EphemeralStorage" in params:
        fields["tmp_mb"] = _at_most(params["EphemeralStorage"]["Size"], TMP_MB_MAX, "ephemeralStorage.size")
    if "Environment" in params:
        fields["variables"] = checked_variables(params["Environment"].get("Variables") or {})
    if "LoggingConfig" in params:
        fields["log_group"] = params["LoggingConfig"].get("LogGroup") or f"/aws/lambda/{name}"
    return fields


def checked_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Raises `ParameterRefused` with AWS's texts. The pattern of the names is in the service model, checked there."""
    intro = (
        "Lambda was unable to configure your environment variables because the environment variables you have provided"
    )
    reserved = [name for name in variables if name in RESERVED_VARIABLES]
    if reserved:
        raise ParameterRefused(
            f"{intro} contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    measured = json.dumps(variables, separators=(",", ":"), ensure_ascii=False)
    if len(measured.encode()) > VARIABLES_BYTES_MAX:
        raise ParameterRefused(f"{intro} exceeded the 4KB limit. String measured: {measured}")
    return dict(variables)


def checked_architectures(params: Mapping[str, Any], host: str) -> tuple[str, ...]:
    """What the code is for: the host's kind, which is also what is meant when nothing is said."""
    asked = tuple(params.get("Architectures") or (host,))
    if asked != (host,):
        raise NotSupportedHere(f"The architecture {asked[0]} (this machine runs {host})")
    return asked


def check_runtime(identifier: str, find: Callable[[str], Runtime]) -> None:
    """Raises `ParameterRefused` that says why the runtime cannot be used and what would provide it."""
    try:
        runtime = find(identifier)
    except LambentError as error:
        raise ParameterRefused(_runtime_text(identifier, str(error))) from error
    if runtime.unavailable:
        raise ParameterRefused(_runtime_text(identifier, runtime.unavailable))


def _runtime_text(identifier: str, why: str) -> str:
    return (
        f"The runtime parameter of {identifier} is not supported for creating or updating AWS Lambda functions "
        f"on this installation: {why}"
    )


def _at_most(value: int, limit: int, member: str) -> int:
    if value > limit:
        raise OutOfRange(value, member, f"Member must have value less than or equal to {limit}")
    return value
