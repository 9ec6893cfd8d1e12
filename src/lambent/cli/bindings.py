"""`lambent bind`, `unbind`, `nats bind`, `nats unbind`, `bindings`: where functions are reached without the AWS API."""

from urllib.parse import quote

import click

from lambent.cli.api import Api
from lambent.cli.endpoint import platform_command
from lambent.cli.output import Output

function_option = click.option("-f", "--function", required=True, metavar="FUNCTION", help="Function to call.")


def _route(ctx: click.Context, parameter: click.Parameter, path: str) -> str:
    if not path.startswith("/"):
        raise click.BadParameter(f"{path!r} does not start with /")
    return path


@click.command(short_help="Serve a function at an HTTP path.")
@function_option
@click.argument("path", callback=_route)
@click.option("--method", metavar="METHOD", help="Only this HTTP method; every one unless given.")
@click.option("--host", metavar="HOST", help="Only requests for this host name; every one unless given.")
@platform_command
def bind(
    api: Api, output: Output, function: str, path: str, method: str | None, host: str | None, as_json: bool
) -> None:
    """Serve a function at an HTTP path of the HTTP port.

    Requests become events of payload format 2.0. PATH may hold {names} and end with {name+} for the rest of the path.

    \b
    Example:
      lambent bind -f hello-python /hello
      lambent bind -f http-echo '/echo/{rest+}' --method POST
    """
    body = {"FunctionName": function, "Path": path, "Method": method, "Host": host}
    found = api.platform("POST", "/http-bindings", {k: v for k, v in body.items() if v is not None})
    if as_json:
        output.json(found)
    else:
        output.line(f"{api.endpoint.http_url}{path} calls {function}")


@click.command(short_help="Stop serving a function at an HTTP path.")
@click.argument("path")
@click.option("--method", metavar="METHOD", help="The method that it was bound with.")
@click.option("--host", metavar="HOST", help="The host that it was bound with.")
@platform_command
def unbind(api: Api, output: Output, path: str, method: str | None, host: str | None, as_json: bool) -> None:
    """Stop serving a function at an HTTP path.

    \b
    Example:
      lambent unbind /hello
    """
    api.platform("DELETE", "/http-bindings", Path=path, Method=method, Host=host)
    if as_json:
        output.json({"Unbound": path})
    else:
        output.line(f"unbound {path}")


@click.group(short_help="Bind functions to NATS subjects.")
def nats() -> None:
    """Bind functions to NATS subjects."""


@nats.command("bind", short_help="Call a function for each message on a NATS subject.")
@function_option
@click.argument("subject")
@click.option("--queue", metavar="GROUP", help="Queue group; each message goes to one member of it.")
@platform_command
def nats_bind(api: Api, output: Output, function: str, subject: str, queue: str | None, as_json: bool) -> None:
    """Call a function for each message on a NATS subject, and answer requests with its result.

    SUBJECT may hold wildcards: * for one token, > for the rest.

    \b
    Example:
      lambent nats bind -f hello-python greetings.hello
    """
    body = {"FunctionName": function, "Subject": subject, "QueueGroup": queue}
    found = api.platform("POST", "/nats-bindings", {k: v for k, v in body.items() if v is not None})
    if as_json:
        output.json(found)
    else:
        output.line(f"NATS subject {subject} calls {function}")


@nats.command("unbind", short_help="Stop calling functions for a NATS subject.")
@click.argument("subject")
@click.option("--queue", metavar="GROUP", help="The queue group that it was bound with.")
@platform_command
def nats_unbind(api: Api, output: Output, subject: str, queue: str | None, as_json: bool) -> None:
    """Stop calling functions for a NATS subject.

    \b
    Example:
      lambent nats unbind greetings.hello
    """
    api.platform("DELETE", f"/nats-bindings/{quote(subject, safe='')}", QueueGroup=queue)
    if as_json:
        output.json({"Unbound": subject})
    else:
        output.line(f"unbound {subject}")


@click.command(short_help="List HTTP and NATS bindings.")
@platform_command
def bindings(api: Api, output: Output, as_json: bool) -> None:
    """List HTTP and NATS bindings.

    \b
    Example:
      lambent bindings
    """
    http, subjects = list(api.bindings("http")), list(api.bindings("nats"))
    if as_json:
        output.json({"Http": http, "Nats": subjects})
        return
    if not http and not subjects:
        output.note(
            "no bindings yet; `lambent bind -f FUNCTION /path` and `lambent nats bind -f FUNCTION SUBJECT` make them"
        )
        return
    rows = [(f"{b.get('Method') or 'ANY'} {b.get('Host') or ''}{b['Path']}", "HTTP", b["FunctionName"]) for b in http]
    rows += [(b["Subject"], f"NATS {b.get('QueueGroup') or ''}".rstrip(), b["FunctionName"]) for b in subjects]
    output.table(("BOUND", "BY", "FUNCTION"), rows)
