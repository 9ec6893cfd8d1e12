"""What a test run may leave on the machine, told from what others run beside it: by the run's folders and its mark.

Namespaces are not looked for: they live as long as a process or a mount that is in them.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from lambent.sandbox.cgroups import parse_mounts

#: In the environment of the run and of all that it starts.
MARK = "PYTEST_LAMBENT_RUN"


def processes(folders: Iterable[str], mark: str = "") -> list[str]:
    """Running processes, except this one, that carry the mark or name one of the folders in their command lines."""
    return sorted(_processes([os.fsencode(folder) for folder in folders], f"{MARK}={mark}".encode() if mark else b""))


def _processes(folders: list[bytes], mark: bytes) -> Iterator[str]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue  # it ended
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            variables = []  # another user's, or it ended
        # A zombie has no command line any more.
        if command and (any(folder in command for folder in folders) or (mark and mark in variables)):
            yield f"process {entry.name}: {command.replace(bytes(1), b' ').decode(errors='replace').strip()}"


def mounts(folders: Iterable[str]) -> list[str]:
    """Mounts at or below one of the folders."""
    points = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [f"mount {point}" for point in points if any(f"{point}/".startswith(f"{folder}/") for folder in folders)]


def control_groups(start: str) -> list[str]:
    """Control groups of any hierarchy whose name starts so."""
    tops = {mounted.path for mounted in parse_mounts(Path("/proc/self/mountinfo").read_text()).values()}
    return sorted(
        f"control group {folder}/{name}"
        for top in tops
        for folder, names, _ in os.walk(top)
        for name in names
        if name.startswith(start)
    )
