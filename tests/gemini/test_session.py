"""The session manager in scenarios: when it dials, renews, parks and stops, and what it reports."""

from itertools import pairwise

import pytest
import sessions_doc
from session_rim import A_REPLY, CHUNK_S, LOST, QUOTA, REFUSED, UNREACHABLE, Rim, parked, refused, used, wanted

from gemini_gateway.events import GoAway, Reason, Resumable, Unknown, Working
from gemini_gateway.session.decisions import Answer, Dial, SessionPhase
from gemini_gateway.session.meter import LATE_S
from gemini_gateway.session.timing import (
    AGE_WINDOW_S,
    GAP_TELL_S,
    GRACE_S,
    HELD_MAX_S,
    MUTE_TURNS,
    PRE_ROLL_S,
    QUIET_S,
    QUOTA_S,
    REFUSED_RETRY_S,
    SILENCE_MAX_S,
    SILENCE_S,
    STREAM_END_S,
    TURN_END_S,
    SessionSettings,
)
from reachy_gateway.voice import Audio, ConnectionState, Interrupted, ReplyGenerated, Said, TurnComplete

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
    assert not rim.session.wants_to_dial(rim.now), "the old connection is still open"
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
    """Else the server's VAD would never notice the question's end."""
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
    assert rim.audio == sent + b"".join(rim.heard[-100:-50]), "once the answer has come the audio is kept"


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
    """A thinking model says that it is thinking. The rest of its answer is another turn."""
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


# --- tools and unknown messages ---------------------------------------------------------------------------------------


CALL = wanted("wave", "nod")


def test_a_tool_call_that_nobody_serves_is_declined():
    rim = Rim().open()
    rim.server(CALL)
    rim.send()
    assert [(one.id, one.name) for one in rim.answered[0]] == [("call-1", "wave"), ("call-2", "nod")]
    assert all("no such tool" in one.response["error"] for one in rim.answered[0])
    assert rim.counts == ["tool_call", "tool_call"]
    assert rim.ran == []


def test_a_tool_call_is_declined_even_while_the_microphone_is_held():
    rim = Rim().open("h1")
    rim.speak()
    rim.server(A_REPLY, GoAway(0))
    rim.mic(1)
    sent = rim.audio
    rim.server(CALL)
    rim.mic(0.1)
    assert isinstance(rim.sent[0][-1], Answer), "without it the answer would never end"
    assert rim.audio == sent


def test_unknown_messages_are_counted_and_the_connection_goes_on():
    rim = Rim().open()
    rim.server(*[Unknown("TypeError")] * 3)
    rim.answer()
    assert rim.counts == ["unknown_message"] * 3
    assert rim.phase is SessionPhase.LIVE
    assert rim.turns_ended == 1


# --- parking ----------------------------------------------------------------------------------------------------------


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
    assert rim.session.dropped_ms == 0, "dropped silence must not be counted"


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
    opened.open().speak(0.2)  # else the session would park
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
    """Half of the connections announce their end; the others are renewed for their age."""
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
