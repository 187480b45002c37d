import wave
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st

from reachy_gateway.talk.resampler import Mono, Pcm16, Resampler, Uplink, rounded, spread
from reachy_link.pcm import Format

UTTERANCES = Path(__file__).parents[2] / "services/robot-io/utterances"


def speech() -> Pcm16:
    """Real speech, taken at any rate."""
    with wave.open(str(UTTERANCES / "01.wav")) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def chirp(rate_hz: int, seconds: float = 3.0) -> Pcm16:
    """A sweep through the band that survives the conversion."""
    t = np.arange(round(rate_hz * seconds)) / rate_hz
    return np.rint(20000 * np.sin(2 * np.pi * (100 + 1000 * t) * t)).astype(np.int16)


def whole(samples: Pcm16, from_hz: int, to_hz: int) -> np.ndarray:
    """The conversion of the whole file at once, at soxr's best quality, in double precision."""
    return soxr.resample(samples.astype(np.float64), from_hz, to_hz, quality="HQ")


def in_pieces(samples: Pcm16, sizes: list[int]) -> list[Pcm16]:
    """Consecutive pieces of these sizes, cyclically."""
    edges = [0]
    while edges[-1] < len(samples):
        edges.append(edges[-1] + sizes[len(edges) % len(sizes)])
    return [samples[a:b] for a, b in pairwise(edges)]


def streamed(samples: Pcm16, from_hz: int, to_hz: int, sizes: list[int]) -> Mono:
    rate = Resampler(from_hz, to_hz)
    return np.concatenate([*map(rate.convert, in_pieces(samples, sizes)), rate.flush()])


def snr_db(signal: np.ndarray, got: np.ndarray) -> float:
    noise = signal - got
    power = float(np.dot(noise, noise))
    return 10 * np.log10(float(np.dot(signal, signal)) / power) if power else float("inf")


SIZES = pytest.mark.parametrize("sizes", [[960], [480], [7, 1, 0, 4001], [24000]], ids=str)
SOURCES = pytest.mark.parametrize("source", [chirp(24000), speech()], ids=["chirp", "speech"])


@SOURCES
@SIZES
def test_a_stream_equals_the_conversion_of_the_whole_file_within_100_db(source, sizes):
    assert snr_db(whole(source, 24000, 16000), streamed(source, 24000, 16000, sizes)) >= 100


@SOURCES
@SIZES
def test_on_the_wire_it_is_74_db(source, sizes):
    got = rounded(streamed(source, 24000, 16000, sizes)).astype(np.float64)
    assert snr_db(whole(source, 24000, 16000), got) >= 74


@SIZES
def test_there_is_no_seam_at_the_edges_of_chunks(sizes):
    source = chirp(24000)
    error = np.abs(whole(source, 24000, 16000) - streamed(source, 24000, 16000, sizes))
    edges = np.cumsum([len(piece) for piece in in_pieces(source, sizes)]) * 2 // 3
    near = np.unique((edges[:, None] + np.arange(-20, 21)).clip(0, len(error) - 1))
    assert error[near].max() < 0.05, "in units of PCM16"


def test_converting_each_chunk_on_its_own_would_fail_these_tests():
    source = chirp(24000)
    apart = np.concatenate([soxr.resample(piece.astype(np.float32), 24000, 16000) for piece in in_pieces(source, [480])])
    assert snr_db(whole(source, 24000, 16000), apart) < 74


@given(
    rates=st.sampled_from([(24000, 16000), (16000, 48000), (48000, 16000), (44100, 16000), (22050, 24000), (16000, 16000)]),
    sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=5).filter(any),
    n=st.integers(0, 5000),
)
def test_however_a_stream_is_split_no_sample_is_lost_and_none_is_made_up(rates, sizes, n):
    source = chirp(rates[0], 1.0)[:n]
    got = streamed(source, *rates, sizes)
    want = whole(source, *rates)
    assert len(got) == len(want)
    assert np.allclose(got, want, atol=0.05)


def test_equal_rates_need_no_conversion():
    source = speech()
    assert np.array_equal(streamed(source, 16000, 16000, [320]), source)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50))
def test_rounding_clips_and_never_wraps(values):
    want = [max(-32768, min(32767, round(value))) for value in values]  # both round half to even
    assert rounded(np.array(values, np.float32)).tolist() == want


def test_a_full_scale_square_wave_overshoots_and_does_not_wrap():
    square = np.where(np.arange(24000) // 60 % 2, 32767, -32768).astype(np.int16)
    floats = streamed(square, 24000, 16000, [480])
    assert floats.max() > 32767, "else this test shows nothing"
    assert floats.min() < -32768
    wrapped = rounded(floats).astype(np.float64) * floats < 0
    assert not np.any(wrapped & (np.abs(floats) > 1))


@given(st.lists(st.integers(-32768, 32767), max_size=50), st.integers(1, 2))
def test_spreading_repeats_each_sample_in_every_channel(values, channels):
    pcm = np.frombuffer(spread(np.array(values, np.int16), channels), "<i2")
    assert pcm.tolist() == [value for value in values for _ in range(channels)]


# --- the microphone ---------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(-32768, 32767), st.integers(-32768, 32767)), max_size=50))
def test_the_mean_of_two_channels_is_exact(pairs):
    pcm = np.array(pairs, "<i2").reshape(-1, 2).tobytes()
    uplink = Uplink(Format(rate_hz=16000, channels=2))
    mono = uplink.convert(pcm)
    assert mono.tolist() == [(left + right) / 2 for left, right in pairs]
    assert np.frombuffer(uplink.heard(mono), "<i2").tolist() == [round((left + right) / 2) for left, right in pairs]


def test_a_microphone_that_overshoots_when_converted_is_heard_clipped():
    uplink = Uplink(Format(rate_hz=48000, channels=1))
    square = np.where(np.arange(48000) // 120 % 2, 32767, -32768).astype("<i2")
    mono = uplink.convert(square.tobytes())
    assert mono.max() > 32767, "else this test shows nothing"
    heard = np.frombuffer(uplink.heard(mono), "<i2")
    assert heard.tolist() == rounded(mono).tolist()


def test_a_voice_in_both_channels_stays_as_it_is():
    both = np.repeat(speech(), 2).tobytes()
    assert np.array_equal(Uplink(Format(rate_hz=16000, channels=2)).convert(both), speech())


def test_a_mono_microphone_at_16_khz_passes_untouched():
    assert np.array_equal(Uplink(Format(rate_hz=16000, channels=1)).convert(speech().tobytes()), speech())


def test_a_microphone_at_another_rate_is_converted_as_one_stream():
    source = chirp(48000, 2.0)
    uplink = Uplink(Format(rate_hz=48000, channels=2))
    got = rounded(np.concatenate([uplink.convert(np.repeat(piece, 2).tobytes()) for piece in in_pieces(source, [960])]))
    want = whole(source, 48000, 16000)
    assert len(want) * 0.97 < len(got) <= len(want), "the converter holds back a little"
    assert snr_db(want[: len(got)], got.astype(np.float64)) >= 74
