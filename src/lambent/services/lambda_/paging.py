"""Pages of a sorted list: an opaque marker names the last item of the page before."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence

from lambent.arn import LATEST
from lambent.functions.records import FunctionVersion
from lambent.services.lambda_.faults import ParameterRefused

#: ListFunctions and ListVersionsByFunction return at most 50 items, even if more are asked for (API reference).
PAGE_MAX = 50


def page(
    versions: Sequence[FunctionVersion], marker: str | None, limit: int | None
) -> tuple[list[FunctionVersion], str | None]:
    """The page after `marker` and the next marker, ordered by name and version number.

    Functions that come and go between two pages neither repeat nor hide the others.
    """
    ordered = sorted(versions, key=place)
    after = _read(marker) if marker else None
    rest = [version for version in ordered if after is None or place(version) > after]
    size = min(limit or PAGE_MAX, PAGE_MAX)
    return rest[:size], _write(place(rest[size - 1])) if len(rest) > size else None


def place(version: FunctionVersion) -> tuple[str, int]:
    """Where a version stands in a list: `$LATEST` before its numbers."""
    return version.name, 0 if version.version == LATEST else int(version.version)


def _write(last: tuple[str, int]) -> str:
    return urlsafe_b64encode(f"{last[0]}:{last[1]}".encode()).decode()


def _read(marker: str) -> tuple[str, int]:
    try:
        name, _, number = urlsafe_b64decode(marker.encode()).decode().rpartition(":")
        return name, int(number)
    except ValueError as error:
        raise ParameterRefused("Invalid Marker.") from error
