"""Every setting in one table: name, default, limit, help. Flags over environment (`LAMBENT_*`) over file; docs are made from it.

Add a setting by adding one row to `TABLE` and one field to `Settings`; nothing else reads the environment.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from lambent.errors import SettingsError

MIB = 1024 * 1024


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The frozen values that `wiring.py` builds the parts from. Meanings are in `TABLE`."""

    data_dir: str
    listen: str
    api_port: int
    http_port: int
    nats_port: int
    region: str
    isolation: str
    nats: str
    nats_credentials: str
    open: bool
    relaxed_durability: bool
    standby_python: int
    standby_node: int
    standby_provided: int
    node_sdk: bool
    idle_seconds: int
    account_concurrency: int
    environments_max: int
    sandbox_uid_base: int
    http_body_max: int
    api_body_max: int
    bodies_max: int
    payload_max: int
    async_payload_max: int
    async_attempts: int
    async_retry_seconds: str
    async_in_flight: int
    header_max: int
    connections_max: int
    nats_in_flight: int
    package_zip_max: int
    package_unzipped_max: int
    package_files_max: int
    code_storage_max: int
    function_timeout_max: int
    log_bytes_max: int
    log_retention_days: int
    log_buffer_max: int
    init_seconds: int
    shutdown_grace_seconds: int


class Setting(NamedTuple):
    """One row: `minimum`/`maximum` bound integers, `choices` bound texts. `flag` is shown by `lambent up --help`."""

    name: str
    default: Any
    help: str
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        return "LAMBENT_" + self.name.upper()

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


TABLE: tuple[Setting, ...] = (
    Setting("data_dir", "~/.local/share/lambent", "Where state, code packages, logs and credentials live (mode 0700)."),
    Setting("listen", "127.0.0.1", "Address that the API, HTTP and NATS ports listen on."),
    Setting("api_port", 4566, "Port of the AWS API; 0 takes a free one.", 0, 65535),
    Setting("http_port", 8080, "Port of what functions serve (bound routes); 0 takes a free one.", 0, 65535),
    Setting("nats_port", 4222, "Port of the embedded NATS server; 0 takes a free one.", 0, 65535),
    Setting("region", "us-east-1", "The AWS region that this installation says it is."),
    Setting(
        "isolation",
        "sandbox",
        "`sandbox`: namespaces, cgroups, seccomp. `process`: plain processes, no protection at all, for trusted code only.",
        choices=("sandbox", "process"),
    ),
    Setting(
        "nats", "", "URL of an existing NATS server (nats://user:password@host:4222); empty starts the embedded one."
    ),
    Setting("nats_credentials", "", "Path of a NATS credentials file for --nats."),
    Setting("open", False, "Accept any credentials (for existing test suites); only on loopback."),
    Setting(
        "relaxed_durability",
        False,
        "Do not sync every acknowledged write to disk; faster, loses the last moments on power loss.",
    ),
    Setting("standby_python", 2, "Python sandboxes kept ready for the first call of any function.", 0, 100),
    Setting("standby_node", 2, "Node.js sandboxes kept ready for the first call of any function.", 0, 100),
    Setting("standby_provided", 1, "Empty sandboxes kept ready for custom runtimes.", 0, 100),
    Setting(
        "node_sdk",
        True,
        "Fetch the AWS SDK for JavaScript from npm, once and in the background, when a Node.js function first needs it.",
    ),
    Setting("idle_seconds", 600, "An environment that was idle this long is discarded.", 1, 86_400),
    Setting("account_concurrency", 1000, "Concurrent calls of one account (AWS's default quota is 1000).", 1, 100_000),
    Setting(
        "environments_max", 1000, "Environments of this node, busy and idle; past it calls are throttled.", 1, 100_000
    ),
    Setting(
        "sandbox_uid_base",
        1_300_000,
        "First host user id of sandboxes when started as root; each running sandbox has its own.",
        100_000,
        2_000_000_000,
    ),
    Setting("http_body_max", 6 * MIB, "Largest request body on the HTTP port, bytes (AWS: 6 MB).", 1024, 1024 * MIB),
    Setting(
        "api_body_max",
        70 * MIB,
        "Largest request body on the API port, bytes (a 50 MB zip as base64).",
        1024,
        1024 * MIB,
    ),
    Setting(
        "bodies_max",
        512 * MIB,
        "Request bodies above 64 KiB that the API and HTTP ports hold at once, bytes; functions' own requests get a quarter more.",
        MIB,
        1024 * 1024 * MIB,
    ),
    Setting("payload_max", 6 * MIB, "Largest synchronous event and result, bytes (AWS: 6 MB).", 1024, 1024 * MIB),
    Setting("async_payload_max", MIB, "Largest asynchronous event, bytes (AWS: 1 MB).", 1024, 8 * MIB),
    Setting(
        "async_attempts", 3, "How often an asynchronous event is tried in all when the function fails (AWS: 3).", 1, 10
    ),
    Setting("async_retry_seconds", "60,120", "Waits before the second, third … try of an asynchronous event, seconds."),
    Setting("async_in_flight", 100, "Asynchronous events that run at once on this node.", 1, 10_000),
    Setting("header_max", 32 * 1024, "Largest request head (request line and headers), bytes.", 1024, MIB),
    Setting("connections_max", 10_000, "Open client connections per port.", 1, 1_000_000),
    Setting("nats_in_flight", 1000, "NATS messages of one binding that are handled at once.", 1, 100_000),
    Setting("package_zip_max", 50 * MIB, "Largest uploaded code package, bytes (AWS: 50 MB).", 1024, 1024 * MIB),
    Setting(
        "package_unzipped_max", 250 * MIB, "Largest unpacked code package, bytes (AWS: 250 MB).", 1024, 10_240 * MIB
    ),
    Setting("package_files_max", 50_000, "Most files in a code package.", 1, 1_000_000),
    Setting(
        "code_storage_max",
        75 * 1024 * MIB,
        "Code packages of all versions together, bytes (AWS: 75 GB).",
        MIB,
        1024 * 1024 * MIB,
    ),
    Setting("function_timeout_max", 900, "Longest time-out that a function may have, seconds (AWS: 900).", 1, 5400),
    Setting(
        "log_bytes_max", 1024 * MIB, "Function logs kept in all, bytes; the oldest go first.", MIB, 1024 * 1024 * MIB
    ),
    Setting(
        "log_retention_days",
        0,
        "Days that function logs are kept where no retention policy says otherwise; 0 keeps them.",
        0,
        3653,
    ),
    Setting(
        "log_buffer_max",
        32 * MIB,
        "Log bytes waiting to be stored; past it lines are dropped and the drop is logged.",
        64 * 1024,
        1024 * MIB,
    ),
    Setting("init_seconds", 10, "Longest init phase of a function, seconds (AWS: 10).", 1, 900),
    Setting("shutdown_grace_seconds", 5, "How long running calls may take to finish when the platform stops.", 0, 900),
)


def load(
    flags: Mapping[str, Any],
    environment: Mapping[str, str] = os.environ,
    file: Path | None = None,
) -> Settings:
    """Merges the sources and checks every value. `flags` holds what was given on the command line, by setting name.

    Raises `SettingsError`, naming the setting, where the value came from and what is allowed.
    """
    from_file = _read_file(file) if file else {}
    known = {row.name for row in TABLE}
    for name in from_file:
        if name not in known:
            raise SettingsError(f"{file}: there is no setting {name!r}; `lambent up --help` lists them")
    values = {}
    for row in TABLE:
        if flags.get(row.name) is not None:
            value, origin = flags[row.name], row.flag
        elif row.variable in environment:
            value, origin = environment[row.variable], row.variable
        elif row.name in from_file:
            value, origin = from_file[row.name], str(file)
        else:
            value, origin = row.default, "default"
        values[row.name] = _checked(row, value, origin)
    values["data_dir"] = str(Path(values["data_dir"]).expanduser().absolute())
    return Settings(**values)


def executable_folders(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The search path for programs (interpreters, npm)."""
    return tuple(folder for folder in environment.get("PATH", os.defpath).split(os.pathsep) if folder)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"the settings file {path} is not TOML: {error}") from error


def _checked(row: Setting, value: Any, origin: str) -> Any:
    if isinstance(row.default, bool):
        return _boolean(row, value, origin)
    if isinstance(row.default, int):
        try:
            number = int(value) if not isinstance(value, bool) else None
        except (TypeError, ValueError):
            number = None
        if number is None or not (row.minimum or 0) <= number <= (row.maximum or number):
            raise SettingsError(
                f"{_subject(row, origin)} must be a whole number from {row.minimum} to {row.maximum}, not {value!r}"
            )
        return number
    if not isinstance(value, str):
        raise SettingsError(f"{_subject(row, origin)} must be a text, not {value!r}")
    if row.choices and value not in row.choices:
        raise SettingsError(f"{_subject(row, origin)} must be one of {', '.join(row.choices)}, not {value!r}")
    return value


def _subject(row: Setting, origin: str) -> str:
    """What a message is about: a flag and a variable name the setting themselves, a file does not."""
    return origin if origin in (row.flag, row.variable) else f"{origin}: {row.name}"


def _boolean(row: Setting, value: Any, origin: str) -> bool:
    if isinstance(value, bool):
        return value
    truth = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}
    if isinstance(value, str) and value.lower() in truth:
        return truth[value.lower()]
    raise SettingsError(f"{_subject(row, origin)} must be true or false, not {value!r}")
