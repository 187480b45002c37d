"""The session manager under random servers, persons, networks and budgets, while the rim keeps its contract: a dial opens or
fails, an open connection is closed once, and what cannot be sent is given back.
"""

from itertools import count

import sessions_doc
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from gemini_gateway.events import (
    Alive,
    FunctionCall,
    GoAway,
    LiveError,
    Reason,
    Resumable,
    ToolCall,
    ToolCancelled,
    Unheard,
    Unknown,
    Working,
)
from gemini_gateway.session.calls import OPEN_MAX
from gemini_gateway.session.decisions import Answer, Count, Dial, Emit, HangUp, Run, SessionPhase, Stop
from gemini_gateway.session.meter import LATE_S, Bill
from gemini_gateway.session.session import Session
from gemini_gateway.session.timing import (
    BYTES_PER_S,
    HELD_MAX_S,
    MESSAGE_BYTES,
    OUTAGE_MAX_S,
    PRE_ROLL_S,
    QUOTA_S,
    REFUSED_RETRY_S,
    SessionSettings,
    ToolTerms,
)
from reachy_gateway.provider.usage import Tokens
from reachy_gateway.voice import Audio, ConnectionState, Interrupted, ReplyGenerated, Said, SpeechNoticed, TurnComplete

CHUNK_BYTES = 640
TOOLS = {
    "look": ToolTerms(deadline_s=3.0),
    "dance": ToolTerms(waits=False, speaks=False, deadline_s=20.0),
    "search": ToolTerms(waits=False, deadline_s=8.0),
    "unlock": ToolTerms(may_be_cut=False, deadline_s=1.0),
}
DOCUMENTED = sessions_doc.transitions()
ERRORS = st.sampled_from(["unreachable", "lost", "declined", "quota", "refused"]).map(
    lambda kind: LiveError(kind, f"it is {kind}")
)
OTHER_EVENTS = st.sampled_from(
    [
        SpeechNoticed(),
        Said("person", "hm"),
        Said("robot", "yes"),
        Resumable("h1"),
        Resumable("h2"),
        Resumable(None),
        Unknown("?"),
        Alive(),
        Unheard(),
        Reason("RESPONSE_REJECTED"),
        Working(on=True),
        Working(on=False),
    ]
)


class Line:
    """The rim's one connection, and what was sent on it."""

    def __init__(self, *, manual: bool) -> None:
        self.open = False
        self.hanging_up = False
        self.manual = manual
        self.marks: list[str] = []
        self.calls: set[str] = set()
        """The ids of calls that came on this connection."""
        self.answered: list[str] = []
        self.cancelled: set[str] = set()
        self.resumes = False
        """Whether this connection resumes a session."""


class AnyTalk(RuleBasedStateMachine):
    @initialize(draws=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1), manual=st.booleans(), parks=st.booleans())
    def begin(self, draws, manual, parks):
        self.now = 1000.0
        turns = count()
        self.session = Session(
            SessionSettings(max_age_s=60, park_after_s=20 if parks else None, manual_vad=manual, tools=TOOLS),
            self.now,
            lambda: draws[next(turns) % len(draws)],
        )
        self.line: Line | None = None
        self.allowed = True
        self.heard = self.taken = self.dropped_parked = 0
        self.newest_taken = -1
        self.chunks = 0
        self.in_turn = False
        """Whether the robot was given a reply that has not ended yet."""
        self.standing: ConnectionState | None = None
        self.numbers = count(1)
        self.owed: dict[int, Tokens] = {}
        """The last counts of each of the server's turns."""
        self.turn = 0
        self.turn_is_on = False
        self.turn_over_at = 0.0
        self.billed: list[Tokens] = []
        self.running: dict[int, str] = {}
        """The tools that the rim runs, with their call's id."""
        self.stopped: set[int] = set()
        self.unanswered: set[str] = set()
        """Ids of calls on lost connections that were neither answered there nor cancelled."""
        self.newest_call = ""

    # --- the rim

    @property
    def dropped(self) -> int:
        return self.heard - self.taken - self.session._outbox.bytes

    def tell(self, out) -> None:
        for item in out:
            match item:
                case Dial(handle, seed):
                    assert self.line is None, "a connection is open, being dialled or being closed"
                    assert self.allowed
                    assert not (handle and seed)
                    self.line = Line(manual=self.session.settings.manual_vad)
                    self.line.resumes = handle is not None
                case HangUp():
                    assert self.line
                    assert self.line.open
                    assert not self.line.hanging_up
                    self.line.hanging_up = True
                case Emit(TurnComplete()):
                    self.in_turn = self.turn_is_on = False
                    self.turn_over_at = self.now
                case Emit(Audio() | ReplyGenerated()):
                    self.in_turn = True
                case Emit(ConnectionState() as standing):
                    assert standing != self.standing
                    assert standing.reason or standing.state == "live"
                    self.standing = standing
                case Bill(tokens, estimated=False):
                    self.billed.append(tokens)
                case Count(_, words):
                    assert words
                case Run(key, name):
                    assert name in TOOLS
                    assert key not in self.running
                    self.running[key] = self.newest_call
                    assert len(self.running) <= OPEN_MAX
                case Stop(key):
                    assert key in self.running
                    self.stopped.add(key)

    def call(self, act, *args, heard=0, **kwargs) -> None:
        """Call the session, and keep account of what it drops while parked."""
        before, was = self.dropped, self.session.phase
        self.heard += heard
        self.tell(act(*args, **kwargs))
        if self.session.phase is not was:
            assert (was.name.lower(), self.session.phase.name.lower()) in DOCUMENTED
        if SessionPhase.PARKED in (was, self.session.phase):
            self.dropped_parked += self.dropped - before

    def check_taken(self, item) -> None:
        assert self.line
        assert self.line.open
        assert not self.line.hanging_up
        if isinstance(item, bytes):
            assert len(item) <= MESSAGE_BYTES
            for start in range(0, len(item), CHUNK_BYTES):
                chunk = item[start : start + CHUNK_BYTES]
                number = int.from_bytes(chunk[:4], "little")
                assert chunk == number.to_bytes(4, "little") * (CHUNK_BYTES // 4)
                assert number > self.newest_taken, "in order, and once"
                self.newest_taken = number
            self.taken += len(item)
        elif isinstance(item, Answer):
            for response in item.responses:
                assert response.id not in self.line.answered, "answered twice on one connection"
                assert response.id not in self.line.cancelled, "answered although it was taken back"
                self.line.answered.append(response.id)
                if response.id not in self.line.calls:
                    assert self.line.resumes, "the call belongs to another session"
                    assert response.response.keys() == {"error", "retryable"}
                    self.unanswered.discard(response.id)
        else:
            assert self.line.manual is (item != "stream_end")
            self.line.marks.append(item)

    def end(self, error: LiveError | None) -> None:
        self.unanswered |= self.line.calls - set(self.line.answered) - self.line.cancelled
        self.line = None
        self.turn_is_on = False
        self.turn_over_at = float("-inf")
        self.call(self.session.closed, error, self.now)
        assert not self.in_turn

    # --- what may happen

    @rule()
    def permission_is_granted(self):
        if self.session.wants_to_dial(self.now):
            self.call(self.session.dial, self.now)
            assert self.line
        else:
            assert self.session.dial(self.now) == []

    @precondition(lambda self: self.line and not self.line.open)
    @rule()
    def the_dial_opens(self):
        self.line.open = True
        self.call(self.session.opened, self.now)
        lost, self.unanswered = self.unanswered, set()
        if self.line.resumes and lost:
            for _ in range(1000):
                if not (lost - set(self.line.answered)) or (item := self.session.take()) is None:
                    break
                assert isinstance(item, Answer), "the lost calls are answered before the microphone goes on"
                self.check_taken(item)
            assert lost <= set(self.line.answered)

    @precondition(lambda self: self.line and not self.line.open)
    @rule(error=ERRORS)
    def the_dial_fails(self, error):
        self.line = None
        self.call(self.session.failed, error, self.now)

    @precondition(lambda self: self.line and self.line.open)
    @rule(error=ERRORS | st.none())
    def the_connection_ends(self, error):
        self.end(error)

    @precondition(lambda self: self.line and self.line.hanging_up)
    @rule()
    def the_connection_is_closed(self):
        self.end(None)

    @rule(most=st.sampled_from([1, 20, 10_000]))
    def the_rim_sends(self, most):
        while most and (item := self.session.take()) is not None:
            self.check_taken(item)
            most -= 1

    @rule()
    def the_rim_fails_to_send(self):
        item = self.session.take()
        if item is None:
            return
        assert self.line
        assert self.line.open
        self.session.untaken(item)
        self.end(LiveError("lost", "no close frame received or sent"))

    @rule(since_s=st.sampled_from([None, 0.0, 4.0]))
    def the_rim_tells_of_its_send(self, since_s):
        self.session.sending(None if since_s is None else self.now - since_s)

    @rule(chunks=st.integers(1, 40) | st.sampled_from([150, 700]), speaking=st.booleans())
    def the_microphone_hears(self, chunks, speaking):
        for _ in range(chunks):
            self.now += 0.02
            pcm = self.chunks.to_bytes(4, "little") * (CHUNK_BYTES // 4)
            self.chunks += 1
            self.call(self.session.hear, pcm, self.now, heard=len(pcm), speaking=speaking)

    @rule(event=st.sampled_from(["start", "end"]))
    def the_button_is_pressed_or_released(self, event):
        self.call(self.session.activity, event, self.now)

    @rule(seconds=st.sampled_from([0.05, 0.3, 1.0, 3.0, 11.0, 35.0]))
    def time_passes(self, seconds):
        steps = 10
        for _ in range(steps):
            self.now += seconds / steps
            self.call(self.session.tick, self.now)

    @rule(hours=st.integers(1, 3))
    def the_machine_sleeps(self, hours):
        self.now += 3600 * hours
        self.call(self.session.tick, self.now)

    @rule(allowed=st.booleans())
    def the_budget_says(self, allowed):
        self.allowed = allowed
        self.call(self.session.budget, allowed=allowed, words="" if allowed else "the budget is spent")

    @rule()
    def somebody_mends_the_configuration(self):
        self.call(self.session.mended, self.now)

    @rule(manual=st.booleans())
    def the_persona_changes(self, manual):
        self.session.settings = SessionSettings(
            max_age_s=60, park_after_s=self.session.settings.park_after_s, manual_vad=manual, tools=TOOLS
        )
        self.session.persona_changed()

    # --- the server

    def server(self, event) -> None:
        self.call(self.session.server, event, self.now)

    @precondition(lambda self: self.line and self.line.open)
    @rule(event=OTHER_EVENTS)
    def the_server_says(self, event):
        self.server(event)

    @precondition(lambda self: self.line and self.line.open)
    @rule(left_s=st.sampled_from([0.0, 1.0, 50.0]))
    def the_server_says_go_away(self, left_s):
        self.server(GoAway(left_s))

    @precondition(lambda self: self.line and self.line.open)
    @rule(name=st.sampled_from([*TOOLS, "wave"]), small=st.integers(0, 9))
    def the_server_calls_a_tool(self, name, small):
        self.newest_call = f"call-{next(self.numbers)}"
        self.line.calls.add(self.newest_call)
        waiting = len(self.session._outbox._answers)
        self.server(ToolCall((FunctionCall(self.newest_call, name, {} if small else None),)))
        if self.newest_call not in self.running.values() and len(self.session._outbox._answers) == waiting:
            self.line.calls.discard(self.newest_call)  # refused too often

    @precondition(lambda self: self.line and self.line.open and self.line.calls)
    @rule(data=st.data())
    def the_server_takes_a_call_back(self, data):
        taken_back = data.draw(st.sampled_from(sorted(self.line.calls)))
        if taken_back not in self.line.answered:
            self.line.cancelled.add(taken_back)
        self.server(ToolCancelled((taken_back,)))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), outcome=st.sampled_from(["done", "error", "fault"]))
    def a_tool_ends(self, data, outcome):
        key = data.draw(st.sampled_from(sorted(self.running)))
        del self.running[key]
        self.call(self.session.tool_ended, key, {"it": "is"}, "cancelled" if key in self.stopped else outcome, self.now)

    @precondition(lambda self: self.line and self.line.open)
    @rule(event=st.sampled_from([Audio(b"\0\0", 24000), ReplyGenerated(), Interrupted()]))
    def the_server_answers(self, event):
        # An interruption of nothing begins no turn: counts right after it still belong to the turn before.
        if not self.turn_is_on and event != Interrupted():
            self.turn += 1
            self.turn_is_on = True
        self.server(event)

    @precondition(lambda self: self.line and self.line.open)
    @rule()
    def the_server_tells_counts(self):
        """Counts in mid-turn, or so late that they can only belong to the last turn, which had none."""
        late = self.turn not in self.owed and 0 <= self.now - self.turn_over_at < LATE_S
        if self.turn_is_on or late:
            self.owed[self.turn] = Tokens({"audio": next(self.numbers)}, {})
            self.server(self.owed[self.turn])

    @precondition(lambda self: self.line and self.line.open and self.turn_is_on)
    @rule(tells=st.booleans())
    def the_server_completes_its_turn(self, tells):
        if tells:
            self.owed[self.turn] = Tokens({"audio": next(self.numbers)}, {})
            self.server(self.owed[self.turn])
        self.server(TurnComplete())
        assert not self.in_turn

    # --- what always holds

    @invariant()
    def the_phase_is_what_the_rim_sees(self):
        line = self.line
        assert (self.session.phase is SessionPhase.DIALLING) is bool(line and not line.open)
        assert (self.session.phase is SessionPhase.CLOSING) is bool(line and line.hanging_up)
        assert (self.session.phase is SessionPhase.LIVE) is bool(line and line.open and not line.hanging_up)

    @invariant()
    def nothing_is_sent_while_there_is_no_connection(self):
        if self.session.phase is not SessionPhase.LIVE:
            assert self.session.take() is None

    @invariant()
    def every_byte_was_taken_is_held_or_was_dropped(self):
        assert self.dropped >= 0
        assert abs(self.session.dropped_ms * BYTES_PER_S / 1000 - (self.dropped - self.dropped_parked)) < 1

    @invariant()
    def the_buffer_is_bounded(self):
        kept_s = self.session._outbox.bytes / BYTES_PER_S
        if self.session.phase in (SessionPhase.PARKED, SessionPhase.REFUSED, SessionPhase.SPENT):
            assert kept_s <= PRE_ROLL_S
        elif (
            self.session.phase in (SessionPhase.WAITING, SessionPhase.DIALLING)
            and self.session._backoff.trouble_since is not None
        ):
            assert kept_s <= OUTAGE_MAX_S
        else:
            assert kept_s <= HELD_MAX_S
        assert len(self.session._outbox._items) <= 2 * HELD_MAX_S * BYTES_PER_S / CHUNK_BYTES + 4

    @invariant()
    def marks_alternate_from_a_start_on_every_connection(self):
        if self.line and self.line.manual:
            assert self.line.marks == [("start", "end")[n % 2] for n in range(len(self.line.marks))]

    @invariant()
    def no_turn_is_open_without_a_connection(self):
        if not (self.line and self.line.open):
            assert not self.in_turn

    @invariant()
    def a_robot_that_talks_is_told_so(self):
        if self.line and self.line.open:
            assert self.standing == ConnectionState("live")

    @invariant()
    def a_turn_is_billed_once_by_its_last_counts(self):
        owed = list(self.owed.values())
        assert self.billed == owed[: len(self.billed)]
        assert len(owed) - len(self.billed) <= 1, "no more than the newest turn is still to be billed"

    def teardown(self):
        """A healthy server and permission are always enough to continue; a parked session needs speech."""
        if not hasattr(self, "session"):
            return
        self.the_budget_says(allowed=True)
        within_s = max(REFUSED_RETRY_S, QUOTA_S[1]) + 1
        until = self.now + within_s
        while self.session.phase is not SessionPhase.LIVE:
            assert self.now < until, f"still {self.session.phase} after {within_s:.0f} s"
            if self.line and self.line.hanging_up:
                self.the_connection_is_closed()
            elif self.line:
                self.the_dial_opens()
            elif self.session.phase is SessionPhase.PARKED:
                self.the_microphone_hears(1, speaking=True)
                assert self.session.wants_to_dial(self.now)
            else:
                self.now += 0.1
                self.call(self.session.tick, self.now)
                self.permission_is_granted()
        self.a_robot_that_talks_is_told_so()
        self.end(None)
        assert self.billed == list(self.owed.values())


def test_whatever_happens_a_session_keeps_its_promises():
    run_state_machine_as_test(AnyTalk, settings=settings(max_examples=120, stateful_step_count=60))
