"""The embedded server's configuration text and what its log says about a failure. No I/O."""

import json
import re
from pathlib import Path
from typing import NamedTuple

from lambent.bus.faults import BusFault, PortInUse, ServerFailed, StoreDamaged

#: Largest message, bytes: a 6 MB event or result with its headers (AWS's synchronous payload), and large chunks of blobs.
MESSAGE_BYTES_MAX = 8 * 1024 * 1024

#: One log file of the server before it is rotated, and how many are kept.
LOG_BYTES_MAX = 4 * 1024 * 1024
LOG_FILES_MAX = 3

#: Clients in the events account and of Lambent together.
CONNECTIONS_MAX = 65_536

EVENTS_USER = "events"


class ServerConfig(NamedTuple):
    """What the text is made from. `port` -1 lets the server choose."""

    listen: str
    port: int
    folder: Path
    user: str
    password: str
    relaxed: bool
    store_bytes_max: int


def render(config: ServerConfig) -> str:
    """Two accounts: LAMBENT needs the credential and has JetStream; EVENTS is where a client without one lands.

    The server appends `jetstream` to the store folder that it is given.
    """
    q = json.dumps
    return f"""\
server_name: {q(config.user)}
listen: {q(f"{_bracketed(config.listen)}:{config.port}")}
max_payload: {MESSAGE_BYTES_MAX}
max_pending: {16 * MESSAGE_BYTES_MAX}
max_connections: {CONNECTIONS_MAX}
ports_file_dir: {q(str(config.folder / "run"))}
log_file: {q(str(config.folder / "server.log"))}
logfile_size_limit: {LOG_BYTES_MAX}
logfile_max_num: {LOG_FILES_MAX}
jetstream {{
  store_dir: {q(str(config.folder.parent))}
  max_file_store: {config.store_bytes_max}
  sync_interval: {"2m" if config.relaxed else "always"}
}}
accounts {{
  LAMBENT {{
    jetstream: enabled
    users: [ {{ user: {q(config.user)}, password: {q(config.password)} }} ]
  }}
  EVENTS {{
    users: [ {{ user: {EVENTS_USER}, password: "" }} ]
  }}
}}
no_auth_user: {EVENTS_USER}
"""


def failure(log: str, config: ServerConfig, code: int | None) -> BusFault:
    """Turns the last lines of a server that did not come up into an error for a person."""
    fatal = [line for line in log.splitlines() if "[FTL]" in line or "[ERR]" in line] or log.splitlines()[-3:]
    said = "; ".join(_without_stamp(line) for line in fatal[-3:]) or "it wrote nothing"
    if "address already in use" in log:
        return PortInUse(
            f"port {config.port} on {config.listen} is in use by another program; choose another one with --nats-port "
            "(0 takes a free one)"
        )
    if "cannot assign requested address" in log or "no such host" in log:
        return PortInUse(f"this machine has no address {config.listen}; see --listen")
    if "storage directory" in log or "not writable" in log:
        return StoreDamaged(f"JetStream cannot use {config.folder.parent / 'jetstream'}: {said}")
    ended = f"ended with status {code}" if code is not None else "did not become ready in time"
    return ServerFailed(f"nats-server {ended}: {said}. Its log: {config.folder / 'server.log'}")


def damage(log: str) -> list[str]:
    """Lines that say that a stream on disk was not recovered. The server goes on without it; Lambent must not."""
    pattern = re.compile(r"Error recreating|metafile|checksum|Failed to (?:recover|decode)|corrupt", re.IGNORECASE)
    return [
        _without_stamp(line)
        for line in log.splitlines()
        if pattern.search(line) and ("[ERR]" in line or "[WRN]" in line) and "consumer" not in line.lower()
    ]


def _without_stamp(line: str) -> str:
    return re.sub(r"^\[\d+\] [\d/]+ [\d:.]+ ", "", line)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
