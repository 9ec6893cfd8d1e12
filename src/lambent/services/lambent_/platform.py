"""ListRuntimes and GetStatus: what this installation is."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from lambent.aws.contract import Call, Operation
from lambent.runtimes.contract import Runtime


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot; whoever builds the platform makes one when asked."""

    version: str
    python_version: str
    #: Of the NATS server that this node is connected to.
    nats_version: str
    region: str
    account: str
    pid: int
    uptime_seconds: int
    #: `sandbox` or `process`.
    isolation: str
    #: What is weaker than it could be on this machine; empty when nothing is.
    isolation_note: str = ""
    #: By name: api, http, nats.
    ports: dict[str, int]
    #: Number of environments by state, such as standby, ready, busy.
    environments: dict[str, int]
    functions: int


class Platform:
    """`counts` gives the numbers of bindings by member of the model, such as HttpBindings."""

    def __init__(
        self,
        runtimes: Callable[[], Iterable[Runtime]],
        status: Callable[[], Status],
        counts: Callable[[], Mapping[str, int]],
    ) -> None:
        self._runtimes = runtimes
        self._status = status
        self._counts = counts

    def operations(self) -> dict[str, Operation]:
        return {"ListRuntimes": self.list_runtimes, "GetStatus": self.get_status}

    async def list_runtimes(self, call: Call) -> Mapping[str, Any]:
        return {"Runtimes": [_runtime(runtime) for runtime in self._runtimes()]}

    async def get_status(self, call: Call) -> Mapping[str, Any]:
        status = self._status()
        return {
            "Version": status.version,
            "PythonVersion": status.python_version,
            "NatsVersion": status.nats_version,
            "Region": status.region,
            "Account": status.account,
            "Pid": status.pid,
            "UptimeSeconds": status.uptime_seconds,
            "Isolation": status.isolation,
            "IsolationNote": status.isolation_note or None,
            "Ports": status.ports,
            "Environments": status.environments,
            "Functions": status.functions,
            **self._counts(),
        }


def _runtime(runtime: Runtime) -> dict[str, Any]:
    return {
        "Identifier": runtime.identifier,
        "Family": runtime.family.value,
        "Interpreter": runtime.interpreter or None,
        "Version": runtime.version or None,
        "Note": runtime.note or None,
        "Unavailable": runtime.unavailable or None,
    }
