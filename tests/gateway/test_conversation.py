from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reachy_gateway.link.peer import Peer
from reachy_gateway.talk.conversation import BEHIND_MAX_S, THINKING_MAX_S, Conversation, Log, Out, Tell, TurnOver
from reachy_gateway.talk.resampler import Pcm16
from reachy_gateway.talk.turns import DOUBT_S
from reachy_gateway.voice import (
    Audio,
    ConnectionState,
    Interrupted,
    ReplyGenerated,
    Said,
    SpeechNoticed,
    TurnComplete,
    Unanswered,
    VoiceEvent,
)
from reachy_link.messages import Down, Flush, Hello, Mic, Played, Speaker, State, Transcript, TurnEnd
from reachy_link.pcm import Format
from reachy_link.wire import check_audio, pack_down, unpack_down

MIC = Format(rate_hz=16000, channels=2)
SPEAKER = Format(rate_hz=24000, channels=1)
"""The rate of the replies, so that the output equals the input."""
LEAD_MS = 40
BOOT = "aaaaaaaaaaaaaaaa"
RNG = np.random.default_rng(1)

M = TypeVar("M", bound=Down)


def reply(ms: float, seed: int = 1) -> bytes:
    """Some audio of a voice, at 24 kHz."""
    return np.random.default_rng(seed).integers(-9000, 9000, round(24 * ms), np.int16).tobytes()


def report(turn: int, **fields: object) -> Played:
    """The robot's last report on a turn."""
    header = {"robot": "reachy-1", "boot": BOOT, "seq": 9, "t_us": 0}
    return Played(**header | {"turn": turn, "played_ms": 100, "complete": True} | fields)


class Chat:
    """A conversation and its clock. Everything for the robot passes through the real wire format."""

    def __init__(self, *, live: bool = True, first_turn: int = 1, hears: bool = True) -> None:
        hello = Hello(robot="reachy-1", boot=BOOT, seq=0, t_us=0, mic=MIC, speaker=SPEAKER, lead_ms=LEAD_MS)
        self.conversation = Conversation(hello, first_turn)
        self.conversation.hears = hears
        self.now = 100.0
        self.told: list[tuple[float, Down, bytes]] = []
        self.logged: list[str] = []
        self.over: list[TurnOver] = []
        self._peer = Peer("reachy-1", "feedfeedfeedfeed")
        if live:
            self.voice(ConnectionState("live"))

    def _take(self, out: Sequence[Out]) -> None:
        for item in out:
            match item:
                case Log(words):
                    self.logged.append(words)
                case TurnOver():
                    self.over.append(item)
                case Tell(kind, fields, payload):
                    self._peer.floor = self.conversation.turns.floor
                    message = self._peer.make(kind, self.now, **fields)
                    assert unpack_down(pack_down(message, payload)) == (message, payload)
                    check_audio(message, payload, SPEAKER)
                    self.told.append((self.now, message, payload))

    def voice(self, *events: VoiceEvent) -> None:
        for event in events:
            self._take(self.conversation.voice(event, self.now))

    def hears(self) -> None:
        """The robot shows that it received its welcome."""
        self._take(self.conversation.heard(self.now))

    def played(self, turn: int, **fields: object) -> None:
        """The robot reports a turn as played."""
        self._take(self.conversation.played(report(turn, **fields), offset_us=0))

    def hear(self, samples: Pcm16) -> bytes:
        """Send a microphone chunk, the same in both channels. Returns what the voice hears."""
        message = Mic(robot="reachy-1", boot=BOOT, seq=1, t_us=int(self.now * 1e6), samples=len(samples))
        pcm, out = self.conversation.mic(message, np.repeat(samples, 2).tobytes(), self.now)
        self._take(out)
        return pcm

    def speak(self, ms: int) -> int:
        """The person speaks for so long. Returns the stamp of the last chunk."""
        return self._sound(ms, 3000)

    def quiet(self, ms: int = 400) -> None:
        """The person is silent for so long."""
        self._sound(ms, 3)

    def _sound(self, ms: int, level: float) -> int:
        stamp = 0
        for _ in range(ms // 20):
            stamp = int(self.now * 1e6)
            self.hear(RNG.normal(0, level, 320).astype(np.int16))
            self.wait(0.02)
        return stamp

    def wait(self, seconds: float) -> None:
        """Let time pass. The conversation is woken only when it says that something is due."""
        until = self.now + seconds
        while (at := self.conversation.next_due()) is not None and at <= until:
            self.now = min(until, max(self.now, at) + 1e-6)
            self._take(self.conversation.tick(self.now))
            following = self.conversation.next_due()
            assert following is None or following >= self.now - 1e-6, "the conversation would be woken endlessly"
            if self.now >= until:
                break
        self.now = until

    def of(self, kind: type[M]) -> list[M]:
        return [message for _, message, _ in self.told if isinstance(message, kind)]

    def states(self) -> list[str]:
        return [message.state for message in self.of(State)]

    def heard(self, turn: int) -> bytes:
        """The samples of a turn that the robot was told to play."""
        return b"".join(pcm for _, message, pcm in self.told if isinstance(message, Speaker) and message.turn == turn)

    def when(self, kind: type[Down], **fields: object) -> list[float]:
        """When messages of this kind and with these fields were sent."""
        return [
            at
            for at, message, _ in self.told
            if isinstance(message, kind) and all(getattr(message, name) == value for name, value in fields.items())
        ]


# --- a reply ----------------------------------------------------------------------------------------------------------


def test_a_reply_waits_until_the_robot_has_heard_its_welcome():
    """The robot's down connection may stand later than its up connection. Until then, lost audio would go unnoticed."""
    chat, pcm = Chat(hears=False), reply(300)
    chat.voice(Audio(pcm, 24000), TurnComplete())
    assert chat.conversation.next_due() is None, "no timer is needed for that"
    chat.wait(1.0)
    assert chat.of(Speaker) == []
    chat.hears()
    assert chat.of(Speaker), "audio must leave within the call"
    chat.wait(1.0)
    assert chat.heard(1) == pcm


def test_a_reply_is_told_to_its_end():
    chat = Chat()
    pcm = reply(1000)
    chat.voice(Audio(pcm[:999], 24000), Audio(b"", 24000), Audio(pcm[999:], 24000), ReplyGenerated(), TurnComplete())
    assert chat.of(TurnEnd) == [], "most of it waits for its time"
    chat.wait(2.0)
    assert chat.heard(1) == pcm
    kinds = [type(message) for _, message, _ in chat.told if isinstance(message, Speaker | TurnEnd)]
    assert kinds == [Speaker] * 26 + [TurnEnd]
    assert chat.of(TurnEnd)[0].turn == 1
    assert chat.logged == ["listening", "speaking", "listening"]


def test_a_voice_that_only_completes_its_turn_ends_the_reply_as_well():
    chat = Chat()
    chat.voice(Audio(reply(200), 24000), TurnComplete())
    chat.wait(1.0)
    assert [message.turn for message in chat.of(TurnEnd)] == [1]


def test_a_reply_leaves_at_the_speakers_pace():
    chat = Chat()
    chat.voice(Audio(reply(10_000), 24000), ReplyGenerated())
    start = chat.now
    chat.wait(12.0)
    begins_s = 0.0
    for at, message in zip(chat.when(Speaker), chat.of(Speaker), strict=True):
        assert begins_s - 0.2 - 0.041 <= at - start <= max(0, begins_s - 0.2) + 0.021
        begins_s += message.samples / chat.of(Speaker)[0].samples * 0.04
    assert begins_s == pytest.approx(10.0)


def test_a_second_reply_queues_behind_the_first():
    chat = Chat()
    first, second = reply(500, seed=1), reply(500, seed=2)
    chat.voice(Audio(first, 24000), ReplyGenerated(), Audio(second, 24000), ReplyGenerated(), TurnComplete())
    chat.wait(3.0)
    assert (chat.heard(1), chat.heard(2)) == (first, second)
    assert chat.of(Flush) == []
    turns = [message.turn for message in chat.of(Speaker)]
    assert turns == sorted(turns)
    assert chat.when(TurnEnd, turn=1)[0] <= chat.when(Speaker, turn=2)[0]
    assert chat.states() == ["listening", "speaking", "listening"], "there must be no pause in between"


def test_a_conversation_that_begins_anew_counts_on():
    chat = Chat(first_turn=7)
    chat.voice(Audio(reply(100), 24000), TurnComplete())
    assert {message.turn for message in chat.of(Speaker)} == {7}
    assert all(message.floor == 7 for _, message, _ in chat.told)


def test_a_reply_that_outgrows_the_pacer_is_cut_with_one_line_in_the_log():
    chat = Chat()
    chat.voice(*[Audio(reply(10_000), 24000)] * 20, ReplyGenerated(), TurnComplete())
    assert len([words for words in chat.logged if "longer than" in words]) == 1
    chat.wait(130)
    assert len(chat.heard(1)) == 48 * 120_000
    assert [message.turn for message in chat.of(TurnEnd)] == [1]


# --- barge-in ---------------------------------------------------------------------------------------------------------


def cut(chat: Chat) -> int:
    """The floor of the only flush. Checks that no lower turn was sent after it."""
    (at,) = [index for index, (_, message, _) in enumerate(chat.told) if isinstance(message, Flush)]
    flush = chat.told[at][1]
    assert isinstance(flush, Flush)
    assert all(m.turn >= flush.turn for _, m, _ in chat.told[at:] if isinstance(m, Speaker | TurnEnd))
    assert all(m.floor >= flush.turn for _, m, _ in chat.told[at:])
    return flush.turn


def test_an_interruption_is_told_before_anything_else_and_nothing_of_the_old_turn_follows():
    chat = Chat()
    chat.voice(Audio(reply(5000), 24000), ReplyGenerated())
    chat.wait(1.0)
    before = len(chat.told)
    chat.voice(Interrupted())
    assert isinstance(chat.told[before][1], Flush)
    chat.voice(TurnComplete())
    chat.wait(10.0)
    assert cut(chat) == 2
    assert chat.of(TurnEnd) == []


def test_what_still_comes_of_an_interrupted_reply_is_dropped_and_the_next_reply_is_heard():
    chat = Chat()
    chat.voice(Audio(reply(500), 24000), Interrupted(), Audio(reply(500), 24000), TurnComplete())
    new = reply(300, seed=2)
    chat.voice(Audio(new, 24000), ReplyGenerated(), TurnComplete())
    chat.wait(3.0)
    assert cut(chat) == 2
    assert chat.heard(2) == new
    assert [message.turn for message in chat.of(TurnEnd)] == [2]


def test_what_comes_of_a_reply_that_was_interrupted_while_it_was_thought_of_is_dropped_too():
    chat = Chat()
    chat.speak(1000)
    chat.voice(Interrupted(), Audio(reply(500), 24000))
    chat.wait(DOUBT_S - 0.1)
    chat.voice(Audio(reply(500), 24000), TurnComplete())
    new = reply(300, seed=2)
    chat.voice(Audio(new, 24000), ReplyGenerated(), TurnComplete())
    chat.wait(3.0)
    assert chat.heard(1) == new, "the first that was heard"
    assert [message.turn for message in chat.of(TurnEnd)] == [1]


@pytest.mark.parametrize("before_s", [0.0, 0.05, 0.25, 0.49, 1.0])
@pytest.mark.parametrize("speed", [1.0, 4.0, 1000.0])
def test_a_stray_interruption_costs_nothing_of_the_answer_behind_it(before_s, speed):
    """Report A2: an interruption arrives although no reply is playing."""
    chat = Chat()
    chat.speak(1000)
    chat.wait(0.6)
    chat.voice(Interrupted())
    chat.wait(before_s)
    answer = reply(2000)
    for start in range(0, len(answer), 1920):
        chat.voice(Audio(answer[start : start + 1920], 24000))
        chat.wait(0.04 / speed)
    chat.voice(ReplyGenerated(), TurnComplete())
    chat.wait(3.0)
    assert chat.heard(1) == answer


def test_what_is_in_doubt_is_heard_at_last_although_nothing_follows():
    chat = Chat()
    answer = reply(200)
    chat.voice(Interrupted(), Audio(answer, 24000))
    chat.wait(DOUBT_S - 0.05)
    assert chat.heard(1) == b""
    chat.wait(0.1)
    chat.voice(TurnComplete())
    chat.wait(1.0)
    assert chat.heard(1) == answer


def test_what_comes_as_the_doubt_ends_is_heard_after_what_was_in_doubt():
    chat = Chat()
    answer = reply(400)
    half = len(answer) // 2
    chat.voice(Interrupted(), Audio(answer[:half], 24000))
    chat.now += DOUBT_S  # the timer fires late
    chat.voice(Audio(answer[half:], 24000), ReplyGenerated(), TurnComplete())
    chat.wait(1.0)
    assert chat.heard(1) == answer


@pytest.mark.parametrize("leftover_ms", [0, 400])
def test_the_next_answers_are_heard_of_a_voice_that_never_says_that_its_turn_is_over(leftover_ms):
    """Report A1."""
    chat = Chat()
    chat.speak(1000)
    chat.voice(Audio(reply(4000), 24000))
    chat.wait(1.0)
    chat.speak(1000)
    chat.voice(Interrupted())
    if leftover_ms:
        chat.voice(Audio(reply(leftover_ms), 24000))
    for seed in (2, 3):
        chat.wait(1.0)
        answer = reply(1000, seed=seed)
        chat.voice(Audio(answer, 24000), ReplyGenerated())
        chat.wait(2.0)
        assert chat.heard(seed) == answer
        chat.speak(1000)


def test_an_answer_that_is_longer_than_the_pacer_holds_counts_as_cut():
    """Report I: 150 s at eight times real time."""
    chat = Chat()
    piece = reply(1000)
    for _ in range(150):
        chat.voice(Audio(piece, 24000))
        chat.wait(0.125)
    chat.voice(ReplyGenerated(), TurnComplete())
    chat.wait(160.0)
    (end,) = chat.of(TurnEnd)
    assert not end.complete
    assert any("counts as cut" in line for line in chat.logged)
    chat.played(1, played_ms=140_000, complete=True)
    assert not chat.over[0].times.complete, "an older robot's report must not change this"


def test_an_interruption_cuts_what_queues_behind_as_well():
    chat = Chat()
    chat.voice(Audio(reply(500), 24000), ReplyGenerated(), Audio(reply(500), 24000), ReplyGenerated(), Interrupted())
    chat.voice(TurnComplete())
    chat.wait(3.0)
    assert cut(chat) == 3
    assert chat.heard(2) == b""


def test_after_an_interruption_the_robot_listens_at_once():
    chat = Chat()
    chat.voice(Audio(reply(5000), 24000))
    assert chat.states()[-1] == "speaking"
    chat.voice(Interrupted())
    assert chat.states()[-1] == "listening"


# --- speech that the server reports -----------------------------------------------------------------------------------


def test_speech_noticed_while_an_old_reply_plays_cuts_it_and_the_answer_is_heard():
    chat = Chat()
    chat.voice(Audio(reply(5000), 24000), ReplyGenerated(), TurnComplete())
    chat.wait(1.0)
    chat.voice(SpeechNoticed())
    new = reply(300, seed=2)
    chat.voice(Audio(new, 24000), ReplyGenerated(), TurnComplete())
    chat.wait(3.0)
    assert cut(chat) == 2
    assert chat.heard(2) == new


def test_speech_noticed_while_the_last_of_a_reply_sounds_cuts_it_too():
    chat = Chat()
    chat.voice(Audio(reply(150), 24000), ReplyGenerated(), TurnComplete())
    assert len(chat.of(TurnEnd)) == 1, "all has been sent"
    chat.wait(0.05)
    chat.voice(SpeechNoticed())
    assert len(chat.of(Flush)) == 1


def test_speech_noticed_while_nothing_plays_cuts_nothing():
    chat = Chat()
    chat.voice(SpeechNoticed())
    chat.voice(Audio(reply(100), 24000), TurnComplete())
    chat.wait(1.0)
    chat.played(1)
    chat.voice(SpeechNoticed())
    assert chat.of(Flush) == []


def test_a_robot_that_is_behind_after_a_stall_of_the_link_is_cut_too_and_its_answer_is_heard():
    chat = Chat()
    chat.voice(Audio(reply(500), 24000), TurnComplete())
    chat.wait(1.0)
    chat.played(1)
    chat.voice(Audio(reply(1000), 24000), TurnComplete())
    chat.wait(1.0 + BEHIND_MAX_S - 0.1)
    assert chat.states()[-1] == "listening", "by the gateway's calculation all has been said"
    chat.voice(SpeechNoticed())
    chat.voice(SpeechNoticed())
    assert cut(chat) == 3
    new = reply(300, seed=2)
    chat.voice(Audio(new, 24000), TurnComplete())
    chat.wait(1.0)
    assert chat.heard(3) == new


def test_a_robot_that_reports_no_turns_is_silent_after_a_while():
    chat = Chat()
    chat.voice(Audio(reply(1000), 24000), TurnComplete())
    chat.wait(1.0 + BEHIND_MAX_S + 0.1)
    chat.voice(SpeechNoticed())
    assert chat.of(Flush) == []


def test_speech_noticed_into_a_reply_that_is_still_coming_cuts_the_rest_of_it_as_well():
    """The server reports speech first, and the interruption a moment later. Audio in between belongs to the old reply."""
    chat = Chat()
    chat.voice(Audio(reply(500), 24000), SpeechNoticed())
    chat.voice(Audio(reply(500), 24000), Audio(reply(500), 24000))
    assert [message.turn for message in chat.of(Speaker) if message.turn > 1] == [], "the old reply under a new number"
    chat.voice(Interrupted(), TurnComplete())
    new = reply(300, seed=2)
    chat.voice(Audio(new, 24000), TurnComplete())
    chat.wait(3.0)
    assert chat.heard(chat.of(Speaker)[-1].turn) == new


# --- manual activity --------------------------------------------------------------------------------------------------


def test_a_manual_start_cuts_what_is_being_said():
    chat = Chat()
    chat.voice(Audio(reply(5000), 24000))
    chat.wait(0.5)
    before = len(chat.told)
    chat.voice(SpeechNoticed())
    assert isinstance(chat.told[before][1], Flush)
    chat.voice(Audio(reply(500), 24000), Interrupted(), Audio(reply(500), 24000), TurnComplete())
    chat.wait(3.0)
    assert not [m for m in chat.of(Speaker) if m.turn > 1]
    new = reply(300, seed=2)
    chat.voice(Audio(new, 24000), TurnComplete())
    chat.wait(1.0)
    assert chat.heard(2) == new


@pytest.mark.parametrize("told", [(ReplyGenerated(), TurnComplete()), (TurnComplete(),)], ids=["generated", "complete"])
def test_after_a_manual_start_into_a_reply_that_had_come_whole_the_answer_is_heard(told):
    """The voice completed its turn long ago. It has nothing to interrupt, and sends no second end."""
    chat = Chat()
    chat.voice(Audio(reply(5000), 24000), *told)
    chat.wait(1.0)
    chat.voice(SpeechNoticed())
    chat.speak(1000)
    new = reply(300, seed=2)
    chat.voice(Audio(new, 24000), ReplyGenerated(), TurnComplete())
    chat.wait(3.0)
    assert cut(chat) == 2
    assert chat.heard(2) == new


def test_a_manual_start_while_nothing_is_said_cuts_nothing():
    chat = Chat()
    chat.voice(SpeechNoticed())
    chat.voice(Audio(reply(300), 24000))
    assert chat.of(Flush) == []


# --- the connection ---------------------------------------------------------------------------------------------------


def test_a_lost_connection_ends_the_reply_cleanly_and_then_says_so():
    chat = Chat()
    pcm = reply(1000)
    chat.voice(Audio(pcm, 24000))
    chat.voice(ConnectionState("reconnecting", "connection lost"))
    assert chat.states()[-1] == "speaking", "what has come is still said"
    chat.wait(2.0)
    assert chat.heard(1) == pcm
    assert [message.turn for message in chat.of(TurnEnd)] == [1]
    last = chat.of(State)[-1]
    assert (last.state, last.reason) == ("reconnecting", "connection lost")
    chat.voice(ConnectionState("live"))
    assert chat.states()[-1] == "listening"


def test_after_a_connection_that_was_lost_in_an_interruption_the_next_reply_is_heard():
    chat = Chat()
    chat.voice(Audio(reply(500), 24000), Interrupted(), ConnectionState("reconnecting", "lost"), ConnectionState("live"))
    new = reply(300, seed=2)
    chat.voice(Audio(new, 24000), TurnComplete())
    chat.wait(1.0)
    assert chat.heard(2) == new


def test_what_was_in_doubt_when_the_connection_was_lost_is_dropped_with_a_line_in_the_log():
    chat = Chat()
    chat.voice(Interrupted(), Audio(reply(400), 24000), ConnectionState("reconnecting", "lost"))
    assert chat.logged[1] == "0.4 s of audio dropped: the rest of the interrupted reply"
    chat.wait(3.0)
    assert chat.heard(1) == b""


def test_a_refusal_is_told_with_what_to_do():
    chat = Chat(live=False)
    chat.voice(ConnectionState("refused", "check GEMINI_API_KEY"))
    (state,) = chat.of(State)
    assert (state.state, state.reason) == ("refused", "check GEMINI_API_KEY")


@pytest.mark.parametrize("reason", ["x" * 5000, "語" * 5000], ids=["ascii", "cjk"])
def test_a_reason_of_any_length_reaches_the_robot(reason):
    chat = Chat()
    chat.voice(ConnectionState("reconnecting", reason))
    assert chat.of(State)[-1].reason[:100] == reason[:100]


def test_a_new_reason_for_the_same_state_is_told():
    chat = Chat()
    chat.voice(*[ConnectionState("reconnecting", "refused")] * 3, ConnectionState("reconnecting", "timed out"))
    assert [message.reason for message in chat.of(State)] == ["", "refused", "timed out"]


def test_before_the_voice_has_told_how_it_stands_the_robot_is_told_nothing():
    chat = Chat(live=False)
    chat.speak(500)
    chat.quiet()
    assert chat.told == []


# --- states -----------------------------------------------------------------------------------------------------------


def test_the_robot_listens_thinks_speaks_and_listens_and_knows_when_the_person_stopped():
    chat = Chat()
    chat.quiet(200)
    last_us = chat.speak(600)
    assert chat.states() == ["listening"]
    chat.quiet(400)
    assert chat.states() == ["listening", "thinking"]
    chat.voice(Audio(reply(400), 24000), ReplyGenerated(), TurnComplete())
    chat.wait(1.0)
    assert chat.states() == ["listening", "thinking", "speaking", "listening"]
    assert [message.heard_us for message in chat.of(State)] == [None, last_us, last_us, None]


def test_the_robot_speaks_until_the_last_sample_has_been_played():
    chat = Chat()
    start = chat.now
    chat.voice(Audio(reply(1000), 24000), TurnComplete())
    chat.wait(3.0)
    assert chat.when(State, state="speaking") == [start]
    assert chat.when(State, state="listening")[-1] == pytest.approx(start + 1.0, abs=0.01)


def test_an_answer_ends_the_thinking_even_before_the_voice_completes_its_turn():
    chat = Chat()
    chat.speak(500)
    chat.quiet(400)
    chat.voice(Audio(reply(200), 24000), ReplyGenerated())
    chat.wait(2.0)
    assert chat.states() == ["listening", "thinking", "speaking", "listening"]


def test_without_an_answer_the_robot_does_not_claim_to_think_for_ever():
    chat = Chat()
    chat.speak(500)
    chat.quiet(400)
    (since,) = chat.when(State, state="thinking")
    chat.wait(30)
    assert chat.when(State, state="listening")[-1] == pytest.approx(since + THINKING_MAX_S, abs=0.01)


@pytest.mark.parametrize("standing", ["reconnecting", "refused"])
def test_a_connection_lost_while_the_robot_thinks_costs_no_wake_ups_for_ever(standing):
    chat = Chat()
    chat.speak(500)
    chat.quiet(400)
    chat.voice(ConnectionState(standing, "no answer"))
    chat.wait(THINKING_MAX_S + 1)
    assert chat.conversation.next_due() is None
    assert chat.states() == ["listening", "thinking", standing]


def test_who_speaks_on_is_listened_to():
    chat = Chat()
    chat.speak(500)
    chat.quiet(400)
    chat.speak(200)
    assert chat.states() == ["listening", "thinking", "listening"]


def test_a_voice_that_completes_its_turn_without_a_word_is_not_thinking_any_more():
    chat = Chat()
    chat.speak(500)
    chat.quiet(400)
    chat.voice(TurnComplete())
    assert chat.states() == ["listening", "thinking", "listening"]


def test_a_question_that_nobody_will_answer_ends_the_thinking_and_nothing_else():
    chat = Chat()
    chat.voice(Audio(reply(1000), 24000))
    chat.voice(Unanswered())
    assert chat.states() == ["listening", "speaking"]
    chat.voice(TurnComplete())
    chat.quiet(1500)
    chat.speak(500)
    chat.quiet(400)
    chat.voice(Unanswered())
    assert chat.states() == ["listening", "speaking", "listening", "thinking", "listening"]


def test_speech_into_a_reply_that_is_not_interrupted_by_it_changes_nothing():
    chat = Chat()
    chat.voice(Audio(reply(5000), 24000), TurnComplete())
    chat.speak(500)
    chat.quiet(400)
    assert chat.states() == ["listening", "speaking"]


def test_an_answer_that_is_quicker_than_the_hangover_counts_from_its_own_speech():
    """The voice's own VAD may be quicker than the speech gate. The stamp must not be the previous question's."""
    chat = Chat()
    chat.speak(500)
    chat.quiet(400)
    chat.voice(Audio(reply(200), 24000), TurnComplete())
    chat.wait(10.0)
    last_us = chat.speak(500)
    chat.quiet(100)
    chat.voice(Audio(reply(200), 24000), TurnComplete())
    spoke = [message for message in chat.of(State) if message.state == "speaking"]
    assert spoke[-1].heard_us == last_us


def test_a_reply_that_follows_without_new_speech_answers_nothing():
    chat = Chat()
    chat.speak(500)
    chat.quiet(400)
    for _ in range(2):
        chat.voice(Audio(reply(200), 24000), ReplyGenerated(), TurnComplete())
        chat.wait(5.0)
    spoke = [message.heard_us for message in chat.of(State) if message.state == "speaking"]
    assert spoke[0] is not None
    assert spoke[1] is None


def test_a_robot_that_is_welcomed_again_is_told_how_things_stand():
    chat = Chat()
    chat.voice(ConnectionState("reconnecting", "lost"))
    chat.told.clear()
    chat._take(chat.conversation.introduce(chat.now))
    assert [(message.state, message.reason) for message in chat.of(State)] == [("reconnecting", "lost")]
    chat._take(chat.conversation.tick(chat.now))
    assert len(chat.told) == 1


# --- microphone, transcripts, reports ---------------------------------------------------------------------------------


def test_the_voice_hears_the_microphone_as_mono_pcm16():
    samples = np.arange(-160, 160, dtype=np.int16)
    assert Chat().hear(samples) == samples.tobytes()


@pytest.mark.parametrize("letter", ["a", "ü", "語", "🤖", '"', "\x01"], ids=ascii)
@pytest.mark.parametrize("length", [1, 2001, 10_000])
def test_a_transcript_of_any_length_in_any_alphabet_arrives_whole(letter, length):
    chat = Chat()
    text = (letter + "b") * (length // 2) + "c"
    chat.voice(Said("person", text))
    assert "".join(message.text for message in chat.of(Transcript)) == text
    assert {message.who for message in chat.of(Transcript)} == {"person"}


def test_what_the_robot_says_carries_its_turn():
    chat = Chat()
    chat.voice(Audio(reply(100), 24000), Said("robot", "Hello"), Said("person", "Hi"))
    assert [(message.who, message.turn) for message in chat.of(Transcript)] == [("robot", 1), ("person", None)]


def test_the_time_of_a_turn_is_followed_from_the_end_of_speech():
    chat = Chat()
    mark = chat.speak(600)
    chat.quiet(400)
    chat.voice(Audio(reply(100), 24000), Audio(reply(100), 24000), ReplyGenerated(), TurnComplete())
    chat.conversation.latency.published(1, chat.now + 0.001)
    chat.played(1, arrived_us=mark + 410_000, started_us=mark + 470_000)
    times = chat.over[0].times
    assert times.total_ms == 470
    assert times.parts_ms["voice"] == pytest.approx(420, abs=0.01), "from the last chunk with speech to the first audio"


@pytest.mark.parametrize("event", [Interrupted(), SpeechNoticed()])
def test_an_interruption_is_timed_from_when_the_gateway_knew_of_it(event):
    chat = Chat()
    chat.voice(Audio(reply(1000), 24000))
    chat.wait(0.3)
    chat.voice(event)
    chat.played(1, complete=False, cut_us=int(chat.now * 1e6) + 4000)
    times = chat.over[0].times
    assert times.barge_in_ms == pytest.approx(4, abs=0.01)
    assert times.total_ms is None, "nobody had spoken"


# --- whatever happens -------------------------------------------------------------------------------------------------

EVENTS = st.one_of(
    st.builds(Audio, st.sampled_from([b"", reply(10), reply(100)[:-1], reply(2000)]), st.sampled_from([24000, 16000])),
    st.sampled_from([ReplyGenerated(), TurnComplete(), Interrupted(), SpeechNoticed(), Said("robot", "Hello")]),
    st.sampled_from([ConnectionState("live"), ConnectionState("reconnecting", "lost"), ConnectionState("refused", "key")]),
)
STEPS = st.lists(
    st.one_of(
        EVENTS,
        EVENTS,
        st.sampled_from([0.0, 0.01, 0.2, 3.0]),
        st.sampled_from(["speak", "quiet", "start", "played", "hears"]),
    ),
    max_size=40,
)


@given(steps=STEPS, hears=st.booleans())
def test_whatever_happens_turns_are_told_in_order_end_once_and_stay_below_a_flush(steps, hears):
    chat = Chat(hears=hears)
    for step in steps:
        match step:
            case float():
                chat.wait(step)
            case "speak":
                chat.speak(100)
            case "quiet":
                chat.quiet(400)
            case "played":
                chat.played(chat.conversation.turns.newest)
            case "hears":
                chat.hears()
            case "start":
                chat.voice(SpeechNoticed())
            case _:
                chat.voice(step)
    assert chat.conversation.hears or not chat.of(Speaker)
    chat.hears()
    chat.voice(ConnectionState("reconnecting", "the end"))
    chat.wait(200)
    floor, begun, ended, states = 0, set(), [], []
    spoken = [message.turn for message in chat.of(Speaker)]
    assert spoken == sorted(spoken)
    for _, message, _ in chat.told:
        assert message.floor >= floor
        floor = message.floor
        match message:
            case Speaker(turn=turn):
                assert turn >= floor
                assert turn not in ended
                begun.add(turn)
            case TurnEnd(turn=turn):
                assert turn >= floor
                assert turn not in ended
                ended.append(turn)
            case State():
                states.append((message.state, message.reason))
                playing = {turn for turn in begun if turn >= floor} - set(ended)
                assert message.state == "speaking" or not playing, "any other state must mean that playing has ended"
    assert set(spoken) - set(ended) == {turn for turn in spoken if turn < floor and turn not in ended}, "cut or ended"
    assert all(a != b for a, b in pairwise(states)), "a state is told when it changes"
    assert states[-1] == ("reconnecting", "the end")
    assert chat.conversation.next_due() is None, "nothing is left to do"
