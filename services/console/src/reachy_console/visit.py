"""One page's WebSocket connection, from its accept to its end: the messages in both directions."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from reachy_console import messages
from reachy_console.browser import Page
from reachy_console.gateways import Gateways, Look
from reachy_console.messages import AUDIO_MAX_BYTES, TEXT_MAX_BYTES, UP, Command, Ended, Start, Stop, Visible
from reachy_console.seats import Seat, Seats
from reachy_link import admin
from reachy_link.bucket import Rate, TokenBucket

log = logging.getLogger(__name__)

PER_S: Final = Rate(100, 300)
"""Messages that a page may send, a second and at once; 50 a second are usual. Beyond this the connection is closed."""
READ_S: Final = 10.0
"""The connection of a page that reads nothing for this long is closed."""
LOOK_S: Final = 30.0
"""Time between two checks that the page's guest is still signed in."""
COMMANDS_MAX: Final = 4
"""Most commands of one page that are carried out at a time."""
POLICY_VIOLATION, GOING_AWAY, TRY_LATER, TAKEN = 1008, 1001, 1013, 4001
"""WebSocket close codes. The last is our own: another tab has the page's robot."""


class Visit:
    """One page's connection.

    Args:
        guest: The guest's token.
        is_let_in: Tells whether the guest is still signed in.
        may_talk: Whether the page may talk and command.
    """

    def __init__(
        self,
        socket: WebSocket,
        page: Page,
        guest: str,
        seats: Seats,
        gateways: Gateways,
        is_let_in: Callable[[], object],
        *,
        may_talk: bool,
    ) -> None:
        self._gateways = gateways
        self._commands: set[asyncio.Task[None]] = set()
        self._is_let_in = is_let_in
        self._socket = socket
        self._page = page
        self._guest = guest
        self._seats = seats
        self._may_talk = may_talk
        self._seat: Seat | None = None
        self._bucket = TokenBucket(PER_S)

    async def run(self) -> None:
        """Send and receive until one of the two ends."""
        ways = {asyncio.create_task(way, name="page") for way in (self._send(), self._receive(), self._look_after())}
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in done:
                await self._hang_up(*(way.result() or (GOING_AWAY, "")))
        finally:
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
            self._gateways.look(self._page, Look())
            for command in self._commands:
                command.cancel()
            if self._seat:
                self._seat.leave(self._page)

    async def _hang_up(self, code: int, why: str) -> None:
        with suppress(RuntimeError, WebSocketDisconnect, TimeoutError):  # the page has gone already
            async with asyncio.timeout(1.0):
                await self._socket.close(code, why)

    async def _look_after(self) -> tuple[int, str]:
        while self._is_let_in():  # noqa: ASYNC110 - logins expire without an event; each look also renews the login
            await asyncio.sleep(LOOK_S)
        return POLICY_VIOLATION, "you are signed out"

    async def _send(self) -> tuple[int, str] | None:
        while (item := await self._page.next()) is not None:
            with suppress(RuntimeError, WebSocketDisconnect):
                try:
                    async with asyncio.timeout(READ_S):
                        if isinstance(item, bytes):
                            await self._socket.send_bytes(item)
                        else:
                            await self._socket.send_text(item.model_dump_json())
                        continue
                except TimeoutError:
                    return TRY_LATER, "the page reads too slowly"
            return None
        return TAKEN if self._page.taken else TRY_LATER, self._page.over

    async def _receive(self) -> tuple[int, str] | None:
        while True:
            got = await self._socket.receive()
            if got["type"] == "websocket.disconnect":
                return None
            if not self._bucket.take(1, time.monotonic()):
                return POLICY_VIOLATION, "too many messages"
            data, text = got.get("bytes"), got.get("text")
            if data is not None:
                if not self._hear(data):
                    return POLICY_VIOLATION, "an audio message is too long, empty or half a sample"
            elif text is not None and (why := await self._take(text)):
                return POLICY_VIOLATION, why

    def _hear(self, pcm: bytes) -> bool:
        """Take the page's microphone audio; False if it is malformed. Audio outside a conversation is ignored."""
        if len(pcm) > AUDIO_MAX_BYTES or len(pcm) % 2 or not pcm:
            return False
        device = self._seat.device if self._seat else None
        if device and device.page is self._page:
            device.hear(pcm)
        return True

    async def _take(self, text: str) -> str:
        """Handle a message; return what is wrong with it, or an empty text."""
        if len(text) > TEXT_MAX_BYTES:
            return "a message is too long"
        try:
            message = UP.validate_json(text)
        except ValidationError:
            return "the console does not know this message: reload the page"
        device = self._seat.device if self._seat else None
        has_it = self._seat if device and device.page is self._page and not device.ended else None
        match message:
            case Start() if not self._may_talk:
                self._page.tell(Ended(n=message.n, why="a viewer may not talk: ask for an operator's link", began=False))
            case Start() if has_it is None:
                self._seat = await self._seats.take(self._guest, message, self._page)
                if self._seat is None:
                    why = f"all {len(self._seats)} robots for pages are taken; try again when another page has stopped talking"
                    self._page.tell(Ended(n=message.n, why=why, began=False))
            case Stop() if has_it:
                has_it.end("you ended it")
            case Visible(visible=visible) if has_it:
                has_it.visible(visible=visible)
            case messages.Look(fleet=fleet, robot=robot):
                self._gateways.look(self._page, Look(fleet, robot))
            case Command(gateway=gateway, do=do):
                self._command(gateway, do)
        return ""

    def _command(self, gateway: str, do: admin.Command) -> None:
        """Carry out a command in a task of its own, so that further messages are handled meanwhile."""
        why = ""
        if not self._may_talk:
            why = "a viewer may not command: ask for an operator's link"
            log.warning("a viewer sent the command %s and was refused", do.kind)
        elif len(self._commands) >= COMMANDS_MAX:
            why = "too many commands at once: try again"
        if why:
            self._page.tell(messages.Done(gateway=gateway, it=admin.Answer(id=do.id, ok=False, words=why)))
            return

        async def carry_out() -> None:
            async for done in self._gateways.do(gateway, do):
                self._page.tell(done)

        task = asyncio.create_task(carry_out(), name=f"{do.kind} for a page")
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)
        task.add_done_callback(tell_fault)


def tell_fault(task: "asyncio.Task[None]") -> None:
    """Log the exception of a background task, which nobody awaits."""
    if not task.cancelled() and (error := task.exception()):
        log.error("a fault of the console ended a background task", exc_info=error)
