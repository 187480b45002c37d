"""What is played, and what an interruption leaves of it."""

from itertools import pairwise

import numpy as np
import pytest
from core_rig import CHUNK_MS, connected

from reachy_link.messages import (
    BeatDown,
    Flush,
    Played,
    Speaker,
    State,
    TurnEnd,
)
from reachy_robot.decisions import Hush, Notice
from reachy_robot.sound import Moment
from reachy_robot.speaker import Gain

# --- the speaker ------------------------------------------------------------------------------------------------------


def test_a_turn_is_played_to_its_end_and_reported_when_the_device_has_played_it():
    rig = connected()
    start = rig.now
    rig.speaker(1, count=10)
    rig.tell(TurnEnd, turn=1)
    rig.run(1.0)
    assert rig.levels() == [0.5] * 10
    (report,) = rig.sent(Played)
    assert (report.turn, report.played_ms, report.complete, report.underruns) == (1, 200, True, 0)
    (reported,) = rig.sent_at(Played)
    assert 0.19 <= reported - start <= 0.22, "not while it can still be heard"
    assert rig.when(Notice(Moment.ANSWERED)) == [reported]
    (summary,) = rig.core.summary
    assert (summary.turn, summary.played_ms, summary.complete) == (1, 200, True)


def test_the_device_never_holds_more_than_its_lead_and_a_chunk():
    rig = connected(lead_ms=100)
    rig.speaker(1, count=50)
    for _ in range(60):
        rig.run(0.01)
        assert rig.queued_ms < 100 + CHUNK_MS


def test_the_answer_time_runs_from_the_end_of_speech_to_the_first_sample_at_the_speaker():
    rig = connected()
    heard_us = int(rig.now * 1e6)
    rig.run(0.64)
    rig.tell(State, state="speaking", heard_us=heard_us)
    rig.speaker(1, count=10)
    rig.tell(TurnEnd, turn=1)
    rig.run(1.0)
    rig.speaker(2, count=10)
    rig.tell(TurnEnd, turn=2)
    rig.run(1.0)
    first, second = rig.sent(Played)
    assert first.latency_ms == 640
    assert second.latency_ms is None, "one answer time for one utterance"
    assert "turn 1 done, answered after 640 ms, played 0.2 s" in rig.words()


def test_what_the_device_has_yet_to_play_counts_into_the_answer_time():
    rig = connected()
    heard_us = int(rig.now * 1e6)
    rig.tell(State, state="thinking", heard_us=heard_us)
    rig.queued_ms = 30.0
    rig.speaker(1, count=5)
    rig.tell(TurnEnd, turn=1)
    rig.run(1.0)
    assert rig.sent(Played)[0].latency_ms == 30


def test_a_gap_on_the_link_is_reported_as_an_underrun():
    rig = connected()
    rig.speaker(1, count=5)
    rig.run(0.3)
    rig.speaker(1, count=5)
    rig.tell(TurnEnd, turn=1)
    rig.run(1.0)
    (report,) = rig.sent(Played)
    assert (report.played_ms, report.underruns, report.concealed_ms, report.complete) == (200, 1, 5, True)


@pytest.mark.parametrize("state", ["listening", "thinking", "reconnecting", "refused"])
def test_a_turn_whose_end_was_lost_ends_when_the_gateway_does_not_speak_any_more(state):
    rig = connected()
    rig.speaker(1, 0.1, count=5)
    rig.run(0.2)
    rig.tell(State, state="speaking")
    rig.speaker(1, 0.1, count=2)
    rig.run(1.0)
    assert rig.levels() == [0.1] * 5, "after a gap the rest waits for the jitter target"
    rig.tell(State, state=state)
    rig.run(0.1)
    assert rig.levels() == [0.1] * 7, "before the next answer, not with it"
    assert [(report.turn, report.complete) for report in rig.sent(Played)] == [(1, True)]
    rig.speaker(2, 0.2, count=5)
    rig.tell(TurnEnd, turn=2)
    rig.run(0.5)
    assert rig.levels() == [0.1] * 7 + [0.2] * 5


def test_two_replies_in_a_row_are_one_answer_for_the_device():
    rig = connected()
    for turn in (1, 2):
        rig.speaker(turn, turn / 10, count=5)
        rig.tell(TurnEnd, turn=turn)
    rig.run(1.0)
    assert rig.levels() == [0.1] * 5 + [0.2] * 5
    assert [(report.turn, report.complete) for report in rig.sent(Played)] == [(1, True), (2, True)]
    assert rig.of(Notice) == [Notice(Moment.ANSWERED)]


# --- barge-in ---------------------------------------------------------------------------------------------------------


def test_barge_in_silences_the_device_at_once_and_drops_the_old_turn_even_if_it_arrives_late():
    rig = connected()
    rig.speaker(1, 0.1, count=20)
    rig.run(0.1)
    rig.forget()
    out = rig.tell(Flush, turn=2, floor=2)
    assert out[0] == Hush()
    rig.speaker(1, 0.1, count=5, floor=2)
    rig.speaker(2, 0.2, count=5, floor=2)
    rig.tell(TurnEnd, turn=2, floor=2)
    rig.run(0.5)
    assert rig.levels() == [0.2] * 5
    assert rig.core.counts["late_chunks"] == 5
    assert [(report.turn, report.complete) for report in rig.sent(Played)] == [(1, False), (2, True)]


@pytest.mark.parametrize("carrier", [BeatDown, Speaker, State])
def test_if_the_flush_is_lost_the_floor_in_any_message_silences_the_robot(carrier):
    rig = connected()
    rig.speaker(1, 0.1, count=20)
    rig.run(0.1)
    rig.forget()
    match carrier:
        case _ if carrier is Speaker:
            rig.speaker(2, 0.2, floor=2)
        case _:
            rig.tell(carrier, floor=2, **({"state": "listening"} if carrier is State else {}))
    assert rig.out[0][1] == Hush()
    rig.speaker(1, 0.1, count=5)
    rig.run(0.5)
    assert 0.1 not in rig.levels()


def test_a_flush_that_is_said_twice_hushes_once():
    rig = connected()
    rig.speaker(1, count=20)
    rig.run(0.1)
    rig.tell(Flush, turn=2, floor=2)
    rig.tell(Flush, turn=2, floor=2)
    rig.tell(BeatDown, floor=2)
    assert rig.of(Hush) == [Hush()]


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "not ended"])
def test_barge_in_silences_the_last_of_a_reply_that_only_the_device_still_holds(ended):
    """All chunks have been handed over, up to lead_ms ahead: what is not flushed in the device is heard."""
    rig = connected(lead_ms=300)
    rig.speaker(1, count=15)
    if ended:
        rig.tell(TurnEnd, turn=1)
    rig.run(0.05)
    assert rig.queued_ms == 250
    rig.forget()
    rig.tell(Flush, turn=2, floor=2)
    assert rig.of(Hush) == [Hush()]
    rig.run(0.1)
    (report,) = rig.sent(Played)
    assert not report.complete


def test_a_cut_turn_is_reported_with_what_was_heard_of_it():
    """What a hush takes back from the device was handed over, but not heard."""
    rig = connected(lead_ms=300)
    rig.speaker(1, count=50)
    rig.run(0.1)
    held_ms = rig.queued_ms
    assert held_ms >= 290
    rig.tell(Flush, turn=2, floor=2)
    rig.run(0.1)
    (report,) = rig.sent(Played)
    assert 100 <= report.played_ms <= 120


def test_a_turn_is_reported_with_its_moments_on_the_robots_clock():
    rig = connected()
    rig.queued_ms = 30.0
    arrived_us = int(rig.now * 1e6)
    rig.speaker(1, count=2)
    rig.run(0.02)
    rig.speaker(1, count=3)
    rig.tell(TurnEnd, turn=1)
    rig.run(1.0)
    (report,) = rig.sent(Played)
    assert report.arrived_us == arrived_us
    assert report.started_us == pytest.approx(arrived_us + 30_000, abs=1000), "60 ms arrived in 20 ms, and 10 still play"
    assert report.cut_us is None


@pytest.mark.parametrize("chunks", [1, 2], ids=["one chunk", "two chunks"])
def test_turns_that_follow_one_another_at_once_have_each_its_own_beginning(chunks):
    """Each turn begins on time, also a turn of one chunk, and has its own latency."""
    rig = connected()
    rig.tell(State, state="speaking", heard_us=int(rig.now * 1e6))
    began_us = int(rig.now * 1e6)
    for turn in (1, 2, 3):
        rig.speaker(turn, count=chunks)
        rig.tell(TurnEnd, turn=turn)
    rig.run(1.0)
    reports = rig.sent(Played)
    assert [report.turn for report in reports] == [1, 2, 3]
    starts = [report.started_us for report in reports]
    assert None not in starts
    assert [b - a for a, b in pairwise(starts)] == [pytest.approx(20_000 * chunks, abs=11_000)] * 2
    assert starts[0] - began_us < 100_000
    assert [report.latency_ms is not None for report in reports] == [True, False, False]


def test_a_turn_that_a_flush_silenced_says_when():
    rig = connected()
    rig.speaker(1, count=20)
    rig.run(0.1)
    rig.speaker(2, count=5)
    cut_us = int(rig.now * 1e6)
    rig.tell(Flush, turn=3, floor=3)
    rig.run(0.1)
    first, second = rig.sent(Played)
    assert abs(first.cut_us - cut_us) <= 1
    assert (second.cut_us, second.started_us) == (None, None), "nothing of it had been heard"


def test_a_flush_while_the_robot_is_silent_needs_no_hush():
    rig = connected()
    rig.tell(Flush, turn=2, floor=2)
    assert rig.of(Hush) == []


def test_a_change_of_volume_is_a_ramp_and_full_volume_leaves_the_samples_alone():
    gain = Gain(16000)
    ones = np.ones((320, 2), np.float32)
    assert gain.apply(ones) is ones
    gain.percent = 25.0
    softer = gain.apply(ones)
    assert softer.dtype == np.float32
    assert softer[-1] == pytest.approx(0.125)
    assert np.abs(np.diff(softer[:, 0])).max() < 0.003, "no click"
    assert gain.apply(ones) == pytest.approx(0.125)
    gain.percent = 100.0
    short = gain.apply(ones[:80])
    assert short[0] == pytest.approx(0.125)
    assert gain.apply(ones) is ones
    assert ones.min() == 1.0, "the given samples must not change"
