import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reachy_link.pcm import LONG_CHUNK_MS, Format, from_pcm16, to_pcm16


def samples(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


@given(pcm=st.binary(max_size=400), channels=st.integers(1, 2))
def test_s16le_comes_back_bit_by_bit(pcm, channels):
    pcm = pcm[: len(pcm) // (2 * channels) * 2 * channels]
    floats = from_pcm16(pcm, channels)
    assert floats.shape == (len(pcm) // 2 // channels, channels)
    assert floats.dtype == np.float32
    assert to_pcm16(floats) == pcm


def test_samples_are_interleaved_little_endian():
    both = np.array([[0.5, -0.5], [0.25, 0.0]], np.float32)
    assert to_pcm16(both) == bytes.fromhex("0040 00c0 0020 0000")


@pytest.mark.parametrize("channels", [1, 2])
def test_a_part_of_a_sample_is_refused(channels):
    with pytest.raises(ValueError):  # noqa: PT011 - numpy's
        from_pcm16(b"\0" * (2 * channels + 1), channels)
    if channels == 2:
        with pytest.raises(ValueError):  # noqa: PT011 - numpy's
            from_pcm16(b"\0\0", channels)


@given(value=st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-64, max_value=64))
def test_what_lies_beyond_full_scale_is_clipped_and_never_wraps(value):
    (heard,) = np.frombuffer(to_pcm16(samples(value)), "<i2")
    assert heard == max(-32768, min(32767, np.rint(np.float32(value) * np.float32(32768))))


@pytest.mark.parametrize(("value", "heard"), [(np.inf, 32767), (-np.inf, -32768), (3e38, 32767), (np.nan, 0)])
def test_what_is_no_sensible_sample_is_clipped_or_silent(value, heard):
    assert np.frombuffer(to_pcm16(samples(0.5, value, 0.5)), "<i2").tolist() == [16384, heard, 16384]


def test_read_only_samples_of_an_sdk_are_left_alone():
    given_by_sdk = samples(0.5, 2.0)
    given_by_sdk.setflags(write=False)
    to_pcm16(given_by_sdk)
    assert given_by_sdk[1, 0] == 2.0


def test_a_format_tells_sizes_and_lengths():
    stereo = Format(rate_hz=16000, channels=2)
    assert stereo.chunk_samples() == 320
    assert stereo.pcm_bytes(320) == 1280
    assert stereo.ms(320) == 20.0
    assert Format(rate_hz=44100, channels=1).chunk_samples() == 882
    assert stereo.chunk_samples(LONG_CHUNK_MS) == 640
