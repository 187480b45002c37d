"""Both sides of a conversation on one time line."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reachy_gateway.admin.recorder import BUFFER_S, LIMIT_S, SETTLE_S, Recorder
from reachy_link.pcm import Format

MONO = Format(rate_hz=16000, channels=1)
STEREO = Format(rate_hz=16000, channels=2)
CHUNK = 320


def pcm(value: int, samples: int = CHUNK, channels: int = 1) -> bytes:
    return np.full(samples * channels, value, "<i2").tobytes()


def sides(data: bytes) -> np.ndarray:
    return np.frombuffer(data, "<i2").reshape(-1, 2).T


def test_what_is_said_and_what_is_answered_are_where_they_were():
    recorder = Recorder(STEREO, 100.0)
    for n in range(50):
        recorder.heard(pcm(n + 1), 100.02 + n * 0.02 + 0.005 * (n % 3))  # with network jitter
    for n in range(25):
        recorder.sounded(7, pcm(n + 1, channels=2), 100.5)  # all at once, because the pacer is ahead
    person, robot = sides(recorder.take(102.0, to_the_end=True)[0])
    assert len(person) == 32000
    assert person[: 50 * CHUNK : CHUNK].tolist() == list(range(1, 51))
    assert not person[50 * CHUNK :].any()
    assert not robot[:8000].any()
    assert robot[8000 : 8000 + 25 * CHUNK : CHUNK].tolist() == list(range(1, 26))


def test_what_a_flush_silences_is_not_heard():
    recorder = Recorder(MONO, 0.0)
    for n in range(100):
        recorder.sounded(1, pcm(n + 1), 0.0)
    recorder.flushed(0.5)
    recorder.sounded(2, pcm(1000), 0.6)
    _, robot = sides(recorder.take(3.0, to_the_end=True)[0])
    assert robot[:8000].all()
    assert not robot[8000:9600].any()
    assert (robot[9600 : 9600 + CHUNK] == 1000).all()
    assert not robot[9600 + CHUNK :].any()


def test_what_may_be_flushed_yet_is_not_given_away():
    recorder = Recorder(MONO, 0.0)
    recorder.heard(pcm(5, 16000), 1.0)
    assert recorder.take(SETTLE_S) == (b"", "")
    assert len(recorder.take(SETTLE_S + 0.5)[0]) == 8000 * 4
    assert len(recorder.take(SETTLE_S + 1.0)[0]) == 8000 * 4


def test_a_microphone_that_was_away_goes_on_where_it_is():
    recorder = Recorder(MONO, 0.0)
    recorder.heard(pcm(1), 0.02)
    recorder.heard(pcm(2), 1.02)
    person, _ = sides(recorder.take(2.0, to_the_end=True)[0])
    assert person[16000] == 2
    assert not person[CHUNK:16000].any()


def test_other_rates_come_out_as_16_khz():
    recorder = Recorder(Format(rate_hz=48000, channels=1), 0.0)
    t = np.arange(48000) / 48000
    tone = (8000 * np.sin(2 * np.pi * 440 * t)).astype("<i2")
    for n in range(50):
        recorder.sounded(1, tone[n * 960 : (n + 1) * 960].tobytes(), n * 0.02)
    _, robot = sides(recorder.take(2.0, to_the_end=True)[0])
    spectrum = np.abs(np.fft.rfft(robot[2000:14000].astype(float)))
    assert abs(np.argmax(spectrum) * 16000 / 12000 - 440) < 3


def test_what_happens_is_written_down_with_its_time():
    recorder = Recorder(MONO, 10.0)
    recorder.happened("said", {"who": "person", "text": "zwölf\n<b>"}, 11.25)
    assert [json.loads(line) for line in recorder.take(11.0)[1].splitlines()] == [
        {"t": 1.25, "kind": "said", "who": "person", "text": "zwölf\n<b>"}
    ]
    assert recorder.take(11.0)[1] == ""


def test_it_ends_by_itself():
    recorder = Recorder(MONO, 10.0)
    assert not recorder.is_full(10.0 + LIMIT_S - 1)
    assert recorder.is_full(10.0 + LIMIT_S)


EVENTS = st.lists(
    st.tuples(st.sampled_from(("heard", "sounded", "flushed", "take")), st.floats(0.0, 4.0), st.integers(1, 4096)), max_size=40
)


@given(EVENTS, st.sampled_from((MONO, STEREO, Format(rate_hz=44100, channels=2))))
def test_whatever_comes_the_file_is_as_long_as_the_time_and_the_buffer_does_not_grow(events, speaker):
    recorder, now, taken, turn = Recorder(speaker, 0.0), 0.0, 0, 0
    for what, later_s, samples in events:
        now += later_s
        match what:
            case "heard":
                recorder.heard(pcm(1, samples), now)
            case "sounded":
                recorder.sounded(turn, pcm(1, samples, speaker.channels), now)
            case "flushed":
                turn += 1
                recorder.flushed(now)
            case "take":
                taken += len(recorder.take(now)[0]) // 4
        assert recorder._sides.shape == (2, int(BUFFER_S * 16000))
    while piece := recorder.take(now, to_the_end=True)[0]:
        taken += len(piece) // 4
    assert abs(taken - now * 16000) <= 1


@pytest.mark.parametrize("side", [0, 1])
def test_beyond_the_buffer_sound_is_lost_and_counted(side):
    recorder = Recorder(MONO, 0.0)
    for n in range(int((BUFFER_S + 2) * 50)):
        if side:
            recorder.sounded(1, pcm(1), 0.0)
        else:
            recorder.heard(pcm(1), (n + 1) * 0.02)
    assert recorder.lost_samples == 32000
