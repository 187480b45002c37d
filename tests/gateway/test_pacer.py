from collections.abc import Iterable

import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st

from reachy_gateway.talk.pacer import AHEAD_MS, QUEUE_MAX_MS, Chunk, Ended, Pacer
from reachy_gateway.talk.resampler import Pcm16, rounded
from reachy_link.pcm import LONG_CHUNK_MS, Format

STEREO = Format(rate_hz=16000, channels=2)
MONO_24K = Format(rate_hz=24000, channels=1)
LEAD_MS = 40
AHEAD_S = (LEAD_MS + AHEAD_MS) / 1000
EPSILON_S = 1e-6


def noise(ms: float, rate_hz: int = 24000, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).integers(-20000, 20000, round(rate_hz * ms / 1000), np.int16).tobytes()


def whole(pcm: bytes, from_hz: int, to_hz: int) -> Pcm16:
    """The conversion of the whole reply at once."""
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2").astype(np.float32)
    return rounded(soxr.resample(samples, from_hz, to_hz, quality="HQ"))


def heard(out: Iterable[Chunk | Ended], channels: int = 1) -> Pcm16:
    """The sent samples of one channel. All channels must be equal."""
    pcm = b"".join(item.pcm for item in out if isinstance(item, Chunk))
    samples = np.frombuffer(pcm, "<i2").reshape(-1, channels)
    assert np.all(samples == samples[:, :1])
    return samples[:, 0]


def run_out(pacer: Pacer, now: float = 0.0, seconds: float = 1000.0) -> list[Chunk | Ended]:
    """Everything that leaves from now on, taken whenever the pacer says that something is due."""
    out = []
    until = now + seconds
    while (at := pacer.next_due()) is not None and at <= until:
        now = max(now, at) + EPSILON_S  # a timer is always a little late
        out += pacer.due(now)
    return out


def ms_of(out: Iterable[Chunk | Ended], rate_hz: int = 16000) -> float:
    return sum(item.samples * 1000 / rate_hz for item in out if isinstance(item, Chunk))


# --- pace -------------------------------------------------------------------------------------------------------------


def test_the_start_of_a_burst_leaves_at_once_and_the_rest_at_the_speakers_pace():
    pacer = Pacer(STEREO, LEAD_MS)
    pacer.push(1, noise(2000), 24000)
    at_once = ms_of(pacer.due(now=100.0))
    assert LEAD_MS + AHEAD_MS <= at_once <= LEAD_MS + AHEAD_MS + LONG_CHUNK_MS
    assert pacer.due(now=100.0) == []
    later = ms_of(pacer.due(now=100.1))
    assert 100 <= later <= 100 + LONG_CHUNK_MS
    assert pacer.sent_until == pytest.approx(100.0 + (at_once + later) / 1000)


def test_chunks_are_40_ms_long_where_so_much_is_there_and_only_the_last_is_shorter():
    pacer = Pacer(STEREO, LEAD_MS)
    pacer.push(1, noise(107), 24000)
    pacer.end(1)
    *chunks, end = run_out(pacer)
    assert [chunk.samples for chunk in chunks] == [640] * 2 + [432]
    assert [len(chunk.pcm) for chunk in chunks] == [2560] * 2 + [1728]
    assert end == Ended(1)


def test_a_chunk_of_20_ms_does_not_wait_for_one_that_may_follow():
    pacer = Pacer(MONO_24K, LEAD_MS)
    pacer.push(1, noise(30), 24000)
    assert [chunk.samples for chunk in pacer.due(now=0.0)] == [480]
    pacer.push(1, noise(50), 24000)
    assert [chunk.samples for chunk in pacer.due(now=0.01)] == [960, 480]


def test_a_pause_of_the_voice_is_not_made_up_for():
    """After a gap the speaker starts anew, so the audio may run ahead only as much as at the start."""
    pacer = Pacer(STEREO, LEAD_MS)
    pacer.push(1, noise(300), 24000)
    run_out(pacer, now=0.0)
    pacer.push(1, noise(2000), 24000)
    assert ms_of(pacer.due(now=50.0)) <= LEAD_MS + AHEAD_MS + LONG_CHUNK_MS


def test_the_end_of_a_turn_leaves_when_its_audio_has():
    pacer = Pacer(STEREO, LEAD_MS)
    pacer.push(1, noise(1000), 24000)
    pacer.end(1)
    assert Ended(1) not in pacer.due(now=0.0)
    assert not pacer.idle
    out = run_out(pacer, now=0.0)
    assert out[-1] == Ended(1)
    assert pacer.idle
    assert pacer.next_due() is None


def test_a_turn_without_any_audio_still_ends():
    pacer = Pacer(STEREO, LEAD_MS)
    pacer.end(1)
    assert pacer.due(now=0.0) == [Ended(1)]


def test_a_second_turn_queues_behind_the_first():
    pacer = Pacer(MONO_24K, LEAD_MS)
    first, second = noise(100, seed=1), noise(100, seed=2)
    pacer.push(1, first, 24000)
    pacer.end(1)
    pacer.push(2, second, 24000)
    pacer.end(2)
    out = run_out(pacer)
    end = out.index(Ended(1))
    assert [item.turn for item in out] == [1] * (end + 1) + [2] * (end + 1)
    assert heard(out[:end]).tobytes() == first
    assert heard(out[end:]).tobytes() == second


def test_a_turn_that_has_not_ended_holds_up_the_one_behind_it():
    pacer = Pacer(MONO_24K, LEAD_MS)
    pacer.push(1, noise(100), 24000)
    pacer.push(2, noise(100), 24000)
    assert {item.turn for item in pacer.due(now=0.0)} == {1}
    pacer.end(1)
    assert {item.turn for item in pacer.due(now=1.0)} == {1, 2}


# --- barge-in ---------------------------------------------------------------------------------------------------------


def test_after_a_barge_in_nothing_of_the_old_reply_leaves_and_the_new_one_starts_at_once():
    pacer = Pacer(MONO_24K, LEAD_MS)
    pacer.push(1, noise(5000), 24000)
    pacer.due(now=0.0)
    pacer.clear()
    assert pacer.idle
    assert (pacer.queued_ms, pacer.next_due()) == (0, None)
    assert pacer.due(now=0.01) == []
    new = noise(100, seed=2)
    pacer.push(2, new, 24000)
    assert heard(pacer.due(now=0.01)).tobytes() == new, "no filter tail of the old turn, and no wait for its schedule"


def test_what_still_comes_of_a_reply_that_was_cut_is_dropped():
    pacer = Pacer(MONO_24K, LEAD_MS)
    pacer.push(1, noise(500), 24000)
    pacer.clear()
    assert not pacer.push(1, noise(500), 24000)
    pacer.end(1)
    assert pacer.due(now=0.0) == []
    assert pacer.idle


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_beyond_120_s_the_newest_audio_is_dropped_and_counted_and_the_turn_ends_there():
    pacer = Pacer(MONO_24K, LEAD_MS)
    second = noise(1000)
    told = [pacer.push(1, second, 24000) for _ in range(125)]
    assert told == [True] * 120 + [False] * 5
    assert pacer.queued_ms == QUEUE_MAX_MS
    assert pacer.dropped_ms == 5000, "every piece that was dropped is counted"
    out = run_out(pacer)
    assert ms_of(out, 24000) == QUEUE_MAX_MS
    assert out[-1] == Ended(1, complete=False)


def test_a_turn_that_outgrew_the_bound_stays_over_even_when_there_is_room_again():
    pacer = Pacer(MONO_24K, LEAD_MS)
    for _ in range(121):
        pacer.push(1, noise(1000), 24000)
    assert run_out(pacer)[-1] == Ended(1, complete=False)
    assert not pacer.push(1, noise(1000), 24000)
    pacer.end(1)
    assert run_out(pacer, now=200.0) == [], "a turn must end only once"


def test_there_is_room_again_for_the_next_turn_as_audio_leaves():
    pacer = Pacer(MONO_24K, LEAD_MS)
    for _ in range(121):
        pacer.push(1, noise(1000), 24000)
    assert not pacer.push(2, noise(1000), 24000)
    run_out(pacer)
    assert pacer.push(3, noise(1000), 24000)


def test_a_burst_is_converted_a_little_at_a_time():
    pacer = Pacer(STEREO, LEAD_MS)
    pacer.push(1, noise(60_000), 24000)
    pacer.due(now=0.0)
    assert pacer.queued_ms >= 60_000 - (LEAD_MS + AHEAD_MS + 100)


# --- what goes in comes out -------------------------------------------------------------------------------------------


def split(pcm: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at = [], 0
    while at < len(pcm):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(pcm[at : at + size])
        at += size
    return pieces


@given(
    n=st.integers(0, 20_000),
    sizes=st.lists(st.integers(0, 5001), min_size=1, max_size=6).filter(any),
    from_hz=st.sampled_from([24000, 16000, 22050, 48000]),
    speaker=st.sampled_from([STEREO, MONO_24K]),
    step_s=st.sampled_from([0.0, 0.01, 0.5]),
)
def test_however_a_reply_is_split_it_sounds_like_the_conversion_of_the_whole(n, sizes, from_hz, speaker, step_s):
    """Odd numbers of bytes and empty pieces included, during the reply or after it."""
    pcm = noise(1000, 24000)[:n]
    pacer = Pacer(speaker, LEAD_MS)
    out, now = [], 0.0
    for piece in split(pcm, sizes):
        assert pacer.push(1, piece, from_hz)
        out += pacer.due(now)
        now += step_s
    pacer.end(1)
    out += run_out(pacer, now)
    got, want = heard(out, speaker.channels), whole(pcm, from_hz, speaker.rate_hz)
    assert len(got) == len(want)
    assert np.abs(got.astype(int) - want).max(initial=0) <= 1, "apart from the rounding of exact halves"
    assert out[-1] == Ended(1)
    assert pacer.queued_ms == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("rates", [(16000, 48000), (24000, 48000), (24000, 16000)], ids=str)
def test_a_rate_that_changes_within_a_reply_loses_nothing(rates):
    pacer = Pacer(STEREO, LEAD_MS)
    pieces = [(noise(300, rate_hz), rate_hz) for rate_hz in rates]
    for pcm, rate_hz in pieces:
        pacer.push(1, pcm, rate_hz)
    pacer.end(1)
    want = np.concatenate([whole(pcm, rate_hz, 16000) for pcm, rate_hz in pieces])
    assert np.array_equal(heard(run_out(pacer), 2), want)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 3000)),
        st.tuples(st.just("end"), st.just(0)),
        st.tuples(st.just("clear"), st.just(0)),
        st.tuples(st.just("wait"), st.sampled_from([0, 1, 5, 19, 20, 40, 333])),
    ),
    max_size=60,
)


@given(steps=STEPS, speaker=st.sampled_from([STEREO, MONO_24K]))
def test_whatever_comes_the_link_never_runs_further_ahead_than_allowed_and_next_due_keeps_its_word(steps, speaker):
    pacer = Pacer(speaker, LEAD_MS)
    turn, now, played_until = 1, 0.0, 0.0
    for name, amount in steps:
        match name:
            case "push":
                pacer.push(turn, noise(amount)[: amount * 2], 24000)
            case "end":
                pacer.end(turn)
                turn += 1
            case "clear":
                pacer.clear()
                turn, played_until = turn + 1, now
            case "wait":
                now += amount / 1000
        at = pacer.next_due()
        out = pacer.due(now)
        if at is None or at > now + EPSILON_S:
            assert out == [], "it said that nothing was due yet"
        for item in out:
            if isinstance(item, Chunk):
                assert max(played_until, now) - now < AHEAD_S + EPSILON_S, "the speaker had enough"
                played_until = max(played_until, now) + item.samples / speaker.rate_hz
        assert played_until - now <= AHEAD_S + LONG_CHUNK_MS / 1000 + EPSILON_S
        following = pacer.next_due()
        assert following is None or following >= now - EPSILON_S, "all that was due has left"


@given(sizes=st.lists(st.integers(0, 4000), min_size=1, max_size=30), speaker=st.sampled_from([STEREO, MONO_24K]))
def test_who_only_wakes_when_next_due_says_so_misses_nothing(sizes, speaker):
    """Everything that could be sent in time is sent: a second pacer that is asked all the time sends no more."""
    lazy, eager = Pacer(speaker, LEAD_MS), Pacer(speaker, LEAD_MS)
    lazy_ms = eager_ms = 0.0
    for i, size in enumerate(sizes):
        now, piece = i * 0.1, noise(200)[: size * 2]
        lazy.push(1, piece, 24000)
        lazy_ms += ms_of([*lazy.due(now), *run_out(lazy, now, 0.1 - EPSILON_S)], speaker.rate_hz)
        eager.push(1, piece, 24000)
        eager_ms += ms_of((item for ms in range(100) for item in eager.due(now + ms / 1000)), speaker.rate_hz)
        assert lazy_ms >= eager_ms
