"""A network of its own before some ports of a gateway: it can be cut, and frozen."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress


class Relay:
    """Passes connections on to the ports of a host, each by a port of its own on the loopback.

    Args:
        host: The gateway's.
        ports: The gateway's.
        own: Where to listen for each of them; 0 is any port.
    """

    def __init__(self, host: str, ports: Sequence[int], own: Sequence[int]) -> None:
        self.open = asyncio.Event()
        """Nothing passes, and nobody is connected, while this is cleared."""
        self.open.set()
        self._host = host
        self._ports = list(zip(ports, own, strict=True))
        self._servers: list[asyncio.Server] = []
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> list[int]:
        """Listen; on which ports."""
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
        """Cut for good."""
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
