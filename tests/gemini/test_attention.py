"""The person's turns, marked by a button."""

from session_rim import A_REPLY, CHUNK_BYTES, CHUNK_S, LOST, UNREACHABLE, Rim

from gemini_gateway.session.timing import (
    AGE_WINDOW_S,
    HELD_MAX_S,
    OUTAGE_MAX_S,
    SILENCE_MAX_S,
    SILENCE_S,
    SessionSettings,
)
from reachy_gateway.voice import SpeechNoticed


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
    assert SpeechNoticed() not in rim.events, "the server continues, and its audio would be dropped"


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
    assert (start, end) == ("start", "end"), "nothing is left of the first turn, not even its marks"
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
    assert rim.marks == [["start"], ["start", "end"]], "each connection must be told the whole turn"


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
    assert rim.counts == ["lost", "question_lost"], "and no answer is waited for"


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
    assert rim.marks == [[]], "this connection must not get a mark"
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
