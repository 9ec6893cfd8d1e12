"""The look for what a run left behind sees what is left and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import leftovers

#: Says that it runs, and waits until its input ends.
WAITING = [sys.executable, "-I", "-c", "print(1, flush=True); input()"]


def waiting(*arguments: str, **variables: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [*WAITING, *arguments], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    return process


def found(process: "subprocess.Popen[str]", lines: list[str]) -> bool:
    return any(line.startswith(f"process {process.pid}: ") for line in lines)


def test_processes_of_the_run_are_seen_by_their_mark_and_by_their_folders(tmp_path: Path) -> None:
    own, other = str(tmp_path / "own"), str(tmp_path / "other")
    with waiting(f"--data-dir={own}/x") as by_folder, waiting(**{leftovers.MARK: "a1"}) as by_mark:
        seen = leftovers.processes([own], "a1")
        assert found(by_folder, seen)
        assert found(by_mark, seen)
        seen = leftovers.processes([other], "a2")
        assert not found(by_folder, seen)
        assert not found(by_mark, seen)
        by_folder.communicate("\n")
        by_mark.communicate("\n")
    assert not found(by_folder, leftovers.processes([own], "a1"))


def test_mounts_are_seen_at_and_below_a_folder() -> None:
    assert "mount /proc" in leftovers.mounts(["/proc"])
    assert "mount /proc" not in leftovers.mounts(["/pro"])
    assert leftovers.mounts(["/proc/self/nothing"]) == []


def test_every_worker_of_the_run_carries_its_mark() -> None:
    assert os.environ[leftovers.MARK]
