"""`lambent doctor`: checks this machine for what the platform needs, and says what is missing and what would provide it."""

import os
import platform
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import click

from lambent import __version__, settings
from lambent.cli.endpoint import NoPlatform, find
from lambent.cli.output import Output
from lambent.errors import LambentError

#: Below this a data directory fills up while one looks on.
FREE_BYTES_MIN = 1024 * 1024 * 1024
#: Each environment and each connection takes a few descriptors.
DESCRIPTORS_MIN = 4096

OK, WEAK, MISSING = "ok", "weak", "missing"
_MARKS = {OK: ("ok", "green"), WEAK: ("weak", "yellow"), MISSING: ("MISSING", "red")}


class Finding(NamedTuple):
    """One line of the answer. MISSING: the platform or its isolation does not work without it; WEAK: it works, but less well."""

    subject: str
    state: str
    text: str


def disk(path: Path, free_bytes: int) -> Finding:
    gib = free_bytes / (1 << 30)
    if free_bytes < FREE_BYTES_MIN:
        return Finding(
            "disk",
            WEAK,
            f"{gib:.1f} GiB free at {path}; code, logs and queues live there, choose another with --data-dir",
        )
    return Finding("disk", OK, f"{gib:.1f} GiB free at {path}")


def descriptors(hard_limit: int) -> Finding:
    if 0 <= hard_limit < DESCRIPTORS_MIN:
        return Finding(
            "files", WEAK, f"at most {hard_limit} open files; raise it with `ulimit -n 65536` or in limits.conf"
        )
    return Finding("files", OK, "unlimited open files" if hard_limit < 0 else f"{hard_limit} open files")


def system(name: str, release: str, machine: str) -> Finding:
    if name != "Linux":
        return Finding("system", MISSING, f"{name}: sandboxes need Linux; on others use a Linux virtual machine")
    return Finding("system", OK, f"Linux {release}, {machine}")


def port(name: str, number: int, listen: str) -> Finding:
    """Whether a port is free; one that is taken is a weakness, since any other can be chosen."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in listen else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((listen, number))
    except OSError as error:
        flag = f"--{name}-port"
        return Finding(
            f"port {number}", WEAK, f"{error.strerror} ({name}); choose another with {flag}, 0 takes a free one"
        )
    return Finding(f"port {number}", OK, f"free ({name})")


def examine(chosen: settings.Settings, folders: tuple[str, ...], running: bool) -> list[Finding]:
    """All checks. `folders` is the search path for programs. Ports are not looked at when a platform of this data directory holds them."""
    import resource

    name = os.uname()
    found = [
        system(name.sysname, name.release, name.machine),
        Finding("python", OK, f"{platform.python_version()}"),
        _nats(chosen),
        *_sandbox(chosen),
        *_runtimes(folders),
        disk(*_free(Path(chosen.data_dir))),
        descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
    ]
    if running:
        return [*found, Finding("platform", OK, f"runs with the data directory {chosen.data_dir}")]
    ports = (("api", chosen.api_port), ("http", chosen.http_port), ("nats", chosen.nats_port))
    return found + [port(name, number, chosen.listen) for name, number in ports if number]


def _free(path: Path) -> tuple[Path, int]:
    """The nearest existing folder and its free bytes."""
    while not path.exists():
        path = path.parent
    return path, shutil.disk_usage(path).free


def _nats(chosen: settings.Settings) -> Finding:
    from lambent.bus.binary import find_server

    if chosen.nats:
        return Finding("nats-server", OK, "an external one (--nats)")
    try:
        server = find_server()
    except LambentError as error:
        return Finding("nats-server", MISSING, str(error))
    return Finding("nats-server", OK, f"{'.'.join(map(str, server.version))} at {server.path}")


def _sandbox(chosen: settings.Settings) -> list[Finding]:
    """Starts the spawner as the platform does: it makes a sandbox for trial, and tells what the host lacks."""
    from lambent.sandbox.client import await_ready, launch_spawner
    from lambent.sandbox.contract import SandboxError

    with tempfile.TemporaryDirectory(prefix="lambent-doctor-") as folder:
        spawner = launch_spawner(folder, f"doctor-{os.getpid()}", chosen.sandbox_uid_base)
        try:
            isolation = await_ready(spawner)
        except SandboxError as error:
            return [Finding("sandbox", MISSING, str(error))]
        finally:
            spawner.end()
    text = f"{isolation.mode}: namespaces, seccomp, cgroups {isolation.cgroups}"
    return [Finding("sandbox", OK, text), *(Finding("sandbox", WEAK, sentence) for sentence in isolation.weaker)]


def _runtimes(folders: tuple[str, ...]) -> list[Finding]:
    from lambent.runtimes.table import RuntimeTable

    found: dict[str, list[Any]] = {}
    for row in RuntimeTable(folders).rows():
        found.setdefault(row.family.value, []).append(row)
    result = []
    for family, rows in found.items():
        usable = [row for row in rows if not row.unavailable]
        if usable:
            versions = list(dict.fromkeys(row.version for row in usable if row.version))
            text = f"{', '.join(row.identifier for row in usable)}" + (
                f" (by {', '.join(versions)})" if versions else ""
            )
            result.append(Finding(family, OK, text))
        else:
            result.append(Finding(family, WEAK, rows[0].unavailable))
    return result


@click.command(short_help="Check this machine and say what is missing.")
@click.option("--data-dir", metavar="DIR", help="Data directory that the platform would use.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_obj
def doctor(output: Output, /, data_dir: str | None, as_json: bool) -> int:
    """Check this machine and say what is missing. Changes nothing; the exit code is 1 when something essential is missing.

    \b
    Example:
      lambent doctor
    """
    chosen = settings.load({"data_dir": data_dir}, output.environment)
    try:
        find(chosen.data_dir, output.environment)
        running = True
    except NoPlatform:
        running = False
    findings = examine(chosen, settings.executable_folders(output.environment), running)
    missing = [finding for finding in findings if finding.state == MISSING]
    if as_json:
        output.json({"Version": __version__, "Usable": not missing, "Findings": [f._asdict() for f in findings]})
        return 1 if missing else 0
    output.line(f"Lambent {__version__}")
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        mark, colour = _MARKS[finding.state]
        output.line(f"  {output.style(mark.ljust(8), colour)}{finding.subject.ljust(width + 2)}{finding.text}")
    if missing:
        output.error("functions cannot run here as they should; the lines marked MISSING say what would mend it")
    return 1 if missing else 0
