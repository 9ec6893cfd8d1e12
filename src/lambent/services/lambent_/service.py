"""Puts the service together."""

from collections.abc import Callable, Iterable

from lambent.aws.contract import Service, answering
from lambent.clock import Clock
from lambent.gateway.routes import HttpBinding
from lambent.runtimes.contract import Runtime
from lambent.services.lambent_.faults import fault_of
from lambent.services.lambent_.functions import FunctionNames, Resolve
from lambent.services.lambent_.http_bindings import HttpBindings
from lambent.services.lambent_.nats_bindings import NatsBindings
from lambent.services.lambent_.platform import Platform, Status
from lambent.sources.bindings import SubjectBinding
from lambent.state.contract import Table


def service(
    *,
    http_bindings: Table[HttpBinding],
    nats_bindings: Table[SubjectBinding],
    resolve: Resolve,
    runtimes: Callable[[], Iterable[Runtime]],
    status: Callable[[], Status],
    clock: Clock,
) -> Service:
    """`resolve` is `FunctionStore.resolve`; `status` makes a snapshot whenever it is asked."""
    functions = FunctionNames(resolve)

    def counts() -> dict[str, int]:
        return {"HttpBindings": len(http_bindings.entries()), "NatsBindings": len(nats_bindings.entries())}

    operations = {
        **HttpBindings(http_bindings, functions, clock).operations(),
        **NatsBindings(nats_bindings, functions, clock).operations(),
        **Platform(runtimes, status, counts).operations(),
    }
    return Service("lambent", answering(operations, fault_of))
