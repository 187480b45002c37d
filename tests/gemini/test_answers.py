"""The server's answers: a server that hangs, is mute or leaves out an end, and an answer that still sounds."""

from itertools import count

import pytest
from session_rim import A_REPLY, CHUNK_BYTES, CHUNK_S, LOST, Rim, used, wanted

from gemini_gateway.events import Alive, GoAway, Reason, Resumable, Unheard, Unknown, Working
from gemini_gateway.session.answers import is_audible
from gemini_gateway.session.timing import (
    BARGE_IN_S,
    BEHIND_S,
    FAINT,
    HELD_MAX_S,
    MUTE_TURNS,
    OUTAGE_MAX_S,
    OWED_MIN_S,
    PAUSE_S,
    SEND_STALL_S,
    SILENCE_MAX_S,
    SILENCE_S,
    SOUNDLESS_MAX_S,
    TURN_END_S,
)
from reachy_gateway.provider.usage import Tokens
from reachy_gateway.voice import Audio, Interrupted, ReplyGenerated, Said, SpeechNoticed, TurnComplete, Unanswered

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
    """People who talk to each other, or a television. By design gemini-3.8 does not react to them."""
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
    assert rim.hanging_up, "after an answer the short limit must hold again"


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
    """A person tells a story with short pauses: transcripts come, and an answer is not due yet."""
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
    assert rim.hanging_up, "after a sound the short limit must hold again"


@pytest.mark.parametrize("calls", [False, True])
def test_a_turn_that_was_cut_or_calls_a_tool_needs_no_sound(calls):
    rim = Rim().open("h1")
    for n in range(5 * MUTE_TURNS):
        mute_turns(rim, 1, *([wanted("wave", first=n)] if calls else [A_REPLY, Interrupted()]))
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
    """Report C: a gate that takes the room's noise for speech."""
    rim = Rim().open("h1")
    rim.mic(3.0, speaking=True)
    rim.server(*[Audio(b"\0\1" * 24000, 24000)] * 6, ReplyGenerated(), TurnComplete())
    rim.mic(6.0, speaking=True)
    assert SpeechNoticed() not in rim.events
    rim.server(*[Audio(b"\0\1" * 24000, 24000)] * 6, ReplyGenerated(), TurnComplete())
    rim.mic(0.5)
    rim.mic(BARGE_IN_S + 0.1, speaking=True)
    assert SpeechNoticed() in rim.events, "but speech that begins in it must cut it"


@pytest.mark.parametrize("event", [Unheard(), Said("robot", "well"), Working(on=True), "a call"])
def test_words_and_thoughts_are_of_an_answer_for_a_while(event):
    rim = Rim().open("h1")
    rim.speak()
    calls = count(1)
    while rim.now < 1000 + SOUNDLESS_MAX_S - 2:
        rim.server(wanted("wave", first=next(calls)) if event == "a call" else event)
        rim.mic(5.0)
    assert not rim.hanging_up
    rim.mic(SILENCE_S)
    for _ in range(3):
        rim.server(wanted("wave", first=next(calls)) if event == "a call" else event)
        rim.mic(5.0)
    assert rim.hanging_up, "but no audio reaches the server"


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
    assert rim.turns_ended == 1, "the turn's end is known"
    rim.speak()
    rim.answer()
    assert rim.turns_ended == 2
    rim.mic(25.0)
    assert rim.hanging_up, "the missing end must not prevent parking"


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
    assert Unanswered() not in rim.events
    rim.open()
    assert rim.events.count(Unanswered()) == 1, "the robot must not go on thinking"
    rim.mic(SILENCE_MAX_S + 5)
    assert rim.counts == ["lost", "question_lost"], "nothing is wrong with the new one"


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
        if n % 10 == 0:  # half of the audio: 100 ms in 200
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


# --- an answer that still sounds ----------------------------------------------------------------------------------------


def long_answer(seconds: float = 40.0, **limits) -> Rim:
    """A long answer arrives within a moment. Like Gemini, the server holds its end back until the answer has been heard."""
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


def test_an_answer_or_a_question_that_is_lost_with_its_connection_is_counted():
    rim = Rim().open("h1")
    rim.speak()
    rim.server(A_REPLY)
    rim.close(LOST)
    rim.open()
    assert rim.counts == ["answer_cut", "lost"]


@pytest.mark.parametrize("last", [ReplyGenerated(), Interrupted()])
def test_an_answer_that_had_come_whole_or_was_interrupted_is_not_lost_with_its_connection(last):
    rim = Rim().open("h1")
    rim.speak()
    rim.server(A_REPLY, last)
    rim.close(LOST)
    rim.open()
    assert rim.counts == ["lost"]


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
    """The microphone's audio is kept for the next connection, so this one cannot know that the person speaks."""
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
    assert rim.audio == b"".join(rim.heard), "the next connection must hear all that was said"


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
    """A second cut would hit the next answer."""
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
