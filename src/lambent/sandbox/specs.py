"""What a sandbox may be asked to be, checked in one place for all implementations."""

import re

from lambent.sandbox.contract import Limits, SandboxError, SandboxSpec
from lambent.sandbox.messages import ARGUMENTS_MAX, LISTEN_PORTS_MAX

#: A sandbox's id is the name of a folder.
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")


def check_spec(spec: SandboxSpec) -> None:
    """Raises `SandboxError` for what no implementation can make."""
    if not _ID.fullmatch(spec.id):
        raise SandboxError(f"a sandbox's id has 1 to 100 characters of A-Z a-z 0-9 _ - and is not {spec.id!r}")
    if len(spec.listen_ports) > LISTEN_PORTS_MAX or len(set(spec.listen_ports)) != len(spec.listen_ports):
        raise SandboxError(f"a sandbox has at most {LISTEN_PORTS_MAX} listen_ports, each once")
    if not all(0 < port < 65536 for port in spec.listen_ports):
        raise SandboxError("listen_ports are from 1 to 65535")
    check_limits(spec.limits)
    if spec.argv:
        check_arguments(spec.argv, spec.environment)


def check_limits(limits: Limits) -> None:
    """Raises `SandboxError` naming the limit."""
    for name in ("memory_mib", "cpu_milli", "tmp_mib", "pids", "fds"):
        if getattr(limits, name) < 1:
            raise SandboxError(f"{name} must be at least 1, not {getattr(limits, name)}")


def check_arguments(argv: tuple[str, ...], environment: dict[str, str]) -> None:
    """Raises `SandboxError` for what execve(2) cannot take, and past the named bound."""
    texts = [*argv, *environment, *environment.values()]
    if any("\0" in text for text in texts):
        raise SandboxError("arguments and environment variables cannot hold a zero byte")
    if any(not name or "=" in name for name in environment):
        raise SandboxError("the name of an environment variable cannot be empty or hold =")
    size = sum(len(text.encode(errors="surrogateescape")) + 1 for text in texts)
    if size > ARGUMENTS_MAX:
        raise SandboxError(f"arguments and environment are {size} bytes, at most {ARGUMENTS_MAX} are possible")
    if argv and not argv[0].startswith("/"):
        raise SandboxError(f"the program must be an absolute path, not {argv[0]!r}")
