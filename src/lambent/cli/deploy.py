"""`lambent deploy`: a folder or zip becomes a function, or a new state of one. Asks nothing; says what it did."""

import base64
import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click

from lambent.cli.api import Api, ApiError, function_path
from lambent.cli.endpoint import platform_command
from lambent.cli.guess import guess, identifier
from lambent.cli.output import Output
from lambent.cli.package import names_in, package, text_in
from lambent.errors import LambentError

#: How long a new function may be Pending before we say so; the package is unpacked in that time.
ACTIVE_SECONDS = 120


class NotActive(LambentError):
    """The function was stored but did not become ready to run."""


class Deployment(NamedTuple):
    """What `deploy` did: `created`, `updated` or `unchanged`; `changed` names what was updated."""

    did: str
    changed: tuple[str, ...]
    configuration: dict[str, Any]


def variables(pairs: tuple[str, ...]) -> dict[str, str] | None:
    """`K=V` arguments as a mapping; None when there were none, so that an update leaves them alone."""
    result = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--env")
        result[name] = value
    return result or None


def changes(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The members of `wanted` that are given and differ from the function's configuration."""
    differing = {}
    for name, value in wanted.items():
        if value is None:
            continue
        found: Any = current.get(name)
        if name == "Environment":
            found = {"Variables": (found or {}).get("Variables", {})}
        if found != value:
            differing[name] = value
    return differing


def deploy_package(api: Api, name: str, data: bytes, wanted: Mapping[str, Any]) -> Deployment:
    """Creates the function or brings it to the wanted state. `wanted` has Lambda's member names; None leaves a member as it is.

    Runtime and handler that are not given are guessed from the package, for a new function only.
    """
    try:
        current = api.function("GET", function_path(name, "/configuration"))
    except ApiError as error:
        if error.code != "ResourceNotFoundException":
            raise
        return _create(api, name, data, wanted)
    changed: list[str] = []
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    if current.get("CodeSha256") != digest:
        body = {"ZipFile": base64.b64encode(data).decode()}
        current = api.function("PUT", function_path(name, "/code"), body)
        changed.append("code")
        current = _wait(api, name, current)
    differing = changes(current, wanted)
    if differing:
        current = api.function("PUT", function_path(name, "/configuration"), differing)
        changed += sorted(differing)
        current = _wait(api, name, current)
    return Deployment("updated" if changed else "unchanged", tuple(changed), current)


def _create(api: Api, name: str, data: bytes, wanted: Mapping[str, Any]) -> Deployment:
    given = {member: value for member, value in wanted.items() if value is not None}
    if "Runtime" not in given or "Handler" not in given:
        guessed = guess(names_in(Path(name), data), lambda file: text_in(data, file))
        if "Runtime" not in given:
            given["Runtime"] = identifier(guessed.family, api.platform("GET", "/runtimes").get("Runtimes", []))
        given.setdefault("Handler", guessed.handler)
    account = api.endpoint.account or "000000000000"
    given.setdefault("Role", f"arn:aws:iam::{account}:role/lambent-default")
    body = {"FunctionName": name, "Code": {"ZipFile": base64.b64encode(data).decode()}, **given}
    configuration = api.function("POST", "/2015-03-31/functions", body)
    return Deployment("created", (), _wait(api, name, configuration))


def _wait(api: Api, name: str, configuration: dict[str, Any]) -> dict[str, Any]:
    """Until the function is Active and its last update has ended, as the SDKs' waiters do."""
    deadline = time.monotonic() + ACTIVE_SECONDS
    while configuration.get("State") == "Pending" or configuration.get("LastUpdateStatus") == "InProgress":
        if time.monotonic() > deadline:
            raise NotActive(f"{name} is stored but still {configuration.get('State')} after {ACTIVE_SECONDS} s")
        time.sleep(0.05)
        configuration = api.function("GET", function_path(name, "/configuration"))
    if configuration.get("State") == "Failed" or configuration.get("LastUpdateStatus") == "Failed":
        reason = (
            configuration.get("StateReason") or configuration.get("LastUpdateStatusReason") or "no reason was given"
        )
        raise NotActive(f"{name} is stored but cannot run: {reason}")
    return configuration


def described(done: Deployment) -> str:
    """The one line that `deploy` prints."""
    found = done.configuration
    what = f"{found.get('Runtime')}, {found.get('Handler')}, {found.get('MemorySize')} MB, {found.get('Timeout')} s"
    if done.did == "unchanged":
        return f"{found['FunctionName']} is up to date ({what})"
    detail = f": {', '.join(done.changed)}" if done.changed else ""
    return f"{done.did} {found['FunctionName']}{detail} ({what}, {found.get('CodeSize', 0):,} bytes)"


@click.command(short_help="Create or update a function from a folder or a zip file.")
@click.argument("source", metavar="DIR|ZIP", type=click.Path(exists=True, path_type=Path))
@click.option("--name", help="Function name; the folder's or file's name unless given.")
@click.option("--runtime", help="Runtime identifier, such as python3.12 or nodejs22.x; guessed unless given.")
@click.option("--handler", help="Handler, such as app.handler; guessed unless given.")
@click.option("--memory", type=int, metavar="MB", help="Memory in MB (128 for a new function).")
@click.option("--timeout", type=int, metavar="SECONDS", help="Time-out in seconds (3 for a new function).")
@click.option("--env", "env", multiple=True, metavar="NAME=VALUE", help="Environment variable; may be repeated.")
@click.option("--role", metavar="ARN", help="Execution role.")
@click.option("--description", help="Description of the function.")
@platform_command
def deploy(
    api: Api,
    output: Output,
    source: Path,
    name: str | None,
    runtime: str | None,
    handler: str | None,
    memory: int | None,
    timeout: int | None,
    env: tuple[str, ...],
    role: str | None,
    description: str | None,
    as_json: bool,
) -> None:
    """Create or update a function from a folder or a zip file.

    A folder is packaged without what tools leave behind (.git, __pycache__, …) and without what its .lambentignore lists.
    Runtime and handler are guessed from the files. What is not given stays as it is; deploying the same again changes nothing.

    \b
    Example:
      lambent deploy examples/hello-python --memory 256 --env STAGE=test
    """
    environment = variables(env)
    wanted = {
        "Runtime": runtime,
        "Handler": handler,
        "MemorySize": memory,
        "Timeout": timeout,
        "Environment": {"Variables": environment} if environment is not None else None,
        "Role": role,
        "Description": description,
    }
    resolved = source.resolve()
    taken = name or (resolved.name if resolved.is_dir() else resolved.stem)
    done = deploy_package(api, taken, package(source), wanted)
    if as_json:
        output.json({"Result": done.did, "Changed": list(done.changed), "Configuration": done.configuration})
    else:
        output.line(described(done))
