import numpy as np
import pytest
import soxr

from gemini_live_sim import Behaviour
from gemini_live_sim.answers import choose, recordings, resample, tone
from gemini_live_sim.vad import Utterance

HZ = 16_000


def test_the_recordings_are_short_speech_with_their_texts() -> None:
    spoken = recordings()
    assert len({speech.text for speech in spoken}) == len(spoken) == 4
    assert all(2 <= speech.seconds <= 4 for speech in spoken)
    assert all(np.abs(np.frombuffer(speech.pcm, "<i2").astype(float)).max() > 10_000 for speech in spoken)
    assert sum(len(speech.pcm) for speech in spoken) < 650_000


def test_answers_come_in_turn() -> None:
    spoken = recordings()
    chosen = [choose(Behaviour(), spoken, turn, None) for turn in range(1, 6)]
    assert chosen == [*spoken, spoken[0]]


def test_an_echo_is_the_utterance_resampled_in_one_piece(question) -> None:
    echo = choose(Behaviour(mode="echo"), recordings(), 1, Utterance(question, HZ))
    samples = np.frombuffer(question, "<i2").astype(np.float64)
    expected = soxr.resample(samples, HZ, 24_000, quality="VHQ")
    assert np.abs(np.frombuffer(echo.pcm, "<i2") - expected).max() <= 0.51


def test_an_echo_of_a_text_is_a_recording() -> None:
    assert choose(Behaviour(mode="echo"), recordings(), 2, None) == recordings()[1]


def test_a_tone_is_the_same_every_time_and_as_long_as_asked() -> None:
    assert tone(1500) == tone(1500)
    assert tone(1500).seconds == 1.5
    assert tone(40, 48_000).hz == 48_000


def test_answers_come_at_the_rate_that_is_asked_for() -> None:
    speech = choose(Behaviour(answer_hz=16_000), recordings(), 1, None)
    assert (speech.hz, speech.seconds) == (16_000, pytest.approx(recordings()[0].seconds, abs=1e-4))


def test_resampling_clips_and_never_wraps() -> None:
    square = np.where(np.arange(1600) // 40 % 2, 32767, -32768).astype("<i2")
    louder = np.frombuffer(resample(square.tobytes(), HZ, 24_000), "<i2")
    # Overshoot at the edges would wrap to the other sign; within a half wave all samples must keep theirs.
    assert (louder[15:45] < 0).all()
    assert (louder[75:105] > 0).all()
    assert louder.min() == -32768
