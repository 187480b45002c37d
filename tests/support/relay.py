"""A network in front of some ports of a gateway. It can be cut, and frozen."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress


class Relay:
    """Forwards connections to the ports of a host; each has its own port on the loopback.

    Args:
        host: The gateway's host.
        ports: The gateway's ports.
        own: The port to listen on for each of them; 0 means any port.
    """

    def __init__(self, host: str, ports: Sequence[int], own: Sequence[int]) -> None:
        self.open = asyncio.Event()
        """While this is cleared, no data passes and no new connection is forwarded."""
        self.open.set()
        self._host = host
        self._ports = list(zip(ports, own, strict=True))
        self._servers: list[asyncio.Server] = []
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> list[int]:
        """Listen. Returns the ports."""
        for port, own in self._ports:

            async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int = port) -> None:
                await self.open.wait()
                try:
                    there, back = await asyncio.open_connection(self._host, port)
                except OSError:
                    writer.transport.abort()
                else:
                    await asyncio.gather(self._pass_on(reader, back), self._pass_on(there, writer))

            self._servers.append(await asyncio.start_server(joined, "127.0.0.1", own))
        return [int(server.sockets[0].getsockname()[1]) for server in self._servers]

    def cut(self) -> None:
        """End all connections."""
        for writer in self._writers:
            writer.transport.abort()

    def stop(self) -> None:
        """Cut all connections and stop listening."""
        for server in self._servers:
            server.close()
        self.cut()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(OSError):
            while data := await reader.read(65536):
                await self.open.wait()
                writer.write(data)
        self._writers.discard(writer)
        writer.transport.abort()
