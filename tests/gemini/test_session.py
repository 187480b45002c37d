"""The session manager as scenarios: the test is the rim and the server, and time passes only when the test says so."""

from itertools import pairwise

import pytest
import sessions_doc

from gemini_gateway.events import Alive, GoAway, LiveError, Reason, Resumable, ToolCall, Unheard, Unknown, Working
from gemini_gateway.session.answers import is_audible
from gemini_gateway.session.decisions import Count, Decline, Dial, Emit, HangUp, SessionPhase
from gemini_gateway.session.exchanges import CHARS as SEED_CHARS
from gemini_gateway.session.exchanges import TURNS as SEED_TURNS
from gemini_gateway.session.exchanges import Keep
from gemini_gateway.session.meter import LATE_S, Bill
from gemini_gateway.session.session import Session
from gemini_gateway.session.timing import (
    AGE_WINDOW_S,
    BARGE_IN_S,
    BEHIND_S,
    BLAMED_MIN_S,
    BYTES_PER_S,
    DECLINED_S,
    FAINT,
    GAP_TELL_S,
    GRACE_S,
    HANDLE_MAX_S,
    HANDLE_PAUSE_S,
    HELD_MAX_S,
    MUTE_TURNS,
    OUTAGE_MAX_S,
    OWED_MIN_S,
    PAUSE_S,
    PRE_ROLL_S,
    QUIET_S,
    QUOTA_S,
    REFUSED_RETRY_S,
    SEND_STALL_S,
    SHORT_CAP_S,
    SILENCE_MAX_S,
    SILENCE_S,
    SOUNDLESS_MAX_S,
    STREAM_END_S,
    TELL_S,
    TURN_END_S,
    SessionSettings,
)
from reachy_gateway.provider.usage import Tokens
from reachy_gateway.voice import Audio, ConnectionState, Interrupted, ReplyGenerated, Said, SpeechNoticed, TurnComplete

CHUNK_S = 0.02
CHUNK_BYTES = int(CHUNK_S * BYTES_PER_S)
TICK_S = 0.1
LOST = LiveError("lost", "1011 Internal error")
UNREACHABLE = LiveError("unreachable", "nobody answered")
REFUSED = LiveError("refused", "check GEMINI_API_KEY")
QUOTA = LiveError("quota", "the quota is used up")
A_REPLY = Audio(b"\0\1" * 480, 24000)


class Rim:
    """Carries out what the session decides. The server is the test; it dials when allowed, and sends what it may."""

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
        self.hanging_up = False
        self.phases = [SessionPhase.WAITING]
        """Where the session was, one phase after the other."""

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
    def marks(self) -> list[list]:
        return [[item for item in items if isinstance(item, str)] for items in self.sent]

    # --- the connection

    def dial(self) -> Dial:
        """Permission is granted."""
        before = len(self.dials)
        self.do(self.session.dial(self.now))
        assert len(self.dials) == before + 1
        return self.dials[-1]

    def open(self, handle: str | None = None) -> "Rim":
        """Dial, and be answered."""
        self.dial()
        self.sent.append([])
        self.do(self.session.opened(self.now))
        if handle:
            self.server(Resumable(handle))
        self.send()
        return self

    def open_dialled(self) -> None:
        """The dial is answered."""
        self.sent.append([])
        self.do(self.session.opened(self.now))

    def fail(self, error: LiveError) -> None:
        self.do(self.session.failed(error, self.now))

    def close(self, error: LiveError | None = None) -> None:
        """The connection has ended."""
        self.hanging_up = False
        self.do(self.session.closed(error, self.now))

    def server(self, *events) -> None:
        for event in events:
            self.do(self.session.server(event, self.now))

    def send(self) -> None:
        while (item := self.session.take()) is not None:
            self.sent[-1].append(item)

    # --- the person, and time

    def tick(self) -> None:
        self.do(self.session.tick(self.now))
        self.send()

    def wait(self, seconds: float) -> None:
        """Time passes without any mic audio."""
        until = self.now + seconds
        while self.now < until - 1e-9:
            self.now = min(until, self.now + TICK_S)
            self.tick()

    def mic(self, seconds: float, *, speaking: bool = False) -> None:
        """The microphone is on for so long; each chunk has bytes of its own."""
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
        """The person says something, and stops."""
        self.mic(seconds, speaking=True)
        self.mic(CHUNK_S)

    def press(self, event: str) -> None:
        self.do(self.session.activity(event, self.now))
        self.send()

    def budget(self, *, allowed: bool, words: str = "the budget is spent") -> None:
        self.do(self.session.budget(allowed=allowed, words=words))

    def answer(self, tokens: Tokens | None = None) -> None:
        """The server answers with a whole turn."""
        self.server(A_REPLY, ReplyGenerated(), *([tokens] if tokens else []), TurnComplete())

    @property
    def phase(self) -> SessionPhase:
        return self.session.phase

    def last_heard(self, seconds: float) -> bytes:
        return b"".join(self.heard[len(self.heard) - round(seconds / CHUNK_S) :])


def used(n: int) -> Tokens:
    return Tokens({"audio": n}, {"audio": n})


# --- owed, billed and told --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interrupts", [True, False])
def test_a_question_into_an_answer_whose_turn_ends_later_is_owed_one_all_the_same(interrupts):
    rim = Rim(interrupts=interrupts).open("h1")
    rim.speak()
    rim.server(*[Audio(b"\x10\x27" * 24000, 24000)] * 6, ReplyGenerated())
    rim.mic(2)
    rim.speak()
    rim.server(TurnComplete())
    rim.mic(6 + SILENCE_S + SILENCE_MAX_S)
    assert rim.counts == ["silent"]


def test_a_late_interruption_does_not_answer_the_question_that_made_it():
    rim = Rim().open("h1")
    rim.speak()
    rim.server(*[Audio(b"\x10\x27" * 24000, 24000)] * 6)
    rim.mic(1)
    rim.speak()
    rim.mic(0.4)
    rim.server(Interrupted(), TurnComplete())
    rim.mic(SILENCE_S + SILENCE_MAX_S)
    assert rim.counts == ["silent"]


def test_answers_of_a_server_that_never_ends_its_turns_are_billed_one_by_one():
    rim = Rim().open("h1")
    for n in range(1, 6):
        rim.speak()
        rim.mic(0.6)
        rim.server(A_REPLY, ReplyGenerated(), used(1000 * n))
        rim.mic(2)
    rim.mic(TURN_END_S + LATE_S + 1)
    assert rim.bills == [used(1000 * n) for n in range(1, 6)]
    assert rim.estimates == [False] * 5


def test_a_reason_after_our_own_end_of_a_turn_is_told():
    rim = Rim().open("h1")
    rim.speak()
    rim.server(A_REPLY, ReplyGenerated())
    rim.mic(TURN_END_S + 1)
    assert rim.counts == ["no_turn_end"]
    rim.speak()
    rim.server(Reason("RESPONSE_REJECTED"), TurnComplete())
    rim.mic(1)
    assert rim.counts == ["no_turn_end", "mute_turn"]


def test_turns_that_wait_for_more_of_the_person_never_end_the_session():
    rim = Rim().open("h1")
    for _ in range(MUTE_TURNS + 2):
        rim.speak()
        rim.server(Reason("NEED_MORE_INPUT", expected=True), TurnComplete())
        rim.mic(0.5)
    assert rim.counts == []
    assert not rim.hanging_up


def test_nights_without_a_connection_are_not_billed():
    rim = Rim(silence_is_billed=True)
    rim.dial()
    rim.fail(QUOTA)
    rim.mic(max(QUOTA_S) + 1)
    rim.open()
    rim.speak()
    rim.answer()
    rim.wait(LATE_S + 1)
    (bill,) = rim.bills
    assert bill.prompt["audio"] < 25 * (HELD_MAX_S + 5)


# --- dialling ---------------------------------------------------------------------------------------------------------


def test_a_session_dials_once_at_a_time_with_nothing_to_resume():
    rim = Rim()
    assert rim.session.wants_to_dial(rim.now)
    assert rim.dial() == Dial(None, ())
    assert not rim.session.wants_to_dial(rim.now)
    assert rim.session.dial(rim.now) == []


def test_what_is_heard_before_the_connection_is_there_is_sent_on_it():
    rim = Rim()
    rim.mic(0.5, speaking=True)
    rim.dial()
    rim.mic(0.5)
    assert rim.sent == []
    assert rim.session.take() is None
    rim.sent.append([])
    rim.do(rim.session.opened(rim.now))
    rim.send()
    assert rim.audio == b"".join(rim.heard)
    assert rim.standings == [ConnectionState("live")]


def test_an_empty_chunk_is_not_sent():
    rim = Rim().open()
    rim.do(rim.session.hear(b"", rim.now, speaking=False))
    assert rim.session.take() is None


def test_an_item_that_could_not_be_sent_comes_first_on_the_next_connection():
    rim = Rim().open()
    rim.do(rim.session.hear(b"one!", rim.now, speaking=False))
    assert rim.session.take() == b"one!"
    rim.do(rim.session.hear(b"two!", rim.now, speaking=False))
    rim.session.untaken(b"one!")
    rim.close(LOST)
    rim.wait(1)
    rim.open()
    assert rim.audio == b"one!two!"


def test_audio_that_waits_goes_out_together_in_messages_of_at_most_100_ms():
    rim = Rim().open()
    said = [bytes([n, 0]) * 320 for n in range(12)]
    for chunk in said:
        rim.do(rim.session.hear(chunk, rim.now, speaking=False))
    taken = [rim.session.take() for _ in range(4)]
    assert taken == [b"".join(said[:5]), b"".join(said[5:10]), b"".join(said[10:]), None]


def test_what_was_taken_together_and_could_not_be_sent_is_not_lost():
    rim = Rim().open()
    for chunk in (b"one!", b"two!"):
        rim.do(rim.session.hear(chunk, rim.now, speaking=False))
    rim.session.untaken(rim.session.take())
    rim.close(LOST)
    rim.wait(1)
    rim.open()
    assert rim.audio == b"one!two!"


def test_audio_never_passes_a_mark():
    rim = Rim(manual_vad=True).open()
    rim.do(rim.session.activity("start", rim.now))
    rim.do(rim.session.hear(b"one!", rim.now, speaking=True))
    rim.do(rim.session.activity("end", rim.now))
    rim.do(rim.session.hear(b"two!", rim.now, speaking=True))
    assert [rim.session.take() for _ in range(5)] == ["start", b"one!", "end", b"two!", None]


def test_a_larger_message_is_waited_for_until_it_is_full_or_the_stream_ends():
    rim = Rim(batch_ms=40).open()
    rim.do(rim.session.hear(bytes(640), rim.now, speaking=False))
    assert rim.session.take() is None
    rim.do(rim.session.hear(bytes(640), rim.now, speaking=False))
    assert rim.session.take() == bytes(1280)
    rim.do(rim.session.hear(bytes(640), rim.now, speaking=False))
    assert rim.session.take() is None
    rim.wait(STREAM_END_S + 0.5)
    assert rim.sent[-1] == [bytes(640), "stream_end"]


# --- planned renewal --------------------------------------------------------------------------------------------------


def test_a_go_away_in_a_quiet_moment_renews_at_once_old_connection_first():
    rim = Rim().open("h1")
    rim.mic(1)
    rim.server(GoAway(50))
    assert rim.hanging_up
    assert not rim.session.wants_to_dial(rim.now), "the old one is still open"
    assert rim.session.dial(rim.now) == []
    rim.close()
    assert rim.dial() == Dial("h1", ())
    assert rim.counts == ["go_away"]


def test_nothing_the_microphone_hears_is_lost_over_a_planned_renewal():
    rim = Rim().open("h1")
    rim.mic(3)
    rim.server(GoAway(50))
    rim.mic(2)
    rim.close(LOST)
    rim.mic(1, speaking=True)
    rim.dial()
    rim.mic(1.5, speaking=True)
    rim.sent.append([])
    rim.do(rim.session.opened(rim.now))
    rim.mic(1)
    assert rim.audio == b"".join(rim.heard)
    assert rim.session.dropped_ms == 0
    assert rim.turns_ended == 0


def test_a_renewal_that_takes_too_long_keeps_the_last_ten_seconds_and_counts_the_rest():
    rim = Rim().open("h1")
    rim.mic(1)
    rim.server(GoAway(50))
    rim.mic(HELD_MAX_S + 2)
    assert rim.session.dropped_ms == pytest.approx(2000)
    rim.close()
    rim.open()
    assert rim.audio == b"".join(rim.heard[:50]) + rim.last_heard(HELD_MAX_S)


def test_go_away_in_mid_reply_lets_every_chunk_of_it_arrive_before_the_renewal():
    rim = Rim().open("h1")
    rim.speak()
    rim.server(A_REPLY)
    rim.server(GoAway(50))
    for _ in range(100):
        rim.mic(0.1)
        rim.server(A_REPLY)
        assert not rim.hanging_up
    rim.server(ReplyGenerated())
    rim.mic(TURN_END_S - 0.5)
    assert not rim.hanging_up, "the turn is not over"
    rim.server(TurnComplete())
    rim.mic(QUIET_S - 0.1)
    assert not rim.hanging_up, "the person may go on at once"
    rim.mic(0.4)
    assert rim.hanging_up
    assert rim.events.count(A_REPLY) == 101
    rim.close()
    assert rim.turns_ended == 1


def test_go_away_with_no_time_left_in_mid_reply_holds_the_microphone_and_hears_the_reply_out():
    rim = Rim().open("h1")
    rim.speak()
    rim.server(A_REPLY, GoAway(0))
    sent = rim.audio
    rim.mic(2)
    rim.server(A_REPLY)
    assert not rim.hanging_up
    assert rim.audio == sent, "the server may close at any time"
    rim.server(ReplyGenerated(), TurnComplete())
    rim.mic(0.1)
    assert rim.hanging_up
    rim.close()
    rim.open()
    assert rim.audio == b"".join(rim.heard)


def test_go_away_with_no_time_left_while_nobody_is_answered_renews_at_once_even_in_mid_speech():
    rim = Rim().open("h1")
    rim.mic(1, speaking=True)
    rim.server(GoAway(0))
    assert rim.hanging_up
    rim.mic(1, speaking=True)
    rim.close()
    rim.open()
    assert rim.audio == b"".join(rim.heard)


def test_go_away_in_mid_speech_waits_for_the_end_of_the_answer():
    rim = Rim().open("h1")
    rim.mic(1, speaking=True)
    rim.server(GoAway(50))
    rim.speak(2)
    assert not rim.hanging_up, "the person is not answered yet"
    rim.mic(1)
    rim.server(A_REPLY, ReplyGenerated(), TurnComplete())
    assert not rim.hanging_up
    rim.mic(1)
    assert rim.hanging_up


def test_a_person_who_speaks_up_to_the_deadline_goes_on_on_the_next_connection():
    rim = Rim().open("h1")
    rim.mic(1, speaking=True)
    rim.server(GoAway(5))
    rim.mic(4.5, speaking=True)
    assert not rim.hanging_up
    rim.mic(0.4, speaking=True)
    assert rim.hanging_up, "before the server closes"
    rim.mic(1, speaking=True)
    rim.close()
    rim.open()
    assert rim.audio == b"".join(rim.heard)


def test_a_go_away_that_is_never_followed_by_a_close_ends_an_endless_answer_after_a_grace():
    rim = Rim().open("h1")
    rim.speak()
    rim.server(A_REPLY, GoAway(10))
    for _ in range(round((10 + GRACE_S) / 0.5) - 1):
        rim.mic(0.5)
        rim.server(A_REPLY)
    assert not rim.hanging_up
    rim.mic(1)
    assert rim.hanging_up
    rim.close()
    assert rim.turns_ended == 1, "it was cut, and is over for the robot too"
    rim.open()
    assert rim.audio == b"".join(rim.heard)


def test_a_question_that_is_not_answered_yet_at_the_deadline_has_the_grace_too():
    rim = Rim().open("h1")
    rim.speak()
    rim.server(GoAway(1))
    rim.mic(1 + GRACE_S - 0.2)
    assert not rim.hanging_up
    rim.mic(0.4)
    assert rim.hanging_up


def test_the_silence_after_a_question_is_sent_even_after_the_deadline():
    """Else the server's VAD would never hear the question end."""
    rim = Rim().open("h1")
    rim.mic(1, speaking=True)
    rim.speak(0.5)
    rim.server(GoAway(0))
    sent = rim.audio
    rim.mic(1)
    assert rim.audio == sent + rim.last_heard(1)
    rim.server(A_REPLY)
    rim.tick()
    rim.mic(1)
    assert rim.audio == sent + b"".join(rim.heard[-100:-50]), "the answer is there: from here on it is kept"


def test_what_is_said_after_the_deadline_while_an_answer_is_awaited_is_kept():
    rim = Rim().open("h1")
    rim.speak()
    rim.server(GoAway(0))
    rim.mic(1, speaking=True)
    sent = rim.audio
    rim.mic(1, speaking=True)
    assert rim.audio == sent
    assert not rim.hanging_up
    rim.server(A_REPLY, TurnComplete())
    rim.mic(0.1, speaking=True)
    assert rim.hanging_up
    rim.close()
    rim.open()
    assert rim.audio == b"".join(rim.heard)


def test_a_moment_is_quiet_only_some_time_after_a_word_however_short():
    rim = Rim().open("h1")
    rim.mic(5)
    rim.speak(0.2)
    rim.server(GoAway(50))
    rim.mic(QUIET_S - 0.1)
    assert not rim.hanging_up
    rim.mic(0.2)
    assert rim.hanging_up


def test_a_link_that_falters_in_mid_sentence_makes_no_quiet_moment():
    rim = Rim().open("h1")
    rim.mic(1, speaking=True)
    rim.server(GoAway(50))
    rim.wait(STREAM_END_S - 0.2)
    assert not rim.hanging_up
    rim.mic(1, speaking=True)
    assert not rim.hanging_up


def test_the_nearest_of_two_deadlines_holds():
    rim = Rim().open("h1")
    rim.mic(1, speaking=True)
    rim.server(GoAway(3), GoAway(50))
    rim.mic(3, speaking=True)
    assert rim.hanging_up


def test_a_close_that_comes_before_the_renewal_loses_no_more_than_an_outage_does():
    rim = Rim().open("h1")
    rim.mic(1, speaking=True)
    rim.server(GoAway(50))
    rim.close(LOST)
    rim.wait(0.3)
    assert rim.dial().handle == "h1"


def test_a_connection_is_renewed_at_its_age_in_a_quiet_moment():
    rim = Rim(max_age_s=100).open("h1")
    rim.mic(98)
    rim.speak(0.2)
    assert not rim.hanging_up
    rim.mic(1)
    assert not rim.hanging_up
    rim.mic(1, speaking=True)
    assert not rim.hanging_up, "the person speaks"
    rim.speak(0.2)
    rim.answer()
    rim.mic(1)
    assert rim.hanging_up
    rim.close()
    rim.open()
    assert rim.audio == b"".join(rim.heard)
    rim.mic(98)
    assert not rim.hanging_up, "the age is the connection's"


def test_a_connection_that_is_never_quiet_is_renewed_before_the_server_ends_it():
    rim = Rim(max_age_s=100).open("h1")
    rim.mic(100 + AGE_WINDOW_S - 1, speaking=True)
    assert not rim.hanging_up
    rim.mic(1, speaking=True)
    assert rim.hanging_up
    assert 500 < SessionSettings().max_age_s < SessionSettings().max_age_s + AGE_WINDOW_S < 600, (
        "the age at which Gemini closes"
    )


def test_a_changed_persona_is_taken_up_in_the_next_quiet_moment():
    rim = Rim().open("h1")
    rim.speak()
    rim.server(A_REPLY)
    rim.session.persona_changed()
    rim.mic(1)
    assert not rim.hanging_up
    rim.server(TurnComplete())
    rim.mic(1)
    assert rim.hanging_up


def test_a_persona_that_changes_while_dialling_is_taken_up_by_a_renewal():
    rim = Rim()
    rim.dial()
    rim.session.persona_changed()
    rim.sent.append([])
    rim.do(rim.session.opened(rim.now))
    rim.wait(1)
    assert rim.hanging_up
    rim.close()
    rim.open().wait(60)
    assert not rim.hanging_up, "once is enough"


def test_what_the_server_still_says_while_the_connection_closes_is_heard():
    rim = Rim().open("h1")
    rim.mic(1)
    rim.server(GoAway(50))
    rim.server(Resumable("h2"), Said("robot", "bye"), A_REPLY)
    rim.close()
    assert Said("robot", "bye") in rim.events
    assert rim.events[-2:] == [A_REPLY, TurnComplete()]
    assert rim.dial().handle == "h2"


def part_of_an_answer(rim: Rim) -> None:
    """A thinking model says that it thinks; the rest of its answer is another turn."""
    rim.speak()
    rim.server(A_REPLY, ReplyGenerated(), TurnComplete(), Working(on=True))


def test_an_answer_of_several_turns_is_not_cut_between_them():
    rim = Rim().open("h1")
    part_of_an_answer(rim)
    rim.server(GoAway(50))
    rim.mic(20)
    assert not rim.hanging_up, "the model still thinks"
    rim.server(A_REPLY, TurnComplete(), Working(on=False))
    rim.mic(QUIET_S + 0.1)
    assert rim.hanging_up
    rim.close()
    assert rim.turns_ended == 2


def test_a_deadline_between_the_turns_of_an_answer_holds_the_microphone_and_has_the_grace():
    rim = Rim().open("h1")
    part_of_an_answer(rim)
    rim.server(GoAway(0))
    sent = rim.audio
    rim.mic(GRACE_S - 0.5)
    assert not rim.hanging_up
    assert rim.audio == sent, "the server may close at any time"
    rim.mic(1)
    assert rim.hanging_up
    rim.close()
    rim.open()
    assert rim.audio == b"".join(rim.heard)


def test_a_model_may_think_longer_than_an_answer_may_take_to_begin_but_not_for_ever():
    rim = Rim().open("h1")
    part_of_an_answer(rim)
    rim.mic(SILENCE_MAX_S - 1)
    assert rim.counts == []
    rim.mic(2)
    assert rim.counts == ["silent"]


def test_once_a_thinking_model_speaks_again_it_may_not_stop_in_mid_way():
    rim = Rim().open("h1")
    part_of_an_answer(rim)
    rim.mic(1)
    rim.server(A_REPLY)
    rim.mic(SILENCE_S + 1)
    assert rim.counts == ["silent"]


def test_an_end_of_thinking_that_comes_alone_is_one_too():
    rim = Rim().open("h1")
    part_of_an_answer(rim)
    rim.session.persona_changed()
    rim.mic(2)
    assert not rim.hanging_up
    rim.server(Working(on=False))
    rim.mic(1)
    assert rim.hanging_up


def test_a_turn_that_ends_without_a_word_about_thinking_ends_the_answer():
    rim = Rim().open("h1")
    part_of_an_answer(rim)
    rim.session.persona_changed()
    rim.server(TurnComplete())
    rim.mic(1)
    assert rim.hanging_up


def test_a_budget_that_is_spent_between_the_turns_of_an_answer_lets_it_finish():
    rim = Rim().open("h1")
    rim.speak()
    rim.budget(allowed=False)
    part_of_an_answer(rim)
    rim.mic(5)
    assert not rim.hanging_up
    rim.server(A_REPLY, TurnComplete(), Working(on=False))
    rim.mic(0.2)
    assert rim.hanging_up


# --- losses -----------------------------------------------------------------------------------------------------------


def test_a_close_without_a_warning_is_redialled_with_the_newest_handle():
    rim = Rim().open("h1")
    rim.server(Resumable("h2"), Resumable(None))
    rim.mic(30)
    rim.close(LOST)
    assert rim.counts == ["lost"]
    assert rim.session.wants_to_dial(rim.now), "at once: it had lived"
    assert rim.dial() == Dial("h2", ())


def test_a_connection_that_just_ends_counts_as_lost():
    rim = Rim().open()
    rim.wait(10)
    rim.close()
    assert rim.counts == ["lost"]
    assert rim.phase is SessionPhase.WAITING


def test_a_loss_in_mid_answer_ends_the_turn_cleanly_and_once():
    rim = Rim().open("h1")
    rim.speak()
    rim.server(A_REPLY)
    rim.close(LOST)
    assert rim.events[-1] == TurnComplete()
    rim.wait(1)
    rim.open()
    rim.wait(5)
    rim.close(LOST)
    assert rim.turns_ended == 1


def test_a_loss_between_turns_ends_none():
    rim = Rim().open("h1")
    rim.speak()
    rim.answer()
    rim.close(LOST)
    assert rim.turns_ended == 1


def test_an_interrupted_turn_that_is_lost_ends_as_well():
    rim = Rim().open("h1")
    rim.server(A_REPLY, Interrupted())
    rim.close(LOST)
    assert rim.events[-1] == TurnComplete()


def test_an_outage_keeps_the_last_two_seconds_and_counts_the_rest():
    rim = Rim().open("h1")
    rim.mic(10)
    rim.close(UNREACHABLE)
    rim.mic(5)
    assert rim.session.dropped_ms == pytest.approx(3000)
    sent = rim.audio
    rim.open()
    assert rim.audio == sent + rim.last_heard(OUTAGE_MAX_S)


def test_a_dial_that_fails_makes_a_renewal_an_outage():
    rim = Rim().open("h1")
    rim.mic(1)
    rim.server(GoAway(50))
    rim.mic(1)
    rim.close()
    rim.mic(4)
    assert rim.session.dropped_ms == 0
    rim.dial()
    rim.fail(UNREACHABLE)
    assert rim.session.dropped_ms == pytest.approx(3000)
    sent = rim.audio
    rim.open()
    assert rim.audio == sent + rim.last_heard(OUTAGE_MAX_S)


def test_a_short_outage_is_not_told():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    rim.wait(TELL_S - 0.1)
    rim.open()
    rim.wait(10)
    assert rim.standings == [ConnectionState("live")]


def test_a_longer_outage_is_told_with_its_reason_and_so_is_its_end():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(UNREACHABLE)
    rim.wait(TELL_S + 0.1)
    assert rim.standings[1:] == [ConnectionState("reconnecting", "nobody answered")]
    rim.dial()
    rim.wait(1)
    rim.do(rim.session.opened(rim.now))
    assert rim.standings[2:] == [ConnectionState("live")]


def test_a_renewal_that_takes_long_is_not_told_with_the_reason_of_a_trouble_that_is_over():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(UNREACHABLE)
    rim.wait(TELL_S + 0.1)
    rim.open()
    rim.wait(10)
    rim.server(GoAway(50))
    rim.close()
    rim.wait(GAP_TELL_S + 0.1)
    assert rim.standings[-1].state == "reconnecting"
    assert rim.standings[-1].reason != rim.standings[-3].reason == "nobody answered"


def test_a_dial_that_takes_long_is_told_as_well():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.server(GoAway(50))
    rim.close()
    rim.dial()
    rim.wait(GAP_TELL_S - 0.1)
    assert rim.standings == [ConnectionState("live")]
    rim.wait(0.2)
    assert rim.standings[-1].state == "reconnecting"


def test_a_robot_that_waits_while_another_probes_is_told_and_after_ten_seconds_it_is_an_outage():
    rim = Rim()
    rim.mic(GAP_TELL_S + 0.1)
    assert [standing.state for standing in rim.standings] == ["reconnecting"]
    assert rim.standings[0].reason
    rim.mic(HELD_MAX_S - GAP_TELL_S - 0.3)
    assert rim.session.dropped_ms == 0
    rim.mic(0.4)
    assert rim.session.dropped_ms == pytest.approx((HELD_MAX_S + 0.2 - OUTAGE_MAX_S) * 1000, abs=200)


def test_a_dial_that_fails_is_tried_again_when_permission_is_granted():
    rim = Rim()
    for error in (UNREACHABLE, LOST, UNREACHABLE):
        rim.dial()
        rim.fail(error)
        assert rim.phase is SessionPhase.WAITING
        assert rim.session.wants_to_dial(rim.now), "how often is the outage's to say"
    assert rim.counts == ["unreachable", "lost", "unreachable"]


def test_connections_that_die_young_are_dialled_after_ever_longer_pauses():
    rim = Rim(draw=1.0)
    pauses = []
    for _ in range(12):
        rim.open()
        rim.close(LOST)
        began = rim.now
        while not rim.session.wants_to_dial(rim.now):
            rim.now += 0.05
        pauses.append(rim.now - began)
    assert pauses[:4] == pytest.approx([0.2, 0.4, 0.8, 1.6], abs=0.06)
    assert pauses == sorted(pauses)
    assert max(pauses) == pytest.approx(SHORT_CAP_S, abs=0.06)


def test_a_connection_that_lives_ends_the_growth_of_the_pauses():
    rim = Rim(draw=1.0)
    for _ in range(8):
        rim.open()
        rim.close(LOST)
        rim.now += SHORT_CAP_S
    rim.open().wait(6)
    rim.close(LOST)
    assert rim.session.wants_to_dial(rim.now)
    rim.open()
    rim.close(LOST)
    assert rim.session.wants_to_dial(rim.now + 0.2)


def test_the_pauses_are_drawn_with_full_jitter():
    rim = Rim(draw=0.0)
    for _ in range(5):
        rim.open()
        rim.close(LOST)
        assert rim.session.wants_to_dial(rim.now)


def test_two_thousand_short_lives_later_it_still_dials():
    rim = Rim(draw=1.0)
    for _ in range(2000):
        rim.open()
        rim.close(LOST)
        rim.now += SHORT_CAP_S
    assert rim.session.wants_to_dial(rim.now)


# --- handles ----------------------------------------------------------------------------------------------------------


def spoken(rim: Rim) -> tuple:
    rim.server(Said("person", "What is "), Said("person", "your name?"), Said("robot", "Reachy."))
    return (("person", "What is your name?"), ("robot", "Reachy."))


def test_a_handle_that_fails_twice_is_dropped_and_the_new_session_is_told_what_was_said():
    rim = Rim().open("h1")
    said = spoken(rim)
    rim.wait(10)
    rim.close(LOST)
    for draw in (0.0, 1.0):
        rim.draw = draw
        assert rim.dial() == Dial("h1", ())
        rim.fail(LOST)
        rim.wait(HANDLE_PAUSE_S[round(draw)] - TICK_S)
        assert not rim.session.wants_to_dial(rim.now), "the old connection may still be open to Google"
        rim.wait(2 * TICK_S)
    assert rim.counts[-2:] == ["handle_dropped", "lost"]
    assert rim.dial() == Dial(None, said)


@pytest.mark.parametrize("error", [LOST, REFUSED, UNREACHABLE])
def test_a_handle_that_was_dropped_comes_back_if_a_dial_without_it_fails_as_well(error):
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    for _ in range(2):
        rim.dial()
        rim.fail(LOST)
        rim.wait(1)
    assert rim.dial().handle is None
    rim.fail(error)
    rim.do(rim.session.mended(rim.now))
    assert rim.dial().handle == "h1", "it is the server that is in trouble, or the key"


def test_a_handle_whose_session_is_refused_as_it_opens_is_dropped():
    rim = Rim().open("h1")
    said = spoken(rim)
    rim.wait(10)
    rim.close(LOST)
    rim.open("h2")
    rim.close(REFUSED)
    assert rim.phase is SessionPhase.WAITING
    rim.wait(0.5)
    assert rim.dial() == Dial(None, said)
    rim.sent.append([])
    rim.do(rim.session.opened(rim.now))
    assert rim.standings == [ConnectionState("live")]


def test_a_handle_outlives_a_key_that_is_refused_only_after_the_setup():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    for _ in range(3):
        rim.open()
        rim.close(REFUSED)
        rim.wait(1)
    assert rim.phase is SessionPhase.REFUSED
    rim.do(rim.session.mended(rim.now))
    assert rim.dial().handle == "h1"


def test_the_next_handle_is_not_blamed_for_what_the_last_one_did():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    for _ in range(2):
        rim.dial()
        rim.fail(LOST)
        rim.wait(1)
    rim.open("h2")
    rim.close(LOST)
    rim.wait(1)
    assert rim.dial().handle == "h2"
    rim.fail(LOST)
    rim.wait(1)
    assert rim.dial().handle == "h2"


def test_an_unreachable_server_says_nothing_about_the_handle():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    for _ in range(10):
        assert rim.dial().handle == "h1"
        rim.fail(UNREACHABLE)
    rim.dial()
    rim.fail(QUOTA)
    rim.wait(60)
    assert rim.dial().handle == "h1"


def test_a_quota_that_closes_what_has_just_opened_says_nothing_about_the_handle():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    for _ in range(4):
        assert rim.open().dials[-1].handle == "h1"
        rim.close(QUOTA)
        rim.wait(QUOTA_S[1])


def test_a_handle_whose_sessions_open_and_die_at_once_is_dropped_too():
    rim = Rim().open("h1")
    said = spoken(rim)
    rim.wait(10)
    rim.close(LOST)
    for _ in range(2):
        assert rim.open().dials[-1] == Dial("h1", ())
        rim.close(LOST)
        rim.wait(2)
    assert rim.dial() == Dial(None, said)


def test_a_turn_that_is_completed_clears_the_handle_of_blame():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    for _ in range(5):
        assert rim.open().dials[-1].handle == "h1"
        rim.answer()
        rim.close(LOST)
        rim.wait(60)
    assert "handle_dropped" not in rim.counts


def test_a_connection_that_lived_clears_the_handle_of_blame():
    rim = Rim().open("h1")
    for _ in range(5):
        rim.wait(10)
        rim.close(LOST)
        rim.dial()
        rim.fail(LOST)
        rim.wait(1)
        rim.open()
    assert "handle_dropped" not in rim.counts


@pytest.mark.parametrize("handle", [None, "h2"], ids=["", "but for a new handle"])
def test_a_resumed_session_that_never_says_anything_twice_is_dropped(handle):
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    for _ in range(2):
        assert rim.open(handle).dials[-1].handle
        rim.speak()
        rim.mic(SILENCE_S + 1)
        rim.close()
    assert rim.dial().handle is None


def test_a_noise_that_is_not_answered_is_not_the_handles_fault():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    for _ in range(4):
        rim.open()
        rim.speak(BLAMED_MIN_S - 0.1)
        rim.mic(10 * SILENCE_S)
        rim.close()
    assert rim.dial().handle == "h1"


def test_a_resumed_session_that_said_something_before_it_fell_silent_is_not_the_handles_fault():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    for _ in range(4):
        rim.open()
        rim.mic(1)
        rim.server(Said("robot", "hm"))
        rim.speak()
        rim.mic(SILENCE_S + 1)
        rim.close()
    assert rim.dial().handle == "h1"


def test_a_refused_handle_is_dropped_at_once_and_nobody_is_told():
    rim = Rim().open("h1")
    said = spoken(rim)
    rim.wait(10)
    rim.close(LOST)
    rim.dial()
    rim.fail(LiveError("refused", "session not found"))
    assert rim.phase is SessionPhase.WAITING
    assert "handle_dropped" in rim.counts
    assert rim.open().dials[-1] == Dial(None, said)
    rim.wait(5)
    assert rim.standings == [ConnectionState("live")]


def test_a_handle_outlives_the_refusal_of_its_key():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    rim.dial()
    rim.fail(REFUSED)
    rim.dial()
    rim.fail(REFUSED)
    assert rim.phase is SessionPhase.REFUSED
    rim.do(rim.session.mended(rim.now))
    assert rim.dial().handle == "h1", "it was the key that was refused"


def test_a_handle_that_is_refused_with_a_good_key_stays_dropped():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    rim.dial()
    rim.fail(REFUSED)
    rim.open()
    rim.wait(10)
    rim.close(LiveError("refused", "the key has expired"))
    assert rim.dial().handle is None
    rim.fail(REFUSED)
    rim.do(rim.session.mended(rim.now))
    assert rim.dial().handle is None


@pytest.mark.parametrize(("age_s", "handle"), [(HANDLE_MAX_S - 20, "h1"), (HANDLE_MAX_S + 20, None)])
def test_a_handle_is_used_for_two_hours(age_s, handle):
    rim = Rim(park_after_s=10).open("h1")
    said = spoken(rim)
    rim.wait(11)
    rim.close()
    rim.wait(age_s - 11)
    rim.mic(0.1, speaking=True)
    assert rim.dial() == Dial(handle, () if handle else said)


def test_a_new_session_does_not_go_back_to_the_old_ones_handle():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    rim.dial()
    rim.fail(LiveError("refused", "not found"))
    rim.open()  # and is not given a handle yet
    rim.wait(10)
    rim.close(LOST)
    assert rim.dial().handle is None


def test_a_seed_is_the_end_of_the_conversation_in_whole_turns():
    rim = Rim().open()
    for n in range(SEED_TURNS + 5):
        rim.server(Said("robot" if n % 2 else "person", f"{n}"), *([TurnComplete()] if n % 2 else []))
    rim.wait(10)
    rim.close(LOST)
    assert [text for _, text in rim.dial().seed] == [f"{n}" for n in range(5, SEED_TURNS + 5)]


def test_a_seed_is_not_longer_than_it_may_be():
    rim = Rim().open()
    for n in range(10):
        rim.server(Said("robot" if n % 2 else "person", str(n) * (SEED_CHARS // 4)), *([TurnComplete()] if n % 2 else []))
    rim.wait(10)
    rim.close(LOST)
    assert [text[0] for _, text in rim.dial().seed] == ["6", "7", "8", "9"]


def test_a_seed_has_no_gap_where_a_long_turn_does_not_fit():
    rim = Rim().open()
    rim.server(Said("person", "early"), Said("robot", "x" * (SEED_CHARS - 2)), TurnComplete(), Said("person", "late"))
    rim.wait(10)
    rim.close(LOST)
    assert rim.dial().seed == (("person", "late"),)


def test_a_turn_that_is_longer_than_a_seed_is_told_from_its_end():
    rim = Rim().open()
    rim.server(Said("robot", "beginning " + "x" * SEED_CHARS))
    rim.server(Said("robot", " the end"))
    rim.wait(10)
    rim.close(LOST)
    ((who, text),) = rim.dial().seed
    assert who == "robot"
    assert len(text) == SEED_CHARS
    assert text.endswith("x the end")


def seeded(rim: Rim) -> Rim:
    """The session was lost for good, and the new one is told what was said."""
    spoken(rim.open("h1"))
    rim.wait(10)
    rim.close(LOST)
    rim.dial()
    rim.fail(LiveError("refused", "session not found"))
    rim.open()
    assert rim.dials[-1].seed
    return rim


def test_a_new_session_that_is_refused_for_what_it_was_told_begins_again_without():
    rim = seeded(Rim())
    rim.wait(1)
    rim.close(LiveError("refused", "1007 invalid argument"))
    assert "seed_dropped" in rim.counts
    assert rim.open().dials[-1] == Dial(None, ())
    rim.wait(10)
    assert rim.standings == [ConnectionState("live")]


def test_a_refusal_that_was_not_for_what_it_was_told_is_believed_at_the_next_dial():
    rim = seeded(Rim())
    rim.close(REFUSED)
    assert rim.phase is SessionPhase.WAITING
    rim.wait(1)
    rim.dial()
    rim.fail(REFUSED)
    assert rim.phase is SessionPhase.REFUSED


def test_a_session_that_took_what_it_was_told_and_is_lost_later_still_knows_it():
    rim = seeded(Rim())
    rim.wait(60)
    rim.close(LiveError("refused", "1007 invalid argument"))
    assert "seed_dropped" not in rim.counts
    assert rim.dial().seed


# --- refusals and quotas ----------------------------------------------------------------------------------------------


def test_a_refusal_is_told_and_not_hammered():
    rim = Rim()
    rim.dial()
    rim.fail(REFUSED)
    assert rim.standings == [ConnectionState("refused", "check GEMINI_API_KEY")]
    rim.wait(REFUSED_RETRY_S - 1)
    assert not rim.session.wants_to_dial(rim.now)
    rim.wait(1.2)
    assert rim.session.wants_to_dial(rim.now), "now and then it is tried, as somebody may have mended the key at Google"


def test_a_retry_that_is_refused_again_is_not_told_again():
    rim = Rim()
    rim.dial()
    rim.fail(REFUSED)
    for _ in range(3):
        rim.wait(REFUSED_RETRY_S + 2)
        rim.dial()
        rim.wait(1)
        rim.fail(REFUSED)
    assert rim.standings == [ConnectionState("refused", "check GEMINI_API_KEY")]


def test_a_retry_that_finds_nobody_is_told():
    rim = Rim()
    rim.dial()
    rim.fail(REFUSED)
    rim.wait(REFUSED_RETRY_S + 2)
    rim.dial()
    rim.fail(UNREACHABLE)
    rim.wait(0.1)
    assert rim.standings[-1] == ConnectionState("reconnecting", "nobody answered")


def test_what_is_mended_is_tried_at_once():
    rim = Rim()
    rim.dial()
    rim.fail(REFUSED)
    rim.wait(5)
    rim.do(rim.session.mended(rim.now))
    rim.open()
    assert [standing.state for standing in rim.standings] == ["refused", "live"]


@pytest.mark.parametrize("error", [REFUSED, QUOTA])
def test_what_is_mended_while_a_dial_is_under_way_is_tried_when_that_has_failed(error):
    """It was made with the key from before."""
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    rim.dial()
    rim.do(rim.session.mended(rim.now))
    rim.fail(error)
    assert rim.dial().handle == "h1", "nor was that to blame"
    rim.fail(QUOTA)
    rim.wait(1)
    assert not rim.session.wants_to_dial(rim.now), "but what fails then is believed"


def test_a_refused_robot_keeps_no_more_than_the_pre_roll():
    rim = Rim()
    rim.dial()
    rim.fail(REFUSED)
    rim.mic(20, speaking=True)
    assert rim.session.dropped_ms == pytest.approx(19_000)
    rim.do(rim.session.mended(rim.now))
    rim.open()
    assert rim.audio == rim.last_heard(PRE_ROLL_S)


def test_a_connection_that_is_refused_as_soon_as_it_opens_is_dialled_once_more():
    """The setup was answered: what is wrong may be the moment."""
    rim = Rim().open()
    rim.close(REFUSED)
    assert rim.phase is SessionPhase.WAITING
    rim.wait(1)
    rim.open()
    rim.close(REFUSED)
    assert rim.phase is SessionPhase.REFUSED
    assert rim.standings[-1] == ConnectionState("refused", "check GEMINI_API_KEY")


DECLINED = LiveError("declined", "1011 words that nobody knows")
DOUBTED = LiveError("refused", "1007 words that nobody knows", sure=False)


def pauses(rim: Rim, error: LiveError, times: int) -> list[float]:
    """How long it is from each failed dial to the next."""
    found = []
    for _ in range(times):
        rim.dial()
        rim.fail(error)
        failed_at = rim.now
        while not rim.session.wants_to_dial(rim.now):
            rim.wait(0.1)
        found.append(rim.now - failed_at)
    return found


def test_a_setup_that_is_declined_in_new_words_is_dialled_ever_more_seldom():
    least_s = DECLINED_S[0]
    assert pauses(Rim(draw=1.0), DECLINED, 7) == pytest.approx([3, 6, 12, 24, 48, 60, 60], abs=0.2)
    assert pauses(Rim(draw=0.0), DECLINED, 7)[0] >= 0.75 * least_s
    rim = Rim(draw=1.0)
    pauses(rim, DECLINED, 5)
    rim.open().wait(60)
    rim.close(LOST)
    assert pauses(rim, DECLINED, 1) == pytest.approx([least_s], abs=0.2), "what has opened since is well"


def test_a_refusal_for_a_reason_that_nobody_knows_is_tried_again_sooner():
    assert pauses(Rim(), DOUBTED, 7) == pytest.approx([15, 30, 60, 120, 240, 300, 300], abs=0.2)
    assert pauses(Rim(), REFUSED, 2) == pytest.approx([REFUSED_RETRY_S] * 2, abs=0.2)


def test_a_microphone_that_ends_right_after_speech_leaves_silence_that_the_model_can_hear():
    """N: a model that does not heed the end of the stream."""
    rim = Rim(trailing_silence_s=1.5).open()
    rim.speak()
    before = rim.audio
    rim.wait(STREAM_END_S + 0.2)
    assert rim.audio == before + bytes(int(1.5 * BYTES_PER_S))
    assert rim.marks == [["stream_end"]]
    rim.answer()
    rim.wait(60)
    assert len(rim.audio) == len(before) + 1.5 * BYTES_PER_S, "once"
    rim.mic(0.1)
    rim.wait(STREAM_END_S + 0.2)
    assert rim.marks == [["stream_end"] * 2]


def test_push_to_talk_needs_no_silence():
    rim = Rim(trailing_silence_s=1.5, manual_vad=True).open()
    rim.press("start")
    rim.mic(1.0, speaking=True)
    rim.press("end")
    before = rim.audio
    rim.wait(STREAM_END_S + 1)
    assert rim.audio == before


def test_words_that_are_not_to_be_kept_are_neither_told_nor_kept():
    """K."""
    rim = Rim(transcripts=False).open()
    rim.speak()
    rim.server(Said("person", "secret"), A_REPLY, Said("robot", "secret"), ReplyGenerated(), TurnComplete())
    rim.mic(10)
    rim.close(LOST)
    assert rim.dial().seed == ()
    assert rim.kept == []
    assert not [event for event in rim.events if isinstance(event, Said)]


def test_words_that_were_kept_are_forgotten_once_they_are_not_to_be():
    rim = Rim().open()
    rim.speak()
    rim.server(Said("person", "secret"), A_REPLY, TurnComplete())
    rim.session.change(SessionSettings(transcripts=False))
    rim.mic(10)
    rim.close(LOST)
    assert rim.dial().seed == ()


def test_silence_counts_as_sent_only_where_it_is_billed():
    for billed, tokens in ((False, 25), (True, 275)):
        rim = Rim(silence_is_billed=billed).open()
        rim.mic(10)
        rim.mic(1, speaking=True)
        rim.server(A_REPLY, ReplyGenerated(), TurnComplete())
        rim.wait(LATE_S + 0.2)
        (bill,) = rim.bills
        assert bill.prompt["audio"] == pytest.approx(tokens, abs=2)
        assert rim.estimates == [True]


def test_a_refusal_of_a_connection_that_was_talking_is_believed_only_if_the_next_dial_says_so():
    rim = Rim().open("h1")
    rim.wait(60)
    rim.close(LiveError("refused", "1007 invalid argument"))
    assert rim.phase is SessionPhase.WAITING
    assert rim.dial().handle == "h1"
    rim.fail(REFUSED)
    rim.dial()
    rim.fail(REFUSED)
    assert rim.phase is SessionPhase.REFUSED


@pytest.mark.parametrize("event", [A_REPLY, TurnComplete()])
def test_so_is_a_refusal_of_one_that_has_just_opened_but_answered(event):
    rim = Rim().open("h1")
    rim.wait(1)
    rim.server(event)
    rim.close(LiveError("refused", "1007 invalid argument"))
    assert rim.phase is SessionPhase.WAITING
    assert rim.standings == [ConnectionState("live")]


@pytest.mark.parametrize(("draw", "pauses"), [(0.0, [15, 30, 60, 120, 150, 150]), (1.0, [30, 60, 120, 240, 300, 300])])
def test_a_quota_is_waited_out_ever_longer(draw, pauses):
    rim = Rim(draw=draw)
    for pause_s in pauses:
        rim.dial()
        rim.fail(QUOTA)
        assert rim.phase is SessionPhase.WAITING
        rim.wait(pause_s - 0.5)
        assert not rim.session.wants_to_dial(rim.now)
        rim.wait(0.6)


def test_two_thousand_quota_errors_later_it_still_dials():
    rim = Rim(draw=1.0)
    for _ in range(2000):
        rim.dial()
        rim.fail(QUOTA)
        rim.now += QUOTA_S[1]
    assert rim.session.wants_to_dial(rim.now)


def test_a_quota_is_told_at_once_with_the_reason_and_the_pause_and_stays_told():
    rim = Rim(draw=1.0)
    rim.dial()
    rim.fail(QUOTA)
    told = [ConnectionState("reconnecting", "the quota is used up; trying again in 30 s")]
    assert rim.standings == told
    rim.wait(29)
    assert rim.standings == told


def test_a_quota_that_closes_what_has_just_opened_is_waited_out_ever_longer_too():
    rim = Rim(draw=1.0)
    for pause_s in (30, 60, 120):
        rim.open()
        rim.close(QUOTA)
        rim.wait(pause_s - 0.5)
        assert not rim.session.wants_to_dial(rim.now)
        rim.wait(0.6)
        assert rim.session.wants_to_dial(rim.now)
    rim.open()
    rim.answer()
    rim.wait(10)
    rim.close(QUOTA)
    rim.wait(30.1)
    assert rim.session.wants_to_dial(rim.now), "it had been lifted"


# --- watchdogs --------------------------------------------------------------------------------------------------------


def test_a_server_that_is_silent_after_speech_is_left():
    rim = Rim().open("h1")
    rim.server(A_REPLY, TurnComplete())
    rim.speak()
    rim.mic(SILENCE_S - 0.2)
    assert not rim.hanging_up
    rim.mic(0.4)
    assert rim.hanging_up
    assert rim.counts == ["silent"]
    rim.close()
    assert rim.dial().handle == "h1", "at once"


def test_where_another_connection_does_not_help_either_the_next_are_given_ever_more_time():
    """People who talk to each other, or a television: gemini-3.8 says nothing to that, by choice."""
    rim = Rim().open("h1")
    waits = []
    for _ in range(7):
        rim.speak()
        rim.server(Said("person", "Tonight, the weather."))
        began = rim.now
        while not rim.hanging_up:
            rim.mic(0.2)
        waits.append(round((rim.now - began) / SILENCE_S))
        rim.close()
        rim.open()
    assert waits == [1, 1, 2, 4, 8, 8, 8]
    rim.answer()
    rim.speak()
    rim.mic(SILENCE_S + 0.5)
    assert rim.hanging_up, "whoever is answered again is helped as soon as ever"


@pytest.mark.parametrize("event", [A_REPLY, TurnComplete(), ReplyGenerated()])
def test_a_server_that_answers_is_not(event):
    rim = Rim().open("h1")
    rim.speak()
    rim.mic(SILENCE_S - 1)
    rim.server(event)
    rim.mic(2)
    assert not rim.hanging_up


NO_ANSWER = [Said("person", "hello"), SpeechNoticed(), Interrupted(), Resumable("h2"), Unknown("?"), Alive(), used(0)]


@pytest.mark.parametrize("every_s", [0.5, 5.0, 8.0])
@pytest.mark.parametrize("event", NO_ANSWER, ids=lambda event: type(event).__name__)
def test_a_server_that_says_anything_but_an_answer_hangs(event, every_s):
    rim = Rim().open("h1")
    rim.speak()
    rim.server(Said("person", "hello"))
    for _ in range(int((SILENCE_S - 0.5) / every_s)):
        rim.mic(every_s)
        rim.server(event)
    assert not rim.hanging_up
    rim.mic(every_s + 1)
    assert rim.hanging_up
    assert rim.counts[-1] == "silent"


def test_a_server_that_follows_a_long_speech_does_not_hang():
    """Somebody tells a story, with short pauses: the transcripts come, and an answer is not due yet."""
    rim = Rim().open("h1")
    for _ in range(30):
        rim.speak(3.0)
        rim.server(Said("person", "and then "))
        rim.mic(PAUSE_S / 2)
    assert not rim.hanging_up


def test_a_server_that_only_writes_down_what_is_asked_again_and_again_hangs():
    rim = Rim().open("h1")
    began = rim.now
    while not rim.hanging_up and rim.now - began < 100:
        rim.speak(1.0)
        rim.server(Said("person", "are you there?"))
        rim.mic(PAUSE_S + 1.0)
    assert rim.now - began < SILENCE_MAX_S + 6


def mute_turns(rim: Rim, n: int, *events) -> None:
    for _ in range(n):
        rim.speak()
        rim.server(*events, TurnComplete())


@pytest.mark.parametrize(
    "events", [(), (Unheard(),), (Reason("RESPONSE_REJECTED"),), (Audio(b"\2\0" * 4800, 24000), ReplyGenerated())]
)
def test_after_some_turns_without_a_sound_a_new_session_begins_and_then_more_seldom(events):
    rim = Rim().open("h1")
    for times in (1, 2, 4):
        mute_turns(rim, times * MUTE_TURNS - 1, *events)
        assert not rim.hanging_up
        mute_turns(rim, 1, *events)
        assert rim.hanging_up
        rim.server(Resumable("too late"))
        rim.close()
        assert rim.dial().handle is None
        rim.open_dialled()
        rim.server(Resumable("h2"))
    rim.speak()
    rim.answer()
    mute_turns(rim, MUTE_TURNS, *events)
    assert rim.hanging_up, "as soon as ever once there was a sound"


@pytest.mark.parametrize("events", [(A_REPLY, Interrupted()), (ToolCall((("1", "wave"),)),)])
def test_a_turn_that_was_cut_or_calls_a_tool_needs_no_sound(events):
    rim = Rim().open("h1")
    mute_turns(rim, 5 * MUTE_TURNS, *events)
    assert not rim.hanging_up
    assert "mute_turn" not in rim.counts


def test_a_turn_that_nobody_asked_for_needs_no_sound_either():
    rim = Rim().open("h1")
    for _ in range(5 * MUTE_TURNS):
        rim.mic(3.0)
        rim.server(TurnComplete())
    assert rim.counts == []


def test_a_turn_that_was_heard_and_ends_for_a_reason_is_told():
    rim = Rim().open("h1")
    rim.speak()
    rim.server(A_REPLY, Reason("MALFORMED_FUNCTION_CALL"), TurnComplete())
    assert rim.counts == ["turn_reason"]


@pytest.mark.parametrize(
    ("samples", "audible"), [([0], False), ([FAINT, -FAINT], False), ([0, FAINT + 1], True), ([-32768], True)]
)
def test_what_a_person_hears_is_louder_than_that(samples, audible):
    assert is_audible(b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples) + b"\7") is audible
    assert not is_audible(b"")


def test_an_answer_is_not_cut_by_speech_that_began_before_it():
    """C: a gate that takes the room for speech."""
    rim = Rim().open("h1")
    rim.mic(3.0, speaking=True)
    rim.server(*[Audio(b"\0\1" * 24000, 24000)] * 6, ReplyGenerated(), TurnComplete())
    rim.mic(6.0, speaking=True)
    assert SpeechNoticed() not in rim.events
    rim.server(*[Audio(b"\0\1" * 24000, 24000)] * 6, ReplyGenerated(), TurnComplete())
    rim.mic(0.5)
    rim.mic(BARGE_IN_S + 0.1, speaking=True)
    assert SpeechNoticed() in rim.events, "but by speech that begins in it"


@pytest.mark.parametrize("event", [Unheard(), Said("robot", "well"), Working(on=True), ToolCall((("1", "wave"),))])
def test_words_and_thoughts_are_of_an_answer_for_a_while(event):
    rim = Rim().open("h1")
    rim.speak()
    while rim.now < 1000 + SOUNDLESS_MAX_S - 2:
        rim.server(event)
        rim.mic(5.0)
    assert not rim.hanging_up
    rim.mic(SILENCE_S)
    for _ in range(3):
        rim.server(event)
        rim.mic(5.0)
    assert rim.hanging_up, "but nobody hears them"


def test_a_short_noise_may_be_left_unanswered():
    rim = Rim().open("h1")
    rim.speak(0.3)
    rim.mic(SILENCE_MAX_S + 5)
    assert rim.counts == []


def test_the_length_of_speech_counts_from_its_own_beginning():
    rim = Rim().open("h1")
    rim.speak(0.3)
    rim.mic(1)
    rim.speak(0.3)
    rim.mic(SILENCE_S + 5)
    assert rim.counts == []


def test_a_person_who_asks_again_and_again_is_helped_at_last():
    rim = Rim().open("h1")
    began = rim.now
    while not rim.hanging_up:
        rim.speak(1)
        rim.mic(4)
        assert rim.now - began < SILENCE_MAX_S + 6


def test_a_person_who_talks_on_is_not_cut_while_the_server_listens():
    rim = Rim().open("h1")
    rim.speak()
    rim.speak(SILENCE_S + 5)
    rim.mic(SILENCE_S - 1)
    assert not rim.hanging_up


def test_an_answer_that_stops_in_mid_way_is_left_and_ended():
    rim = Rim().open("h1")
    rim.speak()
    rim.server(A_REPLY)
    rim.mic(SILENCE_S - 0.2)
    assert not rim.hanging_up
    rim.mic(0.4)
    assert rim.hanging_up
    rim.close()
    assert rim.events[-1] == TurnComplete()


def test_a_turn_whose_reply_has_all_come_may_take_its_time_to_end():
    rim = Rim().open("h1")
    rim.speak()
    rim.server(A_REPLY, ReplyGenerated())
    rim.mic(TURN_END_S - 0.2)
    assert rim.turns_ended == 0
    rim.server(TurnComplete())
    rim.mic(120)
    assert not rim.hanging_up
    assert rim.turns_ended == 1


@pytest.mark.parametrize("end", [ReplyGenerated(), Interrupted()])
def test_a_turn_of_which_no_more_can_come_is_over_although_the_server_does_not_say_so(end):
    rim = Rim(park_after_s=20).open("h1")
    rim.speak()
    rim.server(*[Audio(b"\0\1" * 24000, 24000)] * 5, end)
    rim.mic(TURN_END_S - 0.3)
    assert rim.turns_ended == 0
    rim.mic(6.0)
    assert rim.turns_ended == 1
    assert rim.counts == ["no_turn_end"]
    rim.server(TurnComplete())
    assert rim.turns_ended == 1, "which is known"
    rim.speak()
    rim.answer()
    assert rim.turns_ended == 2
    rim.mic(25.0)
    assert rim.hanging_up, "nor does it keep the session from being parked"


def test_a_late_word_of_a_turns_end_does_not_answer_the_next_question():
    rim = Rim().open("h1")
    rim.speak()
    rim.server(A_REPLY, ReplyGenerated())
    rim.mic(TURN_END_S + 1)
    rim.speak()
    rim.server(TurnComplete())
    rim.mic(SILENCE_S + 1)
    assert rim.hanging_up


def test_the_end_of_an_interrupted_turn_does_not_answer_what_interrupted_it():
    rim = Rim().open("h1")
    rim.speak()
    rim.server(A_REPLY)
    rim.mic(1.0, speaking=True)
    rim.server(Interrupted())
    rim.mic(0.5)
    rim.server(TurnComplete())
    rim.mic(SILENCE_S + 1)
    assert rim.hanging_up


def test_the_answer_to_what_a_lost_connection_was_asked_is_not_waited_for():
    rim = Rim().open("h1")
    rim.speak()
    rim.mic(3)
    rim.close(LOST)
    rim.mic(5)
    rim.open()
    rim.mic(SILENCE_MAX_S + 5)
    assert rim.counts == ["lost"], "nothing is wrong with the new one"


def test_the_answer_to_a_question_that_only_the_new_connection_heard_is_waited_for():
    rim = Rim().open("h1")
    rim.mic(10)
    rim.close(LOST)
    rim.speak()
    rim.open()
    rim.mic(SILENCE_S + 1)
    assert rim.counts == ["lost", "silent"]


def test_a_send_that_stalls_is_given_up():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.session.sending(rim.now)
    rim.wait(SEND_STALL_S - 0.1)
    assert not rim.hanging_up
    rim.wait(0.3)
    assert rim.hanging_up
    assert rim.counts == ["stalled"]
    rim.close()
    rim.open()
    rim.wait(SEND_STALL_S + 1)
    assert not rim.hanging_up, "the stall was the old one's"


def test_a_send_that_is_taken_in_time_is_none():
    rim = Rim().open("h1")
    for _ in range(5):
        rim.session.sending(rim.now)
        rim.wait(SEND_STALL_S - 0.2)
        rim.session.sending(None)
        rim.wait(1)
    assert not rim.hanging_up


def test_while_a_new_connection_takes_nothing_the_microphone_is_bounded():
    rim = Rim()
    rim.dial()
    rim.do(rim.session.opened(rim.now))
    for n in range(round(HELD_MAX_S / CHUNK_S) + 50):
        rim.do(rim.session.hear(bytes(CHUNK_BYTES), rim.now + n * CHUNK_S, speaking=False))
    assert rim.session.dropped_ms == pytest.approx(1000)


def test_a_connection_that_takes_less_than_the_microphone_gives_is_not_heard_ever_later():
    rim = Rim().open("h1")
    rim.mic(1)
    behind_s = []
    for n in range(round(60 / CHUNK_S)):
        rim.now += CHUNK_S
        rim.do(rim.session.hear(bytes(CHUNK_BYTES), rim.now, speaking=False))
        if n % 10 == 0:  # half of what comes: 100 ms in 200
            rim.session.take()
        behind_s.append(rim.session.waiting_ms / 1000)
    assert max(behind_s) < OUTAGE_MAX_S + BEHIND_S / 2 + 0.2
    assert max(behind_s[-500:]) <= OUTAGE_MAX_S + CHUNK_S
    assert rim.session.dropped_ms > 20_000
    assert set(rim.counts) == {"uplink"}
    while rim.session.take():
        pass
    rim.mic(20)
    assert rim.session.waiting_ms == 0


def test_a_connection_that_catches_up_loses_nothing():
    rim = Rim().open("h1")
    rim.mic(1)
    for _ in range(5):
        for _ in range(round((OUTAGE_MAX_S + BEHIND_S - 0.5) / CHUNK_S)):
            rim.now += CHUNK_S
            rim.do(rim.session.hear(bytes(CHUNK_BYTES), rim.now, speaking=False))
        rim.mic(1)
    assert (rim.session.dropped_ms, rim.counts) == (0, [])


def test_what_waited_for_a_renewal_is_not_dropped_by_a_connection_that_is_still_at_it():
    rim = Rim().open("h1")
    rim.close(LOST)
    rim.mic(1)
    rim.dial()
    rim.mic(8)
    rim.sent.append([])
    rim.do(rim.session.opened(rim.now))
    before_ms = rim.session.dropped_ms
    for _ in range(round(2 * BEHIND_S / CHUNK_S)):
        rim.now += CHUNK_S
        rim.do(rim.session.hear(bytes(CHUNK_BYTES), rim.now, speaking=False))
        rim.session.take()
    assert rim.session.dropped_ms == before_ms


# --- the end of the stream --------------------------------------------------------------------------------------------


def test_the_server_is_told_once_when_the_microphone_pauses():
    rim = Rim().open()
    rim.mic(1)
    rim.wait(STREAM_END_S - 0.1)
    assert rim.marks == [[]]
    rim.wait(10)
    assert rim.marks == [["stream_end"]]
    rim.mic(1)
    rim.wait(10)
    assert rim.marks == [["stream_end"] * 2]


def test_silence_is_no_pause():
    rim = Rim().open()
    for _ in range(100):
        rim.now += 0.5
        rim.do(rim.session.hear(bytes(CHUNK_BYTES), rim.now, speaking=False))
        rim.tick()
    assert rim.marks == [[]]


def test_a_microphone_that_was_never_on_has_no_pause():
    rim = Rim().open()
    rim.wait(10)
    assert rim.marks == [[]]


def test_speech_is_over_when_the_microphone_pauses_in_the_middle_of_it():
    rim = Rim().open("h1")
    rim.mic(1, speaking=True)
    rim.wait(2)
    rim.answer()
    rim.session.persona_changed()
    rim.wait(1)
    assert rim.hanging_up, "nobody speaks"


def test_speech_that_a_pause_of_the_microphone_ends_is_to_be_answered():
    rim = Rim().open("h1")
    rim.mic(1, speaking=True)
    rim.wait(SILENCE_S + 2)
    assert rim.counts == ["silent"]


# --- manual VAD -------------------------------------------------------------------------------------------------------


def pressed(rim: Rim, seconds: float) -> None:
    rim.press("start")
    rim.mic(seconds, speaking=True)
    rim.press("end")


def test_marks_are_sent_in_their_order_among_the_audio():
    rim = Rim(manual_vad=True).open()
    rim.mic(0.02)
    pressed(rim, 0.04)
    rim.mic(0.02)
    a, b, c, d = rim.heard
    assert rim.sent == [[a, "start", b, c, "end", d]]


def test_no_stream_end_is_sent_with_manual_vad():
    rim = Rim(manual_vad=True).open()
    pressed(rim, 1)
    rim.wait(5)
    assert rim.marks == [["start", "end"]]


def test_a_repeated_mark_is_ignored():
    rim = Rim(manual_vad=True).open()
    for event in ("end", "start", "start", "end", "end"):
        rim.press(event)
    assert rim.marks == [["start", "end"]]


def test_marks_are_counted_and_not_sent_if_the_persona_has_automatic_vad():
    rim = Rim().open()
    pressed(rim, 1)
    assert rim.marks == [[]]
    assert rim.counts == ["activity_ignored"] * 2


def test_a_press_of_the_button_cuts_an_answer_once_and_not_where_it_means_nothing():
    rim = Rim(manual_vad=True).open()
    rim.server(A_REPLY)
    for event in ("start", "start", "end"):
        rim.press(event)
    assert rim.events.count(SpeechNoticed()) == 1
    rim = Rim().open()
    rim.server(A_REPLY)
    rim.press("start")
    assert SpeechNoticed() not in rim.events, "the server goes on, and would not be heard"


def test_a_press_in_which_nothing_is_said_demands_no_answer():
    rim = Rim(manual_vad=True).open()
    rim.press("start")
    rim.mic(2)
    rim.press("end")
    rim.mic(SILENCE_S + 1)
    assert rim.counts == []


def test_speech_alone_does_not_demand_an_answer_but_the_end_of_the_persons_turn_does():
    rim = Rim(manual_vad=True).open()
    rim.speak(2)
    rim.mic(SILENCE_S + 5)
    assert rim.counts == []
    pressed(rim, 1)
    rim.mic(SILENCE_S + 1)
    assert rim.counts == ["silent"]


def test_marks_survive_trimming_in_their_order():
    rim = Rim(manual_vad=True).open()
    rim.wait(10)
    rim.close(UNREACHABLE)
    rim.press("start")
    rim.mic(1)
    rim.press("end")
    rim.mic(0.5)
    rim.press("start")
    rim.mic(OUTAGE_MAX_S + 1)
    rim.press("end")
    rim.open()
    start, *chunks, end = rim.sent[-1]
    assert (start, end) == ("start", "end"), "nothing is left of the first turn, and so are its marks"
    assert b"".join(chunks) == rim.last_heard(OUTAGE_MAX_S)


def test_the_end_of_a_turn_whose_audio_a_stalled_connection_never_took_is_still_sent_on_it():
    rim = Rim(manual_vad=True).open()
    rim.press("start")
    for _ in range(round(HELD_MAX_S / CHUNK_S) + 50):
        rim.do(rim.session.hear(bytes(CHUNK_BYTES), rim.now, speaking=True))
    rim.do(rim.session.activity("end", rim.now))
    for _ in range(round(HELD_MAX_S / CHUNK_S)):
        rim.do(rim.session.hear(bytes(CHUNK_BYTES), rim.now, speaking=False))
    rim.do(rim.session.activity("start", rim.now))
    rim.send()
    assert rim.marks == [["start", "end", "start"]]
    assert rim.sent[0][1] == "end"


def test_a_thousand_presses_without_a_connection_are_not_kept():
    rim = Rim(manual_vad=True)
    for _ in range(1000):
        rim.press("start")
        rim.press("end")
    rim.press("start")
    rim.open()
    assert rim.sent == [["start"]]


def test_a_connection_is_not_renewed_while_the_person_holds_the_button():
    rim = Rim(manual_vad=True, max_age_s=100).open("h1")
    rim.press("start")
    rim.mic(100 + AGE_WINDOW_S - 1)
    assert not rim.hanging_up
    rim.mic(1)
    assert rim.hanging_up, "but at the deadline it is"
    rim.close()
    rim.open()
    rim.mic(1)
    rim.press("end")
    assert rim.marks == [["start"], ["start", "end"]], "each connection is told the whole of it"


def test_a_loss_while_the_person_holds_the_button_begins_the_turn_anew():
    rim = Rim(manual_vad=True).open("h1")
    rim.press("start")
    rim.mic(3)
    rim.close(LOST)
    rim.mic(0.5)
    rim.press("end")
    rim.mic(0.5)
    rim.open()
    assert rim.marks == [["start"], ["start", "end"]]
    assert rim.sent[1][0] == "start"


def test_an_end_alone_is_not_sent_to_a_connection_that_heard_nothing():
    rim = Rim(manual_vad=True).open("h1")
    rim.press("start")
    rim.mic(3)
    rim.close(LOST)
    rim.press("end")
    rim.open()
    assert rim.marks == [["start"], []]
    rim.wait(SILENCE_MAX_S + 1)
    assert rim.counts == ["lost"], "and no answer is waited for"


def test_what_one_connection_was_not_told_the_one_after_it_is_not_told_either():
    rim = Rim(manual_vad=True).open("h1")
    rim.press("start")
    rim.mic(3)
    rim.close(LOST)
    rim.press("end")
    for _ in range(2):
        rim.open()
        rim.wait(10)
        rim.close(LOST)
    assert rim.marks == [["start"], [], []]


def test_a_loss_while_the_button_is_held_in_silence_begins_the_turn_anew_too():
    rim = Rim(manual_vad=True).open("h1")
    rim.press("start")
    rim.close(LOST)
    rim.open()
    assert rim.marks == [["start"], ["start"]]


def test_an_end_that_could_not_be_sent_does_not_reach_the_next_connection_alone():
    rim = Rim(manual_vad=True).open("h1")
    rim.press("start")
    rim.do(rim.session.activity("end", rim.now))
    assert rim.session.take() == "end"
    rim.session.untaken("end")
    rim.close(LOST)
    rim.open()
    assert rim.marks == [["start"], []]


def test_a_start_that_could_not_be_sent_is_sent_once():
    rim = Rim(manual_vad=True).open("h1")
    rim.wait(10)
    rim.do(rim.session.activity("start", rim.now))
    assert rim.session.take() == "start"
    rim.session.untaken("start")
    rim.close(LOST)
    rim.open()
    assert rim.marks == [[], ["start"]]


def test_marks_wait_until_the_connection_knows_that_vad_is_manual():
    rim = Rim().open("h1")
    rim.mic(1)
    rim.session.settings = SessionSettings(manual_vad=True)
    rim.session.persona_changed()
    rim.press("start")
    rim.mic(1, speaking=True)
    assert rim.marks == [[]], "to this one a mark would be an error"
    rim.press("end")
    rim.answer()
    rim.mic(1)
    assert rim.hanging_up
    rim.press("start")
    rim.close()
    rim.open()
    rim.press("end")
    assert rim.marks == [[], ["start", "end"]]


def test_a_button_that_is_held_when_vad_becomes_automatic_is_forgotten():
    rim = Rim(manual_vad=True).open("h1")
    rim.press("start")
    rim.mic(1)
    rim.session.settings = SessionSettings(manual_vad=False)
    rim.session.persona_changed()
    rim.mic(1)
    assert rim.hanging_up
    rim.mic(0.5)
    rim.close()
    rim.open()
    rim.press("end")
    rim.wait(1)
    assert rim.marks == [["start"], ["stream_end"]]
    assert rim.audio == b"".join(rim.heard)


def test_a_button_that_was_held_when_vad_became_automatic_can_be_pressed_when_it_is_manual_again():
    rim = Rim(manual_vad=True).open("h1")
    rim.press("start")
    for manual in (False, True):
        rim.session.settings = SessionSettings(manual_vad=manual)
        rim.session.persona_changed()
        rim.mic(1)
        rim.close()
        rim.open()
    rim.press("start")
    assert rim.marks == [["start"], [], ["start"]]


# --- tools and unknown messages ---------------------------------------------------------------------------------------


CALL = ToolCall((("call-1", "wave"), ("call-2", "nod")))


def test_a_tool_call_that_nobody_serves_is_declined():
    rim = Rim().open()
    rim.server(CALL)
    rim.send()
    assert rim.sent == [[Decline((("call-1", "wave"), ("call-2", "nod")))]]
    assert rim.counts == ["tool_call"]


def test_a_tool_call_is_declined_even_while_the_microphone_is_held():
    rim = Rim().open("h1")
    rim.speak()
    rim.server(A_REPLY, GoAway(0))
    rim.mic(1)
    sent = rim.audio
    rim.server(CALL)
    rim.mic(0.1)
    assert rim.sent[0][-1] == Decline(CALL.calls), "else the answer would never end"
    assert rim.audio == sent


def test_a_tool_call_is_not_declined_on_another_connection():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.server(CALL)
    assert rim.session.take() == Decline(CALL.calls)
    rim.session.untaken(Decline(CALL.calls))
    rim.server(CALL)
    rim.close(LOST)
    rim.open()
    assert rim.sent == [[], []]


def test_unknown_messages_are_counted_and_the_connection_goes_on():
    rim = Rim().open()
    rim.server(*[Unknown("TypeError")] * 3)
    rim.answer()
    assert rim.counts == ["unknown_message"] * 3
    assert rim.phase is SessionPhase.LIVE
    assert rim.turns_ended == 1


# --- parking ----------------------------------------------------------------------------------------------------------


def parked(rim: Rim) -> Rim:
    rim.mic(rim.session.settings.park_after_s + 0.2)
    assert rim.hanging_up
    rim.close()
    assert rim.phase is SessionPhase.PARKED
    return rim


def test_a_silent_session_parks_and_the_first_word_wakes_it_with_the_pre_roll():
    rim = parked(Rim(park_after_s=60).open("h1"))
    rim.mic(3600)
    assert not rim.session.wants_to_dial(rim.now)
    sent = rim.audio
    rim.mic(0.1, speaking=True)
    assert rim.session.wants_to_dial(rim.now)
    rim.mic(0.4, speaking=True)
    assert rim.open().dials[-1].handle == "h1"
    assert rim.audio == sent + rim.last_heard(PRE_ROLL_S + 0.5 - CHUNK_S)
    assert rim.standings == [ConnectionState("live")]
    assert rim.session.dropped_ms == 0, "what nobody said is not missed"


def test_a_session_is_not_parked_unless_asked_to():
    rim = Rim(max_age_s=1e6).open()
    rim.wait(7200)
    assert not rim.hanging_up


def test_speech_puts_parking_off():
    rim = Rim(park_after_s=60).open()
    for _ in range(5):
        rim.mic(50)
        rim.speak(0.2)
    assert not rim.hanging_up
    rim.mic(59)
    assert not rim.hanging_up
    rim.mic(1.2)
    assert rim.hanging_up


def test_the_silence_counts_from_the_end_of_the_answer():
    rim = Rim(park_after_s=60).open()
    rim.speak()
    for _ in range(20):
        rim.mic(5)
        rim.server(A_REPLY)
    rim.server(TurnComplete())
    rim.mic(59)
    assert not rim.hanging_up
    rim.mic(1.2)
    assert rim.hanging_up


def test_renewals_do_not_put_parking_off():
    rim = Rim(park_after_s=300, max_age_s=100).open("h1")
    rim.mic(101)
    rim.close()
    rim.open()
    rim.mic(101)
    rim.close()
    rim.open()
    rim.mic(99)
    assert rim.hanging_up
    rim.close()
    assert rim.phase is SessionPhase.PARKED


def test_a_word_that_is_said_while_the_session_closes_to_park_wakes_it():
    rim = Rim(park_after_s=60).open("h1")
    rim.mic(60.2)
    assert rim.hanging_up
    rim.speak(0.3)
    rim.mic(1)
    rim.close()
    assert rim.session.wants_to_dial(rim.now)
    rim.open()
    assert rim.audio == b"".join(rim.heard)


def test_pressing_the_button_wakes_a_parked_session():
    rim = parked(Rim(park_after_s=60, manual_vad=True).open("h1"))
    rim.press("start")
    rim.mic(0.3)
    rim.press("end")
    rim.open()
    assert rim.marks == [[], ["start", "end"]]


def test_pressing_the_button_while_the_session_closes_to_park_wakes_it_too():
    rim = Rim(park_after_s=60, manual_vad=True).open("h1")
    rim.mic(60.2)
    rim.press("start")
    rim.close()
    assert rim.session.wants_to_dial(rim.now)


def test_a_session_that_wakes_is_told_as_reconnecting_only_if_that_takes_long():
    rim = parked(Rim(park_after_s=60).open("h1"))
    rim.mic(600)
    rim.mic(GAP_TELL_S, speaking=True)
    assert rim.standings == [ConnectionState("live")]
    rim.mic(0.3, speaking=True)
    assert rim.standings[-1].state == "reconnecting"


# --- budgets ----------------------------------------------------------------------------------------------------------


def test_a_budget_that_is_spent_in_mid_turn_lets_the_turn_finish_and_then_says_why():
    rim = Rim().open("h1")
    rim.speak()
    rim.server(A_REPLY)
    rim.budget(allowed=False)
    rim.mic(5)
    assert not rim.hanging_up
    rim.answer()
    rim.mic(QUIET_S + 0.2)
    assert rim.hanging_up
    rim.close()
    assert rim.phase is SessionPhase.SPENT
    assert rim.standings[-1] == ConnectionState("refused", "the budget is spent")
    rim.budget(allowed=False)
    rim.mic(100, speaking=True)
    assert not rim.session.wants_to_dial(rim.now)
    assert len(rim.standings) == 2


def test_a_question_that_was_asked_before_the_budget_was_spent_is_answered():
    rim = Rim().open("h1")
    rim.speak()
    rim.budget(allowed=False)
    rim.mic(3)
    assert not rim.hanging_up
    rim.answer()
    rim.mic(1)
    assert rim.hanging_up


def test_a_person_who_never_pauses_does_not_get_another_turn():
    rim = Rim().open("h1")
    rim.mic(1, speaking=True)
    rim.server(A_REPLY)
    rim.budget(allowed=False)
    rim.mic(3, speaking=True)
    assert not rim.hanging_up
    rim.server(TurnComplete())
    rim.mic(0.2, speaking=True)
    assert rim.hanging_up


def test_nothing_is_told_of_an_answer_that_begins_after_the_one_that_spent_the_budget():
    rim = Rim().open("h1")
    rim.speak()
    rim.server(A_REPLY)
    rim.budget(allowed=False)
    rim.server(ReplyGenerated())
    told = len(rim.events)
    rim.server(A_REPLY)
    assert rim.events[told:] == [TurnComplete()]
    assert rim.hanging_up


def test_who_speaks_right_after_the_turn_that_spent_the_budget_gets_no_other():
    rim = Rim().open("h1")
    rim.speak()
    rim.answer(used(100))
    rim.budget(allowed=False)
    rim.mic(0.3, speaking=True)
    assert rim.hanging_up
    rim.close()
    assert rim.phase is SessionPhase.SPENT


def test_a_question_after_the_budget_was_raised_is_answered_although_it_is_spent_again():
    rim = Rim().open("h1")
    rim.speak()
    rim.answer(used(100))
    rim.budget(allowed=False)
    rim.budget(allowed=True)
    rim.speak()
    rim.budget(allowed=False)
    rim.mic(2)
    assert not rim.hanging_up
    rim.answer()
    rim.mic(1)
    assert rim.hanging_up


def test_a_turn_that_begins_before_the_budget_is_spent_again_is_finished_too():
    rim = Rim().open("h1")
    rim.budget(allowed=False)
    rim.answer()
    rim.budget(allowed=True)
    rim.server(A_REPLY)
    rim.budget(allowed=False)
    rim.mic(3)
    assert not rim.hanging_up


def test_a_budget_that_is_raised_lets_the_session_go_on_where_it_was():
    rim = Rim().open("h1")
    rim.mic(1)
    rim.budget(allowed=False)
    rim.mic(1)
    rim.close()
    rim.mic(3600)
    rim.budget(allowed=True)
    rim.tick()
    assert rim.open().dials[-1].handle == "h1"
    assert [standing.state for standing in rim.standings] == ["live", "refused", "live"]


def test_a_budget_that_is_raised_in_time_changes_nothing():
    rim = Rim().open("h1")
    rim.server(A_REPLY)
    rim.budget(allowed=False)
    rim.wait(1)
    rim.budget(allowed=True)
    rim.server(TurnComplete())
    rim.wait(5)
    assert not rim.hanging_up


def test_a_budget_that_is_raised_while_the_session_closes_is_not_told():
    rim = Rim().open("h1")
    rim.mic(1)
    rim.budget(allowed=False)
    rim.mic(1)
    assert rim.hanging_up
    rim.budget(allowed=True, words="")
    rim.close()
    rim.open()
    assert rim.standings == [ConnectionState("live")]


def test_a_budget_that_is_raised_after_a_loss_makes_no_old_trouble_of_it():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.server(A_REPLY)
    rim.budget(allowed=False)
    rim.close(LOST)
    assert rim.phase is SessionPhase.SPENT
    rim.wait(600)
    rim.budget(allowed=True)
    rim.wait(0.5)
    rim.open()
    assert [standing.state for standing in rim.standings] == ["live", "refused", "live"]


def waiting(rim: Rim) -> None:
    assert rim.phase is SessionPhase.WAITING


def refused(rim: Rim) -> None:
    rim.dial()
    rim.fail(REFUSED)


def is_parked(rim: Rim) -> None:
    parked(rim.open("h1"))


@pytest.mark.parametrize("reach", [waiting, refused, is_parked])
def test_without_a_budget_nothing_is_dialled(reach):
    rim = Rim(park_after_s=60)
    reach(rim)
    rim.budget(allowed=False)
    assert rim.phase is SessionPhase.SPENT
    assert rim.standings[-1] == ConnectionState("refused", "the budget is spent")
    rim.do(rim.session.mended(rim.now))
    rim.speak()
    rim.wait(REFUSED_RETRY_S + 1)
    assert not rim.session.wants_to_dial(rim.now)
    rim.budget(allowed=True)
    assert rim.session.wants_to_dial(rim.now)


def test_a_budget_that_is_spent_while_dialling_ends_the_session_as_soon_as_it_is_quiet():
    rim = Rim()
    rim.dial()
    rim.budget(allowed=False)
    rim.sent.append([])
    rim.do(rim.session.opened(rim.now))
    rim.wait(1)
    assert rim.hanging_up
    rim.close()
    assert rim.phase is SessionPhase.SPENT


@pytest.mark.parametrize("error", [UNREACHABLE, LOST, QUOTA])
def test_a_dial_that_fails_without_a_budget_is_not_tried_again(error):
    rim = Rim()
    rim.dial()
    rim.budget(allowed=False)
    rim.fail(error)
    assert rim.phase is SessionPhase.SPENT


def test_a_renewal_that_finds_the_budget_spent_does_not_dial():
    rim = Rim().open("h1")
    rim.wait(1)
    rim.server(GoAway(50))
    rim.budget(allowed=False)
    rim.close()
    assert not rim.session.wants_to_dial(rim.now)
    rim.budget(allowed=False)
    assert rim.phase is SessionPhase.SPENT


# --- all of it --------------------------------------------------------------------------------------------------------


def raised(rim: Rim) -> None:
    rim.budget(allowed=False)
    rim.budget(allowed=True)


def test_every_way_that_the_documentation_shows_from_one_state_to_another_is_taken():
    opened = Rim(park_after_s=60)
    opened.open("h1").close(LOST)
    refused = Rim()
    for _ in range(2):
        refused.open().close(REFUSED)
        refused.wait(1)
    refused.do(refused.session.mended(refused.now))
    refused.tick()
    parked(opened.open("h1")).mic(0.1, speaking=True)
    is_parked(opened)
    opened.budget(allowed=False)
    opened.budget(allowed=True)
    opened.open().budget(allowed=False)
    opened.close(LOST)
    opened.budget(allowed=True)
    opened.open().budget(allowed=False)
    opened.mic(1)
    opened.close()
    opened.budget(allowed=True)
    opened.open().speak(0.2)  # else it would park
    opened.server(GoAway(50))
    opened.mic(1)
    opened.close()
    dialled = Rim()
    for error in (LOST, REFUSED):
        dialled.dial()
        dialled.fail(error)
    raised(dialled)
    dialled.do(dialled.session.mended(dialled.now))
    dialled.dial()
    dialled.budget(allowed=False)
    dialled.fail(LOST)
    undialled = Rim()
    raised(undialled)
    taken = {pair for rim in (opened, refused, dialled, undialled) for pair in pairwise(rim.phases)}
    assert {(before.name.lower(), after.name.lower()) for before, after in taken} == sessions_doc.transitions()


def test_an_hour_of_conversation_over_connections_that_live_for_ten_minutes():
    """Half of them say when they end; the others are renewed for their age."""
    rim = Rim().open("h0")
    asked = opened_at = 0
    while rim.now < 1000 + 3600:
        rim.speak(1.5 + asked % 5)
        rim.mic(0.6)
        rim.server(A_REPLY)
        if rim.now - opened_at > 530 and len(rim.dials) % 2 == 0:
            rim.server(GoAway(50))
        rim.mic(1 + asked % 3)
        assert not rim.hanging_up, "in mid-answer"
        rim.server(A_REPLY, ReplyGenerated(), used(asked), TurnComplete())
        asked += 1
        rim.mic(0.3 + asked % 2)
        if rim.hanging_up:
            rim.close()
            rim.mic(0.2)
            opened_at = rim.now
            rim.open(f"h{len(rim.dials) + 1}")
    assert rim.audio == b"".join(rim.heard)
    assert len(rim.heard) == pytest.approx(3600 / CHUNK_S, rel=0.01)
    assert len(rim.dials) == 7
    assert [dial.handle for dial in rim.dials] == [None, "h0", *(f"h{n}" for n in range(2, 7))]
    assert rim.turns_ended == asked == len(rim.bills)
    assert rim.events.count(A_REPLY) == 2 * asked
    assert rim.standings == [ConnectionState("live")]
    assert rim.session.dropped_ms == 0


# --- billing ----------------------------------------------------------------------------------------------------------


def test_a_turn_is_billed_once_by_its_last_counts():
    rim = Rim().open()
    rim.server(A_REPLY, used(1), A_REPLY, used(2), ReplyGenerated(), used(3), TurnComplete())
    rim.wait(60)
    rim.close(LOST)
    assert rim.bills == [used(3)]


def test_every_turn_is_billed():
    rim = Rim().open()
    for n in (1, 2, 3):
        rim.answer(used(n))
    assert rim.bills == [used(1), used(2), used(3)]


def test_what_a_turn_had_used_when_its_connection_was_lost_is_billed():
    rim = Rim().open()
    rim.server(A_REPLY, used(1), used(2))
    rim.close(LOST)
    rim.wait(1)
    rim.open()
    rim.answer(used(5))
    rim.close(LOST)
    assert rim.bills == [used(2), used(5)]


def test_counts_that_come_shortly_after_their_turn_are_billed_once():
    rim = Rim().open()
    rim.answer()
    rim.wait(0.3)
    rim.server(used(1))
    rim.wait(0.3)
    rim.server(used(2))
    assert rim.bills == []
    rim.wait(LATE_S + 0.2)
    assert rim.bills == [used(2)]
    rim.wait(60)
    rim.close(LOST)
    assert rim.bills == [used(2)]


def test_counts_that_come_much_later_are_the_next_turns():
    rim = Rim().open()
    rim.answer()
    rim.wait(LATE_S + 0.1)
    rim.server(used(1))
    rim.wait(LATE_S + 0.1)
    assert rim.bills == []
    rim.server(A_REPLY, used(2), TurnComplete())
    assert rim.bills == [used(2)]


def test_counts_that_come_late_are_not_lost_to_the_next_turn():
    rim = Rim().open()
    rim.answer()
    rim.server(used(1))
    rim.server(A_REPLY, used(2), TurnComplete())
    assert rim.bills == [used(1), used(2)]


def test_counts_that_come_late_are_not_lost_to_a_person_who_speaks_at_once():
    rim = Rim().open()
    rim.answer()
    rim.server(used(1))
    rim.mic(5, speaking=True)
    rim.server(used(2), A_REPLY, used(3), TurnComplete())
    assert rim.bills == [used(1), used(3)]


def test_counts_that_come_late_are_not_lost_with_the_connection():
    rim = Rim().open()
    rim.answer()
    rim.server(used(1))
    rim.close(LOST)
    assert rim.bills == [used(1)]


def test_counts_that_come_before_their_turn_are_the_turns():
    rim = Rim().open()
    rim.answer(used(1))
    rim.speak()
    rim.server(used(2))
    rim.mic(3)
    rim.server(A_REPLY, used(3), TurnComplete())
    rim.wait(60)
    assert rim.bills == [used(1), used(3)]


def test_a_turn_without_counts_is_not_billed():
    rim = Rim().open()
    rim.answer()
    rim.answer()
    rim.close(LOST)
    assert rim.bills == []


def test_what_was_used_is_billed_when_the_session_is_renewed():
    rim = Rim().open("h1")
    rim.wait(1)
    rim.server(GoAway(50), A_REPLY, used(1))
    rim.close()
    assert rim.bills == [used(1)]


# --- an answer that still sounds ----------------------------------------------------------------------------------------


def long_answer(seconds: float = 40.0, **limits) -> Rim:
    """All of a long answer has come within a moment; its turn's end is held back until it was heard, as Gemini does."""
    rim = Rim(**limits).open("handle")
    rim.speak()
    rim.server(*[Audio(b"\0\1" * 24000, 24000)] * int(seconds), ReplyGenerated())
    rim.mic(1.0)
    return rim


def test_an_answer_whose_connection_is_gone_is_cut_by_speech_for_no_other_connection_knows_of_it():
    rim = long_answer()
    rim.close(LOST)
    rim.open()
    rim.mic(BARGE_IN_S - 2 * CHUNK_S, speaking=True)
    assert SpeechNoticed() not in rim.events
    rim.mic(3 * CHUNK_S, speaking=True)
    rim.mic(1.0, speaking=True)
    assert rim.events.count(SpeechNoticed()) == 1


def test_it_is_cut_while_there_is_no_connection_too():
    rim = long_answer()
    rim.close(LOST)
    rim.mic(1.0, speaking=True)
    assert rim.events.count(SpeechNoticed()) == 1


@pytest.mark.parametrize("limits", [{"interrupts": False}, {"manual_vad": True}])
def test_it_is_not_cut_where_speech_is_not_to_cut(limits):
    rim = long_answer(**limits)
    rim.close(LOST)
    rim.open()
    rim.mic(2.0, speaking=True)
    assert SpeechNoticed() not in rim.events


def test_an_answer_that_the_new_connection_began_is_its_servers_to_cut():
    rim = long_answer()
    rim.close(LOST)
    rim.open()
    rim.server(A_REPLY)
    rim.mic(2.0, speaking=True)
    assert SpeechNoticed() not in rim.events


def test_a_connection_that_was_lost_between_answers_leaves_none_to_cut():
    rim = long_answer(5.0)
    rim.mic(5.0)
    rim.server(TurnComplete())
    rim.close(LOST)
    rim.open()
    rim.mic(2.0, speaking=True)
    assert SpeechNoticed() not in rim.events


@pytest.mark.parametrize("lost", [False, True])
def test_an_answer_that_its_server_takes_for_over_is_cut_by_speech_as_long_as_it_sounds(lost):
    rim = long_answer()
    rim.server(TurnComplete())
    if lost:
        rim.close(LOST)
        rim.open()
    rim.mic(BARGE_IN_S + CHUNK_S, speaking=True)
    rim.mic(1.0, speaking=True)
    assert rim.events.count(SpeechNoticed()) == 1


def test_an_answer_that_goes_on_when_its_renewal_is_overdue_is_cut_and_the_renewal_made():
    """The microphone is kept for the next connection, so this one cannot know that somebody speaks."""
    rim = Rim().open("h1")
    rim.server(A_REPLY, GoAway(0))
    rim.mic(0.5)
    assert not rim.hanging_up
    rim.mic(BARGE_IN_S + CHUNK_S, speaking=True)
    assert rim.events.count(SpeechNoticed()) == 1
    assert rim.hanging_up
    rim.close()
    assert rim.events.count(SpeechNoticed()) == 1
    rim.open()
    assert rim.audio == b"".join(rim.heard), "and the next one hears all that was said"


def test_a_question_into_a_long_answer_waits_for_its_end_and_not_longer():
    rim = long_answer(40.0)
    rim.speak()
    rim.mic(37.0)
    assert not rim.hanging_up
    rim.mic(SILENCE_S + 2.0)
    assert rim.hanging_up
    assert rim.counts == ["no_turn_end", "silent"]


def test_a_question_into_an_answer_that_was_interrupted_does_not_wait_for_what_is_not_heard():
    rim = long_answer(40.0)
    rim.server(Interrupted(), TurnComplete())
    rim.speak()
    rim.mic(SILENCE_S + 1.0)
    assert rim.hanging_up


def test_an_answer_that_its_server_has_interrupted_is_not_cut_once_more_by_speech_that_goes_on():
    """That would cut the next answer."""
    rim = long_answer(40.0)
    rim.server(Interrupted(), TurnComplete())
    rim.mic(2.0, speaking=True)
    assert SpeechNoticed() not in rim.events


def test_an_answer_that_was_interrupted_sounds_no_more_when_its_connection_is_lost():
    rim = long_answer(40.0)
    rim.server(Interrupted(), TurnComplete())
    rim.close(LOST)
    rim.open()
    rim.mic(2.0, speaking=True)
    assert SpeechNoticed() not in rim.events


def test_a_question_into_an_interrupted_answer_is_owed_one_at_once_also_where_speech_does_not_cut():
    rim = long_answer(40.0, interrupts=False)
    rim.server(Interrupted(), TurnComplete())
    rim.speak()
    rim.mic(SILENCE_S + 1.0)
    assert rim.counts == ["silent"]


def test_an_answer_that_still_sounds_is_cut_by_speech_after_a_second_connection_is_lost_too():
    rim = long_answer()
    for _ in range(3):
        rim.close(LOST)
        rim.mic(0.5)
        rim.open()
    rim.mic(BARGE_IN_S + CHUNK_S, speaking=True)
    assert rim.events.count(SpeechNoticed()) == 1


def test_a_model_that_says_that_it_works_is_waited_for_before_its_first_sound_too():
    rim = Rim().open()
    rim.speak()
    rim.server(Working(on=True))
    rim.mic(SILENCE_MAX_S - 1.0)
    assert not rim.hanging_up
    rim.mic(2.0)
    assert rim.hanging_up


def test_who_leaves_in_mid_answer_is_billed_for_it_once():
    rim = Rim().open()
    rim.speak()
    tokens = Tokens({"audio": 100}, {"audio": 50})
    rim.server(A_REPLY, tokens)
    rim.do(rim.session.left())
    rim.do(rim.session.left())
    assert rim.bills == [tokens]


@pytest.mark.parametrize("handle", [None, "handle"])
def test_a_knock_that_nobody_answers_is_no_sign_of_a_server_that_hangs(handle):
    rim = Rim().open(handle)
    for _ in range(4):
        rim.speak(OWED_MIN_S - 0.1)
        rim.mic(30.0)
    assert (rim.counts, len(rim.dials), rim.hanging_up) == ([], 1, False)


def test_a_knock_is_forgotten_in_time_for_a_renewal():
    rim = Rim(max_age_s=60.0).open("handle")
    rim.mic(55.0)
    rim.speak(OWED_MIN_S - 0.1)
    rim.mic(6.0)
    assert not rim.hanging_up, "it may be a short word, whose answer is still to come"
    rim.mic(SILENCE_S)
    assert rim.hanging_up
    assert rim.counts == []


def test_a_question_after_a_knock_is_owed_an_answer():
    rim = Rim().open()
    rim.speak(OWED_MIN_S - 0.1)
    rim.mic(5.0)
    rim.speak()
    rim.mic(SILENCE_S + 1.0)
    assert rim.hanging_up
    assert rim.counts == ["silent"]
