"""One suite for the double and for the real state: what `state/contract.py` promises."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from bus_fixtures import running_bus
from lambent.state.contract import AlreadyThere, Conflict, State
from lambent.state.jetstream import JetStreamState
from lambent.state.memory import MemoryState
from lambent.state.schema import KeyTooLong


class Fruit(msgspec.Struct, frozen=True):
    name: str
    seeds: int = 0


@asynccontextmanager
async def _state(kind: str, folder: Path) -> AsyncIterator[State]:
    if kind == "memory":
        yield MemoryState()
        return
    async with running_bus(folder) as bus:
        state = JetStreamState(bus.streams)
        try:
            yield state
        finally:
            await state.stop()


Check = Callable[[Callable[[State], Awaitable[None]]], None]


@pytest.fixture(params=["memory", "jetstream"])
def check(request: pytest.FixtureRequest, tmp_path: Path) -> Check:
    def run(body: Callable[[State], Awaitable[None]]) -> None:
        async def main() -> None:
            async with _state(request.param, tmp_path) as state:
                await body(state)

        asyncio.run(main())

    return run


def test_a_created_record_is_read_back_at_once(check: Check) -> None:
    async def body(state: State) -> None:
        table = await state.table("fruit", Fruit)
        entry = await table.create("a", Fruit("apple", 5))
        assert table.get("a") == entry
        assert entry.record == Fruit("apple", 5)
        assert table.get("b") is None

    check(body)


def test_creating_what_is_there_is_refused(check: Check) -> None:
    async def body(state: State) -> None:
        table = await state.table("fruit", Fruit)
        await table.create("a", Fruit("apple"))
        with pytest.raises(AlreadyThere):
            await table.create("a", Fruit("pear"))
        assert table.get("a").record == Fruit("apple")

    check(body)


def test_replace_needs_the_current_revision(check: Check) -> None:
    async def body(state: State) -> None:
        table = await state.table("fruit", Fruit)
        first = await table.create("a", Fruit("apple", 1))
        second = await table.replace("a", Fruit("apple", 2), first.revision)
        assert second.revision > first.revision
        with pytest.raises(Conflict):
            await table.replace("a", Fruit("apple", 3), first.revision)
        assert table.get("a") == second

    check(body)


def test_replacing_what_is_gone_is_a_conflict(check: Check) -> None:
    async def body(state: State) -> None:
        table = await state.table("fruit", Fruit)
        entry = await table.create("a", Fruit("apple"))
        await table.remove("a")
        with pytest.raises(Conflict):
            await table.replace("a", Fruit("apple"), entry.revision)

    check(body)


def test_put_creates_and_overwrites(check: Check) -> None:
    async def body(state: State) -> None:
        table = await state.table("fruit", Fruit)
        await table.put("a", Fruit("apple"))
        await table.put("a", Fruit("pear"))
        assert table.get("a").record == Fruit("pear")

    check(body)


def test_a_removed_key_can_be_created_again(check: Check) -> None:
    async def body(state: State) -> None:
        table = await state.table("fruit", Fruit)
        for seeds in range(3):
            await table.create("a", Fruit("apple", seeds))
            await table.remove("a")
            assert table.get("a") is None
            assert table.entries() == []
        assert (await table.create("a", Fruit("last"))).record == table.get("a").record

    check(body)


def test_removing_what_is_not_there_is_no_error(check: Check) -> None:
    async def body(state: State) -> None:
        await (await state.table("fruit", Fruit)).remove("nothing")

    check(body)


def test_remove_with_an_old_revision_is_a_conflict(check: Check) -> None:
    async def body(state: State) -> None:
        table = await state.table("fruit", Fruit)
        first = await table.create("a", Fruit("apple"))
        second = await table.put("a", Fruit("pear"))
        with pytest.raises(Conflict):
            await table.remove("a", first.revision)
        await table.remove("a", second.revision)
        assert table.get("a") is None

    check(body)


def test_entries_are_those_with_the_prefix_in_key_order(check: Check) -> None:
    async def body(state: State) -> None:
        table = await state.table("fruit", Fruit)
        for key in ("b/2", "a/1", "b/10", "c", "b"):
            await table.put(key, Fruit(key))
        assert [entry.key for entry in table.entries("b/")] == ["b/10", "b/2"]
        assert [entry.key for entry in table.entries()] == ["a/1", "b", "b/10", "b/2", "c"]

    check(body)


@pytest.mark.parametrize("key", ["", ".", "a.b", "*", ">", "a b", "ü/€/😀", "=", "=41", "x" * 512, "\x00\n\r", "$KV"])
def test_any_text_is_a_key(check: Check, key: str) -> None:
    async def body(state: State) -> None:
        table = await state.table("fruit", Fruit)
        await table.create(key, Fruit("odd"))
        assert table.get(key).key == key
        await table.put(key, Fruit("odder"))
        assert [entry.key for entry in table.entries()] == [key]
        await table.remove(key)
        assert table.entries() == []

    check(body)


def test_a_key_past_512_bytes_is_refused(check: Check) -> None:
    async def body(state: State) -> None:
        table = await state.table("fruit", Fruit)
        with pytest.raises(KeyTooLong):
            await table.put("ü" * 257, Fruit("long"))

    check(body)


def test_subscribers_hear_own_writes_in_order_and_nothing_from_before(check: Check) -> None:
    async def body(state: State) -> None:
        table = await state.table("fruit", Fruit)
        await table.put("old", Fruit("old"))
        heard: list[tuple[str, Fruit | None]] = []
        table.subscribe(lambda key, record: heard.append((key, record)))
        await table.put("a", Fruit("apple", 1))
        await table.put("a", Fruit("apple", 2))
        await table.remove("a")
        await asyncio.sleep(0.05)
        assert heard == [("a", Fruit("apple", 1)), ("a", Fruit("apple", 2)), ("a", None)]

    check(body)


def test_of_many_concurrent_creates_exactly_one_wins(check: Check) -> None:
    async def body(state: State) -> None:
        table = await state.table("fruit", Fruit)
        outcomes = await asyncio.gather(
            *(table.create("a", Fruit("apple", n)) for n in range(20)), return_exceptions=True
        )
        winners = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
        assert len(winners) == 1
        assert all(isinstance(outcome, AlreadyThere) for outcome in outcomes if isinstance(outcome, Exception))
        assert table.get("a") == winners[0]

    check(body)


def test_tables_do_not_see_each_other(check: Check) -> None:
    async def body(state: State) -> None:
        one, two = await state.table("one", Fruit), await state.table("two", Fruit)
        await one.put("a", Fruit("apple"))
        assert two.get("a") is None
        assert await state.table("one", Fruit) is one

    check(body)


@pytest.mark.parametrize("size", [0, 1, 1024 * 1024, 1024 * 1024 + 1, 3_300_000])
def test_a_blob_comes_back_by_its_digest(check: Check, size: int) -> None:
    async def body(state: State) -> None:
        blobs = await state.blobs("code")
        data = (hashlib.sha256(b"seed").digest() * (size // 32 + 1))[:size]
        digest = await blobs.put(data)
        assert digest == hashlib.sha256(data).hexdigest()
        assert await blobs.put(data) == digest
        assert await blobs.get(digest) == data

    check(body)


def test_a_removed_blob_is_gone_and_can_be_stored_again(check: Check) -> None:
    async def body(state: State) -> None:
        blobs = await state.blobs("code")
        digest = await blobs.put(b"code")
        await blobs.remove(digest)
        await blobs.remove(digest)
        assert await blobs.get(digest) is None
        await blobs.put(b"code")
        assert await blobs.get(digest) == b"code"

    check(body)


def test_an_unknown_blob_is_none(check: Check) -> None:
    async def body(state: State) -> None:
        assert await (await state.blobs("code")).get("0" * 64) is None

    check(body)
