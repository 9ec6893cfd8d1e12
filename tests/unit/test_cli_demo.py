"""Which ports `lambent demo` takes."""

import contextlib
import os
import socket

from lambent.cli.demo import choose_port


def quiet_port() -> int:
    """A free port below those that the kernel gives to who asks for port 0: no test beside this one gets it."""
    for port in range(20_000 + os.getpid() % 5_000, 30_000):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def test_two_demos_never_choose_the_same_port() -> None:
    port = quiet_port()
    with contextlib.ExitStack() as one:
        assert choose_port(port, one) == port
        with contextlib.ExitStack() as other:
            assert choose_port(port, other) == 0, "nobody listens yet, but it is claimed"
    with contextlib.ExitStack() as other:
        assert choose_port(port, other) == port


def test_a_port_that_is_taken_is_not_chosen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, contextlib.ExitStack() as claims:
        assert choose_port(taken.getsockname()[1], claims) == 0
