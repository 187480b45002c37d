"""Whether, and by what handle, the session is resumed. Pure: time is passed in."""

from dataclasses import dataclass

from gemini_gateway.session import timing
from gemini_gateway.session.decisions import Count, Out


@dataclass(slots=True)
class Dialled:
    """What the newest dial was made with, and what has changed since."""

    handle: str | None = None
    seeded: bool = False
    """Whether the session was told what was said before."""
    manual: bool = False
    """Whether its VAD is manual."""
    stale: bool = False
    """Whether the persona has changed since."""
    unmended: bool = False
    """Whether a person has mended something since."""
    tools: bool = False
    """Whether tools were declared."""


class Resumption:
    """The newest handle, and what speaks against it."""

    def __init__(self) -> None:
        self.dialled = Dialled()
        self.handle: str | None = None
        self._since = float("-inf")
        self._failures = 0
        """Connections in a row that were to resume the session, and failed."""
        self._suspect: str | None = None
        """A handle that was refused; perhaps it is not the handle that was."""
        self.doubted = False
        """Whether whoever had the session may yet hold its connection, so that the handle is tried once."""
        self._forsaken = False
        """Whether the session is not to be resumed, whatever handle still comes on its connection."""

    def handle_came(self, handle: str | None, now: float) -> None:
        """The server has sent a handle; None while the session cannot be resumed."""
        if handle and not self._forsaken:
            self.handle, self._since = handle, now

    def inherit(self, handle: str, since: float, *, doubted: bool) -> None:
        """Another gateway had the session.

        Args:
            handle: Its newest.
            since: When that came.
            doubted: Whether it may yet hold the connection: what Google says of that does not change for long.
        """
        self.handle, self._since, self.doubted = handle, since, doubted

    def remembered(self, now: float) -> tuple[str | None, float]:
        """The handle, and how old it is."""
        return self.handle, now - self._since if self.handle else 0.0

    def knows_of(self, at: float) -> bool:
        """Whether what happened then is part of the session that would be resumed; also if none would be."""
        return self.handle is None or self._since >= at

    def to_dial(self, now: float) -> str | None:
        """The handle to dial with, unless Google has forgotten it."""
        if self.handle and now - self._since > timing.HANDLE_MAX_S:
            self.handle = None
        return self.handle

    def opened(self) -> None:
        """Another connection is there."""
        self._forsaken = self.doubted = False

    def blame(self, words: str, *, at_once: bool = False) -> list[Out]:
        """A connection that was to resume the session has failed. One that does so again and again does not help."""
        if self.dialled.handle is None:
            return []
        self._suspect = self.dialled.handle
        self._failures += 1
        if self._failures < timing.HANDLE_FAILURES and not (at_once or self.doubted):
            return []
        self.forsake()
        return [Count("handle_dropped", f"the session cannot be resumed, a new one begins: {words}")]

    def acquit(self) -> None:
        """Without the handle it is the same: once that is mended, the session may yet be resumed."""
        if self._suspect and self.dialled.handle is None:
            self.handle, self._suspect = self._suspect, None

    def talked(self) -> None:
        """A connection has lasted, or the server has talked over it: a handle that was refused before stays refused."""
        self._suspect = None

    def lasted(self) -> None:
        """The handle was good."""
        self._failures = 0

    def forsake(self) -> None:
        """Begin a new session next."""
        self.handle, self._failures, self._forsaken = None, 0, True
