"""Shapes compiled once into closures, recursive ones by way of themselves."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from lambent.aws.models import Shape

C = TypeVar("C", bound=Callable[..., Any])


class Compiled(Generic[C]):
    """Remembers what was compiled for a shape. `key` must hold everything about a use of a shape that the closure depends on."""

    def __init__(self, compile: Callable[[Shape], C], key: Callable[[Shape], object]) -> None:
        self._compile = compile
        self._key = key
        self._done: dict[object, C] = {}

    def of(self, shape: Shape) -> C:
        key = self._key(shape)
        found = self._done.get(key)
        if found is not None:
            return found
        made: list[C] = []

        def itself(*args: Any) -> Any:
            # A shape that contains itself compiles to a closure that calls this one, which by then knows the result.
            return made[0](*args)

        self._done[key] = itself  # type: ignore[assignment]
        made.append(self._compile(shape))
        self._done[key] = made[0]
        return made[0]
