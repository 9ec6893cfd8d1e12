"""What can be wrong with the bus, each with a text that says what to do next."""

from lambent.errors import LambentError, NotReady


class BusFault(LambentError):
    """The bus cannot be had as it is set up; trying again does not help."""


class ServerBinaryMissing(BusFault):
    """No usable nats-server executable."""


class DataDirUnusable(BusFault):
    """The data directory cannot be made, written or read."""


class DataDirInUse(BusFault):
    """Another Lambent holds the data directory."""


class PortInUse(BusFault):
    """Another program listens on the port of the embedded server."""


class StoreDamaged(BusFault):
    """JetStream could not recover something that is on disk."""


class ServerFailed(BusFault):
    """The embedded server ended or did not become ready; the message carries its last words."""


class BusRefused(BusFault):
    """The server refuses the credentials or an operation."""


class JetStreamMissing(BusFault):
    """The account has no JetStream."""


class BusUnavailable(NotReady):
    """No answer from the bus within the bound; what was asked may or may not have happened."""


class NobodyAnswers(BusUnavailable):
    """Nobody listens on the subject, so nothing was done: no JetStream, or no leader of the stream at this moment."""


class MessageTooLarge(LambentError):
    """The server takes no message of this size."""


class JetStreamError(LambentError):
    """JetStream answered with an error. `code` is NATS's own number (err_code) of it."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"JetStream: {description} ({code})")
        self.code = code
