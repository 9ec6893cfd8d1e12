"""The network of a sandbox: its own loopback and nothing else. Runs in the child, inside the new network namespace.

Standard library only.
"""

import fcntl
import socket
import struct

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
#: Calls that may wait for the platform to accept them: as many as a runtime with extensions could ever have open.
_BACKLOG = 128


def loopback_up() -> None:
    """Brings `lo` up; the kernel then gives it 127.0.0.1 and ::1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16s16x8x", b"lo"))
        (flags,) = struct.unpack_from("=H", request, 16)
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x8x", b"lo", flags | _IFF_UP))


def listen(port: int) -> socket.socket:
    """A listening, non-blocking socket on the sandbox's own 127.0.0.1."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
