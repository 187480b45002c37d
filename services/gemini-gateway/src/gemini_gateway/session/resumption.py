"""Decides whether the session is resumed, and by which handle. Pure: time is passed in."""

from dataclasses import dataclass

from gemini_gateway.session import timing
from gemini_gateway.session.decisions import Count, Out


@dataclass(slots=True)
class Dialled:
    """What the newest dial used, and what has changed since then."""

    handle: str | None = None
    seeded: bool = False
    """Whether the new session was told the transcript of the old one."""
    manual: bool = False
    """Whether VAD is manual in this session."""
    stale: bool = False
    """Whether the persona has changed since the dial."""
    unmended: bool = False
    """Whether a person has changed the key or the configuration since the dial."""
    tools: bool = False
    """Whether tools were declared."""


class Resumption:
    """The newest handle, and the failures that speak against it."""

    def __init__(self) -> None:
        self.dialled = Dialled()
        self.handle: str | None = None
        self._since = float("-inf")
        self._failures = 0
        """How many connections in a row failed to resume the session."""
        self._suspect: str | None = None
        """A handle with which a connection failed. The handle may not be the reason."""
        self.doubted = False
        """Whether the other gateway may still hold the session's connection, so that the handle is tried only once."""
        self._forsaken = False
        """Whether the session was given up. Handles that still come on its connection are ignored."""

    def handle_came(self, handle: str | None, now: float) -> None:
        """The server has sent a handle; None while the session cannot be resumed."""
        if handle and not self._forsaken:
            self.handle, self._since = handle, now

    def inherit(self, handle: str, since: float, *, doubted: bool) -> None:
        """Take over a handle from another gateway.

        Args:
            handle: The other gateway's newest handle.
            since: When that handle came.
            doubted: Whether the other gateway may still hold the connection. Then Google refuses the handle for a long time.
        """
        self.handle, self._since, self.doubted = handle, since, doubted

    def remembered(self, now: float) -> tuple[str | None, float]:
        """The handle, and its age in seconds."""
        return self.handle, now - self._since if self.handle else 0.0

    def knows_of(self, at: float) -> bool:
        """Whether the handle is at least as new as this moment; also true without a handle."""
        return self.handle is None or self._since >= at

    def to_dial(self, now: float) -> str | None:
        """The handle to dial with; None if there is none, or Google has forgotten it."""
        if self.handle and now - self._since > timing.HANDLE_MAX_S:
            self.handle = None
        return self.handle

    def opened(self) -> None:
        """A connection is open."""
        self._forsaken = self.doubted = False

    def blame(self, words: str, *, at_once: bool = False) -> list[Out]:
        """A connection failed to resume the session: drop the handle, at once or after ``HANDLE_FAILURES`` failures."""
        if self.dialled.handle is None:
            return []
        self._suspect = self.dialled.handle
        self._failures += 1
        if self._failures < timing.HANDLE_FAILURES and not (at_once or self.doubted):
            return []
        self.forsake()
        return [Count("handle_dropped", f"the session cannot be resumed, so a new one begins: {words}")]

    def acquit(self) -> None:
        """A dial without the handle failed as well: the handle was not the reason, and is used again."""
        if self._suspect and self.dialled.handle is None:
            self.handle, self._suspect = self._suspect, None

    def talked(self) -> None:
        """A connection has lasted, or the server has talked on it: a handle that was dropped stays dropped."""
        self._suspect = None

    def lasted(self) -> None:
        """The handle was good."""
        self._failures = 0

    def forsake(self) -> None:
        """Begin a new session next."""
        self.handle, self._failures, self._forsaken = None, 0, True
