"""Cuts what a sandbox prints into log events, without I/O.

Raw output is one event a line. A guest's own log events may have several lines: they come with a mark and their length
through the same pipe, so that the log has the order of writing (`docs/decisions/frames.md`). The mark holds 0xFF, which is in no
UTF-8 text; a function that prints it by chance or on purpose garbles its own log and nothing else.
"""

EVENT_MARK = b"\xffLE\xff"
_HEAD = len(EVENT_MARK) + 4

#: Largest log event, bytes: CloudWatch Logs' 256 KB (PutLogEvents, constraints). Longer lines are cut into several events.
EVENT_MAX = 256 * 1024
#: Guests send longer events in pieces; a larger length is not theirs.
_MARKED_MAX = 1024 * 1024


#: Events from one read. A function that prints more and shorter lines than that gets several of them in one event: every line
#: is kept, and what a flood costs is bounded.
EVENTS_MAX = 1000


class OutputEvents:
    """Feed it bytes; it gives events, each with its line end where one was printed. Holds one line (EVENT_MAX) or one marked
    event at most.
    """

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The events that are complete with these bytes."""
        data = self._rest + data if self._rest else data
        events: list[str] = []
        position = 0
        while (mark := data.find(EVENT_MARK, position)) >= 0:
            self._lines(data[position:mark], events, whole=True)
            position = mark
            end = self._end_of_marked(data, mark)
            if end is None:
                self._rest = data[position:]
                return events
            if end < 0:
                # Not a length that a guest of ours sends: the mark is four bytes of output like any other.
                events.append(_text(EVENT_MARK))
                position = mark + len(EVENT_MARK)
                continue
            _cut(data[mark + _HEAD : end], events)
            position = end
        self._rest = self._lines(data[position:] if position else data, events)
        return events

    def flush(self) -> list[str]:
        """What is left, a line without its end; for when a call has ended."""
        rest, self._rest = self._rest, b""
        if not rest:
            return []
        events: list[str] = []
        _cut(rest, events)
        return events

    def _end_of_marked(self, data: bytes, mark: int) -> int | None:
        """Where the marked event ends; None when it is not all there, -1 when its length is absurd."""
        if len(data) < mark + _HEAD:
            return None
        length = int.from_bytes(data[mark + len(EVENT_MARK) : mark + _HEAD], "big")
        if length > _MARKED_MAX:
            return -1
        end = mark + _HEAD + length
        return end if end <= len(data) else None

    def _lines(self, data: bytes, events: list[str], whole: bool = False) -> bytes:
        """Appends the complete lines; gives back the incomplete rest (with `whole` that is an event too)."""
        if not data:
            return b""
        end = data.rfind(b"\n") + 1
        lines = data[:end].splitlines(keepends=True) if b"\r" not in data else _newlines(data[:end])
        if len(lines) > EVENTS_MAX:
            lines = _together(lines, -(-len(lines) // EVENTS_MAX))
        for line in lines:
            _cut(line, events)
        rest = data[end:]
        if whole:
            _cut(rest, events)
            return b""
        while len(rest) > EVENT_MAX:
            cut = _boundary(rest)
            events.append(_text(rest[:cut]))
            rest = rest[cut:]
        return rest


def _newlines(data: bytes) -> list[bytes]:
    """Split at \\n only: a carriage return inside a line is how runtimes keep several lines in one event."""
    return [line + b"\n" for line in data.split(b"\n")[:-1]]


def _together(lines: list[bytes], count: int) -> list[bytes]:
    return [b"".join(lines[start : start + count]) for start in range(0, len(lines), count)]


def _cut(line: bytes, events: list[str]) -> None:
    while len(line) > EVENT_MAX:
        cut = _boundary(line)
        events.append(_text(line[:cut]))
        line = line[cut:]
    if line:
        events.append(_text(line))


def _boundary(line: bytes) -> int:
    """EVENT_MAX or a little less, so that no character is cut in two."""
    cut = EVENT_MAX
    while cut > EVENT_MAX - 4 and line[cut] & 0xC0 == 0x80:
        cut -= 1
    return cut


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
