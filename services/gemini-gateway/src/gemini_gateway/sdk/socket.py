"""The SDK's WebSocket, which reports an interruption as soon as it comes, and follows no redirect."""

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
"""The function to call when the server accepts the socket of the dialling task; the SDK does not report this."""


class Socket(ClientConnection):
    """The WebSocket connection. The SDK makes it of this class, because its setting ``create_connection`` says so."""

    unread = 0
    """How many messages have come and are not read yet."""
    interruptions = 0
    """How many unread messages say that a reply was interrupted."""
    on_interruption: Callable[[], None] | None = None

    async def handshake(self, *args: Any, **kwargs: Any) -> None:
        """Do the handshake, and tell the dialling task that the server accepted the socket.

        Raises:
            LiveError: If the server redirects.
        """
        try:
            await super().handshake(*args, **kwargs)
        except websockets.exceptions.InvalidStatus as error:
            status = error.response.status_code
            if status in REDIRECTS:  # websockets would follow the redirect, and send the API key there
                raise refusals.of_status(status, "") from error
            raise
        TAKEN.get()()

    def process_event(self, event: Request | Response | Frame) -> None:
        """Look at each message as soon as it is parsed, although earlier messages may still wait to be read."""
        if isinstance(event, Frame) and event.fin and event.opcode in MESSAGE:
            self.unread += 1
            if event.opcode in MESSAGE_BEGINS and interrupts(event.data):
                self.interruptions += 1
                if self.on_interruption:
                    self.on_interruption()
        super().process_event(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop the tracebacks of the errors that this connection holds: their frames hold this connection.

        Such an error is the parser's, or the system's when a write met a connection that was cut.
        """
        super().connection_lost(exc)
        for error in (self.protocol.parser_exc, exc):
            if error:
                error.__traceback__ = None

    async def recv(self, decode: bool | None = None) -> Any:  # noqa: FBT001 - as the class above has it
        """The next message."""
        message = await super().recv(decode)
        self.unread -= 1
        if self.interruptions and interrupts(message if isinstance(message, bytes) else message.encode()):
            self.interruptions -= 1
        return message


def interrupts(raw: bytes | bytearray | memoryview) -> bool:
    """Whether a message says that the reply was interrupted; cheap for other messages."""
    if INTERRUPTED not in (raw := bytes(raw)):
        return False
    try:
        return json.loads(raw)["serverContent"]["interrupted"] is True
    except STRANGE:
        return False
