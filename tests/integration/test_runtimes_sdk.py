"""The JavaScript SDK's way into the cache, with a stand-in for npm: the tests reach no registry."""

import asyncio
import os
from pathlib import Path

import pytest
import uvloop

from lambent.clock import FixedClock
from lambent.runtimes.contract import Family
from lambent.runtimes.sdk import GUESTS, Sdk, SdkState
from runtimes_fixtures import write_code

NPM = """#!/bin/sh
[ "$1" = ci ] || exit 9
case "$*" in *"--cache $PWD/"*) ;; *) exit 7 ;; esac
[ -f package-lock.json ] || exit 8
mkdir -p node_modules/$(grep -o 'lambent-aws-sdk-v[23]' package.json)
touch node_modules/.package-lock.json
"""


def npm(folder: Path, text: str = NPM) -> list[str]:
    return ["/bin/sh", str(write_code(folder, {"npm": text}) / "npm")]


@pytest.mark.parametrize(("identifier", "inside"), [("nodejs20.x", "node_modules"), ("nodejs16.x", "v2/node_modules")])
def test_sdk_appears_in_the_folder_that_is_mounted_already(tmp_path: Path, identifier: str, inside: str) -> None:
    async def body() -> None:
        sdk = Sdk(tmp_path / "cache", (), FixedClock(), npm=npm(tmp_path))
        node = sdk.prepare()[Family.NODE]
        mounted = (node / inside).parent
        # ES modules find the SDK through a mount of this very folder.
        identity = (node / inside).stat().st_ino
        assert list((node / inside).iterdir()) == []
        sdk.want(identifier)
        assert sdk.state(identifier) is SdkState.FETCHING
        assert await sdk.wait(identifier) is SdkState.READY
        version = "v3" if identifier == "nodejs20.x" else "v2"
        assert (mounted / "node_modules" / f"lambent-aws-sdk-{version}").is_dir()
        assert (node / inside).stat().st_ino == identity
        assert sdk.note(identifier) == f"AWS SDK {version}"
        assert not list((tmp_path / "cache").glob(".*"))
        again = Sdk(tmp_path / "cache", (), FixedClock(), npm=["false"])
        again.prepare()
        assert again.state(identifier) is SdkState.READY

    asyncio.run(body())


def test_failure_is_a_state_with_its_reason_and_is_tried_again_later(tmp_path: Path) -> None:
    async def body() -> None:
        clock = FixedClock()
        sdk = Sdk(tmp_path / "cache", (), clock, npm=npm(tmp_path, "echo no network; exit 1\n"))
        sdk.prepare()
        sdk.want("nodejs20.x")
        assert await sdk.wait("nodejs20.x") is SdkState.FAILED
        assert sdk.note("nodejs20.x") == "AWS SDK v3 could not be fetched: npm ended with 1: no network"
        sdk.want("nodejs20.x")
        assert sdk.state("nodejs20.x") is SdkState.FAILED
        npm(tmp_path)
        clock.advance(3600)
        sdk.want("nodejs20.x")
        assert await sdk.wait("nodejs20.x") is SdkState.READY

    asyncio.run(body())


def test_fetch_works_on_the_platforms_event_loop_and_makes_files_that_sandboxes_can_read(tmp_path: Path) -> None:
    async def body() -> None:
        sdk = Sdk(tmp_path / "cache", (), FixedClock(), npm=npm(tmp_path))
        node = sdk.prepare()[Family.NODE]
        sdk.want("nodejs20.x")
        assert await sdk.wait("nodejs20.x") is SdkState.READY
        assert (node / "node_modules" / "lambent-aws-sdk-v3").stat().st_mode & 0o777 == 0o755

    before = os.umask(0o077)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(body())
    finally:
        os.umask(before)


def test_what_an_interrupted_fetch_left_is_replaced(tmp_path: Path) -> None:
    async def body() -> None:
        sdk = Sdk(tmp_path / "cache", (), FixedClock(), npm=npm(tmp_path))
        modules = sdk.prepare()[Family.NODE] / "node_modules"
        write_code(modules, {"half": "", "lambent-aws-sdk-v3/old": ""})
        sdk.want("nodejs20.x")
        assert await sdk.wait("nodejs20.x") is SdkState.READY
        assert sorted(path.name for path in modules.iterdir()) == [".package-lock.json", "lambent-aws-sdk-v3"]
        assert list((modules / "lambent-aws-sdk-v3").iterdir()) == []

    asyncio.run(body())


def test_npm_that_does_not_exist_is_a_failure(tmp_path: Path) -> None:
    async def body() -> None:
        sdk = Sdk(tmp_path / "cache", (), FixedClock(), npm=[str(tmp_path / "nothing")])
        sdk.prepare()
        sdk.want("nodejs20.x")
        assert await sdk.wait("nodejs20.x") is SdkState.FAILED

    asyncio.run(body())


def test_stop_ends_a_fetch_that_runs(tmp_path: Path) -> None:
    async def body() -> None:
        sdk = Sdk(tmp_path / "cache", (), FixedClock(), npm=npm(tmp_path, "exec sleep 600\n"))
        sdk.prepare()
        sdk.want("nodejs20.x")
        await asyncio.sleep(0)
        await sdk.stop()
        await sdk.stop()
        assert sdk.state("nodejs20.x") is SdkState.ABSENT
        assert not list((tmp_path / "cache").glob(".*"))

    asyncio.run(body())


def test_python_wants_nothing_from_npm(tmp_path: Path) -> None:
    async def body() -> None:
        sdk = Sdk(tmp_path / "cache", (), FixedClock(), npm=["false"])
        sdk.prepare()
        sdk.want("python3.12")
        assert "npm" not in sdk.note("python3.12")
        assert "fetched from npm when" in sdk.note("nodejs20.x")

    asyncio.run(body())


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_lock_file_names_no_registry_and_pins_every_package(version: str) -> None:
    import json

    lock = json.loads((GUESTS / "node" / "sdk" / version / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages
    assert all(entry["version"] and entry["integrity"].startswith("sha512-") for entry in packages.values())
    assert not [name for name, entry in packages.items() if "resolved" in entry]
