"""The platform's own log: lines on stderr, as text for people or as JSON for collectors; quiet unless something is wrong."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

#: Longest message of one line, characters; a longer one is cut.
_MESSAGE_CHARACTERS_MAX = 8192
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def set_up(verbosity: int = 0, as_json: bool = False, stream: TextIO | None = None) -> None:
    """`verbosity` 0 shows warnings and errors, 1 what happens, 2 everything. Replaces an earlier set-up."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if as_json else TextLines())
    root = logging.getLogger("lambent")
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel({0: logging.WARNING, 1: logging.INFO}.get(verbosity, logging.DEBUG))
    root.propagate = False


class TextLines(logging.Formatter):
    """`12:34:56.789 WARNING bus: nats-server ended` with `name=value` for what was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]
        room = record.name.removeprefix("lambent.")
        extra = "".join(f" {name}={value}" for name, value in _extra(record).items())
        text = f"{moment} {record.levelname} {room}: {_message(record)}{extra}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class JsonLines(logging.Formatter):
    """One JSON object per line: `time` (RFC 3339, UTC), `level`, `room`, `message`, what was given as `extra`, `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname,
            "room": record.name.removeprefix("lambent."),
            "message": _message(record),
            **_extra(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _message(record: logging.LogRecord) -> str:
    """On one line, so that what an outsider sends cannot look like a line of its own."""
    text = record.getMessage().replace("\n", "\\n").replace("\r", "\\r")
    return text if len(text) <= _MESSAGE_CHARACTERS_MAX else text[:_MESSAGE_CHARACTERS_MAX] + "…"


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}
