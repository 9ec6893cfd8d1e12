"""The root of every expected failure.

An expected failure is a small typed exception of the room that detects it, a subclass of `LambentError`. Its message is
written for the person who reads it: what happened and what to do next. Anything else that is raised is a mistake of ours
and ends the one call it happened in with an id that the log line and the answer share.
"""


class LambentError(Exception):
    """Base of expected failures; `str(error)` is safe to show to a user."""


class NotReady(LambentError):
    """A part that is needed (bus, spawner, state) is not there right now; the same call may succeed later."""


class SettingsError(LambentError):
    """A setting has a value it cannot have; the message names the setting and what is allowed."""
