"""The table as every node holds it in memory: entries by key, in key order, and who wants to know of changes."""

import logging
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import msgspec

from lambent.state.contract import Entry

R = TypeVar("R", bound=msgspec.Struct)

_log = logging.getLogger("lambent.state")


class Mirror(Generic[R]):
    """Changes arrive from two sides: a node's own confirmed writes and the watch, which brings the same writes later and
    others' in between. Rule: per key the highest revision wins. A removed key leaves no entry, so its revision is kept in
    `_removed` until the watch has passed it; otherwise an older write that the watch still brings would revive the key.
    """

    def __init__(self) -> None:
        self._entries: dict[str, Entry[R]] = {}
        self._keys: list[str] = []
        self._removed: dict[str, int] = {}
        self._subscribers: list[Callable[[str, R | None], None]] = []

    def get(self, key: str) -> Entry[R] | None:
        return self._entries.get(key)

    def entries(self, prefix: str = "") -> list[Entry[R]]:
        if not prefix:
            return [self._entries[key] for key in self._keys]
        found = []
        for index in range(bisect_left(self._keys, prefix), len(self._keys)):
            key = self._keys[index]
            if not key.startswith(prefix):
                break
            found.append(self._entries[key])
        return found

    def keys(self) -> list[str]:
        return list(self._keys)

    def subscribe(self, callback: Callable[[str, R | None], None]) -> None:
        self._subscribers.append(callback)

    def apply(self, key: str, record: R, revision: int) -> Entry[R]:
        """A record was written. Returns the entry of that write, also when a newer one is there already."""
        entry = Entry(key, record, revision)
        current = self._entries.get(key)
        if (current is not None and current.revision >= revision) or self._removed.get(key, 0) >= revision:
            return entry
        if current is None:
            insort(self._keys, key)
        self._entries[key] = entry
        self._removed.pop(key, None)
        self._tell(key, record)
        return entry

    def apply_removal(self, key: str, revision: int, passed: bool) -> None:
        """A key was removed by the write `revision`. `passed`: the watch itself says so, nothing older can follow."""
        current = self._entries.get(key)
        if passed:
            if self._removed.get(key, 0) <= revision:
                self._removed.pop(key, None)
        elif current is None or current.revision < revision:
            self._removed[key] = max(revision, self._removed.get(key, 0))
        if current is None or current.revision >= revision:
            return
        self._drop(key)

    def retain(self, keys: Iterable[str], revision: int) -> None:
        """Drops what is not among `keys` and is not newer than `revision`: the end of a resynchronisation."""
        keep = set(keys)
        self._removed = {key: removed for key, removed in self._removed.items() if removed > revision}
        for key in [key for key in self._keys if key not in keep and self._entries[key].revision <= revision]:
            self._drop(key)

    def _drop(self, key: str) -> None:
        del self._entries[key]
        del self._keys[bisect_left(self._keys, key)]
        self._tell(key, None)

    def _tell(self, key: str, record: R | None) -> None:
        for callback in self._subscribers:
            try:
                callback(key, record)
            except Exception:
                # A mistake in one subscriber must neither lose the write for the writer nor hide it from the others.
                _log.exception("a subscriber failed on the change of %r", key)
