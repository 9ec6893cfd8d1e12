"""What only the real state can show: two nodes, restarts, a lost bus, records of other versions."""

import asyncio
import os
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from bus_fixtures import running_bus
from lambent.bus.bus import Bus
from lambent.bus.connection import Connection
from lambent.bus.streams import Streams
from lambent.bus.subjects import kv_key, object_chunks, object_stream
from lambent.state.blobs import BlobDamaged
from lambent.state.contract import AlreadyThere, Conflict, StateUnavailable
from lambent.state.jetstream import JetStreamState
from lambent.state.schema import UnreadableRecord


class Fruit(msgspec.Struct, frozen=True):
    name: str
    seeds: int = 0


class Renamed(msgspec.Struct, frozen=True):
    SCHEMA: ClassVar[int] = 2
    title: str

    @staticmethod
    def upgrade(schema: int, fields: dict[str, Any]) -> dict[str, Any]:
        assert schema == 1
        return {"title": fields["name"].upper()}


async def _second_node(bus: Bus) -> tuple[Connection, JetStreamState]:
    assert bus.server is not None
    connection = Connection("second")
    await connection.open([bus.server.url], *bus.server.credential)
    return connection, JetStreamState(Streams(connection))


async def _until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


def test_records_and_blobs_survive_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path) as bus:
            state = JetStreamState(bus.streams)
            table = await state.table("fruit", Fruit)
            for n in range(100):
                await table.put(f"k{n:03}", Fruit("apple", n))
            await table.remove("k050")
            digest = await (await state.blobs("code")).put(b"code" * 500_000)
            await state.stop()
        async with running_bus(tmp_path) as bus:
            state = JetStreamState(bus.streams)
            table = await state.table("fruit", Fruit)
            assert [entry.record.seeds for entry in table.entries()] == [n for n in range(100) if n != 50]
            assert await (await state.blobs("code")).get(digest) == b"code" * 500_000
            entry = table.get("k001")
            assert entry is not None
            await table.replace("k001", Fruit("pear"), entry.revision)
            await state.stop()

    asyncio.run(main())


def test_a_second_node_follows_and_conflicts_are_seen_across_nodes(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path) as bus:
            state = JetStreamState(bus.streams)
            connection, other = await _second_node(bus)
            here, there = await state.table("fruit", Fruit), await other.table("fruit", Fruit)
            heard: list[tuple[str, Fruit | None]] = []
            there.subscribe(lambda key, record: heard.append((key, record)))
            first = await here.create("a", Fruit("apple"))
            await _until(lambda: there.get("a") is not None)
            second = await there.replace("a", Fruit("pear"), first.revision)
            with pytest.raises(Conflict):
                await here.replace("a", Fruit("plum"), first.revision)
            with pytest.raises(AlreadyThere):
                await here.create("a", Fruit("plum"))
            await _until(lambda: here.get("a") == second)
            await here.remove("a")
            await _until(lambda: there.get("a") is None)
            assert heard == [("a", Fruit("apple")), ("a", Fruit("pear")), ("a", None)]
            await other.stop()
            await connection.close()
            await state.stop()

    asyncio.run(main())


def test_of_creates_on_two_nodes_exactly_one_wins(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path) as bus:
            state = JetStreamState(bus.streams)
            connection, other = await _second_node(bus)
            tables = [await state.table("fruit", Fruit), await other.table("fruit", Fruit)]
            for round_number in range(20):
                key = f"k{round_number % 3}"
                outcomes = await asyncio.gather(
                    *(table.create(key, Fruit(str(index))) for index, table in enumerate(tables)),
                    return_exceptions=True,
                )
                assert sorted(type(outcome).__name__ for outcome in outcomes) == ["AlreadyThere", "Entry"]
                await tables[0].remove(key)
                await _until(lambda key=key: tables[0].get(key) is None and tables[1].get(key) is None)
            await other.stop()
            await connection.close()
            await state.stop()

    asyncio.run(main())


def test_the_mirror_catches_up_after_the_server_was_killed(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path, relaxed_durability=False) as bus:
            assert bus.server is not None and bus.server._process is not None
            state = JetStreamState(bus.streams)
            connection, other = await _second_node(bus)
            here, there = await state.table("fruit", Fruit), await other.table("fruit", Fruit)
            await here.put("stays", Fruit("apple"))
            await here.put("goes", Fruit("apple"))
            bus.server._process.kill()
            for write in (lambda: here.put("new", Fruit("pear")), lambda: here.remove("goes")):
                async with asyncio.timeout(30):
                    while True:
                        try:
                            await write()
                            break
                        except StateUnavailable:
                            await asyncio.sleep(0.01)
            await _until(lambda: [entry.key for entry in there.entries()] == ["new", "stays"])
            await here.put("later", Fruit("plum"))
            await _until(lambda: there.get("later") is not None)
            await other.stop()
            await connection.close()
            await state.stop()

    asyncio.run(main())


def test_without_a_bus_writes_fail_within_their_bound_and_reads_go_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path) as bus:
            streams = Streams(bus.own, timeout_s=0.3)
            state = JetStreamState(streams)
            table = await state.table("fruit", Fruit)
            blobs = await state.blobs("code")
            await table.put("a", Fruit("apple"))
            assert bus.server is not None
            await bus.server.stop()
            with pytest.raises(StateUnavailable):
                await table.put("b", Fruit("pear"))
            with pytest.raises(StateUnavailable):
                await table.create("c", Fruit("pear"))
            with pytest.raises(StateUnavailable):
                await table.remove("a")
            with pytest.raises(StateUnavailable):
                await blobs.get("0" * 64)
            entry = table.get("a")
            assert entry is not None and entry.record == Fruit("apple")
            await state.stop()

    asyncio.run(main())


def test_older_records_are_upgraded_and_newer_ones_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path) as bus:
            state = JetStreamState(bus.streams)
            await (await state.table("fruit", Fruit)).put("a", Fruit("apple"))
            await state.stop()
            renamed = JetStreamState(bus.streams)
            table = await renamed.table("fruit", Renamed)
            assert table.entries()[0].record == Renamed("APPLE")
            await table.put("a", Renamed("apple"))
            await renamed.stop()
            old = JetStreamState(bus.streams)
            with pytest.raises(UnreadableRecord, match=r"schema 2.*newer version"):
                await old.table("fruit", Fruit)

    asyncio.run(main())


def test_a_damaged_record_stops_the_opening_and_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path) as bus:
            state = JetStreamState(bus.streams)
            await (await state.table("fruit", Fruit)).put("a", Fruit("apple"))
            await state.stop()
            await bus.streams.publish(kv_key("fruit", "b"), b"no json")
            with pytest.raises(UnreadableRecord, match="record 'b' of table fruit is damaged"):
                await JetStreamState(bus.streams).table("fruit", Fruit)

    asyncio.run(main())


def test_a_blob_whose_chunks_were_tampered_with_is_not_given_out(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path) as bus:
            state = JetStreamState(bus.streams)
            blobs = await state.blobs("code")
            digest = await blobs.put(b"code")
            meta = await bus.streams.batch(object_stream("code"), {"seq": 2, "next_by_subj": ">", "batch": 1})
            nuid = msgspec.json.decode(meta[0].data)["nuid"]
            await bus.streams.api(
                f"$JS.API.STREAM.PURGE.{object_stream('code')}", {"filter": object_chunks("code", nuid)}
            )
            await bus.streams.publish(object_chunks("code", nuid), b"evil")
            with pytest.raises(BlobDamaged):
                await blobs.get(digest)

    asyncio.run(main())


def test_nats_own_client_reads_what_is_stored(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path) as bus:
            state = JetStreamState(bus.streams)
            await (await state.table("fruit", Fruit)).put("a", Fruit("apple", 3))
            data = os.urandom(2_000_000)
            digest = await (await state.blobs("code")).put(data)
            context = bus.own.client.jetstream()
            value = await (await context.key_value("lambent_fruit")).get("a")
            assert msgspec.json.decode(value.value or b"") == {"schema": 1, "record": {"name": "apple", "seeds": 3}}
            found = await (await context.object_store("lambent_code")).get(digest)
            assert found.data == data
            await state.stop()

    asyncio.run(main())


def test_a_large_table_loads_whole(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path) as bus:
            state = JetStreamState(bus.streams)
            table = await state.table("fruit", Fruit)
            for start in range(0, 5000, 500):
                await asyncio.gather(*(table.put(f"{n:05}", Fruit("x" * 500, n)) for n in range(start, start + 500)))
            await state.stop()
            again = JetStreamState(bus.streams)
            assert len((await again.table("fruit", Fruit)).entries()) == 5000
            await again.stop()

    asyncio.run(main())
