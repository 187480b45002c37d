"""The listening socket, always on the same port. It serves clients, is closed, or accepts clients and ignores them."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from gemini_live_sim.connection import SimConnection
from gemini_live_sim.settings import SimSettings

Handler = Callable[[ServerConnection], Awaitable[None]]
HttpHandler = Callable[[ServerConnection, Request], Awaitable[Response | None]]
_CLOSE_TIMEOUT_S = 2.0


class Listener:
    """The listening socket. Connections stay open when the socket closes; :meth:`finish` waits for them all."""

    def __init__(self, handler: Handler, http_handler: HttpHandler, tls: ssl.SSLContext, settings: SimSettings) -> None:
        self._handler = handler
        self._http_handler = http_handler
        self._tls = tls
        self._settings = settings
        self._servers: list[Server] = []
        self._pit: asyncio.Server | None = None
        self._ignored: set[asyncio.BaseTransport] = set()
        self.port = settings.port or 0
        """The TCP port; 0 until the socket listens, unless the settings name a port."""

    async def start(self) -> None:
        """Listen for clients."""
        await self.stop()
        server = await serve(
            self._handler,
            self._settings.host,
            self.port,
            ssl=self._tls,
            process_request=self._http_handler,
            create_connection=SimConnection,
            compression="deflate" if self._settings.deflate else None,
            # The server never drops a slow client by itself: a dropped connection is a fault, and faults are configured.
            ping_interval=None,
            close_timeout=_CLOSE_TIMEOUT_S,
            max_size=self._settings.max_message_bytes,
            server_header=None,
        )
        self._servers.append(server)
        self.port = server.sockets[0].getsockname()[1]

    async def swallow(self) -> None:
        """Accept clients and ignore them."""
        await self.stop()
        loop = asyncio.get_running_loop()
        self._pit = await loop.create_server(lambda: _Ignore(self._ignored), self._settings.host, self.port)

    async def stop(self) -> None:
        """Close the listening socket. Served clients stay served, and ignored clients stay ignored."""
        if self._pit is not None:
            self._pit.close()
            self._pit = None
        for server in self._servers:
            server.close(close_connections=False)
            while server.is_serving():  # noqa: ASYNC110 - the server stops within one turn of the loop, without an event
                await asyncio.sleep(0)

    def drop_ignored(self) -> None:
        """Drop the ignored connections."""
        for transport in list(self._ignored):
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()

    async def finish(self) -> None:
        """Drop the ignored connections, and wait until all handlers have returned."""
        self.drop_ignored()
        for server in self._servers:
            await server.wait_closed()


class _Ignore(asyncio.Protocol):
    """Reads and discards all input, and sends nothing."""

    def __init__(self, ignored: set[asyncio.BaseTransport]) -> None:
        self._ignored = ignored
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._ignored.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self._transport is not None:
            self._ignored.discard(self._transport)
