"""A session whose rim and server a test plays. Time passes only when the test says so."""

from gemini_gateway.events import FunctionCall, LiveError, Resumable, ToolCall
from gemini_gateway.session.decisions import Answer, Count, Dial, Emit, HangUp, Response, Run, SessionPhase, Stop
from gemini_gateway.session.exchanges import Keep
from gemini_gateway.session.meter import Bill
from gemini_gateway.session.session import Session
from gemini_gateway.session.timing import (
    BYTES_PER_S,
    SessionSettings,
)
from reachy_gateway.provider.usage import Tokens
from reachy_gateway.voice import Audio, ConnectionState, ReplyGenerated, TurnComplete

CHUNK_S = 0.02
CHUNK_BYTES = int(CHUNK_S * BYTES_PER_S)
TICK_S = 0.1
LOST = LiveError("lost", "1011 Internal error")
UNREACHABLE = LiveError("unreachable", "nobody answered")
REFUSED = LiveError("refused", "check GEMINI_API_KEY")
QUOTA = LiveError("quota", "the quota is used up")
A_REPLY = Audio(b"\0\1" * 480, 24000)


class Rim:
    """Carries out the session's decisions. The test is the server; the rim dials when allowed, and sends what it may."""

    def __init__(self, draw: float = 0.0, **limits) -> None:
        self.now = 1000.0
        self.draw = draw
        self.session = Session(SessionSettings(**limits), self.now, lambda: self.draw)
        self.heard: list[bytes] = []
        self.sent: list[list] = []
        """What was sent on each connection."""
        self.dials: list[Dial] = []
        self.events: list = []
        self.counts: list[str] = []
        self.bills: list[Tokens] = []
        self.estimates: list[bool] = []
        self.kept: list[tuple[str, str]] = []
        self.ran: list[Run] = []
        self.stopped: list[int] = []
        self.hanging_up = False
        self.phases = [SessionPhase.WAITING]
        """The session's phases, in order."""

    # --- what the session decides

    def do(self, out) -> None:
        if self.session.phase is not self.phases[-1]:
            self.phases.append(self.session.phase)
        for item in out:
            match item:
                case Dial():
                    self.dials.append(item)
                case HangUp():
                    assert self.session.phase is SessionPhase.CLOSING
                    self.hanging_up = True
                case Emit(event):
                    self.events.append(event)
                case Count(cause, words):
                    assert words
                    self.counts.append(cause)
                case Bill(tokens):
                    self.bills.append(tokens)
                    self.estimates.append(item.estimated)
                case Keep(who, text):
                    self.kept.append((who, text))
                case Run():
                    self.ran.append(item)
                case Stop(key):
                    self.stopped.append(key)

    @property
    def standings(self) -> list[ConnectionState]:
        return [event for event in self.events if isinstance(event, ConnectionState)]

    @property
    def turns_ended(self) -> int:
        return self.events.count(TurnComplete())

    @property
    def audio(self) -> bytes:
        """All mic audio that was sent, over all connections."""
        return b"".join(item for items in self.sent for item in items if isinstance(item, bytes))

    @property
    def answered(self) -> list[list[Response]]:
        """The answers to calls, by connection."""
        return [[one for item in items if isinstance(item, Answer) for one in item.responses] for items in self.sent]

    @property
    def marks(self) -> list[list]:
        return [[item for item in items if isinstance(item, str)] for items in self.sent]

    # --- the connection

    def dial(self) -> Dial:
        """Permit the session to dial."""
        before = len(self.dials)
        self.do(self.session.dial(self.now))
        assert len(self.dials) == before + 1
        return self.dials[-1]

    def open(self, handle: str | None = None) -> "Rim":
        """Dial, and connect."""
        self.dial()
        self.sent.append([])
        self.do(self.session.opened(self.now))
        if handle:
            self.server(Resumable(handle))
        self.send()
        return self

    def open_dialled(self) -> None:
        """Connect an earlier dial."""
        self.sent.append([])
        self.do(self.session.opened(self.now))

    def fail(self, error: LiveError) -> None:
        self.do(self.session.failed(error, self.now))

    def close(self, error: LiveError | None = None) -> None:
        """End the connection."""
        self.hanging_up = False
        self.do(self.session.closed(error, self.now))

    def server(self, *events) -> None:
        for event in events:
            self.do(self.session.server(event, self.now))

    def tool_ends(self, n: int = -1, outcome: str = "done") -> None:
        """End the n-th tool run."""
        self.do(self.session.tool_ended(self.ran[n].key, {"it": "is"}, outcome, self.now))
        self.send()

    def send(self) -> None:
        while (item := self.session.take()) is not None:
            self.sent[-1].append(item)

    # --- the person, and time

    def tick(self) -> None:
        self.do(self.session.tick(self.now))
        self.send()

    def wait(self, seconds: float) -> None:
        """Let time pass without mic audio."""
        until = self.now + seconds
        while self.now < until - 1e-9:
            self.now = min(until, self.now + TICK_S)
            self.tick()

    def mic(self, seconds: float, *, speaking: bool = False) -> None:
        """Send mic audio for so long. Each chunk has its own bytes."""
        ticked = self.now
        for _ in range(round(seconds / CHUNK_S)):
            self.now += CHUNK_S
            self.heard.append(len(self.heard).to_bytes(4, "little") * (CHUNK_BYTES // 4))
            self.do(self.session.hear(self.heard[-1], self.now, speaking=speaking))
            self.send()
            if self.now - ticked >= TICK_S:
                ticked = self.now
                self.tick()
        self.tick()

    def speak(self, seconds: float = 1.0) -> None:
        """Let the person say something and stop."""
        self.mic(seconds, speaking=True)
        self.mic(CHUNK_S)

    def press(self, event: str) -> None:
        self.do(self.session.activity(event, self.now))
        self.send()

    def budget(self, *, allowed: bool, words: str = "the budget is spent") -> None:
        self.do(self.session.budget(allowed=allowed, words=words))

    def answer(self, tokens: Tokens | None = None) -> None:
        """Let the server answer with a whole turn."""
        self.server(A_REPLY, ReplyGenerated(), *([tokens] if tokens else []), TurnComplete())

    @property
    def phase(self) -> SessionPhase:
        return self.session.phase

    def last_heard(self, seconds: float) -> bytes:
        return b"".join(self.heard[len(self.heard) - round(seconds / CHUNK_S) :])


def used(n: int) -> Tokens:
    return Tokens({"audio": n}, {"audio": n})


def pauses(rim: Rim, error: LiveError, times: int) -> list[float]:
    """The pause between each failed dial and the next."""
    found = []
    for _ in range(times):
        rim.dial()
        rim.fail(error)
        failed_at = rim.now
        while not rim.session.wants_to_dial(rim.now):
            rim.wait(0.1)
        found.append(rim.now - failed_at)
    return found


def parked(rim: Rim) -> Rim:
    rim.mic(rim.session.settings.park_after_s + 0.2)
    assert rim.hanging_up
    rim.close()
    assert rim.phase is SessionPhase.PARKED
    return rim


def refused(rim: Rim) -> None:
    rim.dial()
    rim.fail(REFUSED)


def wanted(*names: str, first: int = 1) -> ToolCall:
    """A message that calls these tools, with ids that count from ``first``."""
    return ToolCall(tuple(FunctionCall(f"call-{n}", name, {}) for n, name in enumerate(names, first)))
