"""An environment as the pool holds it: with its log, and what its first call must report."""

from lambent.errors import LambentError
from lambent.functions.records import FunctionVersion
from lambent.observe.function_log import FunctionLog
from lambent.runtimes.contract import Environment, InitFailed


class PooledEnvironment:
    """One started environment of one function version."""

    __slots__ = (
        "environment",
        "expires",
        "idle_since",
        "init_ms",
        "log",
        "peak_mb",
        "peak_read",
        "stream",
        "version",
    )

    def __init__(
        self,
        environment: Environment,
        version: FunctionVersion,
        log: FunctionLog,
        stream: str,
        init_ms: float,
        expires: float,
    ) -> None:
        self.environment = environment
        self.version = version
        self.log = log
        self.stream = stream
        #: Taken (and set to None) by the first call, which reports it.
        self.init_ms: float | None = init_ms
        #: Monotonic seconds: past it the environment is replaced, because its credentials end.
        self.expires = expires
        #: Monotonic seconds.
        self.idle_since = 0.0
        #: Highest memory use that was read, and when (monotonic seconds).
        self.peak_mb = 0
        self.peak_read = 0.0


class NoRoom(LambentError):
    """The node has as many environments as it may have, all of them busy."""


class StartFailed(LambentError):
    """The init phase failed. Carries what the caller's answer and the log lines of that call need."""

    def __init__(self, failure: InitFailed, log: FunctionLog) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.log = log
