import pytest
from hypothesis import given
from hypothesis import strategies as st

from reachy_gateway.talk.latency import KEEP, PARTS, Latency
from reachy_link.messages import Played

OFFSET_US = 7_000_000_000
"""The robot's clock minus the gateway's."""
SECOND = 1_000_000


def told(turn: int = 1, **fields: object) -> Played:
    header = {"robot": "reachy-1", "boot": "aaaaaaaaaaaaaaaa", "seq": 9, "t_us": 0}
    return Played(**header | {"turn": turn, "played_ms": 1240, "complete": True} | fields)


def robot_us(gateway_s: float) -> int:
    return int(gateway_s * SECOND) + OFFSET_US


def a_turn(latency: Latency, turn: int = 1, at_s: float = 100.0) -> dict[str, int]:
    """A turn: speech ends at the robot, and each part takes 10 ms more than the one before. Returns the robot's report."""
    latency.spoke(robot_us(at_s), at_s + 0.010)
    latency.voiced(turn, at_s + 0.030)
    latency.published(turn, at_s + 0.060)
    return {"arrived_us": robot_us(at_s + 0.100), "started_us": robot_us(at_s + 0.150)}


def test_a_turn_has_its_total_and_its_parts_and_they_add_up():
    latency = Latency()
    over = latency.played(told(**a_turn(latency)), OFFSET_US)
    assert over.total_ms == 150
    assert [over.parts_ms[part] for part in PARTS] == pytest.approx([10, 20, 30, 40, 50], abs=0.01)
    assert over.clock_error_ms == 0


def test_the_line_has_every_number_by_a_name_of_its_own():
    latency = Latency()
    latency_line = latency.played(told(**a_turn(latency), underruns=2, concealed_ms=10), OFFSET_US).line()
    assert latency_line == (
        "turn=1 outcome=done total_ms=150.0 link_up_ms=10.0 voice_ms=20.0 gateway_ms=30.0 link_down_ms=40.0 playout_ms=50.0 "
        "played_ms=1240 underruns=2 concealed_ms=10"
    )


def test_a_clock_that_is_off_moves_time_between_the_two_ways_and_the_total_stays():
    latency = Latency()
    over = latency.played(told(**a_turn(latency)), OFFSET_US + 15_000)
    assert over.total_ms == 150
    assert over.parts_ms["link_up"] == pytest.approx(25, abs=0.01)
    assert over.parts_ms["link_down"] == pytest.approx(25, abs=0.01)


def test_a_part_that_comes_out_below_0_is_0_and_says_by_how_much():
    latency = Latency()
    over = latency.played(told(**a_turn(latency)), OFFSET_US - 13_000)
    assert over.parts_ms["link_up"] == 0
    assert over.clock_error_ms == pytest.approx(3, abs=0.01)
    assert " clock_error_ms=3.0 " in over.line()


def test_without_a_common_clock_the_links_parts_are_unknown():
    latency = Latency()
    over = latency.played(told(**a_turn(latency)), None)
    assert over.parts_ms.keys() == {"voice", "gateway", "playout"}
    assert over.total_ms == 150
    assert "link_" not in over.line()


def test_of_an_older_robot_only_its_own_total_is_known_and_the_gateways_parts():
    latency = Latency()
    a_turn(latency)
    over = latency.played(told(latency_ms=642), OFFSET_US)
    assert over.total_ms == 642
    assert over.parts_ms.keys() == {"link_up", "voice", "gateway"}


def test_a_turn_that_nobody_knows_is_told_as_the_robot_tells_it():
    assert Latency().played(told(7, complete=False), OFFSET_US).line() == (
        "turn=7 outcome=cut played_ms=1240 underruns=0 concealed_ms=0"
    )


def test_a_second_reply_to_the_same_words_answers_no_speech():
    latency = Latency()
    first = latency.played(told(1, **a_turn(latency)), OFFSET_US)
    latency.voiced(2, 101.0)
    latency.published(2, 101.001)
    second = latency.played(told(2, arrived_us=robot_us(101.002), started_us=robot_us(101.06)), OFFSET_US)
    assert first.total_ms == 150
    assert second.total_ms is None
    assert second.parts_ms.keys() == {"gateway", "link_down", "playout"}


def test_only_the_first_audio_and_the_first_chunk_of_a_turn_count():
    latency = Latency()
    latency.spoke(robot_us(100), 100.0)
    latency.voiced(1, 100.5)
    latency.voiced(1, 100.7)
    assert latency.unpublished(1)
    latency.published(1, 100.6)
    assert not latency.unpublished(1)
    over = latency.played(told(1, started_us=robot_us(101)), OFFSET_US)
    assert over.parts_ms["voice"] == pytest.approx(500)
    assert over.parts_ms["gateway"] == pytest.approx(100)
    latency.voiced(1, 102.0)
    assert not latency.unpublished(1), "late audio of an ended turn must not begin a measurement"


def test_a_barge_in_is_measured_from_the_interruption_to_the_silence():
    latency = Latency()
    a_turn(latency)
    latency.interrupted(103.0)
    latency.interrupted(103.4)
    over = latency.played(told(complete=False, cut_us=robot_us(103.012)), OFFSET_US)
    assert over.barge_in_ms == pytest.approx(12, abs=0.01)
    assert " barge_in_ms=12.0 " in over.line()


@pytest.mark.parametrize("known", ["interrupted", "cut", "neither"])
def test_without_an_interruption_or_without_the_silence_there_is_no_barge_in(known):
    latency = Latency()
    a_turn(latency)
    if known == "interrupted":
        latency.interrupted(103.0)
    over = latency.played(told(cut_us=robot_us(103.012) if known == "cut" else None), OFFSET_US)
    assert over.barge_in_ms is None


def test_a_robot_that_reports_nothing_costs_nothing():
    latency = Latency()
    for turn in range(1, 1000):
        a_turn(latency, turn, turn)
    assert len(latency._traces) == KEEP


def test_a_report_ends_what_is_known_of_older_turns():
    latency = Latency()
    for turn in (1, 2, 3):
        a_turn(latency, turn, turn)
    latency.played(told(2), OFFSET_US)
    assert latency._traces.keys() == {3}


MICROS = st.integers(0, 2**53 - 1)


@given(st.lists(st.tuples(st.integers(0, 5), st.none() | MICROS, st.none() | MICROS, st.none() | MICROS), max_size=20), MICROS)
def test_whatever_a_robot_tells_no_number_is_negative(reports, mark):
    latency = Latency()
    latency.spoke(mark, 1.0)
    for turn, arrived, started, cut in reports:
        latency.voiced(turn, 2.0)
        latency.published(turn, 2.5)
        latency.interrupted(3.0)
        over = latency.played(told(turn, arrived_us=arrived, started_us=started, cut_us=cut), OFFSET_US)
        assert all(ms >= 0 for ms in (*over.parts_ms.values(), over.total_ms or 0, over.barge_in_ms or 0, over.clock_error_ms))
