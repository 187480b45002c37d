from hypothesis import given
from hypothesis import strategies as st

from reachy_link.clock import ClockSync, Lateness

S = 1_000_000
MS = 1000
OFFSET_US = 5_000 * S
"""How far the other end's clock is ahead of ours."""


def exchange(clock: ClockSync, now_us: int, up_us: int, down_us: int, held_us: int = 0, offset_us: int = OFFSET_US) -> None:
    """An echo that took so long up, was held so long there, took so long down, and arrives now."""
    sent_us = now_us - up_us - held_us - down_us
    received_us = sent_us + up_us + offset_us
    clock.add(sent_us, received_us, received_us + held_us, now_us)


# --- offset and round trip --------------------------------------------------------------------------------------------


def test_nothing_is_known_before_the_first_echo():
    assert (ClockSync().offset_us, ClockSync().rtt_us) == (None, None)


def test_an_even_path_gives_the_exact_offset_however_long_the_echo_was_held():
    clock = ClockSync()
    exchange(clock, 10 * S, up_us=4 * MS, down_us=4 * MS, held_us=900 * MS)
    assert (clock.offset_us, clock.rtt_us) == (OFFSET_US, 8 * MS)


def test_of_the_last_8_the_exchange_with_the_shortest_round_trip_counts():
    clock = ClockSync()
    exchange(clock, 1 * S, up_us=1 * MS, down_us=1 * MS)
    for second in range(2, 9):
        exchange(clock, second * S, up_us=90 * MS, down_us=10 * MS)
    assert (clock.offset_us, clock.rtt_us) == (OFFSET_US, 2 * MS)
    exchange(clock, 9 * S, up_us=50 * MS, down_us=30 * MS)
    assert (clock.offset_us, clock.rtt_us) == (OFFSET_US + 10 * MS, 80 * MS)


@given(
    paths=st.lists(st.tuples(st.integers(0, S), st.integers(0, S), st.integers(0, S)), min_size=1, max_size=30),
    offset_us=st.integers(-(10**12), 10**12),
)
def test_the_offset_is_wrong_by_at_most_half_the_shortest_of_the_last_8_round_trips(paths, offset_us):
    clock = ClockSync()
    for second, (up_us, down_us, held_us) in enumerate(paths):
        exchange(clock, 10**13 + second * S, up_us, down_us, held_us, offset_us)
    shortest = min(up_us + down_us for up_us, down_us, _ in paths[-8:])
    assert clock.rtt_us == shortest
    assert clock.offset_us is not None
    assert abs(clock.offset_us - offset_us) <= shortest / 2 + 1


def test_an_echo_that_would_have_taken_negative_time_is_ignored():
    clock = ClockSync()
    exchange(clock, 1 * S, up_us=5 * MS, down_us=5 * MS)
    clock.add(sent_us=2 * S, received_us=7 * S, returned_us=9 * S, now_us=3 * S)
    assert (clock.offset_us, clock.rtt_us) == (OFFSET_US, 10 * MS)


# --- lateness ---------------------------------------------------------------------------------------------------------


def late_ms(lateness: Lateness, now_s: float, delay_ms: float, clock_ahead_us: int = OFFSET_US) -> float:
    """The measured lateness of a message that was under way for so long, from a sender whose clock is ahead."""
    now_us = round(now_s * S)
    return lateness.late_us(now_us - round(delay_ms * MS) + clock_ahead_us, now_us) / MS


def test_the_fastest_message_is_the_measure():
    lateness = Lateness()
    assert late_ms(lateness, 0.0, 30) == 0
    assert late_ms(lateness, 0.1, 10) == 0
    assert late_ms(lateness, 0.2, 25) == 15
    assert late_ms(lateness, 0.3, 511) > Lateness.LIMIT_US / MS


@given(delays=st.lists(st.integers(0, 499), min_size=1, max_size=60), ahead_us=st.integers(-(10**12), 10**12))
def test_jitter_within_the_limit_is_never_late_whatever_the_clocks_show(delays, ahead_us):
    lateness = Lateness()
    told = [late_ms(lateness, 0.02 * i, delay, ahead_us) for i, delay in enumerate(delays)]
    assert told == [delay - min(delays[: i + 1]) for i, delay in enumerate(delays)]


def test_drift_is_absorbed():
    """100 ppm in three hours is one second: without a moving minimum every message would be late."""
    lateness = Lateness()
    assert max(late_ms(lateness, s, 10 + 0.1 * s) for s in range(3 * 3600)) < 10


def test_a_path_that_became_longer_is_absorbed_within_a_minute():
    lateness = Lateness()
    for s in range(40):
        late_ms(lateness, s, 10)
    assert late_ms(lateness, 40, 310) == 300
    assert all(late_ms(lateness, s, 310) in (0, 300) for s in range(41, 100))
    assert late_ms(lateness, 100, 310) == 0


def test_a_burst_of_old_speech_after_a_cut_is_late_to_its_last_chunk():
    """3 s of chunks are delayed and arrive within 0.3 s. The live chunks after them are in time."""
    lateness = Lateness()
    for i in range(50):
        late_ms(lateness, i * 0.02, 10)
    held = [late_ms(lateness, 4.0 + i * 0.002, 3000 - i * 18) for i in range(130)]
    assert all(late > 500 for late in held)
    assert late_ms(lateness, 4.4, 12) == 2


def test_a_permanent_shift_is_late_for_2_seconds_and_then_the_new_measure():
    lateness = Lateness()
    late_ms(lateness, 0.0, 10)
    shifted = [(s / 50, late_ms(lateness, s / 50, 5010)) for s in range(50, 250)]
    assert all(late == 5000 for now, late in shifted if now < 3.0)
    assert all(late == 0 for now, late in shifted if now >= 3.0)
    assert late_ms(lateness, 5.1, 5030) == 20
    assert late_ms(lateness, 5.2, 5600) == 590


def test_one_message_in_time_keeps_the_measure():
    lateness = Lateness()
    for i in range(500):
        in_time = i % 75 == 0
        late = late_ms(lateness, i * 0.02, 10 if in_time else 900)
        assert late == (0 if in_time else 890)
