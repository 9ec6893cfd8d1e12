"""Expected failures of the logs; `services.logs` turns them into AWS's codes."""

from lambent.errors import LambentError, NotReady


class LogGroupMissing(LambentError):
    """AWS: ResourceNotFoundException."""


class LogStreamMissing(LambentError):
    """AWS: ResourceNotFoundException."""


class LogGroupExists(LambentError):
    """AWS: ResourceAlreadyExistsException."""


class LogStreamExists(LambentError):
    """AWS: ResourceAlreadyExistsException."""


class InvalidToken(LambentError):
    """A page token that was not made here. AWS: InvalidParameterException."""


class InvalidEvents(LambentError):
    """Events that PutLogEvents does not take. AWS: InvalidParameterException."""


class InvalidPattern(LambentError):
    """A filter pattern with a mistake in it, or of a form that is not supported. AWS: InvalidParameterException."""


class LogsUnavailable(NotReady):
    """The bus did not answer. AWS: ServiceUnavailableException."""


class NotAllStored(LogsUnavailable):
    """The bus went away in between: the first `stored` events are stored."""

    def __init__(self, message: str, stored: int) -> None:
        super().__init__(message)
        self.stored = stored
