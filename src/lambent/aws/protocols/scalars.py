"""Scalars as text, for headers, query strings, forms and XML; and the three formats of timestamps.

Formats: "Timestamp serialization and deserialization" of the Smithy specification. Output has milliseconds where there are any,
as AWS gives them, and never more.
"""

import base64
import binascii
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from lambent.aws.models import Shape
from lambent.aws.protocols.contract import Malformed, WrongOutput

ReadText = Callable[[str], Any]
WriteText = Callable[[Any], str]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: Ranges by type; past them AWS's parsers refuse rather than wrap.
INTEGER_RANGES = {"integer": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}
#: Digits of an integer in text that are looked at; the longest allowed has 20 with its sign.
_DIGITS_MAX = 20


def timestamp_from_number(value: float) -> datetime:
    """From Unix seconds."""
    try:
        return _EPOCH + timedelta(seconds=value)
    except (OverflowError, ValueError) as error:
        raise Malformed(f"the number {value!r} is not a timestamp") from error


def timestamp_from_epoch_text(text: str) -> datetime:
    try:
        return timestamp_from_number(float(text))
    except ValueError as error:
        raise Malformed(f"'{text[:64]}' is not a timestamp in Unix seconds") from error


def timestamp_from_iso8601(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Malformed(f"'{text[:64]}' is not an ISO 8601 timestamp") from error
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise Malformed(f"'{text[:64]}' is out of the range of timestamps") from error


def timestamp_from_rfc822(text: str) -> datetime:
    try:
        _, day, month, year, clock, zone = text.split(" ")
        hours, minutes, seconds = clock.split(":")
        whole = float(seconds)
        moment = datetime(int(year), _MONTHS.index(month) + 1, int(day), int(hours), int(minutes), tzinfo=_zone(zone))
        return (moment + timedelta(seconds=whole)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Malformed(f"'{text[:64]}' is not an RFC 822 timestamp") from error


def _zone(text: str) -> timezone:
    if text in ("GMT", "UTC", "Z"):
        return UTC
    sign = {"+": 1, "-": -1}[text[0]] if text[:1] in ("+", "-") and len(text) == 5 else 0
    if not sign:
        raise ValueError(text)
    return timezone(sign * timedelta(hours=int(text[1:3]), minutes=int(text[3:5])))


def timestamp_to_number(value: datetime) -> float:
    """Unix seconds, a whole number where there are no milliseconds."""
    milliseconds = (_utc(value) - _EPOCH) // timedelta(milliseconds=1)
    return milliseconds // 1000 if milliseconds % 1000 == 0 else milliseconds / 1000


def timestamp_to_iso8601(value: datetime) -> str:
    moment = _utc(value)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S") if moment.year >= 1000 else moment.isoformat()[:19]
    milliseconds = moment.microsecond // 1000
    return f"{text}.{milliseconds:03d}Z" if milliseconds else f"{text}Z"


def timestamp_to_rfc822(value: datetime) -> str:
    moment = _utc(value)
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day:02d} {_MONTHS[moment.month - 1]} {moment.year:04d}"
        f" {moment.hour:02d}:{moment.minute:02d}:{moment.second:02d} GMT"
    )


def _utc(value: Any) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise WrongOutput(f"a timestamp must be a datetime with a time zone, not {value!r}")
    return value.astimezone(UTC)


TIMESTAMP_READERS: dict[str, ReadText] = {
    "unixtimestamp": timestamp_from_epoch_text,
    "iso8601": timestamp_from_iso8601,
    "rfc822": timestamp_from_rfc822,
}
TIMESTAMP_WRITERS: dict[str, WriteText] = {
    "unixtimestamp": lambda value: str(timestamp_to_number(value)),
    "iso8601": timestamp_to_iso8601,
    "rfc822": timestamp_to_rfc822,
}


def blob_from_base64(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed("a blob is not in base64") from error


def blob_to_base64(value: Any) -> str:
    if isinstance(value, str):
        value = value.encode()
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise WrongOutput(f"a blob must be bytes, not {value!r}")
    return base64.b64encode(value).decode()


def boolean_from_text(text: str) -> bool:
    if text in ("true", "True"):
        return True
    if text in ("false", "False"):
        return False
    raise Malformed(f"'{text[:64]}' is not a boolean, which is 'true' or 'false'")


def float_from_text(text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise Malformed(f"'{text[:64]}' is not a number") from error
    if not math.isfinite(value) and text not in ("NaN", "Infinity", "-Infinity"):
        raise Malformed(f"'{text[:64]}' is not a number")
    return value


def float_to_text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise WrongOutput(f"expected a number, not {value!r}")
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return str(value)


def integer_reader(kind: str) -> ReadText:
    low, high = INTEGER_RANGES[kind]

    def read(text: str) -> int:
        digits = text[1:] if text[:1] in ("-", "+") else text
        if not digits.isascii() or not digits.isdigit() or len(text) > _DIGITS_MAX:
            raise Malformed(f"'{text[:64]}' is not an integer")
        value = int(text)
        if not low <= value <= high:
            raise Malformed(f"'{text}' is out of the range of {kind}s")
        return value

    return read


def integer_to_text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        raise WrongOutput(f"expected an integer, not {value!r}")
    return str(value)


def boolean_to_text(value: Any) -> str:
    if not isinstance(value, bool):
        raise WrongOutput(f"expected a boolean, not {value!r}")
    return "true" if value else "false"


def string_to_text(value: Any) -> str:
    if not isinstance(value, str):
        raise WrongOutput(f"expected a text, not {value!r}")
    return str(value)


def text_reader(shape: Shape, timestamp_format: str) -> ReadText:
    """Reads a scalar from text. `timestamp_format` is the place's default."""
    match shape.type:
        case "string" | "character":
            return str
        case "integer" | "long":
            return integer_reader(shape.type)
        case "float" | "double":
            return float_from_text
        case "boolean":
            return boolean_from_text
        case "blob":
            return blob_from_base64
        case "timestamp":
            return TIMESTAMP_READERS[(shape.timestamp_format or timestamp_format).lower()]
    raise TypeError(f"{shape.name}: a {shape.type} is not a scalar")


def text_writer(shape: Shape, timestamp_format: str) -> WriteText:
    """Writes a scalar as text. `timestamp_format` is the place's default."""
    match shape.type:
        case "string" | "character":
            return string_to_text
        case "integer" | "long":
            return integer_to_text
        case "float" | "double":
            return float_to_text
        case "boolean":
            return boolean_to_text
        case "blob":
            return blob_to_base64
        case "timestamp":
            return TIMESTAMP_WRITERS[(shape.timestamp_format or timestamp_format).lower()]
    raise TypeError(f"{shape.name}: a {shape.type} is not a scalar")
