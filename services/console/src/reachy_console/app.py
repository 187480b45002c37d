"""The console's web server: the page's files, the login, and one WebSocket for each page."""

import asyncio
import hmac
import logging
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from reachy_console import guard
from reachy_console.browser import Page
from reachy_console.gateways import Gateways
from reachy_console.login import IDLE_S, Logins, Role
from reachy_console.messages import Spent, Welcome
from reachy_console.seats import Seats
from reachy_console.visit import POLICY_VIOLATION, TRY_LATER, Visit, tell_fault
from reachy_link import admin

log = logging.getLogger(__name__)

STATIC: Final = Path(__file__).with_name("static")
BODY_MAX_BYTES: Final = 1024
PAGES_MAX: Final = 32
"""Most pages that are open at a time. The next page gets a message that says so."""
SPENT_S: Final = 1.0


class Console:
    """The web application and the state that its handlers share.

    Args:
        seats: The robots for pages.
        logins: The guests and their roles.
        names: Host names under which the console answers.
        port: Part of the cookie's name, because a browser shows a host's cookies to all its ports.
        secure: Whether the console is served by TLS.
        gateways: The gateways and their state.
        secret: The secret with which ``reachy-console link`` gets a link.
    """

    def __init__(
        self,
        seats: Seats,
        logins: Logins,
        gateways: Gateways,
        *,
        port: int,
        secret: str,
        names: Collection[str] = (),
        secure: bool = False,
    ) -> None:
        self._seats = seats
        self._logins = logins
        self._names = frozenset(names)
        self._secure = secure
        self._gateways = gateways
        self._secret = secret
        self._cookie = f"{'__Host-' if secure else ''}reachy-console-{port}"
        self._pages: set[WebSocket] = set()

    def app(self) -> ASGIApp:
        """The ASGI application."""
        routes = [
            Route("/", self._index),
            Route("/me", self._me),
            Route("/login", self._login, methods=["POST"]),
            Route("/logout", self._logout, methods=["POST"]),
            Route("/link", self._link, methods=["POST"]),
            Route("/recording", self._recording),
            WebSocketRoute("/ws", self._page),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        return self._guarded(Starlette(routes=routes, lifespan=self._lifespan))

    @property
    def pages(self) -> int:
        """The number of open pages."""
        return len(self._pages)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        beside = [asyncio.create_task(work, name="fleet") for work in (self._tell_spending(), self._gateways.run())]
        for task in beside:
            task.add_done_callback(tell_fault)
        yield
        for task in beside:
            task.cancel()
        await self._seats.close()

    # --- login --------------------------------------------------------------------------------------------------------

    def _guarded(self, app: ASGIApp) -> ASGIApp:
        """Refuse requests by :mod:`reachy_console.guard` before anything reads them, and add security headers to answers."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] not in ("http", "websocket"):
                return await app(scope, receive, send)
            asked_by_command = scope["path"] == "/link"  # the command shows the secret and sends no Origin
            method = "GET" if asked_by_command else scope.get("method", "")
            why = guard.refusal(scope["type"], method, scope["headers"], self._names, secure=self._secure)
            if why is None:
                return await app(scope, receive, _with_headers(send))
            log.debug("refused: %s", why)
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": POLICY_VIOLATION})  # before the accept: HTTP status 403
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
            self._set_cookie(response, request.cookies[self._cookie])  # renews the cookie's lifetime
        return response

    async def _login(self, request: Request) -> Response:
        code = await _body(request)
        token = self._logins.redeem(code, time.monotonic()) if code else None
        if token is None:
            return PlainTextResponse(
                "This link does not work: it was used before, it is too old, or there were too many attempts.", 403
            )
        response = Response(status_code=204)
        self._set_cookie(response, token)
        log.info("a guest has signed in as %s", self._logins.role(token, time.monotonic()))
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
        """Make a link for ``reachy-console link``, which shows the secret from the console's file."""
        shown = Headers(scope=request.scope).get("authorization", "").removeprefix("Bearer ")
        role: Role | None = {"operator": "operator", "viewer": "viewer"}.get(await _body(request) or "")  # type: ignore[assignment]
        if role is None or not hmac.compare_digest(shown.encode(), self._secret.encode()):
            return Response(status_code=403)
        return PlainTextResponse(self._logins.make_link(role, time.monotonic()))

    async def _recording(self, request: Request) -> Response:
        """Send a recording as a file, to operators only."""
        if self._role(request) != "operator":
            return PlainTextResponse("only operators may fetch recordings", 403)
        recording, gateway = request.query_params.get("id", ""), request.query_params.get("gateway", "")
        try:
            pieces = self._gateways.pieces(gateway, admin.Fetch(id=0, recording=recording).recording)
            first = await anext(pieces)
        except (LookupError, ValidationError, StopAsyncIteration) as error:
            words = str(error) if isinstance(error, LookupError) else "there is no such recording"
            return PlainTextResponse(words, 404)
        name = {"content-disposition": f'attachment; filename="{recording}.zip"'}
        return StreamingResponse(_whole(first, pieces), media_type="application/zip", headers=name)

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
        visit = Visit(socket, page, guest, self._seats, self._gateways, is_let_in, may_talk=role == "operator")
        try:
            await visit.run()
        finally:
            self._pages.discard(socket)
        return None

    async def _tell_spending(self) -> None:
        """Tell pages the costs of their robots."""
        told: dict[str, tuple[Page, Spent]] = {}
        while True:
            await asyncio.sleep(SPENT_S)
            for seat in self._seats.taken:
                page, money = seat.device.page if seat.device else None, self._gateways.money(seat.robot)
                if page and money and told.get(seat.robot) != (page, spent := Spent(dollars=money[0], budget=money[1])):
                    told[seat.robot] = page, spent
                    page.tell(spent)


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            named = {name.lower() for name, _ in message.get("headers", [])}
            more = [header for header in guard.HEADERS if header[0] not in named]
            message = {**message, "headers": [*message.get("headers", []), *more]}
        await send(message)

    return sent


async def _whole(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in pieces:
        yield piece


async def _body(request: Request) -> str | None:
    """The posted text; None if it is longer than ``BODY_MAX_BYTES`` or is not UTF-8."""
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > BODY_MAX_BYTES:
            return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
