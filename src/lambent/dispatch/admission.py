"""Whether a call may run now: concurrency limits, decided without I/O."""


class Admission:
    """Counts the calls of each account. Reserved and provisioned concurrency belong here as well."""

    def __init__(self, account_concurrency: int) -> None:
        self._limit = account_concurrency
        self._running: dict[str, int] = {}

    def enter(self, account: str) -> str:
        """Counts a call in and returns an empty text, or returns AWS's throttle reason and counts nothing."""
        running = self._running.get(account, 0)
        if running >= self._limit:
            return "ConcurrentInvocationLimitExceeded"
        self._running[account] = running + 1
        return ""

    def leave(self, account: str) -> None:
        self._running[account] -= 1

    def running(self) -> int:
        return sum(self._running.values())
