"""What the tests of functions and services share: zips, settings, and a store over in-memory state."""

import io
import stat
import zipfile
from pathlib import Path

from lambent.clock import Clock, FixedClock
from lambent.functions.code import CodeStore
from lambent.functions.package import PackageLimits
from lambent.functions.records import FunctionVersion
from lambent.functions.store import FunctionStore
from lambent.ids import Ids
from lambent.settings import Settings, load
from lambent.state.memory import MemoryState

ACCOUNT, REGION = "123456789012", "us-east-1"
LIMITS = PackageLimits(zip_bytes=1024 * 1024, unzipped_bytes=4 * 1024 * 1024, files=100)


def zip_of(
    files: dict[str, bytes | str], modes: dict[str, int] | None = None, method: int = zipfile.ZIP_DEFLATED
) -> bytes:
    """A zip of `files`; `modes` gives the whole st_mode where it matters."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, (2024, 1, 2, 3, 4, 6))
            info.compress_type = method
            info.create_system = 3
            info.external_attr = (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def hello_zip(text: str = "hello") -> bytes:
    return zip_of({"app.py": f"def handler(event, context):\n    return {text!r}\n"})


def settings(tmp_path: Path, **changes: object) -> Settings:
    return load({"data_dir": str(tmp_path), **changes}, environment={})


async def code_store(tmp_path: Path, state: MemoryState, clock: Clock, **changes: object) -> CodeStore:
    code = CodeStore(await state.blobs("code"), tmp_path / "code", settings(tmp_path, **changes), clock)
    await code.open()
    return code


async def function_store(
    tmp_path: Path, state: MemoryState | None = None, clock: Clock | None = None, **changes: object
) -> FunctionStore:
    state, clock = state or MemoryState(), clock or FixedClock()
    return await FunctionStore.open(state, await code_store(tmp_path, state, clock, **changes), clock, Ids())


def a_version(name: str = "hello", **changes: object) -> FunctionVersion:
    fields: dict[str, object] = {
        "account": ACCOUNT,
        "region": REGION,
        "name": name,
        "runtime": "python3.12",
        "handler": "app.handler",
        "role": f"arn:aws:iam::{ACCOUNT}:role/x",
        "code_digest": "0" * 64,
        "code_size": 100,
        "revision_id": "",
        "last_modified_ms": 0,
        "log_group": f"/aws/lambda/{name}",
    }
    return FunctionVersion(**{**fields, **changes})  # type: ignore[arg-type]
