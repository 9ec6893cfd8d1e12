"""Every subject and stream name that Lambent uses, as functions: the form that is published and the form that is subscribed.

Names of people's things (groups, functions, table keys) enter a subject as one token through `token`, which is reversible.
"""

import base64
import re

#: First token of Lambent's own subjects.
ROOT = "lambent"

_PLAIN = re.compile(r"[A-Za-z0-9_/-]+")
_ESCAPE = re.compile(rb"[^A-Za-z0-9_/-]")
_UNESCAPE = re.compile(rb"=([0-9A-F]{2})")

#: First tokens that belong to NATS or to Lambent: system, JetStream, key-value, object store, inboxes, request-reply inboxes.
_RESERVED_FIRST = frozenset(
    {"$SYS", "$JS", "$KV", "$O", "$SRV", "$NRG", "$JSC", "$MQTT", "$G", "_INBOX", "_R_", "_GR_", ROOT}
)


def token(text: str) -> str:
    """Any text as one token that key-value keys also allow: `=` and two hex digits for each other byte; empty text is `=`."""
    if _PLAIN.fullmatch(text):
        return text
    if not text:
        return "="
    return _ESCAPE.sub(lambda m: b"=%02X" % m[0][0], text.encode()).decode()


def untoken(text: str) -> str:
    """The reverse of `token`."""
    if text == "=":
        return ""
    return _UNESCAPE.sub(lambda m: bytes([int(m[1], 16)]), text.encode()).decode()


def is_reserved(subject: str) -> bool:
    """Whether a subject that an outsider names would reach NATS's or Lambent's own: those first tokens, every other token
    that starts with `$`, and a wildcard in their place (which would match them).
    """
    first = subject.split(".", 1)[0]
    return first in _RESERVED_FIRST or first.startswith("$") or first in ("*", ">")


#: First tokens of subjects that NATS itself makes for replies: inboxes, and replies through an imported service.
_INBOXES = frozenset({"_INBOX", "_R_"})
#: A reply that crosses clusters: `_GR_.<cluster>.<server>.<the reply subject that the client named>`.
_ROUTED = "_GR_"
_ROUTED_TOKENS = 3


def takes_reply(subject: str) -> bool:
    """Whether an answer may be published to a reply subject that an outsider named: a literal subject that is not reserved,
    or an inbox. Else who may send to a bound subject could have us send to NATS's own API or to Lambent's subjects.
    """
    tokens = subject.split(".")
    if any(not token or token in ("*", ">") or any(c <= " " or c == "\x7f" for c in token) for token in tokens):
        return False
    if tokens[0] == _ROUTED:
        tokens = tokens[_ROUTED_TOKENS:]
    if tokens and tokens[0] in _INBOXES:
        return len(tokens) > 1
    return bool(tokens) and not is_reserved(tokens[0])


# Key-value buckets and object stores, in the form that NATS tools know (ADR-8, ADR-20 of the NATS architecture).


def bucket(table: str) -> str:
    return f"lambent_{table}"


def kv_stream(table: str) -> str:
    return f"KV_{bucket(table)}"


def kv_key(table: str, key: str) -> str:
    """Publish form of one record."""
    return f"$KV.{bucket(table)}.{token(key)}"


def kv_prefix(table: str) -> str:
    """What precedes the token of the key."""
    return f"$KV.{bucket(table)}."


def kv_keys(table: str) -> str:
    """Subscribe form of all records."""
    return f"$KV.{bucket(table)}.>"


def object_stream(name: str) -> str:
    return f"OBJ_{bucket(name)}"


def object_chunks(name: str, nuid: str) -> str:
    """Publish and subscribe form of one object's chunks."""
    return f"$O.{bucket(name)}.C.{nuid}"


def object_meta(name: str, object_name: str) -> str:
    """Publish form of one object's description; its name is in URL-safe base64, padding kept."""
    return f"$O.{bucket(name)}.M.{base64.urlsafe_b64encode(object_name.encode()).decode()}"


def object_store(name: str) -> list[str]:
    """Subscribe forms of everything in an object store."""
    return [f"$O.{bucket(name)}.C.>", f"$O.{bucket(name)}.M.>"]


LOG_STREAM = "LAMBENT_LOGS"


def log_stream(group_id: str, stream_id: str) -> str:
    """Publish form of one log stream's batches."""
    return f"{ROOT}.logs.{group_id}.{stream_id}"


def log_group(group_id: str) -> str:
    """Subscribe form of one log group."""
    return f"{ROOT}.logs.{group_id}.*"


def logs() -> str:
    """Subscribe form of all logs."""
    return f"{ROOT}.logs.*.*"


ASYNC_STREAM = "LAMBENT_ASYNC"


def async_event(account: str, function: str) -> str:
    """Publish form of one asynchronous event."""
    return f"{ROOT}.async.{token(account)}.{token(function)}"


def async_events() -> str:
    """Subscribe form of all asynchronous events."""
    return f"{ROOT}.async.*.*"


# JetStream's own API, without domain.


def js_api(operation: str, *names: str) -> str:
    """`$JS.API.OPERATION.NAME…`, such as `STREAM.CREATE`."""
    return ".".join(("$JS.API", operation, *names))
