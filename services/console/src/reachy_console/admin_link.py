"""The console's end of a gateway's admin port: a DEALER that proves the console's key and trusts only the gateway's key."""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Final

import zmq
from pydantic import ValidationError

from reachy_link import admin
from reachy_link.address import Address, endpoint, is_ipv6
from reachy_link.keys import KeyPair
from reachy_link.sockets import NOW, Drain, Inbox, Monitor, SyncSocket, set_dialer

PATIENCE_S: Final = 12.0
"""Longest wait for an answer. The gateway gives up a command earlier."""
THERE_S, RETRY_S = 2.0, 0.05
"""How long a command waits for a connection, and how often it tries to send."""
TOLD_MAX_BYTES: Final = 2_000_000
QUEUE: Final = 1000
"""Messages of the gateway that wait for the console. Beyond this TCP holds them back, and the gateway reports all afresh."""
UNKNOWN: Final = "the command may or may not have been carried out"


class AdminLink:
    """The connection to one gateway. It dials while it is open.

    Args:
        keys: The console's keys.
        gateway_public: The gateway's public key.
        address: The gateway's address; its first port is the admin port.
        on_told: Called with each message that is not an answer.
    """

    def __init__(self, keys: KeyPair, gateway_public: bytes, address: Address, on_told: Callable[[admin.Told], None]) -> None:
        self._keys = keys
        self._gateway_public = gateway_public
        self._address = address
        self._on_told = on_told
        self._socket: SyncSocket | None = None
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[tuple[admin.Answer, bytes]]] = {}
        self.unread = 0
        """Messages that could not be parsed."""

    @property
    def is_open(self) -> bool:
        """Whether the link dials or is connected."""
        return self._socket is not None

    def dial(self) -> None:
        """Connect, and reconnect from now on."""
        if self._socket:
            return
        self._context = zmq.Context(io_threads=1)
        socket = self._socket = self._context.socket(zmq.DEALER)
        set_dialer(socket, self._keys, self._gateway_public)
        socket.rcvhwm, socket.maxmsgsize = QUEUE, TOLD_MAX_BYTES
        socket.ipv6 = is_ipv6(self._address.host)
        self._monitor = Monitor(socket, self._monitored, zmq.EVENT_DISCONNECTED)
        self._inbox = Inbox(socket)
        socket.connect(endpoint(self._address.host, self._address.up_port))
        self._drain = Drain(socket, self._ready)

    def close(self) -> None:
        """Close the connection."""
        if self._socket is None:
            return
        self._socket = None
        self._drain.close()
        self._monitor.close()
        self._context.destroy(linger=0)
        self._give_up("the console closed the connection")

    def tell(self, request: admin.Request) -> bool:
        """Send a request; False if there is no connection."""
        if self._socket is None:
            return False
        try:
            self._socket.send(request.model_dump_json(exclude_none=True).encode(), NOW)
        except zmq.Again:
            return False
        return True

    async def do(self, command: admin.Command) -> tuple[admin.Answer, bytes]:
        """Send a command and return the answer and its payload. A failure is an answer, too."""
        number = next(self._numbers)
        waits = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            if not await self._sent(command.model_copy(update={"id": number})):
                return admin.Answer(id=command.id, ok=False, words="the gateway does not answer: the command was not sent"), b""
            async with asyncio.timeout(PATIENCE_S):
                answer, payload = await waits
        except TimeoutError:
            answer, payload = admin.Answer(id=0, ok=False, words=f"the gateway does not answer: {UNKNOWN}"), b""
        finally:
            del self._waiting[number]
        return answer.model_copy(update={"id": command.id}), payload

    async def _sent(self, command: admin.Command) -> bool:
        """Send a command, waiting up to ``THERE_S`` for the connection; False if there is none."""
        self.dial()
        until = asyncio.get_running_loop().time() + THERE_S
        while not (sent := self.tell(command)) and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110 - libzmq has no event for it
            await asyncio.sleep(RETRY_S)
        return sent

    def _give_up(self, why: str) -> None:
        for number, waits in self._waiting.items():
            if not waits.done():
                waits.set_result((admin.Answer(id=number, ok=False, words=f"{why}: {UNKNOWN}"), b""))

    def _monitored(self, _event: int, _value: int, _endpoint: str) -> None:
        self._give_up("the connection to the gateway is lost")

    def _ready(self) -> bool:
        try:
            parts = self._inbox.next()
        except zmq.Again:
            return False
        if len(parts) != 2:  # noqa: PLR2004 - header and payload; empty while a longer message is discarded
            self.unread += bool(parts)
            return True
        try:
            told = admin.TOLD.validate_json(parts[0].bytes)
        except ValidationError:
            self.unread += 1
            return True
        if not isinstance(told, admin.Answer):
            self._on_told(told)
        elif (waits := self._waiting.get(told.id)) and not waits.done():
            waits.set_result((told, parts[1].bytes))
        return True
