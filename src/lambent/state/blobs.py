"""Blobs in an object store (NATS ADR-20: chunks, then a description), named by their SHA-256.

Writing keeps several chunks in flight. Reading asks for all chunks in batch direct gets instead of a consumer: see
docs/decisions/state-on-jetstream.md for the figures.
"""

import asyncio
import base64
import hashlib
import json
import secrets
import time
from typing import Any

from lambent.bus.faults import BusUnavailable, JetStreamError
from lambent.bus.streams import DIRECT_BATCH_MAX, StreamConfig, Streams
from lambent.bus.subjects import js_api, object_chunks, object_meta, object_store, object_stream
from lambent.errors import LambentError
from lambent.state.contract import StateUnavailable

#: Chunk size: the server writes and syncs each message, and both clients handle each one in Python.
_CHUNK_BYTES = 512 * 1024
#: Room for the protocol line and headers below the server's largest message.
_HEADROOM_BYTES = 4096
_CHUNKS_IN_FLIGHT = 8
#: Bytes asked for in one direct get; bounds what the server queues for this connection (its max_pending).
_BATCH_BYTES = 16 * 1024 * 1024


def _description(stream: str, digest: str, nuid: str, size: int, chunks: int, chunk_bytes: int) -> dict[str, Any]:
    """The description of an object in the form of ADR-20."""
    return {
        "name": digest,
        "bucket": stream.removeprefix("OBJ_"),
        "nuid": nuid,
        "size": size,
        "chunks": chunks,
        "mtime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "digest": "SHA-256=" + base64.urlsafe_b64encode(bytes.fromhex(digest)).decode(),
        "options": {"max_chunk_size": chunk_bytes},
    }


class BlobDamaged(LambentError):
    """What is stored does not have the digest that names it."""


class JetStreamBlobs:
    """Implements `Blobs`."""

    def __init__(self, name: str, streams: Streams) -> None:
        self._name = name
        self._streams = streams
        self._stream = object_stream(name)

    async def open(self, replicas: int) -> None:
        options = {
            "discard": "new",
            "storage": "file",
            "num_replicas": replicas,
            "allow_rollup_hdrs": True,
            "allow_direct": True,
        }
        await self._streams.ensure(StreamConfig(self._stream, object_store(self._name), options))

    async def put(self, data: bytes) -> str:
        digest = (await asyncio.to_thread(hashlib.sha256, data)).hexdigest()
        try:
            if await self._description(digest) is None:
                await self._store(digest, data)
        except (BusUnavailable, JetStreamError) as error:
            raise StateUnavailable(f"blob store {self._name} did not confirm the write: {error}") from error
        return digest

    async def get(self, digest: str) -> bytes | None:
        """Raises `BlobDamaged`, `StateUnavailable`."""
        try:
            description = await self._description(digest)
            if description is None:
                return None
            data = await self._chunks(str(description["nuid"]), int(description["chunks"]))
        except (BusUnavailable, JetStreamError) as error:
            raise StateUnavailable(f"blob store {self._name} did not answer: {error}") from error
        if (await asyncio.to_thread(hashlib.sha256, data)).hexdigest() != digest:
            if await self._description(digest) is None:
                return None
            raise BlobDamaged(f"blob {digest} of {self._name} is damaged: its content has another digest")
        return data

    async def remove(self, digest: str) -> None:
        try:
            description = await self._description(digest)
            if description is None:
                return
            marker = {**description, "deleted": True, "size": 0, "chunks": 0, "digest": ""}
            await self._describe(digest, marker)
            await self._purge(str(description["nuid"]))
        except (BusUnavailable, JetStreamError) as error:
            raise StateUnavailable(f"blob store {self._name} did not confirm the removal: {error}") from error

    async def _store(self, digest: str, data: bytes) -> None:
        """Chunks first, then the description that makes them an object; chunks without one are taken back."""
        nuid = secrets.token_hex(11)
        size = min(_CHUNK_BYTES, self._streams.connection.payload_bytes_max - _HEADROOM_BYTES)
        view = memoryview(data)
        chunks = [view[start : start + size] for start in range(0, len(data), size)]
        try:
            await self._publish_chunks(object_chunks(self._name, nuid), chunks)
            await self._describe(digest, _description(self._stream, digest, nuid, len(data), len(chunks), size))
        except BaseException:
            # When the bus is gone this fails as well; the first error is the one to tell.
            await asyncio.gather(self._purge(nuid), return_exceptions=True)
            raise

    async def _publish_chunks(self, subject: str, chunks: list[memoryview]) -> None:
        last = 0
        for start in range(0, len(chunks), _CHUNKS_IN_FLIGHT):
            window = (
                self._streams.publish(subject, bytes(chunk)) for chunk in chunks[start : start + _CHUNKS_IN_FLIGHT]
            )
            for outcome in await asyncio.gather(*window, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome
                if outcome <= last:
                    # A repeated publish (no leader for a moment) overtook its successor.
                    raise BusUnavailable("chunks were stored out of order")
                last = outcome

    async def _description(self, digest: str) -> dict[str, Any] | None:
        last = await self._streams.last(self._stream, object_meta(self._name, digest))
        if last is None:
            return None
        description: dict[str, Any] = json.loads(last.data)
        return None if description.get("deleted") else description

    async def _describe(self, digest: str, description: dict[str, Any]) -> None:
        await self._streams.publish(
            object_meta(self._name, digest), json.dumps(description).encode(), {"Nats-Rollup": "sub"}
        )

    async def _chunks(self, nuid: str, count: int) -> bytes:
        subject, sequence = object_chunks(self._name, nuid), 1
        parts: list[bytes] = []
        while len(parts) < count:
            request = {"seq": sequence, "next_by_subj": subject, "batch": DIRECT_BATCH_MAX, "max_bytes": _BATCH_BYTES}
            found = await self._streams.batch(self._stream, request)
            if not found:
                break
            parts.extend(stored.data for stored in found)
            sequence = found[-1].sequence + 1
        return b"".join(parts)

    async def _purge(self, nuid: str) -> None:
        request = {"filter": object_chunks(self._name, nuid)}
        await self._streams.api(js_api("STREAM.PURGE", self._stream), request)
