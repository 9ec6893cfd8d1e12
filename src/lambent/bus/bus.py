"""The bus of one node: the embedded server or an external one, and the connections to both accounts."""

from lambent.bus.connection import Connection
from lambent.bus.embedded import EmbeddedServer
from lambent.bus.nkey import UserCredentials
from lambent.bus.streams import Streams
from lambent.settings import Settings


class Bus:
    """After `start`: `own` is the connection for Lambent's state, `events` the one that functions' subjects live on,
    `streams` is JetStream in Lambent's account, `server` the embedded server or None.

    With `--nats` both connections use the same external account; its operator decides what else may connect there.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.server = None if settings.nats else EmbeddedServer(settings)
        self.own = Connection("lambent")
        self.events = Connection("events")
        self.streams = Streams(self.own)

    @property
    def url(self) -> str:
        """Where plain NATS clients connect (without credentials when the server is external)."""
        return self.server.url if self.server is not None else self.events.connected_url

    async def start(self) -> None:
        """Raises a `BusFault` or `BusUnavailable` that says what to do; leaves nothing behind then."""
        try:
            if self.server is not None:
                await self.server.start()
                await self.own.open([self.server.url], *self.server.credential)
                await self.events.open([self.server.url])
            else:
                urls = [url.strip() for url in self._settings.nats.split(",") if url.strip()]
                path = self._settings.nats_credentials
                credentials = UserCredentials.load(path) if path else None
                await self.own.open(urls, credentials=credentials)
                await self.events.open(urls, credentials=credentials)
            await self.streams.check()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Idempotent."""
        await self.events.close()
        await self.own.close()
        if self.server is not None:
            await self.server.stop()
