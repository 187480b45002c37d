"""The record of one connection, for tests and benches."""

from collections import deque
from dataclasses import dataclass, field
from typing import TypeVar

from gemini_live_sim.setup import SessionSetup
from gemini_live_sim.usage import UsageReport
from gemini_live_sim.wire import Json

T = TypeVar("T")

MAX_ENTRIES = 100_000
"""Most entries of a list of small things."""
MAX_HISTORY = 200
MAX_TEXT = 10_000
"""Most characters of a text that are kept."""


@dataclass
class AnswerRecord:
    """The record of one sent answer."""

    turn: int
    pcm: bytes
    """The whole answer, PCM16 mono. Empty once the connection's recording bound is reached."""
    hz: int
    text: str
    sent_bytes: int = 0
    """Bytes of the answer that were sent before it ended or was interrupted."""
    leftover_bytes: int = 0
    """Bytes that were sent after ``interrupted``."""
    interrupted: bool = False
    complete: bool = False
    """Whether turnComplete was sent."""

    @property
    def sent(self) -> bytes:
        """The audio that was sent before the end, as one piece."""
        return self.pcm[: self.sent_bytes]


@dataclass(eq=False)
class Journal:
    """The record of one connection. Recorded audio is bounded by ``max_bytes`` each way, lists by ``MAX_ENTRIES``."""

    number: int
    max_bytes: int = 64 * 2**20
    setup: SessionSetup | None = None
    setup_json: Json = field(default_factory=dict)
    """The setup as received, with keys in camelCase."""
    session_id: str = ""
    resumed: bool = False
    """Whether the connection resumed a session by a handle."""
    heard: bytearray = field(default_factory=bytearray)
    """All realtime audio in order; bytes beyond the bound are not kept."""
    heard_bytes: int = 0
    """Bytes of all realtime audio."""
    texts: list[str] = field(default_factory=list)
    history: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=MAX_HISTORY))
    """(role, text), also from before a resume; the newest ``MAX_HISTORY``."""
    kinds: list[str] = field(default_factory=list)
    """The kinds of the client's messages, in order: ``Setup``, ``Audio``, ``Text``, ``ActivityStart``, ..."""
    sent_kinds: list[str] = field(default_factory=list)
    """The first name in each sent message, in order."""
    answers: list[AnswerRecord] = field(default_factory=list)
    answer_bytes: int = 0
    usage: list[UsageReport] = field(default_factory=list)
    """The reported token counts, turn by turn."""
    handles: list[str] = field(default_factory=list)
    tool_calls: list[Json] = field(default_factory=list)
    cancelled_calls: list[str] = field(default_factory=list)
    """Ids of cancelled calls."""
    tool_responses: list[Json] = field(default_factory=list)
    context_updates: list[Json] = field(default_factory=list)
    open: bool = True
    close_code: int | None = None
    """1006 if the connection ended without a close message."""
    close_reason: str | None = None

    def hear(self, pcm: bytes) -> None:
        """Record audio from the client, as far as the bound allows."""
        self.heard_bytes += len(pcm)
        self.heard += pcm[: max(self.max_bytes - len(self.heard), 0)]

    def tell(self, role: str, text: str) -> None:
        """Record a text of the ``user`` or the ``model`` in the history."""
        self.history.append((role, text[:MAX_TEXT]))

    def answer(self, record: AnswerRecord) -> AnswerRecord:
        """Record an answer, and its audio as far as the bound allows."""
        if self.answer_bytes + len(record.pcm) > self.max_bytes:
            record.pcm = b""
        self.answer_bytes += len(record.pcm)
        note(self.answers, record)
        return record


def note(entries: list[T], entry: T) -> None:
    """Append, unless the list is full."""
    if len(entries) < MAX_ENTRIES:
        entries.append(entry)
