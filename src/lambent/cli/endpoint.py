"""Where the running platform is: its endpoint file in the data directory, or LAMBENT_ENDPOINT_URL and the AWS_* variables."""

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from lambent.cli.output import Output
from lambent.errors import LambentError

#: Written by the platform when it is ready, mode 0600, removed when it stops.
FILE = "endpoint.json"

F = TypeVar("F", bound=Callable[..., Any])


class NoPlatform(LambentError):
    """There is no running platform where the command looked."""


class Endpoint(NamedTuple):
    """What a command needs to talk to a platform. The last ones are empty for one that is known by its URL only."""

    api_url: str
    region: str
    access_key_id: str
    secret_access_key: str
    session_token: str = ""
    http_url: str = ""
    nats_url: str = ""
    account: str = ""
    pid: int = 0
    data_dir: str = ""


def default_data_dir(environment: Mapping[str, str]) -> str:
    """The data directory that `lambent up` takes when it is told none."""
    from lambent import settings

    variables = {name: value for name, value in environment.items() if name == "LAMBENT_DATA_DIR"}
    return settings.load({}, variables).data_dir


def find(data_dir: str | None, environment: Mapping[str, str]) -> Endpoint:
    """The platform to talk to: `--data-dir`, else LAMBENT_ENDPOINT_URL, else the default data directory.

    Raises `NoPlatform`.
    """
    if data_dir is None and environment.get("LAMBENT_ENDPOINT_URL"):
        return _from_environment(environment)
    folder = Path(data_dir).expanduser().absolute() if data_dir else Path(default_data_dir(environment))
    return _from_file(folder)


def _from_environment(environment: Mapping[str, str]) -> Endpoint:
    key, secret = environment.get("AWS_ACCESS_KEY_ID", ""), environment.get("AWS_SECRET_ACCESS_KEY", "")
    if not key or not secret:
        raise NoPlatform(
            "LAMBENT_ENDPOINT_URL is set, but AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is not; "
            "`lambent env` on the platform's machine prints all of them"
        )
    return Endpoint(
        api_url=environment["LAMBENT_ENDPOINT_URL"].rstrip("/"),
        region=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1",
        access_key_id=key,
        secret_access_key=secret,
        session_token=environment.get("AWS_SESSION_TOKEN", ""),
        http_url=environment.get("LAMBENT_HTTP_URL", ""),
        nats_url=environment.get("NATS_URL", ""),
    )


def _from_file(folder: Path) -> Endpoint:
    nothing = f"no platform runs with the data directory {folder}; start one with `lambent up`, or name another with --data-dir"
    try:
        content = json.loads((folder / FILE).read_text())
        endpoint = Endpoint(**{name: content[name] for name in Endpoint._fields if name in content})
    except (FileNotFoundError, NotADirectoryError):
        raise NoPlatform(nothing) from None
    except PermissionError:
        raise NoPlatform(f"{folder / FILE} may not be read by this user; the platform runs as another one") from None
    except (ValueError, TypeError):
        raise NoPlatform(f"{folder / FILE} is damaged; remove it and start the platform again") from None
    endpoint = endpoint._replace(data_dir=str(folder))
    # A platform that was killed leaves its file behind.
    if endpoint.pid and not Path(f"/proc/{endpoint.pid}").exists() and Path("/proc/self").exists():
        raise NoPlatform(nothing)
    return endpoint


def platform_command(command: F) -> F:
    """Adds `--data-dir` and `--json` to a command and passes it an `Api` of the platform and its `Output`."""

    @click.option("--data-dir", metavar="DIR", help="Data directory of the platform to talk to.")
    @click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
    @click.pass_obj
    @functools.wraps(command)
    def with_platform(output: Output, /, *args: Any, data_dir: str | None, **options: Any) -> Any:
        from lambent.cli.api import Api

        return command(Api(find(data_dir, output.environment)), output, *args, **options)

    return with_platform  # type: ignore[return-value]
