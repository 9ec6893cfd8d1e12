"""What an environment is: a sandbox with a runtime in it that serves one function version for life.

Both kinds, our guests over frames and custom runtimes over the Runtime API, implement `Environment` and must behave alike.
"""

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Protocol

import msgspec

from lambent.errors import LambentError
from lambent.invocation import Invocation


class Family(Enum):
    PYTHON = "python"
    NODE = "node"
    PROVIDED = "provided"


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table of runtimes: an AWS identifier and what serves it on this machine."""

    identifier: str
    family: Family
    #: Host path of the interpreter, empty for custom runtimes.
    interpreter: str = ""
    #: Host folder that appears as /var/lang, empty where the interpreter is a system one.
    prefix: str = ""
    #: What really serves it, such as "3.11.7".
    version: str = ""
    #: Something a person should know, such as "served by Node.js 24.19.0".
    note: str = ""
    #: Why it cannot be used here and what would provide it; empty when it can.
    unavailable: str = ""

    @property
    def standby_key(self) -> tuple[Family, str]:
        """Runtimes with one key share standby environments."""
        return (self.family, self.interpreter)


class FunctionStart(msgspec.Struct, frozen=True, kw_only=True):
    """All that a runtime must know to serve one function version."""

    account: str
    region: str
    name: str
    version: str
    #: Qualified with the version unless it is $LATEST.
    arn: str
    handler: str
    memory_mb: int
    timeout_ms: int
    tmp_mb: int
    #: The function's own variables.
    variables: dict[str, str]
    #: Host folder with the unpacked code, mounted at /var/task.
    code_dir: str
    log_group: str
    log_stream: str
    access_key_id: str
    secret_access_key: str
    session_token: str
    #: The identifier the function was made with; environments of one interpreter are shared by several. Empty: the environment's.
    runtime: str = ""
    #: `on-demand` or `provisioned-concurrency`.
    initialization_type: str = "on-demand"


class FunctionLog(Protocol):
    """Where an environment puts what its function prints. Implemented in `observe`."""

    def write(self, message: str) -> None:
        """One log event, its line end included. Never blocks; bounded."""


class Started(msgspec.Struct, frozen=True):
    init_ms: float


class InitFailed(LambentError):
    """The init phase ended without a runtime that is ready."""

    def __init__(self, answer: "Answer", init_ms: float) -> None:
        super().__init__(answer.error_type)
        self.answer = answer
        self.init_ms = init_ms


class AnswerKind(Enum):
    RESULT = "result"
    #: The handler (or the init phase) failed; `payload` is the error object as the runtime made it.
    ERROR = "error"
    TIMEOUT = "timeout"
    #: The runtime process ended; `exit_text` says how.
    EXIT = "exit"
    OUT_OF_MEMORY = "out-of-memory"
    #: The event was not JSON.
    BAD_EVENT = "bad-event"
    #: The result was larger than `payload_max`.
    TOO_LARGE = "too-large"


class Answer(msgspec.Struct):
    """How one call (or the init phase) ended inside the environment."""

    kind: AnswerKind
    payload: bytes = b""
    #: Such as `Runtime.ExitError`, `Sandbox.Timedout`, `Runtime.ImportModuleError`; empty for RESULT.
    error_type: str = ""
    #: For EXIT and OUT_OF_MEMORY: `exit status 1`, `signal: killed`; empty: without providing a reason.
    exit_text: str = ""
    #: Size of the result for TOO_LARGE, bytes.
    size: int = 0


class Environment(Protocol):
    """A sandbox with a runtime. States: standby -> starting -> ready <-> busy -> dead; `discard` from any.

    After any answer but RESULT, ERROR, BAD_EVENT and TOO_LARGE the environment is dead (`alive` is False) and the owner
    discards it. An init failure always leaves it dead.
    """

    id: str
    runtime: Runtime
    alive: bool

    async def adopt(self, start: FunctionStart, log: FunctionLog, limit_ms: int) -> Started:
        """Mounts the code, sets the limits, runs the init phase. Raises `InitFailed` (time-out included)."""

    def invoke(self, invocation: Invocation, deadline_ms: int) -> Awaitable[Answer]:
        """Runs one call. `deadline_ms` is Unix time; at the deadline the sandbox is killed and the answer is TIMEOUT.
        All that the function printed before its answer has been written to the log when the answer is there. Never raises.
        """

    def memory_peak_mib(self) -> int:
        """For the REPORT line."""

    def on_death(self, callback: Callable[[], None]) -> None:
        """Calls back once if the environment dies while no call runs in it."""

    async def discard(self) -> None:
        """Ends it and removes everything of it. Idempotent."""


class Environments(Protocol):
    """Makes environments that stand by, belonging to no function yet."""

    async def standby(self, runtime: Runtime) -> Environment:
        """A sandbox with the interpreter and bootstrap up (custom runtimes: an empty sandbox). Raises `SandboxError`."""
