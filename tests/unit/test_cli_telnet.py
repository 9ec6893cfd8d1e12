"""Reading a NATS server's side of a typed conversation."""

import pytest

from lambent.cli.telnet import NoAnswer, message_in

HEAD = b'INFO {"server_id":"x"}\r\n+OK\r\n'


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        (b"", []),
        (HEAD, []),
        (HEAD + b"MSG reply-box 200 5\r\nhel", []),
        (HEAD + b"MSG reply-box 200 5\r\nhello\r\n", ["MSG reply-box 200 5", "hello"]),
        (HEAD + b"PING\r\nMSG a.b 1 _INBOX.x 0\r\n\r\n", ["MSG a.b 1 _INBOX.x 0", ""]),
        (b"MSG a 1 7\r\none\r\ntw\r\n", ["MSG a 1 7", "one\r\ntw"]),
    ],
)
def test_the_first_whole_message_is_found(received: bytes, expected: list[str]) -> None:
    assert message_in(received) == expected


def test_an_error_of_the_server_is_told() -> None:
    with pytest.raises(NoAnswer, match="Unknown Protocol"):
        message_in(HEAD + b"-ERR 'Unknown Protocol Operation'\r\n")
