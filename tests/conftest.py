"""The end of a run looks for what the run left on the machine: processes, mounts, control groups, temporary files. Anything left
fails the run, as it would fill the machine of whoever runs the suite daily.
"""

import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path

import pytest

import leftovers

#: What is on its way out at the end gets this long; usually it is gone at once.
PATIENCE_SECONDS = 10.0


class Watch:
    """Registered in the process that a user starts, not in xdist's workers."""

    def __init__(self, basetemp: Path) -> None:
        temporary = tempfile.gettempdir()
        self.scratch = Path(tempfile.mkdtemp(prefix="lambent-suite-"))
        self.mark = secrets.token_hex(4)
        self.folders = [str(basetemp), str(self.scratch)]
        self.found: list[str] = []
        # All temporary files of the run get a folder of their own. pytest's stay where they are.
        os.environ |= {leftovers.MARK: self.mark, "PYTEST_DEBUG_TEMPROOT": temporary, "TMPDIR": str(self.scratch)}
        tempfile.tempdir = None

    @pytest.hookimpl(trylast=True)  # after xdist has ended its workers
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while (found := self.look()) and time.monotonic() < end:
            time.sleep(0.1)
        self.found = found
        shutil.rmtree(self.scratch, ignore_errors=True)
        if found and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def look(self) -> list[str]:
        return [
            *leftovers.processes(self.folders, self.mark),
            *leftovers.mounts(self.folders),
            *leftovers.control_groups(f"lambent-test-{self.mark}-"),
            *(f"temporary file {path.name}" for path in self.scratch.iterdir()),
        ]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.found:
            terminalreporter.section("left behind by this run", sep="=", red=True)
            for line in self.found:
                terminalreporter.line(line, red=True)


@pytest.hookimpl(tryfirst=True)  # before xdist starts its workers, which inherit the environment
def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(Watch(session.config._tmp_path_factory.getbasetemp()), "leftovers")
