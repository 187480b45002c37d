"""Resumption handles: what a later connection needs to go on where an earlier one stopped."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

LIFETIME_S = 2 * 3600.0
MAX_HANDLES = 10_000
"""Beyond this the oldest handles are forgotten."""


class Refusal(Enum):
    """Why a handle does not open a session."""

    UNKNOWN = "unknown"
    STALE = "stale"
    STILL_OPEN = "still open"
    POISONED = "poisoned"


class HandleError(Exception):
    """A handle does not open a session."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A session at one moment."""

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
    """All handles of a server. Pure but for the given source of names."""

    def __init__(self, new_handle: Callable[[], str]) -> None:
        self._new_handle = new_handle
        self._entries: dict[str, _Entry] = {}
        self._open: dict[int, str] = {}
        """Connection -> the session it carries."""
        self._calls: dict[str, dict[str, None]] = {}
        """Session -> its calls of tools without a response."""
        self.is_poisoned: Callable[[str], bool] = lambda _handle: False
        """Set it to poison handles by name."""
        self.is_alive: Callable[[int], bool] = lambda _connection: True
        """Set it to look whether a connection that nobody called closed still is not."""

    def opened(self, connection: int, session_id: str) -> None:
        """A connection carries this session from now on."""
        self._open[connection] = session_id

    def closed(self, connection: int) -> None:
        """A connection is gone: its handles may be used."""
        self._open.pop(connection, None)

    def calls_of(self, session_id: str) -> dict[str, None]:
        """The ids of the session's calls without a response; whoever carries the session keeps them up to date."""
        calls = self._calls.setdefault(session_id, {})
        if len(self._calls) > MAX_HANDLES:
            del self._calls[next(iter(self._calls))]
        return calls

    def _is_open(self, session_id: str) -> bool:
        return any(carried == session_id and self.is_alive(number) for number, carried in self._open.items())

    def issue(self, snapshot: Snapshot, now: float, *, poisoned: bool = False) -> str:
        """Make a handle for this moment of a session."""
        handle = self._new_handle()
        self._entries[handle] = _Entry(snapshot, now, poisoned)
        if len(self._entries) > MAX_HANDLES:
            del self._entries[next(iter(self._entries))]
        return handle

    def poison(self, handle: str) -> None:
        """From now on every resume with this handle fails."""
        entry = self._entries[handle]
        self._entries[handle] = _Entry(entry.snapshot, entry.issued, poisoned=True)

    def resume(self, handle: str, now: float) -> Snapshot:
        """Look a handle up.

        Raises:
            HandleError: If it is unknown, too old or poisoned, or its connection is still open.
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
