"""The server: a TLS listener, its connections, and controls for all of them."""

import asyncio
import re
import secrets
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from gemini_live_sim.answers import recordings
from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.connection import OnEvent, SimConnection, SimSession, log
from gemini_live_sim.health import ROOT
from gemini_live_sim.journal import note
from gemini_live_sim.listener import Listener
from gemini_live_sim.opening import Caller, Door
from gemini_live_sim.resumption import HandleStore
from gemini_live_sim.scenario import load_scenario
from gemini_live_sim.settings import SimSettings
from gemini_live_sim.tls import make_context, publish
from gemini_live_sim.watch import Watch

RECORD_BYTES = 64 * 2**20
_PATH = re.compile(
    r"/{1,2}ws/google\.ai\.generativelanguage\.(?P<version>\w+)\.GenerativeService\.BidiGenerateContent(Constrained)?"
)


class GeminiLiveSim:
    """A running server. Use it from its own event loop."""

    def __init__(self, settings: SimSettings, folder: Path, on_event: OnEvent | None) -> None:
        self.settings = settings
        self.root_path = folder / ROOT
        """The root certificate for clients to trust."""
        scenario = load_scenario(settings.scenario, settings.behaviour())
        self.behaviour: Behaviour = scenario.behaviour
        """The behaviour of new connections; assign another one to change it."""
        self.sessions: list[SimSession] = []
        """The records of all connections that passed the handshake, oldest first."""
        self.refused: list[int] = []
        """The HTTP statuses of refused handshakes."""
        self._script: deque[Behaviour] = deque(scenario.connections)
        self._refuse_with: int | None = None
        self._keys = frozenset(key.get_secret_value() for key in settings.api_keys)
        self._on_event = on_event
        self._watch = Watch()
        self._n_sessions = 0
        models = frozenset(name.removeprefix("models/") for name in settings.models)
        self.handles = HandleStore(lambda: secrets.token_urlsafe(24))
        self.handles.is_alive = self._is_connected
        self._door = Door(self.handles, recordings(), models, lambda: secrets.token_hex(8), frozenset(settings.voices))
        context, self._root_pem = make_context(settings.tls_names)
        self._listener = Listener(self._serve, self._answer_http, context, settings)

    @property
    def port(self) -> int:
        """The TCP port."""
        return self._listener.port

    @property
    def url(self) -> str:
        """The base URL for clients on this machine."""
        host = self.settings.host if self.settings.host not in ("0.0.0.0", "::", "") else "127.0.0.1"
        return f"https://{host}:{self.port}"

    @property
    def open_sessions(self) -> list[SimSession]:
        """The records of the connections that are open."""
        return [session for session in self.sessions if session.open]

    def script(self, behaviours: Iterable[Behaviour]) -> None:
        """Give the next connections these behaviours, one each. Later connections get :attr:`behaviour` again."""
        self._script.extend(behaviours)

    def refuse(self, status: int | None) -> None:
        """Refuse all WebSocket handshakes with this HTTP status; None accepts them again."""
        self._refuse_with = status

    async def go_dark(self, *, drop: bool = True) -> None:
        """Close the listening socket, so that connections are refused. By default, also drop the open ones."""
        await self._listener.stop()
        if drop:
            self.abort_all()
            self._listener.drop_ignored()

    async def swallow(self, *, drop: bool = True) -> None:
        """Accept TCP connections on the same port and never send anything on them, not even TLS."""
        await self._listener.stop()
        if drop:
            self.abort_all()
        await self._listener.swallow()

    async def come_back(self) -> None:
        """Listen again after :meth:`go_dark` or :meth:`swallow`, on the same port."""
        await self._listener.start()

    def abort_all(self) -> None:
        """Drop all connections now."""
        for session in self.open_sessions:
            session.abort()

    async def until(self, condition: Callable[["GeminiLiveSim"], bool], timeout_s: float = 5.0) -> None:
        """Wait until a condition on this server or its sessions holds.

        Raises:
            TimeoutError: If the condition does not hold in time.
        """
        await self._watch.until(lambda: condition(self), timeout_s)

    async def session(self, number: int = 1, timeout_s: float = 5.0) -> SimSession:
        """Wait until the connection with this number, counted from 1, has its setup answered. Return its record."""
        found: list[SimSession] = []

        def there() -> bool:
            found[:] = [session for session in self.sessions if session.number == number and session.session_id]
            return bool(found)

        await self._watch.until(there, timeout_s)
        return found[0]

    async def start(self) -> None:
        """Start to listen. Only then write the root certificate: it may be that of a server which listens here already."""
        await self._listener.start()
        publish(self.root_path.parent, self._root_pem)

    async def stop(self) -> None:
        """Stop within half a second: close each connection, and drop those that have not closed within 0.3 s."""
        await self._listener.stop()
        for session in self.open_sessions:
            session.close(1001, "The server is shutting down.")
        try:
            await self._watch.until(lambda: not self.open_sessions, 0.3)
        except TimeoutError:
            self.abort_all()
        await self._listener.finish()

    async def _answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        """Decide about a handshake. Returning None accepts the handshake."""
        assert isinstance(connection, SimConnection)  # noqa: S101 - the listener makes no other
        url = urlsplit("//host" + request.path)
        if url.path == "/healthz":
            return connection.respond(HTTPStatus.OK, "ok\n")
        if not (path := _PATH.fullmatch(url.path)):
            return connection.respond(HTTPStatus.NOT_FOUND, "Not Found\n")
        connection.behaviour = behaviour = self._script.popleft() if self._script else self.behaviour
        await asyncio.sleep(behaviour.handshake_delay_ms / 1000)
        status = self._refuse_with or behaviour.handshake_status
        key = request.headers.get("x-goog-api-key") or parse_qs(url.query).get("key", [""])[0]
        key = key or request.headers.get("authorization", "").removeprefix("Token ").strip()
        if not key:
            status = status or HTTPStatus.FORBIDDEN
        if status:
            log.info("handshake refused: HTTP %d", status)
            note(self.refused, int(status))
            self._watch.changed()
            return connection.respond(HTTPStatus(status), f"{HTTPStatus(status).phrase}\n")
        connection.caller = Caller(not self._keys or key in self._keys, path["version"])
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        assert isinstance(connection, SimConnection)  # noqa: S101 - the listener makes no other
        self._n_sessions += 1
        max_bytes = self.settings.record_bytes if self.settings.record_bytes is not None else RECORD_BYTES
        session = SimSession(self._n_sessions, max_bytes, connection, self._door, self._watch, self._on_event)
        self.sessions.append(session)
        self._forget_old()
        self._watch.changed()
        await session.run()

    def _is_connected(self, number: int) -> bool:
        """Whether the connection's socket is open. A closing socket counts as closed: its closing handshake takes a while."""
        return any(session.number == number and session.is_connected for session in self.sessions)

    def _forget_old(self) -> None:
        excess = len(self.sessions) - self.settings.keep_sessions
        for session in [old for old in self.sessions if not old.open][: max(excess, 0)]:
            self.sessions.remove(session)


@asynccontextmanager
async def serve(settings: SimSettings | None = None, *, on_event: OnEvent | None = None) -> AsyncIterator[GeminiLiveSim]:
    """Run a server in this event loop; by default on a free port, with its root certificate in a temporary directory."""
    settings = settings or SimSettings()
    with tempfile.TemporaryDirectory(prefix="gemini-live-sim-") as temporary:
        sim = GeminiLiveSim(settings, settings.tls_dir or Path(temporary), on_event)
        await sim.start()
        try:
            yield sim
        finally:
            await sim.stop()
