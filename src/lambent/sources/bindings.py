"""A NATS subject that runs a function: the record, and what a subject to bind must look like. No I/O."""

import re

import msgspec

from lambent.bus.subjects import is_reserved
from lambent.errors import LambentError

#: Functions share the messages of a subject in this queue group unless the binding names another one.
DEFAULT_QUEUE = "lambent"
#: A NATS protocol line has 4 KB for subject, queue and reply together.
SUBJECT_CHARACTERS_MAX = 512
QUEUE_CHARACTERS_MAX = 128

_QUEUE = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")


class InvalidSubject(LambentError):
    """The text is not a subject that NATS takes."""


class ReservedSubject(LambentError):
    """The subject belongs to NATS or to Lambent itself."""


class InvalidQueue(LambentError):
    """The text is not a queue group."""


class SubjectBinding(msgspec.Struct, frozen=True, kw_only=True):
    """One binding. `function` is a name, optionally with `:qualifier`; `queue` is never empty."""

    id: str
    account: str
    function: str
    subject: str
    queue: str = DEFAULT_QUEUE
    created_ms: int


def check_subject(subject: str) -> None:
    """Tokens between dots, none empty, no blanks; `*` is a whole token, `>` the last one. Raises `InvalidSubject`,
    `ReservedSubject`.
    """
    if not subject:
        raise InvalidSubject("a subject cannot be empty")
    if len(subject) > SUBJECT_CHARACTERS_MAX:
        raise InvalidSubject(f"a subject may have {SUBJECT_CHARACTERS_MAX} characters, this one has {len(subject)}")
    if any(character.isspace() or not character.isprintable() for character in subject):
        raise InvalidSubject(f"subject {subject!r}: blanks and control characters are not allowed")
    tokens = subject.split(".")
    for index, token in enumerate(tokens):
        if not token:
            raise InvalidSubject(f"subject {subject!r}: there is an empty token (two dots in a row, or one at an end)")
        if "*" in token and token != "*":
            raise InvalidSubject(f"subject {subject!r}: * stands for a whole token, such as orders.*.created")
        if ">" in token and (token != ">" or index != len(tokens) - 1):
            raise InvalidSubject(f"subject {subject!r}: > stands alone and last, such as orders.>")
    if is_reserved(subject):
        raise ReservedSubject(
            f"subject {subject!r} is reserved: subjects that start with $, _INBOX, lambent or a wildcard reach what belongs "
            "to NATS and to Lambent"
        )


def check_queue(queue: str) -> None:
    """Raises `InvalidQueue`."""
    if len(queue) > QUEUE_CHARACTERS_MAX or not _QUEUE.fullmatch(queue):
        raise InvalidQueue(
            f"queue group {queue[:200]!r}: letters, digits, - and _, up to {QUEUE_CHARACTERS_MAX} characters, are allowed"
        )
