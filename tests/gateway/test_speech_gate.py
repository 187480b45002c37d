import wave
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from reachy_gateway.audio import Pcm16
from reachy_gateway.speech_gate import HANGOVER_MS, ONSET_MS, SpeechEnded, SpeechGate, SpeechStarted, dbfs

UTTERANCES = sorted((Path(__file__).parents[2] / "services/robot-io/utterances").glob("*.wav"))
CHUNK = 320
"""20 ms."""


def utterance(path: Path) -> Pcm16:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def silence(ms: float) -> Pcm16:
    return np.zeros(round(16 * ms), np.int16)


def noise(ms: float, level_db: float, seed: int = 1) -> Pcm16:
    """White noise of that level, in dB of full scale."""
    samples = np.random.default_rng(seed).normal(0, 32768 * 10 ** (level_db / 20), round(16 * ms))
    return np.rint(samples).clip(-32768, 32767).astype(np.int16)


def in_noise(samples: Pcm16, level_db: float) -> Pcm16:
    mixed = samples.astype(np.int32) + noise(len(samples) / 16, level_db)
    return mixed.clip(-32768, 32767).astype(np.int16)


def listen(gate: SpeechGate, *parts: Pcm16) -> Iterator[tuple[float, SpeechStarted | SpeechEnded]]:
    """What the gate tells, and when in ms; marks are the starts of chunks, in ms."""
    samples = np.concatenate(parts)
    for start, end in pairwise(range(0, len(samples) + 1, CHUNK)):
        if told := gate.hear(samples[start:end], start // 16):
            yield end / 16, told


def kinds(told: Iterator[tuple[float, object]]) -> list[type]:
    return [type(event) for _, event in told]


# --- real speech ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", UTTERANCES, ids=lambda path: path.stem)
@pytest.mark.parametrize("noise_db", [-95, -70, -60, -52])
def test_real_speech_in_noise_starts_and_ends_where_it_does(path, noise_db):
    speech = utterance(path)
    loud_ms = np.flatnonzero(np.abs(speech.astype(np.int32)) > 1000) / 16
    gate = SpeechGate()
    told = list(listen(gate, in_noise(np.concatenate([silence(1000), speech, silence(1500)]), noise_db)))
    assert isinstance(told[0][1], SpeechStarted)
    assert abs(told[0][0] - (1000 + loud_ms[0])) <= 150
    at_ms, end = told[-1]
    assert isinstance(end, SpeechEnded)
    assert abs(end.mark - (1000 + loud_ms[-1])) <= 250
    assert at_ms - end.mark <= HANGOVER_MS + 2 * 20
    assert not gate.speaking


@pytest.mark.parametrize("path", UTTERANCES[:2], ids=lambda path: path.stem)
def test_a_sentence_is_one_stretch_of_speech_and_its_length_is_told(path):
    speech = utterance(path)
    (_, started), (_, ended) = listen(SpeechGate(), silence(500), speech, silence(800))
    assert isinstance(started, SpeechStarted)
    assert isinstance(ended, SpeechEnded)
    assert 0.75 * len(speech) / 16 <= ended.speech_ms <= len(speech) / 16


def test_the_end_carries_the_mark_of_the_last_chunk_that_held_speech():
    gate = SpeechGate()
    _, (at_ms, ended) = listen(gate, silence(200), noise(400, -20), silence(600))
    assert ended == SpeechEnded(mark=580, speech_ms=400)
    assert at_ms == 600 + HANGOVER_MS
    assert gate.mark == 580


# --- what is no speech, and what does not end it ----------------------------------------------------------------------


def test_a_click_shorter_than_the_onset_is_no_speech():
    click = noise(ONSET_MS - 20, -10)
    assert kinds(listen(SpeechGate(), silence(200), click, silence(1000), click, silence(1000))) == []


@pytest.mark.parametrize("ms", [4, 10, 20])
def test_a_click_is_no_speech_wherever_it_falls_into_the_chunks(ms):
    """A click is shorter than the onset, also where it lies across the edge of two chunks."""
    for offset_ms in range(0, 20, 2):
        told = kinds(listen(SpeechGate(), silence(200 + offset_ms), noise(ms, -10), silence(1000)))
        assert told == [], f"{offset_ms} ms into a chunk"


def test_clicks_that_are_apart_do_not_add_up():
    click_and_pause = [noise(20, -10), silence(40)]
    assert kinds(listen(SpeechGate(), silence(200), *click_and_pause * 20)) == []


def test_the_pause_within_a_word_does_not_end_speech():
    word = [noise(200, -20), silence(HANGOVER_MS - 20), noise(200, -20)]
    (_, _), (_, ended) = listen(SpeechGate(), silence(200), *word, silence(600))
    assert ended.speech_ms == 400 + HANGOVER_MS - 20


def test_a_longer_pause_ends_it_and_speech_may_begin_again():
    told = kinds(listen(SpeechGate(), *[silence(400), noise(200, -20)] * 3, silence(400)))
    assert told == [SpeechStarted, SpeechEnded] * 3


def test_noise_below_the_quietest_speech_is_never_speech():
    assert kinds(listen(SpeechGate(), noise(60_000, -52))) == []


def test_empty_chunks_are_nothing():
    gate = SpeechGate()
    assert gate.hear(silence(0), 7) is None
    assert gate.mark == 0


# --- the room ---------------------------------------------------------------------------------------------------------


def noisy_room(level_db: float) -> SpeechGate:
    """A gate that has been in a noisy room for long enough to know it."""
    gate = SpeechGate()
    list(listen(gate, noise(300_000, level_db)))
    return gate


@pytest.mark.parametrize("level_db", [-45, -40, -35])
def test_a_noise_that_goes_on_is_the_room_and_louder_speech_is_still_heard(level_db):
    gate = noisy_room(level_db)
    assert not gate.speaking
    assert kinds(listen(gate, noise(20_000, level_db, seed=2))) == []
    told = kinds(listen(gate, in_noise(np.concatenate([utterance(UTTERANCES[0]), silence(1000)]), level_db)))
    assert told[0] is SpeechStarted
    assert told[-1] is SpeechEnded


def test_a_room_that_became_quieter_is_followed_at_once():
    gate = noisy_room(-40)
    list(listen(gate, noise(40, -70)))
    assert kinds(listen(gate, noise(200, -40), noise(600, -70))) == [SpeechStarted, SpeechEnded]


def test_zeros_of_a_half_duplex_robot_teach_nothing_about_the_room():
    """While such a robot speaks the gateway hears zeros; the room that comes back afterwards is not speech."""
    gate = noisy_room(-42)
    assert kinds(listen(gate, silence(5000), noise(5000, -42, seed=3))) == []


def test_digital_silence_does_not_make_the_gate_deaf_or_nervous():
    gate = SpeechGate()
    assert kinds(listen(gate, silence(60_000), noise(1000, -55))) == []
    assert kinds(listen(gate, noise(200, -45), silence(400))) == [SpeechStarted, SpeechEnded]


# --- levels -----------------------------------------------------------------------------------------------------------


def test_levels_are_in_db_of_full_scale():
    assert dbfs(np.full(100, -32768, np.int16)) == pytest.approx(0)
    assert dbfs(np.full(100, 3277, np.int16)) == pytest.approx(-20, abs=0.01)
    assert dbfs(silence(20)) == -100
