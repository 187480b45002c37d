"""The console's web server: the page's files, the door, and one WebSocket for each page."""

import asyncio
import hmac
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from reachy_console import guard
from reachy_console.browser import Page
from reachy_console.login import IDLE_S, Logins, Role
from reachy_console.messages import AUDIO_MAX_BYTES, TEXT_MAX_BYTES, UP, Ended, Spent, Start, Stop, Visible, Welcome
from reachy_console.seats import Seat, Seats
from reachy_console.spending import spending
from reachy_link.bucket import Rate, TokenBucket
from reachy_service.health import fetched

log = logging.getLogger(__name__)

STATIC: Final = Path(__file__).with_name("static")
BODY_MAX_BYTES: Final = 1024
PAGES_MAX: Final = 32
"""Pages that are open at a time; the next is told so."""
PER_S: Final = Rate(100, 300)
"""Messages that a page may send; 50 of them are usual. Beyond it the page is hung up on."""
READ_S: Final = 10.0
"""A page that takes nothing for so long is hung up on."""
LOOK_S: Final = 30.0
"""How often it is looked whether a page's guest is still let in."""
SPENT_S: Final = 5.0
POLICY_VIOLATION, TOO_BIG, GOING_AWAY, TRY_LATER = 1008, 1009, 1001, 1013


class Console:
    """What the handlers share.

    Args:
        seats: The robots for pages.
        logins: Who may use them.
        names: Names by which the console may be asked.
        port: Names the cookie: a browser shows a host's cookies to all its ports.
        secure: Whether it is served by TLS.
        metrics: Where the gateway tells what talking costs; empty for nowhere.
        secret: Lets ``reachy-console link`` in.
    """

    def __init__(
        self,
        seats: Seats,
        logins: Logins,
        *,
        port: int,
        secret: str,
        names: Collection[str] = (),
        secure: bool = False,
        metrics: str = "",
    ) -> None:
        self._seats = seats
        self._logins = logins
        self._names = frozenset(names)
        self._secure = secure
        self._metrics = metrics
        self._secret = secret
        self._cookie = f"{'__Host-' if secure else ''}reachy-console-{port}"
        self._pages: set[WebSocket] = set()

    def app(self) -> ASGIApp:
        """To be served."""
        routes = [
            Route("/", self._index),
            Route("/me", self._me),
            Route("/login", self._login, methods=["POST"]),
            Route("/logout", self._logout, methods=["POST"]),
            Route("/link", self._link, methods=["POST"]),
            WebSocketRoute("/ws", self._page),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        return self._guarded(Starlette(routes=routes, lifespan=self._lifespan))

    @property
    def pages(self) -> int:
        """How many are open."""
        return len(self._pages)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        watch = asyncio.create_task(self._tell_spending(), name="spending") if self._metrics else None
        yield
        if watch:
            watch.cancel()
        await self._seats.close()

    # --- the door -----------------------------------------------------------------------------------------------------

    def _guarded(self, app: ASGIApp) -> ASGIApp:
        """Refuse what :mod:`reachy_console.guard` refuses, before anything reads it; each answer says what a page may do."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] not in ("http", "websocket"):
                return await app(scope, receive, send)
            asked_by_command = scope["path"] == "/link"  # which shows its secret, and has no page
            method = "GET" if asked_by_command else scope.get("method", "")
            why = guard.refusal(scope["type"], method, scope["headers"], self._names, secure=self._secure)
            if why is None:
                return await app(scope, receive, _with_headers(send))
            log.debug("refused: %s", why)
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": POLICY_VIOLATION})  # before it is accepted: HTTP's 403
            else:
                await PlainTextResponse(why, 403)(scope, receive, _with_headers(send))
            return None

        return answer

    def _role(self, given: Request | WebSocket) -> Role | None:
        return self._logins.role(given.cookies.get(self._cookie, ""), time.monotonic())

    async def _index(self, _: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def _me(self, request: Request) -> Response:
        role = self._role(request)
        response = JSONResponse({"role": role}, 200 if role else 401)
        if role:
            self._set_cookie(response, request.cookies[self._cookie])  # for as long again
        return response

    async def _login(self, request: Request) -> Response:
        code = await _body(request)
        token = self._logins.redeem(code, time.monotonic()) if code else None
        if token is None:
            return PlainTextResponse("this link lets nobody in: it was used, or is too old", 403)
        response = Response(status_code=204)
        self._set_cookie(response, token)
        log.info("somebody was let in, as %s", self._logins.role(token, time.monotonic()))
        return response

    def _set_cookie(self, response: Response, token: str) -> None:
        response.set_cookie(
            self._cookie, token, max_age=int(IDLE_S), path="/", httponly=True, samesite="strict", secure=self._secure
        )

    async def _logout(self, request: Request) -> Response:
        self._logins.leave(request.cookies.get(self._cookie, ""))
        response = Response(status_code=204)
        response.delete_cookie(self._cookie, path="/", httponly=True, samesite="strict", secure=self._secure)
        return response

    async def _link(self, request: Request) -> Response:
        """For ``reachy-console link``, which can read a file of ours."""
        shown = Headers(scope=request.scope).get("authorization", "").removeprefix("Bearer ")
        role: Role | None = {"operator": "operator", "viewer": "viewer"}.get(await _body(request) or "")  # type: ignore[assignment]
        if role is None or not hmac.compare_digest(shown.encode(), self._secret.encode()):
            return Response(status_code=403)
        return PlainTextResponse(self._logins.make_link(role, time.monotonic()))

    # --- pages --------------------------------------------------------------------------------------------------------

    async def _page(self, socket: WebSocket) -> None:
        role = self._role(socket)
        if role is None:
            return await socket.close(POLICY_VIOLATION)
        await socket.accept()
        if len(self._pages) >= PAGES_MAX:
            return await socket.close(TRY_LATER, "too many pages are open")
        page, guest = Page(), socket.cookies[self._cookie]
        page.tell(Welcome(role=role, robots=len(self._seats)))
        self._pages.add(socket)
        is_let_in = partial(self._role, socket)
        visit = _Visit(socket, page, guest, self._seats, is_let_in, may_talk=role == "operator")
        try:
            await visit.run()
        finally:
            self._pages.discard(socket)
        return None

    async def _tell_spending(self) -> None:
        """Ask the gateway what the robots of pages cost, while there are any."""
        while True:
            await asyncio.sleep(SPENT_S)
            if not (taken := self._seats.taken):
                continue
            with suppress(OSError):
                known = spending((await asyncio.to_thread(fetched, self._metrics, 2.0)).decode(errors="replace"))
                for seat in taken:
                    if seat.device and seat.device.page and (it := known.get(seat.robot)):
                        seat.device.page.tell(Spent(dollars=it.today, budget=it.budget))


class _Visit:
    """One page, from its socket's accept to its end."""

    def __init__(
        self, socket: WebSocket, page: Page, guest: str, seats: Seats, is_let_in: Callable[[], object], *, may_talk: bool
    ) -> None:
        self._is_let_in = is_let_in
        self._socket = socket
        self._page = page
        self._guest = guest
        self._seats = seats
        self._may_talk = may_talk
        self._seat: Seat | None = None
        self._bucket = TokenBucket(PER_S)

    async def run(self) -> None:
        """Send and receive, until either ends."""
        ways = {asyncio.create_task(way, name="page") for way in (self._send(), self._receive(), self._look_after())}
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in done:
                await self._hang_up(*(way.result() or (GOING_AWAY, "")))
        finally:
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
            if self._seat:
                self._seat.leave(self._page)

    async def _hang_up(self, code: int, why: str) -> None:
        with suppress(RuntimeError, WebSocketDisconnect, TimeoutError):  # it has gone already
            async with asyncio.timeout(1.0):
                await self._socket.close(code, why)

    async def _look_after(self) -> tuple[int, str]:
        while self._is_let_in():  # noqa: ASYNC110 - time tells nobody; to ask also keeps the guest from being forgotten
            await asyncio.sleep(LOOK_S)
        return POLICY_VIOLATION, "you are let in no more"

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
        return TRY_LATER, self._page.over

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
                    return POLICY_VIOLATION, "not the sound that was agreed"
            elif text is not None and (why := await self._take(text)):
                return POLICY_VIOLATION, why

    def _hear(self, pcm: bytes) -> bool:
        """The page's microphone; what comes after the end of a conversation is nobody's."""
        if len(pcm) > AUDIO_MAX_BYTES or len(pcm) % 2 or not pcm:
            return False
        device = self._seat.device if self._seat else None
        if device and device.page is self._page:
            device.hear(pcm)
        return True

    async def _take(self, text: str) -> str:
        """A message; what is wrong with it."""
        if len(text) > TEXT_MAX_BYTES:
            return "too long a message"
        try:
            message = UP.validate_json(text)
        except ValidationError:
            return "not a message of this page: reload it"
        device = self._seat.device if self._seat else None
        has_it = self._seat if device and device.page is self._page and not device.ended else None
        match message:
            case Start() if not self._may_talk:
                self._page.tell(Ended(n=message.n, why="whoever sees may not talk: ask for an operator's link"))
            case Start() if has_it is None:
                self._seat = await self._seats.take(self._guest, message, self._page)
                if self._seat is None:
                    why = f"all {len(self._seats)} robots for pages are taken: close another page"
                    self._page.tell(Ended(n=message.n, why=why))
            case Stop() if has_it:
                has_it.end("you ended it")
            case Visible(visible=visible) if has_it:
                has_it.visible(visible=visible)
        return ""


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            named = {name.lower() for name, _ in message.get("headers", [])}
            more = [header for header in guard.HEADERS if header[0] not in named]
            message = {**message, "headers": [*message.get("headers", []), *more]}
        await send(message)

    return sent


async def _body(request: Request) -> str | None:
    """What was posted; None if that is no short text."""
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > BODY_MAX_BYTES:
            return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
