import wave
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from reachy_gateway.talk.resampler import Pcm16, Resampler
from reachy_gateway.talk.speech_gate import HANGOVER_MS, ONSET_MS, SpeechEnded, SpeechGate, SpeechStarted, dbfs

TESTS = Path(__file__).parents[1]
UTTERANCES = sorted((TESTS.parent / "services/robot-io/utterances").glob("*.wav"))
CHUNK = 320
"""20 ms."""


def utterance(path: Path) -> Pcm16:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def silence(ms: float) -> Pcm16:
    return np.zeros(round(16 * ms), np.int16)


def noise(ms: float, level_db: float, seed: int = 1) -> Pcm16:
    """White noise at this level, in dB of full scale."""
    samples = np.random.default_rng(seed).normal(0, 32768 * 10 ** (level_db / 20), round(16 * ms))
    return np.rint(samples).clip(-32768, 32767).astype(np.int16)


def in_noise(samples: Pcm16, level_db: float) -> Pcm16:
    mixed = samples.astype(np.int32) + noise(len(samples) / 16, level_db)
    return mixed.clip(-32768, 32767).astype(np.int16)


def listen(gate: SpeechGate, *parts: Pcm16) -> Iterator[tuple[float, SpeechStarted | SpeechEnded]]:
    """What the gate reports, and when in ms. Marks are the starts of chunks, in ms."""
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


# --- sounds that are not speech, and sounds that do not end it ----------------------------------------------------------


def test_a_click_shorter_than_the_onset_is_no_speech():
    click = noise(ONSET_MS - 20, -10)
    assert kinds(listen(SpeechGate(), silence(200), click, silence(1000), click, silence(1000))) == []


@pytest.mark.parametrize("ms", [4, 10, 20])
def test_a_click_is_no_speech_wherever_it_falls_into_the_chunks(ms):
    """A click is shorter than the onset, also when it lies across the edge of two chunks."""
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
    """A gate that has been in a noisy room long enough to know the room."""
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
    """While such a robot speaks, the gateway hears zeros. The room's noise that returns afterwards is not speech."""
    gate = noisy_room(-42)
    assert kinds(listen(gate, silence(5000), noise(5000, -42, seed=3))) == []


def test_digital_silence_does_not_make_the_gate_deaf_or_nervous():
    gate = SpeechGate()
    assert kinds(listen(gate, silence(60_000), noise(1000, -55))) == []
    assert kinds(listen(gate, noise(200, -45), silence(400))) == [SpeechStarted, SpeechEnded]


# --- a room that is not quiet -----------------------------------------------------------------------------------------

RECORDINGS = [*UTTERANCES, *sorted(TESTS.glob("sim/data/*.wav")), *sorted(TESTS.glob("e2e/data/*.wav"))]
OPENS_MS, CLOSES_MS, STEP_MS = 100, 1000, 4000
LEVELS = (-60, -50, -40, -30)
HZ = 16000


def coloured(samples: int, exponent: float, seed: int) -> np.ndarray:
    """Noise of mean power 1 that falls with this exponent of the frequency, from 20 Hz on."""
    rng = np.random.default_rng(seed)
    hz = np.maximum(np.fft.rfftfreq(samples, 1 / HZ), 20)
    spectrum = (rng.normal(size=len(hz)) + 1j * rng.normal(size=len(hz))) * hz ** (-exponent / 2)
    spectrum[0] = 0
    return unit(np.fft.irfft(spectrum, samples))


def tones(samples: int, hz: float, parts: dict[int, float]) -> np.ndarray:
    at = np.arange(samples) / HZ
    return unit(np.sum([part * np.sin(2 * np.pi * hz * n * at + n) for n, part in parts.items()], axis=0))


def hum(samples: int, hz: float) -> np.ndarray:
    return tones(samples, hz, {1: 1, 2: 0.4, 3: 0.3, 5: 0.15, 7: 0.05})


def wandering(samples: int) -> np.ndarray:
    """An offset that drifts by a tenth, and changes its sign every 7 s."""
    at = np.arange(samples) / HZ
    return (1 + 0.1 * np.sin(at)) * np.where(at % 14 < 7, 1, -1)


def fan(samples: int) -> np.ndarray:
    swell = 10 ** (1.5 * np.sin(2 * np.pi * 3 * np.arange(samples) / HZ) / 20)
    return unit(coloured(samples, 2, 3) * swell + 0.3 * hum(samples, 93) + 0.2 * coloured(samples, 1, 4))


def unit(sound: np.ndarray) -> np.ndarray:
    return sound / np.sqrt(np.mean(sound**2))


ROOMS = {
    "white": lambda samples: coloured(samples, 0, 5),
    "pink": lambda samples: coloured(samples, 1, 6),
    "brown": lambda samples: coloured(samples, 2, 7),
    "fan": fan,
    "offset": np.ones,
    "negative offset": lambda samples: -np.ones(samples),
    "wandering offset": wandering,
    "hum of 50 Hz": lambda samples: hum(samples, 50),
    "hum of 60 Hz": lambda samples: hum(samples, 60),
    "offset, hum and pink": lambda samples: unit(np.ones(samples) + hum(samples, 60) + coloured(samples, 1, 8)),
}


@cache
def room_of(name: str, seconds: int) -> np.ndarray:
    return ROOMS[name](seconds * HZ)


def pcm(sound: np.ndarray, level_db: float = 0) -> Pcm16:
    """A sound of mean power 1 at this level, clipped as by a microphone."""
    return np.rint(sound * 32768 * 10 ** (level_db / 20)).clip(-32768, 32767).astype(np.int16)


def within(samples: np.ndarray, db: float) -> tuple[int, int]:
    """The range from the first to the last 20 ms that are less than this much below the loudest."""
    powers = np.convolve(samples.astype(float) ** 2, np.ones(CHUNK), "valid")
    near = np.flatnonzero(powers > powers.max() * 10 ** (-db / 10))
    return int(near[0]), int(near[-1]) + CHUNK


def recording(path: Path) -> np.ndarray:
    """A sentence from the first to the last 20 ms that are less than 35 dB below its loudest; mean power 1."""
    samples = utterance(path).astype(float)
    first, last = within(samples, 35)
    return unit(samples[first:last])


def over(room: np.ndarray, level_db: float, speech: np.ndarray, speech_db: float, at: int) -> Pcm16:
    """Speech in a room, each at its own level."""
    mixed = room * 10 ** (level_db / 20)
    mixed[at : at + len(speech)] += speech * 10 ** (speech_db / 20)
    return pcm(mixed)


def test_speech_on_an_offset_begins_and_ends():
    """A constant 1036 for 4 s, a sentence on top of it, the offset for 10 s."""
    speech = utterance(UTTERANCES[0])
    before, after = (np.full(seconds * HZ, 1036, np.int16) for seconds in (4, 10))
    (started_ms, started), (ended_ms, ended) = listen(SpeechGate(), before, speech + np.int16(1036), after)
    first, last = within(speech, 35)
    assert isinstance(started, SpeechStarted)
    assert isinstance(ended, SpeechEnded)
    assert 0 < started_ms - (4000 + first / 16) <= OPENS_MS
    assert 0 < ended_ms - (4000 + last / 16) <= CLOSES_MS


@pytest.mark.parametrize("above_db", [10, 20])
@pytest.mark.parametrize("room", ROOMS)
def test_speech_that_stands_out_of_a_room_begins_and_ends_in_time(room, above_db):
    """Speech begins with the first 20 ms of the clean recording that are less than 15 dB below its loudest 20 ms.

    Earlier speech is below the noise. Speech ends with the last 20 ms that are less than 35 dB below the loudest.
    """
    opened, closed = [], []
    sound = room_of(room, 9)
    for path in RECORDINGS:
        speech = recording(path)
        for level_db in LEVELS:
            for start_s in (0.503, 1.011, 2.017):
                at = round(start_s * HZ)
                end_ms = (at + len(speech)) / 16
                told = list(listen(SpeechGate(), over(sound, level_db, speech, level_db + above_db, at)))
                starts = [ms for ms, event in told if isinstance(event, SpeechStarted) and ms > at / 16]
                opened.append(bool(starts) and starts[0] <= (at + within(speech, 15)[0]) / 16 + OPENS_MS)
                closed.append(isinstance(told[-1][1], SpeechEnded) and told[-1][0] <= end_ms + CLOSES_MS)
    assert np.mean(opened) >= 0.95
    assert np.mean(closed) >= 0.95


@pytest.mark.parametrize("level_db", LEVELS)
@pytest.mark.parametrize("room", ROOMS)
def test_a_steady_room_is_never_speech_from_its_first_moment_on(room, level_db):
    assert kinds(listen(SpeechGate(), pcm(room_of(room, 60), level_db))) == []


@pytest.mark.parametrize("level_db", [-20, -10])
@pytest.mark.parametrize("room", ROOMS)
def test_a_conversation_that_begins_in_a_din_takes_it_for_speech_for_four_seconds_at_most(room, level_db):
    told = list(listen(SpeechGate(), pcm(room_of(room, 60)[: 20 * HZ], level_db)))
    assert not told or (isinstance(told[-1][1], SpeechEnded) and told[-1][0] <= STEP_MS)


@pytest.mark.parametrize("level_db", [-40, -30, -20])
@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("speaks", [False, True], ids=["nobody speaks", "while the person speaks"])
def test_a_room_that_becomes_louder_at_once_is_speech_for_four_seconds_at_most(room, level_db, speaks):
    """A fan that starts, or a gain that rises by 20 dB."""
    calm = pcm(room_of(room, 9)[: 5 * HZ], level_db - 20)
    if speaks:
        calm[4 * HZ :] = over(room_of(room, 9)[4 * HZ : 5 * HZ], level_db - 20, recording(UTTERANCES[1])[:HZ], -20, 0)
    told = list(listen(SpeechGate(), calm, pcm(room_of(room, 60)[: 10 * HZ], level_db)))
    assert not told or (isinstance(told[-1][1], SpeechEnded) and told[-1][0] <= 5000 + STEP_MS)


def test_the_microphones_first_zeros_are_no_quiet_room():
    for level_db in LEVELS:
        assert kinds(listen(SpeechGate(), silence(200), noise(10_000, level_db))) == []


def test_zeros_that_a_converter_has_smeared_teach_nothing_about_the_room():
    """At another rate the edges of half-duplex fall into the middle of a frame, and ring."""
    room = noise(3 * 5000, -35)
    room[len(room) // 3 : 2 * len(room) // 3] = 0
    rate, gate = Resampler(48000, HZ), SpeechGate()
    told = [gate.hear(rate.convert(room[start : start + 960]), 0) for start in range(0, len(room), 960)]
    assert told.count(None) == len(told)


def test_a_conversation_that_begins_in_the_middle_of_speech_hears_it_and_its_end():
    for path in RECORDINGS:
        speech = recording(path)
        middle = speech[len(speech) // 3 :]
        told = list(listen(SpeechGate(), over(coloured(6 * HZ, 1, 9), -50, middle, -20, 0)))
        assert told[0][0] <= 300
        assert told[-1][0] <= len(middle) / 16 + CLOSES_MS
        assert isinstance(told[-1][1], SpeechEnded)


# --- what speech is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hz", [85, 120, 220, 350, 450])
def test_a_deep_voice_and_a_childs_are_speech(hz):
    """A vowel: harmonics up to 3 kHz that fall by 6 dB an octave."""
    vowel = tones(HZ, hz, {n: 1 / n for n in range(1, 3000 // hz)})
    (started_ms, _), (ended_ms, _) = listen(SpeechGate(), over(coloured(5 * HZ, 1, 10), -50, vowel, -35, 2 * HZ))
    assert started_ms <= 2000 + OPENS_MS
    assert 3000 <= ended_ms <= 3000 + CLOSES_MS


@pytest.mark.parametrize("level_db", [-60, -40])
def test_a_minute_of_sentences_is_speech_to_its_end(level_db):
    """With the pauses of a person who thinks. Each sentence is heard whole, however much was said before."""
    rng = np.random.default_rng(11)
    sentences = [recording(path) for _ in range(4) for path in RECORDINGS]
    pauses = [np.zeros(round(rng.uniform(0.15, 0.7) * HZ)) for _ in sentences]
    said = np.concatenate([np.zeros(HZ), *(part for pair in zip(sentences, pauses, strict=True) for part in pair)])
    sound = over(coloured(len(said), 1, 12), level_db, said, level_db + 20, 0)
    assert len(sound) > 60 * HZ
    gate = SpeechGate()
    speaking = [(gate.hear(sound[at : at + CHUNK], at), gate.speaking)[1] for at in range(0, len(sound) - CHUNK, CHUNK)]
    at, missed = HZ, []
    for sentence, pause in zip(sentences, pauses, strict=True):
        first, last = within(sentence, 15)
        heard = speaking[(at + first) // CHUNK + 4 : (at + last) // CHUNK]
        missed.append(heard.count(False) / len(heard))
        at += len(sentence) + len(pause)
    assert np.mean(missed) <= 0.03
    assert np.mean(missed[-7:]) <= np.mean(missed[:7]) + 0.03


def test_a_note_that_is_held_is_the_room_after_three_seconds_and_what_is_said_next_is_heard():
    vowel = tones(8 * HZ, 150, {n: 1 / n for n in range(1, 20)})
    said = np.concatenate([vowel, np.zeros(HZ), recording(UTTERANCES[0])])
    sound = over(coloured(15 * HZ, 1, 13), -50, said, -25, 2 * HZ)
    (started_ms, _), (ended_ms, _), (again_ms, _), (over_ms, _) = listen(SpeechGate(), sound)
    assert started_ms <= 2000 + OPENS_MS
    assert 2000 + 2800 <= ended_ms <= 2000 + 3700
    assert 11_000 < again_ms <= 11_000 + 2 * OPENS_MS
    assert over_ms <= 2000 + len(said) / 16 + CLOSES_MS


def test_a_song_of_eight_seconds_is_speech_to_its_end():
    """Notes of half a second, with the voice's dip between them."""
    at = np.arange(HZ // 2)
    swell = np.minimum(1, np.minimum(at, len(at) - at) / 1000)
    song = np.concatenate([tones(len(at), hz, {n: 1 / n for n in range(1, 9)}) * swell for hz in (196, 262, 330, 392) * 4])
    told = list(listen(SpeechGate(), over(coloured(12 * HZ, 1, 14), -50, song, -25, 2 * HZ)))
    assert [type(event) for _, event in told] == [SpeechStarted, SpeechEnded]
    assert told[1][0] >= 10_000


# --- chunks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 37, 160, 319, 321, 441, 882, 1600])
def test_what_is_told_does_not_depend_on_the_length_of_chunks(length):
    speech = recording(UTTERANCES[2])
    sound = over(coloured(6 * HZ, 1, 15), -45, speech, -25, HZ)
    gate = SpeechGate()
    told = [(at, event) for at in range(0, len(sound), length) if (event := gate.hear(sound[at : at + length], at))]
    expected = list(listen(SpeechGate(), sound))
    assert [type(event) for _, event in told] == [type(event) for _, event in expected]
    for (at, event), (ms, other) in zip(told, expected, strict=True):
        assert 0 <= (at + length) / 16 - ms < length / 16 + 20
        if isinstance(event, SpeechEnded) and isinstance(other, SpeechEnded):
            assert event.speech_ms == other.speech_ms
            assert abs(event.mark / 16 - other.mark) <= length / 16 + 20


def test_of_two_things_in_one_long_chunk_the_later_one_is_told():
    gate = SpeechGate()
    ended = gate.hear(np.concatenate([silence(40), noise(100, -20), silence(400)]), 7)
    assert ended == SpeechEnded(mark=7, speech_ms=100)
    assert not gate.speaking


# --- levels -----------------------------------------------------------------------------------------------------------


def test_levels_are_in_db_of_full_scale():
    assert dbfs(np.full(100, -32768, np.int16)) == pytest.approx(0)
    assert dbfs(np.full(100, 3277, np.int16)) == pytest.approx(-20, abs=0.01)
    assert dbfs(silence(20)) == -100


# --- a soft beginning -------------------------------------------------------------------------------------------------


def above_floor(gate: SpeechGate, *levels_db: float) -> list[int]:
    """The frames after which the gate opens, each so far above the low band's floor."""
    at, opened = np.arange(320) / HZ, []
    for n, db in enumerate(levels_db):
        amplitude = np.sqrt(2 * gate._low.power * 10 ** (db / 10)) * 32768
        tone = (amplitude * np.sin(2 * np.pi * 300 * at)).astype(np.float32)
        opened += [n] if isinstance(gate.hear(tone, n), SpeechStarted) else []
    return opened


@pytest.mark.parametrize(
    ("levels_db", "opens_after"),
    [
        ((12, 12, 12), [2]),
        ((12, 8, 8, 12), [3]),
        ((12, 8, 8, 8, 8), [4]),
        ((8, 8, 8, 8, 8, 8, 8, 8), []),
        ((12, 8, 5, 8, 12, 8), []),
        ((8, 12, 12, 12), [3]),
    ],
)
def test_what_is_nearly_loud_counts_half_behind_what_is_loud(levels_db, opens_after):
    gate = noisy_room(-45)
    assert above_floor(gate, *levels_db) == opens_after
