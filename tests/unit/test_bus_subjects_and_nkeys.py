"""Names of subjects, versions, signatures: what the bus decides without I/O."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.bus import subjects
from lambent.bus.binary import parse_version
from lambent.bus.faults import BusRefused
from lambent.bus.nkey import UserCredentials, decode_seed, ed25519_sign
from lambent.bus.server_config import ServerConfig, damage, failure, render


@given(st.text())
def test_any_text_becomes_one_token_and_comes_back(text: str) -> None:
    if any(0xD800 <= ord(character) < 0xE000 for character in text):
        return
    token = subjects.token(text)
    assert subjects.untoken(token) == text
    assert token
    assert all(character.isascii() and (character.isalnum() or character in "-_/=") for character in token)


@given(st.text(max_size=20), st.text(max_size=20))
def test_different_texts_are_different_tokens(one: str, other: str) -> None:
    surrogate = any(0xD800 <= ord(character) < 0xE000 for character in one + other)
    if not surrogate:
        assert (subjects.token(one) == subjects.token(other)) == (one == other)


@pytest.mark.parametrize(
    ("subject", "taken"),
    [
        ("reply-box", True),
        ("replies.a.b", True),
        ("_INBOX.abc.def", True),
        ("_R_.abc.def", True),
        ("_GR_.cluster.server._INBOX.abc", True),
        ("_GR_.cluster.server.reply-box", True),
        ("lambently.a", True),
        # A star inside a token is a plain character.
        ("a.b*", True),
        ("$JS.API.STREAM.DELETE.KV_lambent_functions", False),
        ("$JS.domain.API.STREAM.PURGE.X", False),
        ("$JS.ACK.LAMBENT_ASYNC.c.1.2.3.4.5", False),
        ("$KV.lambent_functions.a", False),
        ("$O.lambent_code.M.a", False),
        ("$SYS.REQ.SERVER.PING", False),
        ("$MQTT.sub.a", False),
        ("lambent.async.1.f", False),
        ("lambent", False),
        ("_GR_.cluster.server.$JS.API.STREAM.DELETE.X", False),
        ("_GR_.cluster.server._GR_.cluster.server.$JS.API.STREAM.DELETE.X", False),
        ("_GR_.cluster.server", False),
        ("_INBOX", False),
        ("_INBOX.*", False),
        ("_INBOX.>", False),
        ("*.API.STREAM.DELETE.X", False),
        (">", False),
        ("a.>", False),
        ("a..b", False),
        (".a", False),
        ("a.", False),
        ("", False),
        ("a b", False),
        ("a\tb.c", False),
    ],
)
def test_reply_goes_to_inboxes_and_ordinary_subjects_only(subject: str, taken: bool) -> None:
    assert subjects.takes_reply(subject) is taken


def test_names_of_buckets_are_those_of_nats_tools() -> None:
    assert subjects.kv_stream("functions") == "KV_lambent_functions"
    assert subjects.kv_key("functions", "a.b") == "$KV.lambent_functions.a=2Eb"
    assert subjects.object_stream("code") == "OBJ_lambent_code"
    assert subjects.object_meta("code", "??>") == "$O.lambent_code.M.Pz8-"


@pytest.mark.parametrize(
    ("text", "version"),
    [("nats-server: v2.12.1", (2, 12, 1)), ("2.15.1", (2, 15, 1)), ("v2.12.0-RC.3", (2, 12, 0)), ("nothing", None)],
)
def test_versions_are_read(text: str, version: tuple[int, int, int] | None) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize(
    ("seed", "message", "signature"),
    [
        # RFC 8032, section 7.1, tests 1 to 3.
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ],
)
def test_signatures_are_those_of_the_rfc(seed: str, message: str, signature: str) -> None:
    assert ed25519_sign(bytes.fromhex(seed), bytes.fromhex(message)).hex() == signature


def _crc16(data: bytes) -> int:
    import binascii

    return binascii.crc_hqx(data, 0)


def _seed_text(seed: bytes) -> str:
    # Prefix of a seed (18 << 3) that holds a user's key (20 << 3), as NATS nkeys lay it out.
    raw = bytes([(18 << 3) | ((20 << 3) >> 5), ((20 << 3) & 31) << 3]) + seed
    return base64.b32encode(raw + _crc16(raw).to_bytes(2, "little")).decode().rstrip("=")


def test_a_credentials_file_is_read(tmp_path: Path) -> None:
    seed = bytes(range(32))
    text = _seed_text(seed)
    assert text.startswith("SU")
    path = tmp_path / "user.creds"
    path.write_text(
        "-----BEGIN NATS USER JWT-----\neyJ0.abc.def\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{text}\n------END USER NKEY SEED------\n"
    )
    credentials = UserCredentials.load(str(path))
    assert credentials.jwt() == b"eyJ0.abc.def"
    assert base64.b64decode(credentials.sign("nonce")) == ed25519_sign(seed, b"nonce")


@pytest.mark.parametrize(
    "text", ["", "SU", "not base32!", _seed_text(bytes(32))[:-1] + "A", "SA" + _seed_text(bytes(32))[2:]]
)
def test_a_mistyped_seed_is_refused(text: str) -> None:
    with pytest.raises(BusRefused):
        decode_seed(text)


@pytest.mark.parametrize("content", ["", "-----BEGIN NATS USER JWT-----\nabc\n------END NATS USER JWT------\n"])
def test_a_file_that_is_no_credentials_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "user.creds"
    path.write_text(content)
    with pytest.raises(BusRefused, match="not a NATS credentials file"):
        UserCredentials.load(str(path))
    with pytest.raises(BusRefused, match="cannot read"):
        UserCredentials.load(str(tmp_path / "nothing"))


CONFIG = ServerConfig("::1", 4222, Path('/data "x"/nats'), "user", "pass", False, 1)


def test_the_configuration_quotes_what_comes_from_outside() -> None:
    text = render(CONFIG)
    assert 'listen: "[::1]:4222"' in text
    assert r'store_dir: "/data \"x\""' in text
    assert "sync_interval: always" in text
    assert "sync_interval: 2m" in render(CONFIG._replace(relaxed=True))


def test_the_last_words_of_a_server_are_passed_on() -> None:
    log = "[1] 2026/01/01 00:00:00.000000 [INF] hello\n[1] 2026/01/01 00:00:00.000000 [FTL] something odd\n"
    assert "[FTL] something odd" in str(failure(log, CONFIG, 1))
    assert "status 7" in str(failure("", CONFIG, 7))
    assert "in time" in str(failure(log, CONFIG, None))


@pytest.mark.parametrize(
    ("line", "lost"),
    [
        ("[1] 2026/01/01 00:00:00.0 [ERR] Error recreating stream 'A > B': broken", True),
        ("[1] 2026/01/01 00:00:00.0 [WRN] Stream metafile for 'x': checksums do not match", True),
        ("[1] 2026/01/01 00:00:00.0 [INF]   Restored 0 messages for stream 'A > B' in 1ms", False),
        ("[1] 2026/01/01 00:00:00.0 [WRN] Plaintext passwords detected, use nkeys or bcrypt", False),
    ],
)
def test_lines_about_lost_streams_are_recognised(line: str, lost: bool) -> None:
    assert bool(damage(line)) is lost
