"""Resumption handles, with which a later connection continues the session of an earlier one."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

LIFETIME_S = 2 * 3600.0
MAX_HANDLES = 10_000
"""Beyond this the oldest handles are forgotten."""


class Refusal(Enum):
    """The reason why a handle opens no session."""

    UNKNOWN = "unknown"
    STALE = "stale"
    STILL_OPEN = "still open"
    POISONED = "poisoned"


class HandleError(Exception):
    """A handle opens no session."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A session's state at one moment."""

    session_id: str
    turn: int
    history: tuple[tuple[str, str], ...]
    context: tuple[tuple[str, int], ...]
    """Tokens by modality."""
    age_s: float
    """How long the session has lived, over all its connections."""


@dataclass(frozen=True, slots=True)
class _Entry:
    snapshot: Snapshot
    issued: float
    poisoned: bool


class HandleStore:
    """All handles of a server. Pure, except for the given source of handles."""

    def __init__(self, new_handle: Callable[[], str]) -> None:
        self._new_handle = new_handle
        self._entries: dict[str, _Entry] = {}
        self._open: dict[int, str] = {}
        """Connection -> the session that it carries."""
        self._calls: dict[str, dict[str, None]] = {}
        """Session -> its tool calls without a response."""
        self.is_poisoned: Callable[[str], bool] = lambda _handle: False
        """Tells whether a handle is poisoned. Replace it to poison handles by name."""
        self.is_alive: Callable[[int], bool] = lambda _connection: True
        """Tells whether a connection that was not reported closed is still open. Replace it with a real check."""

    def opened(self, connection: int, session_id: str) -> None:
        """Note that a connection carries this session from now on."""
        self._open[connection] = session_id

    def closed(self, connection: int) -> None:
        """Note that a connection has ended, so that its handles may be used."""
        self._open.pop(connection, None)

    def calls_of(self, session_id: str) -> dict[str, None]:
        """The ids of the session's tool calls without a response. The session's connection keeps them up to date."""
        calls = self._calls.setdefault(session_id, {})
        if len(self._calls) > MAX_HANDLES:
            del self._calls[next(iter(self._calls))]
        return calls

    def _is_open(self, session_id: str) -> bool:
        return any(carried == session_id and self.is_alive(number) for number, carried in self._open.items())

    def issue(self, snapshot: Snapshot, now: float, *, poisoned: bool = False) -> str:
        """Make a handle for a session's state at this moment."""
        handle = self._new_handle()
        self._entries[handle] = _Entry(snapshot, now, poisoned)
        if len(self._entries) > MAX_HANDLES:
            del self._entries[next(iter(self._entries))]
        return handle

    def poison(self, handle: str) -> None:
        """Make every resume with this handle fail from now on."""
        entry = self._entries[handle]
        self._entries[handle] = _Entry(entry.snapshot, entry.issued, poisoned=True)

    def resume(self, handle: str, now: float) -> Snapshot:
        """Look up the session state of a handle.

        Raises:
            HandleError: If the handle is unknown, too old or poisoned, or its session is still open on a connection.
        """
        entry = self._entries.get(handle)
        if entry is None:
            raise HandleError(Refusal.UNKNOWN)
        if now - entry.issued > LIFETIME_S:
            raise HandleError(Refusal.STALE)
        if entry.poisoned or self.is_poisoned(handle):
            raise HandleError(Refusal.POISONED)
        if self._is_open(entry.snapshot.session_id):
            raise HandleError(Refusal.STILL_OPEN)
        return entry.snapshot
