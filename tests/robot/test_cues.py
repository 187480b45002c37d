import numpy as np
import pytest

from reachy_link.pcm import Format
from reachy_robot.cues import FADE_MS, LEVEL, NOTE_MS, NOTES_HZ, sound

FORMATS = pytest.mark.parametrize(
    "speaker", [Format(rate_hz=16000, channels=2), Format(rate_hz=48000, channels=1)], ids=["16 kHz stereo", "48 kHz mono"]
)


@FORMATS
@pytest.mark.parametrize("name", NOTES_HZ)
def test_a_sound_is_in_the_speakers_format_quiet_and_without_clicks(name, speaker):
    samples = sound(name, speaker)
    assert samples.dtype == np.float32
    assert samples.shape == (len(NOTES_HZ[name]) * (speaker.rate_hz * NOTE_MS // 1000), speaker.channels)
    assert np.all(samples == samples[:, :1])
    assert LEVEL * 0.9 < np.abs(samples).max() <= LEVEL
    steepest = max(NOTES_HZ[name]) * 2 * np.pi / speaker.rate_hz + 1000 / FADE_MS / speaker.rate_hz
    assert np.abs(np.diff(samples[:, 0], prepend=0, append=0)).max() <= LEVEL * steepest


@FORMATS
@pytest.mark.parametrize("name", NOTES_HZ)
def test_the_notes_are_those_that_were_chosen(name, speaker):
    notes = sound(name, speaker)[:, 0].reshape(len(NOTES_HZ[name]), -1)
    hz = np.fft.rfftfreq(8 * notes.shape[1], 1 / speaker.rate_hz)
    heard = [hz[np.abs(np.fft.rfft(note, 8 * len(note))).argmax()] for note in notes]
    assert heard == pytest.approx(NOTES_HZ[name], abs=2)


def test_the_sounds_can_be_told_apart():
    assert len({tuple(notes) for notes in NOTES_HZ.values()}) == len(NOTES_HZ)
