"""CreateNatsBinding, ListNatsBindings, DeleteNatsBinding. What a subject may be is decided in `sources.bindings`."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lambent.aws.contract import Call, Operation
from lambent.clock import Clock
from lambent.services.lambent_.faults import AlreadyBound, BindingNotFound
from lambent.services.lambent_.functions import FunctionNames
from lambent.services.lambent_.paging import page
from lambent.sources.bindings import DEFAULT_QUEUE, SubjectBinding, check_queue, check_subject
from lambent.state.contract import AlreadyThere, Table


class NatsBindings:
    """The table is the one that `sources` follows; a binding's id is its key and says subject and queue group.

    Two queue groups on one subject each get every message, so they are two bindings. Subjects are shared by all accounts.
    """

    def __init__(self, table: Table[SubjectBinding], functions: FunctionNames, clock: Clock) -> None:
        self._table = table
        self._functions = functions
        self._clock = clock

    def operations(self) -> dict[str, Operation]:
        return {
            "CreateNatsBinding": self.create,
            "ListNatsBindings": self.list,
            "DeleteNatsBinding": self.delete,
        }

    async def create(self, call: Call) -> Mapping[str, Any]:
        """Binding the same function to the same subject and group again is no change and no error."""
        subject = call.params["Subject"]
        queue = call.params.get("QueueGroup", DEFAULT_QUEUE)
        check_subject(subject)
        check_queue(queue)
        binding = SubjectBinding(
            id=binding_id(subject, queue),
            account=call.account,
            function=self._functions.existing(call, call.params["FunctionName"]),
            subject=subject,
            queue=queue,
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
        subject = call.params["Subject"]
        queue = call.params.get("QueueGroup", DEFAULT_QUEUE)
        entry = self._table.get(binding_id(subject, queue))
        if entry is None or entry.record.account != call.account:
            raise BindingNotFound(f"There is no NATS binding of {subject} in queue group {queue}")
        await self._table.remove(entry.key)
        return {}


def binding_id(subject: str, queue: str) -> str:
    """The same place has the same id, so that the table itself refuses the second binding of it."""
    return "nats-" + hashlib.sha256(f"{subject} {queue}".encode()).hexdigest()[:12]


def _taken(binding: SubjectBinding, there: SubjectBinding | None) -> str:
    place = f"{binding.subject} in queue group {binding.queue}"
    if there is None or there.account != binding.account:
        return f"{place} is already bound"
    return f"{place} is already bound to {there.function} ({there.id}); delete that binding first or name another group"


def described(binding: SubjectBinding) -> dict[str, Any]:
    """The model's NatsBinding."""
    return {
        "Id": binding.id,
        "FunctionName": binding.function,
        "Subject": binding.subject,
        "QueueGroup": binding.queue,
        "Created": datetime.fromtimestamp(binding.created_ms / 1000, UTC),
    }
