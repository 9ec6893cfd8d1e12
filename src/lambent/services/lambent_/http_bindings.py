"""CreateHttpBinding, ListHttpBindings, DeleteHttpBinding."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lambent.aws.contract import Call, Operation
from lambent.clock import Clock
from lambent.gateway.routes import ANY, BadBinding, HttpBinding, binding_of
from lambent.services.lambent_.faults import AlreadyBound, BindingNotFound
from lambent.services.lambent_.functions import FunctionNames
from lambent.services.lambent_.paging import page
from lambent.state.contract import AlreadyThere, Table


class HttpBindings:
    """The table is the one that the gateway follows; a binding's id is its key."""

    def __init__(self, table: Table[HttpBinding], functions: FunctionNames, clock: Clock) -> None:
        self._table = table
        self._functions = functions
        self._clock = clock

    def operations(self) -> dict[str, Operation]:
        return {
            "CreateHttpBinding": self.create,
            "ListHttpBindings": self.list,
            "DeleteHttpBinding": self.delete,
        }

    async def create(self, call: Call) -> Mapping[str, Any]:
        """Binding the same function to the same place again is no change and no error."""
        params = call.params
        binding = binding_of(
            account=call.account,
            function=self._functions.existing(call, params["FunctionName"]),
            method=params.get("Method", ANY),
            host=params.get("Host", ""),
            path=params["Path"],
            created_ms=self._clock.now_ms(),
        )
        try:
            await self._table.create(binding.id, binding)
        except AlreadyThere as error:
            there = self._table.get(binding.id)
            if there is None or (there.record.account, there.record.function) != (binding.account, binding.function):
                raise AlreadyBound(_taken(binding, there.record if there else None)) from error
            binding = there.record
        return described(binding)

    async def list(self, call: Call) -> Mapping[str, Any]:
        function = call.params.get("FunctionName")
        wanted = self._functions.spelled(call, function) if function else None
        entries = [
            entry
            for entry in self._table.entries()
            if entry.record.account == call.account and wanted in (None, entry.record.function)
        ]
        records, marker = page(entries, call)
        return {"Bindings": [described(record) for record in records], "NextMarker": marker}

    async def delete(self, call: Call) -> Mapping[str, Any]:
        """By id, or by the place: path, and method and host where it was bound with them."""
        binding_id = call.params.get("Id")
        if binding_id is None:
            if "Path" not in call.params:
                raise BadBinding("give the binding's Id or its Path")
            place = binding_of(
                account=call.account,
                function="",
                method=call.params.get("Method", ANY),
                host=call.params.get("Host", ""),
                path=call.params["Path"],
            )
            binding_id, said = place.id, f"{place.method} {place.host}{place.path}"
        else:
            said = binding_id
        entry = self._table.get(binding_id)
        if entry is None or entry.record.account != call.account:
            raise BindingNotFound(f"There is no HTTP binding {said}")
        await self._table.remove(binding_id)
        return {}


def _taken(binding: HttpBinding, there: HttpBinding | None) -> str:
    place = f"{binding.method} {binding.host}{binding.path}"
    if there is None or there.account != binding.account:
        return f"{place} is already bound"
    return f"{place} is already bound to {there.function} ({there.id}, {there.path}); delete that binding first"


def described(binding: HttpBinding) -> dict[str, Any]:
    """The model's HttpBinding."""
    return {
        "Id": binding.id,
        "FunctionName": binding.function,
        "Method": binding.method,
        "Host": binding.host or None,
        "Path": binding.path,
        "Created": datetime.fromtimestamp(binding.created_ms / 1000, UTC),
    }
