"""Makes the folder of Python functions and compiles it for every Python on this machine: `python -m lambent.runtimes.prepare`.

The first-time set-up runs it and shows its lines. A platform that finds something left to do, such as a Python that was installed
since, starts it in the background: `Compiler`. What it does not get done costs time later and is no error.
"""

import argparse
import concurrent.futures
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lambent.errors import LambentError
from lambent.runtimes.interpreters import PYTHON_MINORS, Interpreter, find_python
from lambent.runtimes.python_sdk import compile_for, is_compiled, prepare_python, python_caches
from lambent.sandbox.confine import confine
from lambent.settings import executable_folders

_BACKGROUND_NICENESS = 19
#: What is interrupted ends at once; an interpreter that was just being started is let finish.
_STOP_SECONDS = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lambent.runtimes.prepare", description=__doc__.splitlines()[0])
    parser.add_argument(
        "cache", nargs="*", type=Path, help="folders to make it in, the first that can be written is taken"
    )
    parser.add_argument("--background", action="store_true", help="one at a time, with the lowest priority")
    options = parser.parse_args(arguments)
    try:
        folder = prepare_python(options.cache or python_caches())
        if options.background:
            _step_back(folder)
        with _only_one(folder.parent, wait=not options.background):
            left = uncompiled(folder)
            return compile_all(folder, left, 1 if options.background else os.cpu_count() or 1, _say)
    except (OSError, LambentError) as error:
        _say(f"not compiled: {error}")
        return 1


def uncompiled(folder: Path) -> list[Interpreter]:
    """The interpreters on this machine that the folder is not compiled for."""
    wanted = [minor for minor in PYTHON_MINORS if not is_compiled(folder, minor)]
    found = [find_python(minor, executable_folders(), Path.home()) for minor in wanted]
    return [interpreter for interpreter in found if interpreter is not None]


def compile_all(folder: Path, interpreters: Sequence[Interpreter], at_once: int, say: Callable[[str], None]) -> int:
    """Compiles for each; says how far it is. Returns 1 if one failed, else 0."""
    failed = 0
    threads = concurrent.futures.ThreadPoolExecutor(at_once)
    try:
        running = {threads.submit(compile_for, folder, interpreter): interpreter for interpreter in interpreters}
        for number, done in enumerate(concurrent.futures.as_completed(running), 1):
            version, failure = running[done].version, done.result()
            if failure:
                failed = 1
                say(f"not compiled for Python {version}: {failure}")
            else:
                say(f"compiled for Python {version} ({number} of {len(running)})")
    finally:
        threads.shutdown(cancel_futures=True)
    return failed


class Compiler:
    """Compiles what is left to do in a process of its own, which ends with `stop` at the latest. It must start before the
    platform confines itself, for the folder may lie outside of the data directory; it confines itself to the folder instead.
    """

    def __init__(self, caches: Sequence[Path]) -> None:
        self._caches = caches
        #: None when there is nothing to do.
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Makes the folder, if it is not there, and the process, if there is something to compile. Never raises."""
        try:
            folder = prepare_python(self._caches)
            if not os.access(folder, os.W_OK) or not uncompiled(folder):
                return
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, "--background", str(folder.parent)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            # The platform goes on without; `Sdk.prepare` says so if there is no folder at all.
            return

    def stop(self) -> None:
        """Idempotent."""
        process, self.process = self.process, None
        if process is None:
            return
        # The whole group: the interpreter that compiles ends, and then its parent, which waits for it.
        for number, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, None)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
                return


def _step_back(folder: Path) -> None:
    """Ends in order when told to, has the lowest priority, and no rights but to write here: the interpreters that run next
    are whatever the machine has.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.nice(_BACKGROUND_NICENESS)
    if os.geteuid() == 0:
        confine((str(folder),))


@contextlib.contextmanager
def _only_one(cache: Path, *, wait: bool) -> Iterator[None]:
    """Platforms that start side by side need it done once. Raises `BlockingIOError` if another does it and `wait` is not set."""
    lock = os.open(cache, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(lock)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
