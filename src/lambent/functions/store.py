"""The functions that there are. Reads are from memory; every change is one conditional write of one record.

Two tables: `functions` holds per function its `$LATEST`, tags and the next version number (key account/region/name),
`versions` the published versions (key account/region/name/number). A published version counts only while its function
exists and its number belongs to the function's present life, so that a crash between the two tables shows nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from lambent.arn import LATEST, function_arn
from lambent.clock import Clock
from lambent.errors import LambentError
from lambent.functions.code import CodeStore
from lambent.functions.records import FunctionEntry, FunctionVersion
from lambent.ids import Ids
from lambent.state.contract import AlreadyThere, Conflict, Entry, State, Table

#: Tries of a read-decide-write before the writer gives up; each lost race means that another writer got through.
WRITE_ATTEMPTS_MAX = 10
#: Tags of one function (Lambda developer guide, "Using tags").
TAGS_MAX = 50


class FunctionNotFound(LambentError):
    """There is no such function or version; `arn` names it as it was asked for."""

    def __init__(self, arn: str) -> None:
        super().__init__(f"Function not found: {arn}")
        self.arn = arn


class FunctionExists(LambentError):
    def __init__(self, name: str) -> None:
        super().__init__(f"Function already exist: {name}")


class RevisionMismatch(LambentError):
    """The caller's RevisionId is not the record's."""

    def __init__(self) -> None:
        super().__init__(
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
        )


class CodeMismatch(LambentError):
    """The caller's digest of the code is not that of `$LATEST`."""

    def __init__(self, given: str, current_digest: str) -> None:
        super().__init__("the code of $LATEST is another one")
        self.given = given
        self.current_digest = current_digest


class LatestNotDeletable(LambentError):
    def __init__(self) -> None:
        super().__init__("$LATEST version cannot be deleted without deleting the function.")


class TooManyTags(LambentError):
    def __init__(self) -> None:
        super().__init__("Number of tags exceeds resource tag limit.")


class ChangedMeanwhile(LambentError):
    """Others changed the function again and again while this change was tried."""

    def __init__(self, arn: str) -> None:
        super().__init__(
            f"The operation cannot be performed at this time. An update is in progress for resource: {arn}"
        )


#: Decides on the present record what the next one is. Pure; may raise a `LambentError`.
Change = Callable[[FunctionEntry, FunctionVersion], FunctionEntry]


class FunctionStore:
    """Made by `FunctionStore.open`. Names in arguments are bare function names."""

    def __init__(
        self,
        functions: Table[FunctionEntry],
        versions: Table[FunctionVersion],
        code: CodeStore,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._functions = functions
        self._versions = versions
        self.code = code
        self._clock = clock
        self._ids = ids
        #: The hot path: (account, region, name, version) of every version that can be called.
        self._callable: dict[tuple[str, str, str, str], FunctionVersion] = {}
        self._replaced: list[Callable[[str], None]] = []
        functions.subscribe(lambda key, _: self._index_function(key))
        versions.subscribe(lambda key, _: self._index_version(key))
        for entry in functions.entries():
            self._index_function(entry.key)

    @classmethod
    async def open(cls, state: State, code: CodeStore, clock: Clock, ids: Ids) -> "FunctionStore":
        functions = await state.table("functions", FunctionEntry)
        versions = await state.table("function-versions", FunctionVersion)
        return cls(functions, versions, code, clock, ids)

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Calls back with `FunctionVersion.key` of a version that was replaced or deleted: no new call reaches it."""
        self._replaced.append(callback)

    # reading, all from memory

    def resolve(self, account: str, region: str, name: str, qualifier: str | None = None) -> FunctionVersion:
        """The version that a call goes to. Raises `FunctionNotFound`."""
        found = self._callable.get((account, region, name, qualifier or LATEST))
        if found is None:
            raise FunctionNotFound(function_arn(region, account, name, qualifier))
        return found

    def entry(self, account: str, region: str, name: str) -> FunctionEntry:
        """What belongs to the function as a whole. Raises `FunctionNotFound`."""
        return self._existing(account, region, name).record

    def latest_versions(self, account: str, region: str) -> list[FunctionVersion]:
        """`$LATEST` of every function, by name."""
        entries = self._functions.entries(f"{account}/{region}/")
        return [entry.record.latest for entry in entries if entry.record.latest is not None]

    def versions(self, account: str, region: str, name: str) -> list[FunctionVersion]:
        """`$LATEST`, then the published ones from the lowest number. Raises `FunctionNotFound`."""
        record = self._existing(account, region, name).record
        assert record.latest is not None
        return [record.latest, *self._published(record)]

    def all_versions(self) -> list[FunctionVersion]:
        """Every version of every account; for collecting packages and for counting."""
        return list(self._callable.values())

    def code_bytes(self, account: str, region: str) -> int:
        """Zip bytes of all versions together (GetAccountSettings TotalCodeSize)."""
        return sum(v.code_size for v in self._callable.values() if v.account == account and v.region == region)

    # changing

    async def create(self, version: FunctionVersion, tags: Mapping[str, str] | None = None) -> FunctionVersion:
        """Makes the function with `version` as its `$LATEST` (its revision and time are set here). The code is in the
        code store already. Raises `FunctionExists`, `TooManyTags`.
        """
        _check_tags(tags or {})
        key = _key(version.account, version.region, version.name)
        latest = self._stamped(version, LATEST)
        before = self._functions.get(key)
        next_version = before.record.next_version if before else 1
        record = FunctionEntry(
            account=version.account,
            region=version.region,
            name=version.name,
            latest=latest,
            created_ms=latest.last_modified_ms,
            next_version=next_version,
            first_version=next_version,
            tags=dict(tags or {}),
        )
        if before is not None and before.record.latest is not None:
            raise FunctionExists(version.name)
        try:
            if before is None:
                await self._functions.create(key, record)
            else:
                await self._functions.replace(key, record, before.revision)
        except (AlreadyThere, Conflict) as error:
            raise FunctionExists(version.name) from error
        self._index_function(key)
        return latest

    async def update(
        self, account: str, region: str, name: str, *, revision_id: str | None = None, **fields: Any
    ) -> FunctionVersion:
        """Sets `fields` of `$LATEST` (code_digest and code_size, or configuration). Raises `FunctionNotFound`,
        `RevisionMismatch`, `ChangedMeanwhile`.
        """

        def change(record: FunctionEntry, latest: FunctionVersion) -> FunctionEntry:
            check_revision(latest, revision_id)
            changed = self._stamped(msgspec.structs.replace(latest, **fields), LATEST)
            return msgspec.structs.replace(record, latest=changed)

        record = await self._change(account, region, name, change)
        assert record.latest is not None
        return record.latest

    async def publish(
        self,
        account: str,
        region: str,
        name: str,
        *,
        description: str | None = None,
        code_digest: str | None = None,
        revision_id: str | None = None,
    ) -> FunctionVersion:
        """Makes an immutable copy of `$LATEST`; when nothing changed since the last one, that one is the answer.

        Raises `FunctionNotFound`, `RevisionMismatch`, `CodeMismatch`, `ChangedMeanwhile`.
        """
        record = self._existing(account, region, name).record
        last = self._last_published(record)
        if record.latest is not None and last is not None and record.published == record.latest.content:
            check_revision(record.latest, revision_id)
            _check_code(record.latest, code_digest)
            return last

        def change(record: FunctionEntry, latest: FunctionVersion) -> FunctionEntry:
            check_revision(latest, revision_id)
            _check_code(latest, code_digest)
            return msgspec.structs.replace(
                record,
                next_version=record.next_version + 1,
                published=latest.content,
                published_version=str(record.next_version),
            )

        # The number is taken before the version is written: a crash in between skips a number, it never reuses one.
        record = await self._change(account, region, name, change)
        assert record.latest is not None
        number = record.published_version
        version = self._stamped(record.latest, number)
        if description:
            version = msgspec.structs.replace(version, description=description)
        key = f"{_key(account, region, name)}/{number}"
        await self._versions.put(key, version)
        self._index_version(key)
        return version

    async def delete(self, account: str, region: str, name: str, version: str | None = None) -> None:
        """Deletes the function, or one published version (deleting a version that is not there is no error, as on AWS).
        Running calls finish. Raises `FunctionNotFound`, `LatestNotDeletable`.
        """
        if version == LATEST:
            raise LatestNotDeletable()
        record = self._existing(account, region, name).record
        if version is not None:
            await self._versions.remove(f"{_key(account, region, name)}/{version}")
            self._index_version(f"{_key(account, region, name)}/{version}")
            return

        def bury(record: FunctionEntry, latest: FunctionVersion) -> FunctionEntry:
            return FunctionEntry(
                account=account,
                region=region,
                name=name,
                latest=None,
                created_ms=record.created_ms,
                next_version=record.next_version,
                first_version=record.next_version,
            )

        published = self._published(record)
        await self._change(account, region, name, bury)
        for old in published:
            await self._versions.remove(f"{_key(account, region, name)}/{old.version}")

    async def tag(self, account: str, region: str, name: str, tags: Mapping[str, str]) -> None:
        """Adds and overwrites. Raises `FunctionNotFound`, `TooManyTags`."""

        def change(record: FunctionEntry, latest: FunctionVersion) -> FunctionEntry:
            merged = {**record.tags, **tags}
            _check_tags(merged)
            return msgspec.structs.replace(record, tags=merged)

        await self._change(account, region, name, change)

    async def untag(self, account: str, region: str, name: str, keys: list[str]) -> None:
        """Removes those that are there. Raises `FunctionNotFound`."""

        def change(record: FunctionEntry, latest: FunctionVersion) -> FunctionEntry:
            left = {key: value for key, value in record.tags.items() if key not in keys}
            return msgspec.structs.replace(record, tags=left)

        await self._change(account, region, name, change)

    async def collect_garbage(self) -> list[str]:
        """Removes version records of deleted functions that a crash left, and the code packages that no version has named
        for a while. Returns the digests that went.
        """
        for entry in self._versions.entries():
            version = entry.record
            if (version.account, version.region, version.name, version.version) not in self._callable:
                await self._versions.remove(entry.key, entry.revision)
        return await self.code.collect(lambda: {version.code_digest for version in self._callable.values()})

    # inside

    def _existing(self, account: str, region: str, name: str) -> Entry[FunctionEntry]:
        entry = self._functions.get(_key(account, region, name))
        if entry is None or entry.record.latest is None:
            raise FunctionNotFound(function_arn(region, account, name))
        return entry

    def _published(self, record: FunctionEntry) -> list[FunctionVersion]:
        """Of the function's present life, by number."""
        entries = self._versions.entries(f"{_key(record.account, record.region, record.name)}/")
        alive = [entry.record for entry in entries if int(entry.record.version) >= record.first_version]
        return sorted(alive, key=lambda version: int(version.version))

    def _last_published(self, record: FunctionEntry) -> FunctionVersion | None:
        return self._callable.get((record.account, record.region, record.name, record.published_version))

    def _stamped(self, version: FunctionVersion, number: str) -> FunctionVersion:
        return msgspec.structs.replace(
            version, version=number, revision_id=self._ids.uuid(), last_modified_ms=self._clock.now_ms()
        )

    async def _change(self, account: str, region: str, name: str, change: Change) -> FunctionEntry:
        """Reads, decides, writes; decides again when another writer was faster."""
        key = _key(account, region, name)
        for _ in range(WRITE_ATTEMPTS_MAX):
            entry = self._existing(account, region, name)
            assert entry.record.latest is not None
            record = change(entry.record, entry.record.latest)
            try:
                await self._functions.replace(key, record, entry.revision)
            except Conflict:
                continue
            self._index_function(key)
            return record
        raise ChangedMeanwhile(function_arn(region, account, name))

    def _index_function(self, key: str) -> None:
        """Brings the callable versions of one function in line with the tables."""
        account, region, name = key.split("/", 2)
        entry = self._functions.get(key)
        self._set((account, region, name, LATEST), entry.record.latest if entry is not None else None)
        for version in self._versions.entries(f"{key}/"):
            self._index_version(version.key)

    def _index_version(self, key: str) -> None:
        account, region, name, number = key.split("/", 3)
        function = self._functions.get(_key(account, region, name))
        entry = self._versions.get(key)
        alive = (
            entry is not None
            and function is not None
            and function.record.latest is not None
            and int(number) >= function.record.first_version
        )
        self._set((account, region, name, number), entry.record if entry is not None and alive else None)

    def _set(self, place: tuple[str, str, str, str], version: FunctionVersion | None) -> None:
        before = self._callable.get(place)
        if version is None:
            self._callable.pop(place, None)
        else:
            self._callable[place] = version
        if before is not None and (version is None or version.key != before.key):
            for callback in self._replaced:
                callback(before.key)


def _key(account: str, region: str, name: str) -> str:
    return f"{account}/{region}/{name}"


def check_revision(latest: FunctionVersion, revision_id: str | None) -> None:
    """Raises `RevisionMismatch` when the caller named a revision and it is another one."""
    if revision_id is not None and revision_id != latest.revision_id:
        raise RevisionMismatch()


def _check_code(latest: FunctionVersion, code_digest: str | None) -> None:
    if code_digest is not None and code_digest != latest.code_digest:
        raise CodeMismatch(code_digest, latest.code_digest)


def _check_tags(tags: Mapping[str, str]) -> None:
    if len(tags) > TAGS_MAX:
        raise TooManyTags()
