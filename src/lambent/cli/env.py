"""`lambent env`: the variables that point AWS SDKs, the aws CLI and NATS clients at the platform."""

import shlex

import click

from lambent.cli.api import Api
from lambent.cli.endpoint import Endpoint, platform_command
from lambent.cli.output import Output


def exports(endpoint: Endpoint) -> dict[str, str]:
    """Variables by name; those that are not known are left out."""
    values = {
        "AWS_ENDPOINT_URL": endpoint.api_url,
        "AWS_ACCESS_KEY_ID": endpoint.access_key_id,
        "AWS_SECRET_ACCESS_KEY": endpoint.secret_access_key,
        "AWS_SESSION_TOKEN": endpoint.session_token,
        "AWS_REGION": endpoint.region,
        "AWS_DEFAULT_REGION": endpoint.region,
        "LAMBENT_ENDPOINT_URL": endpoint.api_url,
        "LAMBENT_HTTP_URL": endpoint.http_url,
        "NATS_URL": endpoint.nats_url,
    }
    return {name: value for name, value in values.items() if value}


@click.command(short_help="Print the exports that point AWS and NATS clients at the platform.")
@platform_command
def env(api: Api, output: Output, as_json: bool) -> None:
    """Print the exports that point AWS and NATS clients at the platform.

    \b
    Example:
      eval "$(lambent env)" && aws lambda list-functions
    """
    values = exports(api.endpoint)
    if as_json:
        output.json(values)
        return
    for name, value in values.items():
        output.line(f"export {name}={shlex.quote(value)}")
