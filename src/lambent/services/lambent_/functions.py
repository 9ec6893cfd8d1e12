"""The functions that a binding may name."""

from collections.abc import Callable

from lambent.arn import function_arn, parse_function_name
from lambent.aws.contract import Call
from lambent.functions.store import FunctionNotFound

#: (account, region, name, qualifier): raises `FunctionNotFound`. `FunctionStore.resolve` is one.
Resolve = Callable[[str, str, str, str | None], object]


class FunctionNames:
    """Reads names as callers write them; a binding keeps `name` or `name:qualifier`."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve

    def existing(self, call: Call, text: str) -> str:
        """Raises `FunctionNotFound`, also for functions of another account or region; `MalformedFunctionName`."""
        name = parse_function_name(text)
        if (name.account or call.account) != call.account or (name.region or call.region) != call.region:
            raise FunctionNotFound(
                function_arn(name.region or call.region, name.account or call.account, name.name, name.qualifier)
            )
        self._resolve(call.account, call.region, name.name, name.qualifier)
        return self.spelled(call, text)

    def spelled(self, call: Call, text: str) -> str:
        """Raises `MalformedFunctionName`."""
        name = parse_function_name(text)
        return name.name if name.qualifier is None else f"{name.name}:{name.qualifier}"
