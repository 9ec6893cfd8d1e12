"""A NATS conversation typed line by line, as with telnet: no client library, no handshake."""

import select
import socket
import time

from lambent.errors import LambentError

#: Between two tries: a message on a subject that nobody listens on yet is gone, so it is typed again.
AGAIN_SECONDS = 1.0
#: How long an answer is waited for in all.
ANSWER_SECONDS = 30


class NoAnswer(LambentError):
    """The NATS server refused what was typed, or no message came back."""


def dialogue(host: str, port: int, typed: list[str]) -> list[str]:
    """Types the lines and returns the first MSG line and its payload. The lines after the first are typed again each second
    until something comes. Raises `NoAnswer`.
    """
    try:
        with socket.create_connection((host, port), ANSWER_SECONDS) as connection:
            return _converse(connection, typed)
    except OSError as error:
        raise NoAnswer(f"the NATS server at {host}:{port} does not answer: {error}") from error


def _converse(connection: socket.socket, typed: list[str]) -> list[str]:
    received, deadline = b"", time.monotonic() + ANSWER_SECONDS
    connection.sendall(_lines(typed))
    while time.monotonic() < deadline:
        if not select.select([connection], [], [], AGAIN_SECONDS)[0]:
            connection.sendall(_lines(typed[1:]))
            continue
        data = connection.recv(65536)
        if not data:
            raise NoAnswer("the NATS server ended the connection without an answer")
        received += data
        if answer := message_in(received):
            return answer
    raise NoAnswer(f"no message came within {ANSWER_SECONDS} s after typing {' / '.join(typed)}")


def _lines(typed: list[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in typed).encode()


def message_in(received: bytes) -> list[str]:
    """The first whole MSG line and its payload in what the server sent so far; empty when there is none yet.

    Raises `NoAnswer` for an error of the server.
    """
    rest = received
    while b"\r\n" in rest:
        line, rest = rest.split(b"\r\n", 1)
        if line.startswith(b"-ERR"):
            raise NoAnswer(f"the NATS server answered {line.decode(errors='replace')}")
        if line.startswith(b"MSG "):
            size = int(line.rsplit(b" ", 1)[1])
            return [line.decode(), rest[:size].decode(errors="replace")] if len(rest) >= size else []
    return []
