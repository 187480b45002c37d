"""Lost connections and refused dials: when a session dials again, and what it reports meanwhile."""

import pytest
from session_rim import A_REPLY, LOST, QUOTA, REFUSED, UNREACHABLE, Rim, pauses

from gemini_gateway.events import GoAway, LiveError, Resumable
from gemini_gateway.session.decisions import Dial, SessionPhase
from gemini_gateway.session.meter import LATE_S
from gemini_gateway.session.timing import (
    BYTES_PER_S,
    DECLINED_S,
    GAP_TELL_S,
    HELD_MAX_S,
    OUTAGE_MAX_S,
    PRE_ROLL_S,
    QUOTA_S,
    REFUSED_RETRY_S,
    SHORT_CAP_S,
    STREAM_END_S,
    TELL_S,
    SessionSettings,
)
from reachy_gateway.voice import ConnectionState, Interrupted, ReplyGenerated, Said, TurnComplete

# --- losses -----------------------------------------------------------------------------------------------------------


def test_a_close_without_a_warning_is_redialled_with_the_newest_handle():
    rim = Rim().open("h1")
    rim.server(Resumable("h2"), Resumable(None))
    rim.mic(30)
    rim.close(LOST)
    assert rim.counts == ["lost"]
    assert rim.session.wants_to_dial(rim.now), "at once, as the connection had lived"
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
        assert rim.session.wants_to_dial(rim.now), "the circuit breaker decides how often"
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


# --- refusals and quotas ----------------------------------------------------------------------------------------------


def test_a_refusal_is_told_and_not_hammered():
    rim = Rim()
    rim.dial()
    rim.fail(REFUSED)
    assert rim.standings == [ConnectionState("refused", "check GEMINI_API_KEY")]
    rim.wait(REFUSED_RETRY_S - 1)
    assert not rim.session.wants_to_dial(rim.now)
    rim.wait(1.2)
    assert rim.session.wants_to_dial(rim.now), "now and then it must be tried: the key may have been repaired at Google"


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
    """The dial was made with the old key."""
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    rim.dial()
    rim.do(rim.session.mended(rim.now))
    rim.fail(error)
    assert rim.dial().handle == "h1", "the handle was not to blame"
    rim.fail(QUOTA)
    rim.wait(1)
    assert not rim.session.wants_to_dial(rim.now), "but a failure after that counts"


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
    """The setup was answered, so the fault may be a passing one."""
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


def test_a_setup_that_is_declined_in_new_words_is_dialled_ever_more_seldom():
    least_s = DECLINED_S[0]
    assert pauses(Rim(draw=1.0), DECLINED, 7) == pytest.approx([3, 6, 12, 24, 48, 60, 60], abs=0.2)
    assert pauses(Rim(draw=0.0), DECLINED, 7)[0] >= 0.75 * least_s
    rim = Rim(draw=1.0)
    pauses(rim, DECLINED, 5)
    rim.open().wait(60)
    rim.close(LOST)
    assert pauses(rim, DECLINED, 1) == pytest.approx([least_s], abs=0.2), (
        "a connection that has opened since must reset the pause"
    )


def test_a_refusal_for_a_reason_that_nobody_knows_is_tried_again_sooner():
    assert pauses(Rim(), DOUBTED, 7) == pytest.approx([15, 30, 60, 120, 240, 300, 300], abs=0.2)
    assert pauses(Rim(), REFUSED, 2) == pytest.approx([REFUSED_RETRY_S] * 2, abs=0.2)


def test_a_microphone_that_ends_right_after_speech_leaves_silence_that_the_model_can_hear():
    """Report N: a model that ignores the end of the stream."""
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
    """Report K."""
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
    assert rim.session.wants_to_dial(rim.now), "the limit had been lifted"
