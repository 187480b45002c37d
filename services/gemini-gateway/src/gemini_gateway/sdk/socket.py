"""The SDK's WebSocket, which tells of an interruption as it comes, and follows no redirect."""

import json
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

import websockets.exceptions
from websockets.asyncio.client import ClientConnection
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response

from gemini_gateway.sdk import refusals
from gemini_gateway.sdk.errors import STRANGE

REDIRECTS: Final = range(300, 400)
INTERRUPTED: Final = b'"interrupted"'
MESSAGE_BEGINS: Final = (Opcode.TEXT, Opcode.BINARY)
MESSAGE: Final = (*MESSAGE_BEGINS, Opcode.CONT)

TAKEN: Final[ContextVar[Callable[[], None]]] = ContextVar("taken")
"""What the task that dials is to be told when the server takes its socket; the SDK tells nobody."""


class Socket(ClientConnection):
    """The connection that the SDK makes, which we have it make of this class."""

    unread = 0
    """Messages that have come, and were not read."""
    interruptions = 0
    """Messages that have come, and were not read, which say that a reply was interrupted."""
    on_interruption: Callable[[], None] | None = None

    async def handshake(self, *args: Any, **kwargs: Any) -> None:
        """Tell the task that dials that the server took the socket.

        Raises:
            LiveError: If the server redirects.
        """
        try:
            await super().handshake(*args, **kwargs)
        except websockets.exceptions.InvalidStatus as error:
            status = error.response.status_code
            if status in REDIRECTS:  # websockets would follow, and take the API key along
                raise refusals.of_status(status, "") from error
            raise
        TAKEN.get()()

    def process_event(self, event: Request | Response | Frame) -> None:
        """Look at each message as it is parsed, before its turn comes."""
        if isinstance(event, Frame) and event.fin and event.opcode in MESSAGE:
            self.unread += 1
            if event.opcode in MESSAGE_BEGINS and interrupts(event.data):
                self.interruptions += 1
                if self.on_interruption:
                    self.on_interruption()
        super().process_event(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop the traceback of the parser's error: its frames hold this connection, which holds the error."""
        super().connection_lost(exc)
        if self.protocol.parser_exc:
            self.protocol.parser_exc.__traceback__ = None

    async def recv(self, decode: bool | None = None) -> Any:  # noqa: FBT001 - as the class above has it
        """The next message."""
        message = await super().recv(decode)
        self.unread -= 1
        if self.interruptions and interrupts(message if isinstance(message, bytes) else message.encode()):
            self.interruptions -= 1
        return message


def interrupts(raw: bytes | bytearray | memoryview) -> bool:
    """Whether a message says that the reply was interrupted; cheap for one that does not."""
    if INTERRUPTED not in (raw := bytes(raw)):
        return False
    try:
        return json.loads(raw)["serverContent"]["interrupted"] is True
    except STRANGE:
        return False
