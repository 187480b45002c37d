from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reachy_link.pcm import CHUNK_MS, JITTER_TARGET_MS, Format, Samples
from reachy_robot.playout import BUFFER_MAX_MS, FADE_MS, Playout, TurnReport

MONO = Format(rate_hz=16000, channels=1)
LEAD_MS = 40


def chunk(level: float = 0.5, ms: int = 20, channels: int = 1) -> Samples:
    return np.full((16 * ms, channels), level, np.float32)


def playout(lead_ms: int = LEAD_MS) -> Playout:
    return Playout(MONO, lead_ms)


def ms_of(chunks: list[Samples]) -> float:
    return sum(MONO.ms(len(samples)) for samples in chunks)


def levels(chunks: list[Samples]) -> list[float]:
    """What was handed over: the level at the end of each chunk."""
    return [round(float(samples[-1, 0]), 3) for samples in chunks]


def run_out(p: Playout, tick_ms: float = 10, for_ms: float = 1000) -> list[Samples]:
    """What a device plays from now on. It starts empty and asks for more at every tick."""
    queued_ms, out = 0.0, []
    for _ in range(round(for_ms / tick_ms)):
        due = p.due(queued_ms)
        queued_ms = max(0.0, queued_ms + ms_of(due) - tick_ms)
        out += due
    return out


# --- the start of a turn ----------------------------------------------------------------------------------------------


def test_a_turn_starts_when_the_jitter_target_is_there():
    p = playout()
    p.push(1, chunk())
    p.push(1, chunk())
    assert p.due(0) == []
    p.push(1, chunk())
    assert ms_of(p.due(0)) == LEAD_MS


def test_a_turn_shorter_than_the_jitter_target_plays_once_it_has_ended():
    p = playout()
    p.push(1, chunk())
    assert p.due(0) == []
    p.end(1)
    assert ms_of(p.due(0)) == 20
    assert p.finished == [TurnReport(1, played_ms=20, complete=True)]
    assert not p.active


def test_the_device_is_topped_up_to_its_lead_and_no_further():
    p = playout(lead_ms=100)
    for _ in range(20):
        p.push(1, chunk())
    assert ms_of(p.due(0)) == 100
    assert p.due(100) == []
    assert ms_of(p.due(90)) == 20
    assert p.buffered_ms == 400 - 120


def test_a_turn_of_which_only_the_end_arrived_is_reported_as_empty():
    p = playout()
    p.end(1)
    assert p.due(0) == []
    assert p.finished == [TurnReport(1, complete=True)]


# --- gaps -------------------------------------------------------------------------------------------------------------


def started(level: float = 0.5) -> Playout:
    """A turn that has started, and whose audio so far has all been handed to the device."""
    p = playout()
    for _ in range(3):
        p.push(1, chunk(level))
    assert ms_of(p.due(0)) + ms_of(p.due(20)) == 60
    return p


def test_a_gap_is_concealed_by_a_short_fade_only_when_the_device_runs_dry():
    p = started()
    assert p.due(40) == []
    assert p.due(11) == []
    (fade,) = p.due(10)
    assert MONO.ms(len(fade)) == FADE_MS
    assert fade[0, 0] == 0.5, "it goes on where the speech ended"
    assert np.all(np.diff(fade[:, 0]) < 0)
    assert fade[-1, 0] < 0.02


def test_one_gap_is_one_underrun_however_long_it_lasts():
    p = started()
    fades = [samples for _ in range(100) for samples in p.due(0)]
    assert len(fades) == 1
    p.end(1)
    assert p.due(0) == []
    assert p.finished == [TurnReport(1, played_ms=60, underruns=1, concealed_ms=FADE_MS, complete=True)]


def test_after_a_gap_speech_waits_for_the_jitter_target_and_fades_in():
    p = started()
    p.due(0)
    p.push(1, chunk(0.25))
    p.push(1, chunk(0.25))
    assert p.due(0) == []
    p.push(1, chunk(0.25))
    first, second = p.due(0)
    assert first[0, 0] == 0
    assert np.all(np.diff(first[: 16 * FADE_MS, 0]) > 0)
    assert np.all(first[16 * FADE_MS :] == 0.25)
    assert np.all(second == 0.25)


def test_the_fade_mirrors_the_end_of_the_speech_in_every_channel():
    p = Playout(Format(rate_hz=16000, channels=2), LEAD_MS)
    speech = np.stack([np.linspace(0, 1, 320), np.linspace(0, -1, 320)], axis=1).astype(np.float32)
    for _ in range(3):
        p.push(1, speech)
    assert len(p.due(0)) + len(p.due(20)) == 3
    (fade,) = p.due(0)
    n = 16 * FADE_MS
    assert np.allclose(fade, speech[::-1][:n] * (1 - np.arange(n) / n)[:, None])


def test_speech_that_is_faded_is_not_changed_for_whoever_pushed_it():
    p = started()
    p.due(0)
    speech = chunk(0.25)
    for _ in range(3):
        p.push(1, speech)
    assert p.due(0)[0][0, 0] == 0
    assert np.all(speech == 0.25)


def test_the_end_of_a_turn_is_no_gap():
    p = started()
    p.end(1)
    assert run_out(p) == []
    assert p.finished == [TurnReport(1, played_ms=60, complete=True)]


def test_jitter_below_the_target_is_not_heard():
    """Chunks that arrive 20 ms apart on average, each up to 50 ms late."""
    p, queued_ms = playout(), 0.0
    late_ms = [0, 50, 30, 10, 0, 0, 50, 50, 40, 20, 0] * 10
    arrivals = sorted((i * 20 + late, i) for i, late in enumerate(late_ms))
    heard = []
    for now_ms in range(2400):
        while arrivals and arrivals[0][0] <= now_ms:
            arrivals.pop(0)
            p.push(1, chunk())
        if not arrivals:
            p.end(1)
        due = p.due(queued_ms)
        heard += due
        queued_ms = max(0.0, queued_ms + ms_of(due) - 1)
    assert p.finished == [TurnReport(1, played_ms=20 * len(late_ms), complete=True)]
    assert all(np.all(samples == 0.5) for samples in heard)


# --- turns ------------------------------------------------------------------------------------------------------------


def test_a_second_turn_queues_behind_the_first():
    p = playout(lead_ms=1000)
    for _ in range(3):
        p.push(1, chunk(0.1))
    p.end(1)
    for _ in range(3):
        p.push(2, chunk(0.2))
    assert levels(p.due(0)) == [0.1] * 3 + [0.2] * 3
    assert [report.turn for report in p.finished] == [1]
    assert p.begun == [(1, 0.0), (2, 60.0)]


def test_a_second_turn_waits_for_its_own_jitter_target():
    p = playout(lead_ms=1000)
    for _ in range(3):
        p.push(1, chunk(0.1))
    p.end(1)
    p.push(2, chunk(0.2))
    assert levels(p.due(0)) == [0.1] * 3
    assert p.due(0) == []
    p.push(2, chunk(0.2))
    p.push(2, chunk(0.2))
    assert levels(p.due(0)) == [0.2] * 3


def test_the_next_turn_ends_one_whose_end_was_lost():
    p = started(0.1)
    for _ in range(3):
        p.push(2, chunk(0.2))
    assert levels(p.due(0)) == [0.2, 0.2], "no gap is concealed in between"
    assert p.finished == [TurnReport(1, played_ms=60, complete=True)]


def test_all_turns_can_be_ended_at_once():
    p = started(0.1)
    p.push(2, chunk(0.2))
    p.end_all()
    assert levels(run_out(p)) == [0.2]
    assert [(report.turn, report.underruns, report.complete) for report in p.finished] == [(1, 0, True), (2, 0, True)]
    p.end_all()
    p.push(3, chunk(0.3))
    assert p.active, "one that begins later goes on"


def test_a_chunk_that_comes_after_its_turn_has_ended_is_late():
    p = started()
    p.end(1)
    assert not p.push(1, chunk()), "its end was told"
    p.due(0)
    assert not p.push(1, chunk()), "it is over"
    assert p.late_chunks == 2
    assert run_out(p) == []


def test_a_turn_that_was_skipped_stays_skipped():
    p = playout()
    p.push(3, chunk())
    assert not p.push(2, chunk())
    assert p.late_chunks == 1


def test_beyond_the_bound_the_newest_chunks_are_dropped_and_counted():
    p = playout()
    told = [p.push(1, chunk(i / 1000)) for i in range(110)]
    assert told == [True] * 100 + [False] * 10
    assert (p.buffered_ms, p.overflow_chunks) == (BUFFER_MAX_MS, 10)
    p.end(1)
    assert levels(run_out(p, for_ms=3000)) == [round(i / 1000, 3) for i in range(100)]
    assert p.finished == [TurnReport(1, played_ms=2000, dropped_ms=200, complete=False)]


# --- barge-in ---------------------------------------------------------------------------------------------------------


def test_barge_in_drops_the_old_turn_even_if_it_arrives_late():
    p = started(0.1)
    p.push(1, chunk(0.1))
    assert p.flush(2), "the device must be silenced"
    assert not p.push(1, chunk(0.1))
    for _ in range(3):
        p.push(2, chunk(0.2))
    p.end(2)
    assert levels(run_out(p)) == [0.2] * 3
    assert p.finished == [TurnReport(1, played_ms=60), TurnReport(2, played_ms=60, complete=True)]
    assert p.late_chunks == 1


def test_barge_in_drops_what_waits_behind_and_keeps_what_is_newer():
    p = playout()
    for turn in (1, 2, 3):
        for _ in range(3):
            p.push(turn, chunk(turn / 10))
    p.flush(3)
    assert [(report.turn, report.complete) for report in p.finished] == [(1, False), (2, False)]
    p.end(3)
    assert levels(run_out(p)) == [0.3] * 3


def test_a_flush_that_is_repeated_or_old_changes_nothing():
    p = started()
    assert p.flush(2)
    for _ in range(3):
        p.push(2, chunk())
    assert not p.flush(2)
    assert not p.flush(1)
    assert ms_of(p.due(0)) == LEAD_MS
    assert not p.push(1, chunk())


def test_a_flush_while_nothing_waits_closes_the_old_turns_all_the_same():
    p = playout()
    p.flush(5)
    assert not p.push(4, chunk())
    assert p.push(5, chunk())


def test_after_a_flush_nothing_of_the_old_turn_colours_the_new():
    p = started()
    p.due(0)
    p.flush(2)
    for _ in range(3):
        p.push(2, chunk(0.25))
    assert all(np.all(samples == 0.25) for samples in p.due(0))


def test_a_new_gateway_counts_its_turns_anew():
    p = playout()
    p.flush(50)
    for _ in range(4):
        p.push(50, chunk())
    p.due(0)
    assert p.reset(), "the device holds some of it"
    assert p.finished == [TurnReport(50, played_ms=40)]
    assert (p.active, p.buffered_ms) == (False, 0)
    assert p.push(1, chunk())
    p.end(1)
    assert ms_of(p.due(0)) == 20


def test_where_nothing_was_handed_to_the_device_it_needs_no_hush():
    p = playout()
    assert not p.reset()
    p.push(1, chunk())
    assert not p.flush(2)
    p.push(2, chunk())
    assert not p.reset()


def test_the_last_of_a_turn_that_only_the_device_still_holds_is_silenced_as_well():
    p = playout(lead_ms=1000)
    for _ in range(5):
        p.push(1, chunk())
    p.end(1)
    assert ms_of(p.due(0)) == 100
    assert not p.active
    assert p.flush(2)
    assert not p.flush(3), "which has been done"


# --- without a device -------------------------------------------------------------------------------------------------


def test_what_a_lost_device_was_to_play_is_over_and_stays_so():
    p = started(0.1)
    p.push(2, chunk(0.2))
    p.cut()
    assert p.finished == [TurnReport(1, played_ms=60), TurnReport(2)]
    assert not p.active
    assert not p.push(1, chunk())
    assert not p.push(2, chunk())
    assert not p.flush(2), "there is nothing to silence"
    assert not p.reset()


def test_a_turn_of_which_something_came_while_there_was_no_device_is_reported_once_and_never_heard():
    p = playout()
    for turn in (1, 1, 2, 1):
        p.cut(turn)
    p.end(2)
    assert p.finished == [TurnReport(1), TurnReport(2)]
    assert not p.push(2, chunk())
    assert p.push(3, chunk(0.3))
    p.end(3)
    assert levels(run_out(p)) == [0.3]


# --- whatever happens -------------------------------------------------------------------------------------------------


@dataclass
class Rig:
    """A playout and a device, with a record of what went in and came out. A chunk's level is its number."""

    lead_ms: int
    playout: Playout = field(init=False)
    queued_ms: float = 0.0
    floor: int = 0
    newest: int = 0
    ended: set[int] = field(default_factory=set)
    accepted: list[tuple[int, int]] = field(default_factory=list)
    """Turn and number of each accepted chunk."""
    left: list[tuple[int, int]] = field(default_factory=list)
    lengths: dict[int, float] = field(default_factory=dict)
    gone_ms: Counter[int] = field(default_factory=Counter)
    """How much of each chunk has left, in ms."""
    turns: dict[int, int] = field(default_factory=dict)
    fades: int = 0

    def __post_init__(self) -> None:
        self.playout = playout(self.lead_ms)

    def push(self, turn: int, ms: int) -> None:
        number = len(self.turns) + 1
        self.turns[number], self.lengths[number] = turn, ms
        current = turn >= max(self.floor, self.newest) and turn not in self.ended
        room = self.playout.buffered_ms < BUFFER_MAX_MS
        assert self.playout.push(turn, chunk(number, ms)) == (current and room)
        if current:
            self.newest = turn
        if current and room:
            self.accepted.append((turn, number))
        assert self.playout.buffered_ms < BUFFER_MAX_MS + 40

    def end(self, turn: int) -> None:
        self.playout.end(turn)
        if turn >= max(self.floor, self.newest):
            self.newest = turn
            self.ended.add(turn)

    def flush(self, floor: int) -> None:
        old_ms = self.queued_ms if floor > self.floor else 0.0
        hush = self.playout.flush(floor)
        assert hush or not old_ms, "the device holds something of a turn below the floor"
        self.floor = max(self.floor, floor)
        if hush:
            self.queued_ms = 0.0

    def due(self, elapsed_ms: float) -> None:
        self.queued_ms = max(0.0, self.queued_ms - elapsed_ms)
        for samples in self.playout.due(self.queued_ms):
            assert self.queued_ms < self.lead_ms, "the device has enough"
            ms = MONO.ms(len(samples))
            if ms == FADE_MS:
                assert self.queued_ms <= 10, "a gap is concealed only when the device runs dry"
                self.fades += 1
            else:
                number = int(samples[-1, 0])
                assert self.turns[number] >= self.floor, "nothing of a flushed turn leaves"
                assert ms <= CHUNK_MS, "the device is handed little at a time"
                self.gone_ms[number] += ms
                assert self.gone_ms[number] <= self.lengths[number]
                if self.gone_ms[number] == self.lengths[number]:
                    self.left.append((self.turns[number], number))
            self.queued_ms += ms

    def drain(self) -> None:
        """Let time pass without further input."""
        if self.playout.active:
            self.end(self.newest)
        for _ in range(400):
            self.due(10)


TURNS = st.integers(1, 6)
STEPS = st.one_of(
    st.tuples(st.just("push"), TURNS, st.sampled_from([10, 20, 40])),
    st.tuples(st.just("burst"), TURNS, st.integers(2, 70)),
    st.tuples(st.just("end"), TURNS),
    st.tuples(st.just("flush"), TURNS),
    st.tuples(st.just("due"), st.sampled_from([0, 1, 7, 10, 20, 35, 100])),
)


def perform(rig: Rig, steps: list[tuple]) -> None:
    for step in steps:
        match step:
            case ("burst", turn, count):
                for _ in range(count):
                    rig.push(turn, 20)
            case (name, *arguments):
                getattr(rig, name)(*arguments)


@given(steps=st.lists(STEPS, max_size=60), lead_ms=st.sampled_from([20, 40, 300]))
def test_whatever_comes_in_whatever_order_turns_leave_whole_once_in_order_and_never_after_a_flush(steps, lead_ms):
    rig = Rig(lead_ms)
    perform(rig, steps)
    rig.drain()
    assert not rig.playout.active
    assert rig.playout.buffered_ms == 0
    assert rig.left == sorted(set(rig.left)), "in order, each once"
    assert set(rig.left) <= set(rig.accepted)
    reports = {report.turn: report for report in rig.playout.finished}
    assert len(reports) == len(rig.playout.finished), "one report a turn"
    for turn in {turn for turn, _ in rig.accepted}:
        whole = [number for of, number in rig.accepted if of == turn]
        heard = [number for of, number in rig.left if of == turn]
        assert reports[turn].played_ms == sum(rig.gone_ms[number] for number in whole)
        assert heard == whole[: len(heard)]
        if turn >= rig.floor:
            assert heard == whole
            assert reports[turn].complete == (reports[turn].dropped_ms == 0)
        elif reports[turn].complete:
            assert heard == whole, "it was over before the flush"
    assert rig.fades == sum(report.underruns for report in reports.values())
    assert sum(report.concealed_ms for report in reports.values()) == rig.fades * FADE_MS


@given(
    lengths=st.lists(st.sampled_from([10, 20, 40]), min_size=1, max_size=80),
    pauses=st.lists(st.integers(0, 120), min_size=80, max_size=80),
)
def test_an_uninterrupted_turn_leaves_whole_however_irregularly_it_comes(lengths, pauses):
    rig = Rig(LEAD_MS)
    for ms, pause in zip(lengths, pauses, strict=False):
        rig.push(1, ms)
        for _ in range(pause // 10):
            rig.due(10)
    rig.end(1)
    rig.drain()
    (report,) = rig.playout.finished
    assert [number for _, number in rig.left] == list(range(1, len(lengths) + 1))
    assert report == TurnReport(1, sum(lengths), rig.fades, rig.fades * FADE_MS, complete=True)


@pytest.mark.parametrize("lead_ms", [1, 20, JITTER_TARGET_MS, 300])
def test_whatever_the_lead_speech_flows(lead_ms):
    rig = Rig(lead_ms)
    for _ in range(50):
        rig.push(1, 20)
    rig.end(1)
    rig.drain()
    assert len(rig.left) == 50


def test_each_turn_begins_behind_what_the_device_has_yet_to_play():
    """Short replies in a row, several of which one call hands over."""
    p = playout(lead_ms=200)
    for turn in (1, 2, 3):
        p.push(turn, chunk(0.1 * turn))
        p.end(turn)
    assert ms_of(p.due(30.0)) == 60
    assert p.begun == [(1, 30.0), (2, 50.0), (3, 70.0)]


def test_a_turn_begins_once_and_one_without_sound_never():
    p = playout()
    p.end(1)
    for _ in range(3):
        p.push(2, chunk())
    handed = p.due(0.0) + p.due(0.0) + p.due(0.0)
    p.push(2, chunk())
    assert handed
    assert p.begun == [(2, 0.0)], "neither concealment nor the audio after it is a beginning"
