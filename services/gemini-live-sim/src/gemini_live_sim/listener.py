"""The listening socket: open, closed, or accepting connections only to ignore them; always on the same port."""

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
    """Connections outlive the listener that accepted them; :meth:`finish` waits for them all."""

    def __init__(self, handler: Handler, http_handler: HttpHandler, tls: ssl.SSLContext, settings: SimSettings) -> None:
        self._handler = handler
        self._http_handler = http_handler
        self._tls = tls
        self._settings = settings
        self._servers: list[Server] = []
        self._pit: asyncio.Server | None = None
        self._ignored: set[asyncio.BaseTransport] = set()
        self.port = settings.port or 0
        """Known once it listens."""

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
            # The server never drops a client for being slow: that is a fault, and faults are asked for.
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
        """Close the listening socket. Who is served stays served, and who is ignored stays ignored, as on a line cut off."""
        if self._pit is not None:
            self._pit.close()
            self._pit = None
        for server in self._servers:
            server.close(close_connections=False)
            while server.is_serving():  # noqa: ASYNC110 - it stops within one turn of the loop, without an event
                await asyncio.sleep(0)

    def drop_ignored(self) -> None:
        """Drop who is ignored."""
        for transport in list(self._ignored):
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()

    async def finish(self) -> None:
        """Drop who is ignored, and wait until all handlers have returned."""
        self.drop_ignored()
        for server in self._servers:
            await server.wait_closed()


class _Ignore(asyncio.Protocol):
    """Reads what comes, keeps nothing, says nothing."""

    def __init__(self, ignored: set[asyncio.BaseTransport]) -> None:
        self._ignored = ignored
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._ignored.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self._transport is not None:
            self._ignored.discard(self._transport)
