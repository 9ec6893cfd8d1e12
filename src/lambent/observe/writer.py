"""The hot path of logging: `write` appends to a list; a flush a moment later makes one stored message of it."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from lambent.bus.tasks import end_task
from lambent.clock import Clock
from lambent.errors import NotReady
from lambent.observe.faults import NotAllStored

_log = logging.getLogger("lambent.observe")

#: An event waits at most about this long in memory. On a crash of the node this much is lost (AWS loses more).
FLUSH_INTERVAL_S = 0.15
#: Flushing takes at most about a fifth of the time: with very many active streams the interval grows.
_FLUSH_SHARE = 4
#: Buffered bytes that make the next flush come at once.
_URGENT_BYTES = 1024 * 1024
#: Streams that are written at once.
_CONCURRENT_STREAMS = 64
#: Largest event, characters; longer ones are cut (AWS: 1 MB per event, and a batch must fit a message).
EVENT_CHARACTERS_MAX = 192 * 1024
#: What an event costs beside its text, as PutLogEvents counts it.
EVENT_OVERHEAD_BYTES = 26
_STOP_TIMEOUT_S = 5.0

Events = list[tuple[int, str]]

#: (account, group, stream, events): stores them in order. Raises `NotReady` (none stored) or `NotAllStored`.
Append = Callable[[str, str, str, Events], Awaitable[None]]


class LogWriter:
    """Writes to one stream. Cheap to make; needs no closing."""

    __slots__ = ("_buffer", "_events", "_size", "account", "dropped", "group", "stream")

    def __init__(self, buffer: "LogBuffer", account: str, group: str, stream: str) -> None:
        self._buffer = buffer
        self._events: Events = []
        self._size = 0
        self.account = account
        self.group = group
        self.stream = stream
        #: Events that found the buffer full since the last flush.
        self.dropped = 0

    def write(self, message: str, timestamp_ms: int) -> None:
        """Takes one event (`message` with its line end). Never blocks; drops and counts when the buffer is full."""
        buffer = self._buffer
        size = len(message) + EVENT_OVERHEAD_BYTES
        if size > EVENT_CHARACTERS_MAX or buffer.size + size > buffer.size_max:
            self._write_unusual(message, timestamp_ms)
            return
        buffer.size += size
        self._size += size
        if not self._events:
            buffer.note(self)
        self._events.append((timestamp_ms, message))

    def _write_unusual(self, message: str, timestamp_ms: int) -> None:
        if len(message) > EVENT_CHARACTERS_MAX - EVENT_OVERHEAD_BYTES:
            cut = message[: EVENT_CHARACTERS_MAX - EVENT_OVERHEAD_BYTES - 1] + "\n"
            if self._buffer.size + EVENT_CHARACTERS_MAX <= self._buffer.size_max:
                self.write(cut, timestamp_ms)
                return
        self.dropped += 1
        self._buffer.note(self)

    def take(self, now_ms: int) -> tuple[Events, int]:
        """The waiting events and their size; with a line about what was dropped."""
        events, size = self._events, self._size
        self._events, self._size = [], 0
        if self.dropped:
            events.append((now_ms, f"[lambent] {self.dropped} log events were dropped: the log buffer was full\n"))
            self.dropped = 0
        return events, size

    def give_back(self, events: Events, size: int) -> None:
        """What could not be stored goes before what was written meanwhile."""
        self._events = events + self._events
        self._size += size
        self._buffer.note(self)


class LogBuffer:
    """All that waits on this node, bounded together. `start` and `stop` own the flushing task."""

    def __init__(self, append: Append, clock: Clock, size_max: int) -> None:
        self._append = append
        self._clock = clock
        self.size_max = size_max
        #: Bytes that wait, those being stored included.
        self.size = 0
        self._dirty: dict[LogWriter, None] = {}
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="log buffer")

    async def stop(self) -> None:
        """Stores what waits, within a bound; what cannot be stored is counted in the platform's log."""
        if self._task is not None:
            # Between two flushes, if the bus lets the current one end in time.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.flush(), _STOP_TIMEOUT_S)
            await end_task(self._task)
            self._task = None
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.flush(), _STOP_TIMEOUT_S)
        lost = sum(len(writer.take(0)[0]) for writer in self._dirty)
        if lost:
            _log.error("%d log events were lost: the bus did not take them before the stop", lost)

    def note(self, writer: LogWriter) -> None:
        """`writer` has something to flush."""
        self._dirty[writer] = None
        self._wake.set()
        if self.size > _URGENT_BYTES:
            self._urgent.set()

    async def flush(self) -> None:
        """Returns when all that was written before the call is stored, or was given back because the bus is gone."""
        async with self._flushing:
            writers = list(self._dirty)
            self._dirty.clear()
            for start in range(0, len(writers), _CONCURRENT_STREAMS):
                await asyncio.gather(*map(self._flush_one, writers[start : start + _CONCURRENT_STREAMS]))

    async def _flush_one(self, writer: LogWriter) -> None:
        events, size = writer.take(self._clock.now_ms())
        if not events:
            return
        try:
            await self._append(writer.account, writer.group, writer.stream, events)
        except NotReady as error:
            _log.warning("log events of %s wait: %s", writer.group, error)
            done = error.stored if isinstance(error, NotAllStored) else 0
            gone = sum(len(message) + EVENT_OVERHEAD_BYTES for _, message in events[:done])
            self.size -= gone
            writer.give_back(events[done:], size - gone)
        except asyncio.CancelledError:
            writer.give_back(events, size)
            raise
        except Exception:
            # Not the bus: these events would fail again, and hold up the others.
            _log.exception("%d log events of %s could not be stored", len(events), writer.group)
            self.size -= size
        else:
            self.size -= size

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s = FLUSH_INTERVAL_S
        while True:
            await self._wake.wait()
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._urgent.wait(), pause_s)
            self._urgent.clear()
            started = loop.time()
            await self.flush()
            pause_s = max(FLUSH_INTERVAL_S, _FLUSH_SHARE * (loop.time() - started))
