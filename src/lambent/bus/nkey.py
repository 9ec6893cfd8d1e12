"""NATS credentials files (`.creds`): a JWT and the seed that signs the server's nonce.

The signature is Ed25519 as in RFC 8032 section 5.1, in plain Python: it runs once per connection (a few milliseconds) and
needs no compiled dependency. It is not constant-time; the seed signs only nonces of the server the user chose.
"""

import base64
import hashlib
import re
from pathlib import Path

from lambent.bus.faults import BusRefused

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P

_Point = tuple[int, int, int, int]


class UserCredentials:
    """What nats-py's callbacks need. `load` raises `BusRefused` for a file that is not a credentials file."""

    def __init__(self, token: bytes, seed: bytes) -> None:
        self._token = token
        self._seed = seed

    @classmethod
    def load(cls, path: str) -> "UserCredentials":
        try:
            text = Path(path).expanduser().read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise BusRefused(f"cannot read the NATS credentials file {path}: {error}") from error
        token, seed = (_section(text, title) for title in ("NATS USER JWT", "USER NKEY SEED"))
        if not token or not seed:
            raise BusRefused(f"{path} is not a NATS credentials file (it needs a user JWT and a user NKEY seed)")
        return cls(token.encode(), decode_seed(seed))

    def jwt(self) -> bytes:
        return self._token

    def sign(self, nonce: str) -> bytes:
        return base64.b64encode(ed25519_sign(self._seed, nonce.encode()))


def decode_seed(text: str) -> bytes:
    """The 32 bytes in a user seed (`SU…`): base32 of two prefix bytes, the seed and a CRC-16/XMODEM. Raises `BusRefused`."""
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except ValueError as error:
        raise BusRefused("the NKEY seed is not base32") from error
    if len(raw) != 36 or not text.startswith("SU") or _crc16(raw[:-2]) != int.from_bytes(raw[-2:], "little"):
        raise BusRefused("the NKEY seed is not a user's seed, or was mistyped")
    return raw[2:34]


def ed25519_sign(seed: bytes, message: bytes) -> bytes:
    """64 bytes (RFC 8032, 5.1.6)."""
    digest = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | (1 << 254)
    public = _compress(_multiply(scalar, _BASE))
    r = int.from_bytes(hashlib.sha512(digest[32:] + message).digest(), "little") % _L
    commitment = _compress(_multiply(r, _BASE))
    challenge = int.from_bytes(hashlib.sha512(commitment + public + message).digest(), "little") % _L
    return commitment + ((r + challenge * scalar) % _L).to_bytes(32, "little")


def _section(text: str, title: str) -> str:
    match = re.search(rf"-+BEGIN {title}-+\s+([A-Za-z0-9_.=-]+)\s+-+END {title}-+", text)
    return match[1] if match else ""


def _crc16(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def _add(a: _Point, b: _Point) -> _Point:
    """Points in extended homogeneous coordinates (RFC 8032, 5.1.4)."""
    e1, e2 = (a[1] - a[0]) * (b[1] - b[0]) % _P, (a[1] + a[0]) * (b[1] + b[0]) % _P
    c, d = 2 * a[3] * b[3] * _D % _P, 2 * a[2] * b[2] % _P
    e, f, g, h = e2 - e1, d - c, d + c, e2 + e1
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _multiply(scalar: int, point: _Point) -> _Point:
    total: _Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point = _add(point, point)
        scalar >>= 1
    return total


def _compress(point: _Point) -> bytes:
    inverse = pow(point[2], _P - 2, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | ((x & 1) << 255)).to_bytes(32, "little")


def _base() -> _Point:
    y = 4 * pow(5, _P - 2, _P) % _P
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P)
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * pow(2, (_P - 1) // 4, _P) % _P
    if x & 1:
        x = _P - x
    return (x, y, 1, x * y % _P)


_BASE = _base()
