"""Identifiers in AWS's forms, from a source of randomness that is passed in."""

import random


class Ids:
    """Makes identifiers. `rng` defaults to the operating system's; the simulation passes a seeded one."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self._rng = rng or random.SystemRandom()
        # SystemRandom costs a system call for each number; a generator seeded from it once serves ids that are not secrets.
        self._fast = random.Random(self._rng.getrandbits(256))

    def uuid(self) -> str:
        """A version-4 UUID: request ids, revision ids. Unique, not secret."""
        n = self._fast.getrandbits(128)
        n = (n & ~(0xF << 76)) | (0x4 << 76)
        n = (n & ~(0x3 << 62)) | (0x2 << 62)
        h = f"{n:032x}"
        return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"

    def hex(self, digits: int) -> str:
        """Lower-case hexadecimal digits: log stream suffixes, trace ids. Unique, not secret."""
        return f"{self._fast.getrandbits(4 * digits):0{digits}x}"

    def account_id(self) -> str:
        """Twelve decimal digits, not starting with 0 so that no tool drops a digit."""
        return str(self._rng.randrange(10**11, 10**12))

    def access_key_id(self, prefix: str = "AKIA") -> str:
        """`AKIA…` for long-lived, `ASIA…` for temporary keys: prefix and 16 of A-Z2-7 (IAM user guide, unique ids)."""
        return prefix + "".join(self._rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16))

    def secret(self, characters: int = 40) -> str:
        """A secret access key: 40 characters of base64's alphabet without padding."""
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
        return "".join(self._rng.choice(alphabet) for _ in range(characters))

    def unique_id(self, prefix: str) -> str:
        """An IAM unique id such as `AROA…` (role): prefix and 17 of A-Z2-7."""
        return prefix + "".join(self._rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(17))
