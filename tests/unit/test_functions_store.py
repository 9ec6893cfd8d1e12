"""The store of functions: names, revisions, versions, deletions, races."""

import asyncio
from pathlib import Path

import pytest

from functions_fixtures import ACCOUNT, REGION, a_version, code_store, function_store, hello_zip
from lambent.clock import FixedClock
from lambent.functions.code import GRACE_MS
from lambent.functions.collector import Collector
from lambent.functions.store import (
    CodeMismatch,
    FunctionExists,
    FunctionNotFound,
    FunctionStore,
    LatestNotDeletable,
    RevisionMismatch,
    TooManyTags,
)
from lambent.ids import Ids
from lambent.state.memory import MemoryState

HERE = (ACCOUNT, REGION, "hello")


def test_a_created_function_resolves_and_a_second_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        store = await function_store(tmp_path)
        made = await store.create(a_version(), {"team": "a"})
        assert made.version == "$LATEST" and made.revision_id and made.last_modified_ms
        assert store.resolve(*HERE) == store.resolve(*HERE, "$LATEST") == made
        assert store.entry(*HERE).tags == {"team": "a"}
        with pytest.raises(FunctionExists, match="Function already exist: hello"):
            await store.create(a_version())
        with pytest.raises(
            FunctionNotFound, match=r"^Function not found: arn:aws:lambda:us-east-1:123456789012:function:nope:7$"
        ):
            store.resolve(ACCOUNT, REGION, "nope", "7")
        with pytest.raises(FunctionNotFound):
            store.resolve("999999999999", REGION, "hello")

    asyncio.run(run())


def test_an_update_changes_the_revision_and_tells_who_was_replaced(tmp_path: Path) -> None:
    async def run() -> None:
        store = await function_store(tmp_path)
        replaced: list[str] = []
        store.on_change(replaced.append)
        made = await store.create(a_version())
        changed = await store.update(*HERE, memory_mb=256, revision_id=made.revision_id)
        assert changed.memory_mb == 256 and changed.revision_id != made.revision_id
        assert replaced == [made.key]
        assert store.resolve(*HERE) == changed
        with pytest.raises(RevisionMismatch):
            await store.update(*HERE, memory_mb=512, revision_id=made.revision_id)
        await store.tag(*HERE, {"a": "b"})
        assert store.resolve(*HERE) == changed and replaced == [made.key]

    asyncio.run(run())


def test_publishing_twice_without_a_change_gives_the_same_version(tmp_path: Path) -> None:
    async def run() -> None:
        store = await function_store(tmp_path)
        await store.create(a_version(description="mine"))
        one = await store.publish(*HERE, description="first")
        assert (one.version, one.description) == ("1", "first")
        assert await store.publish(*HERE, description="again") == one
        await store.update(*HERE, timeout_s=9)
        two = await store.publish(*HERE)
        assert (two.version, two.timeout_s, two.description) == ("2", 9, "mine")
        assert store.resolve(*HERE, "1") == one
        assert [version.version for version in store.versions(*HERE)] == ["$LATEST", "1", "2"]

    asyncio.run(run())


def test_publishing_checks_code_and_revision(tmp_path: Path) -> None:
    async def run() -> None:
        store = await function_store(tmp_path)
        made = await store.create(a_version())
        with pytest.raises(CodeMismatch) as caught:
            await store.publish(*HERE, code_digest="1" * 64)
        assert caught.value.current_digest == made.code_digest
        with pytest.raises(RevisionMismatch):
            await store.publish(*HERE, revision_id="other")
        await store.publish(*HERE, code_digest=made.code_digest, revision_id=made.revision_id)
        with pytest.raises(RevisionMismatch):
            await store.publish(*HERE, revision_id="other")

    asyncio.run(run())


def test_version_numbers_are_never_used_again(tmp_path: Path) -> None:
    async def run() -> None:
        store = await function_store(tmp_path)
        await store.create(a_version(), {"old": "tag"})
        one = await store.publish(*HERE)
        await store.delete(*HERE, version="1")
        with pytest.raises(FunctionNotFound):
            store.resolve(*HERE, "1")
        again = await store.publish(*HERE)
        assert again.version == "2" and one.version == "1"
        await store.delete(*HERE)
        with pytest.raises(FunctionNotFound):
            store.resolve(*HERE)
        with pytest.raises(FunctionNotFound):
            store.resolve(*HERE, "2")
        assert store.latest_versions(ACCOUNT, REGION) == [] and store.all_versions() == []
        await store.create(a_version())
        assert store.entry(*HERE).tags == {}
        assert [version.version for version in store.versions(*HERE)] == ["$LATEST"]
        assert (await store.publish(*HERE)).version == "3"

    asyncio.run(run())


def test_latest_goes_only_with_its_function(tmp_path: Path) -> None:
    async def run() -> None:
        store = await function_store(tmp_path)
        await store.create(a_version())
        with pytest.raises(LatestNotDeletable):
            await store.delete(*HERE, version="$LATEST")
        await store.delete(*HERE, version="17")
        assert store.resolve(*HERE)

    asyncio.run(run())


def test_a_crash_between_the_two_tables_shows_no_version_of_the_predecessor(tmp_path: Path) -> None:
    async def run() -> None:
        state, clock = MemoryState(), FixedClock()
        store = await function_store(tmp_path, state, clock)
        await store.create(a_version())
        orphan = await store.publish(*HERE)
        await store.delete(*HERE)
        versions = await state.table("function-versions", type(orphan))
        await versions.put(f"{ACCOUNT}/{REGION}/hello/1", orphan)
        for reader in (store, await function_store(tmp_path, state, clock)):
            with pytest.raises(FunctionNotFound):
                reader.resolve(*HERE, "1")
        await store.create(a_version())
        with pytest.raises(FunctionNotFound):
            store.resolve(*HERE, "1")
        assert [version.version for version in store.versions(*HERE)] == ["$LATEST"]
        await store.collect_garbage()
        assert versions.entries() == []

    asyncio.run(run())


def test_two_nodes_see_each_others_functions(tmp_path: Path) -> None:
    async def run() -> None:
        state = MemoryState()
        here, there = await function_store(tmp_path / "a", state), await function_store(tmp_path / "b", state)
        gone: list[str] = []
        there.on_change(gone.append)
        made = await here.create(a_version())
        one = await here.publish(*HERE)
        assert there.resolve(*HERE) == made and there.resolve(*HERE, "1") == one
        await here.delete(*HERE)
        assert set(gone) == {made.key, one.key}
        with pytest.raises(FunctionNotFound):
            there.resolve(*HERE)

    asyncio.run(run())


def test_concurrent_updates_all_take_place(tmp_path: Path) -> None:
    async def run() -> None:
        state = MemoryState()
        stores: list[FunctionStore] = [await function_store(tmp_path / str(n), state) for n in range(4)]
        await stores[0].create(a_version())
        await asyncio.gather(*[store.tag(*HERE, {f"tag{n}": "x"}) for n, store in enumerate(stores)])
        assert set(stores[3].entry(*HERE).tags) == {"tag0", "tag1", "tag2", "tag3"}

    asyncio.run(run())


def test_tags_are_bounded_and_removable(tmp_path: Path) -> None:
    async def run() -> None:
        store = await function_store(tmp_path)
        await store.create(a_version())
        await store.tag(*HERE, {str(n): "" for n in range(50)})
        with pytest.raises(TooManyTags):
            await store.tag(*HERE, {"one": "more"})
        await store.untag(*HERE, [str(n) for n in range(49)] + ["never there"])
        assert store.entry(*HERE).tags == {"49": ""}

    asyncio.run(run())


def test_a_restart_finds_everything(tmp_path: Path) -> None:
    async def run() -> None:
        state = MemoryState()
        store = await function_store(tmp_path, state)
        made, one = await store.create(a_version()), await store.publish(*HERE)
        again = await function_store(tmp_path, state)
        assert again.versions(*HERE) == [made, one]
        assert again.code_bytes(ACCOUNT, REGION) == 200

    asyncio.run(run())


def test_packages_without_a_version_are_collected(tmp_path: Path) -> None:
    async def run() -> None:
        clock = FixedClock()
        store = await function_store(tmp_path, MemoryState(), clock)
        old, size = await store.code.add(hello_zip("old"))
        new, _ = await store.code.add(hello_zip("new"))
        await store.create(a_version(code_digest=old, code_size=size))
        await store.update(*HERE, code_digest=new)
        assert await store.collect_garbage() == []
        clock.advance(GRACE_MS / 1000 + 900)
        assert await store.collect_garbage() == [old]
        assert (await store.code.directory(new)).exists()

    asyncio.run(run())


def test_the_collector_goes_on_after_a_failure_until_it_is_stopped(tmp_path: Path) -> None:
    async def run() -> None:
        state, clock = MemoryState(), FixedClock()
        store = await function_store(tmp_path, state, clock)
        old, _ = await store.code.add(hello_zip())
        await store.collect_garbage()
        clock.advance(GRACE_MS / 1000 + 900)
        state.available = False
        collector = Collector(store, interval_seconds=0)
        collector.start()
        await asyncio.sleep(0)
        while (tmp_path / "code" / old).exists():
            await asyncio.sleep(0.001)
        state.available = True
        while (tmp_path / "code" / "known" / old).exists():
            await asyncio.sleep(0.001)
        await collector.stop()
        await collector.stop()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def test_the_collector_ends_although_a_collection_swallowed_the_cancellation(tmp_path: Path) -> None:
    class LossyStore(FunctionStore):
        lost = 0

        async def collect_garbage(self) -> list[str]:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                # As `asyncio.wait_for` of Python 3.11 does when a result comes together with it.
                if self.lost:
                    raise
                self.lost += 1
            return []

    async def run() -> None:
        state, clock = MemoryState(), FixedClock()
        store = await LossyStore.open(state, await code_store(tmp_path, state, clock), clock, Ids())
        collector = Collector(store, interval_seconds=0)
        collector.start()
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await collector.stop()
        assert isinstance(store, LossyStore) and store.lost == 1
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def test_of_many_creators_one_wins(tmp_path: Path) -> None:
    async def run() -> None:
        state = MemoryState()
        stores = [await function_store(tmp_path / str(n), state) for n in range(3)]
        results = await asyncio.gather(
            *[store.create(a_version(handler=f"h{n}")) for n, store in enumerate(stores)], return_exceptions=True
        )
        made = [result for result in results if not isinstance(result, BaseException)]
        assert len(made) == 1
        assert [type(result) for result in results if isinstance(result, BaseException)] == [FunctionExists] * 2
        assert all(store.resolve(*HERE) == made[0] for store in stores)

    asyncio.run(run())
