"""Memory of sandboxes: proportional set size, so that shared pages are counted once."""

import os
from collections import defaultdict
from pathlib import Path


def environments_pss_mib(platform_pid: int) -> dict[str, list[float]]:
    """PSS of each sandbox below the platform, by what runs in it (`python`, `node`, `other`).

    The processes of a sandbox are those of one process namespace that is not ours.
    """
    ours = os.readlink("/proc/self/ns/pid")
    sandboxes: dict[str, list[int]] = defaultdict(list)
    for pid in _descendants(platform_pid):
        try:
            namespace = os.readlink(f"/proc/{pid}/ns/pid")
        except OSError:
            continue
        if namespace != ours:
            sandboxes[namespace].append(pid)
    found: dict[str, list[float]] = defaultdict(list)
    for pids in sandboxes.values():
        try:
            found[_kind(pids)].append(sum(_pss_mib(pid) for pid in pids))
        except OSError:
            # It ended meanwhile.
            continue
    return found


def process_pss_mib(pid: int) -> float:
    return _pss_mib(pid)


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The name in brackets may hold anything; what follows the last bracket may not.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children[int(fields[1])].append(int(entry.name))
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _pss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _kind(pids: list[int]) -> str:
    names = {os.readlink(f"/proc/{pid}/exe").rpartition("/")[2] for pid in pids}
    for kind in ("node", "python"):
        if any(name.startswith(kind) for name in names):
            return kind
    return "other"
