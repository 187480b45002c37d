import numpy as np
import pytest

from gemini_live_sim.setup import Vad
from gemini_live_sim.vad import MAX_UTTERANCE_MS, SpeechDetector, SpeechStart, Utterance

HZ = 16_000


def silence(n_ms: int) -> bytes:
    return bytes(HZ * 2 * n_ms // 1000)


def tone(n_ms: int, dbfs: float = -20.0, hz: int = HZ) -> bytes:
    samples = np.sin(2 * np.pi * 440 * np.arange(hz * n_ms // 1000) / hz)
    return (samples * 32767 * 2**0.5 * 10 ** (dbfs / 20)).astype("<i2").tobytes()


def hear(detector: SpeechDetector, pcm: bytes, chunk_bytes: int = 640, hz: int = HZ) -> list:
    return [event for at in range(0, len(pcm), chunk_bytes) for event in detector.hear(pcm[at : at + chunk_bytes], hz)]


def test_an_utterance_has_padding_before_and_100_ms_of_silence_after() -> None:
    pcm = silence(400) + tone(600) + silence(700)
    start, utterance = hear(SpeechDetector(Vad(prefix_padding_ms=100)), pcm)
    assert start == SpeechStart()
    assert utterance == Utterance(silence(100) + tone(600) + silence(100), HZ)


@pytest.mark.parametrize("chunk_bytes", [2, 127, 320, 641, 4096, 1_000_000])
def test_how_the_stream_is_cut_into_chunks_makes_no_difference(chunk_bytes, question) -> None:
    pcm = silence(300) + question + silence(800) + question + silence(800)
    whole = hear(SpeechDetector(Vad()), pcm, len(pcm))
    assert [type(event) for event in whole] == [SpeechStart, Utterance] * 2
    assert hear(SpeechDetector(Vad()), pcm, chunk_bytes) == whole


@pytest.mark.parametrize(("gap_ms", "n_utterances"), [(280, 1), (300, 2)])
def test_silence_duration_decides_what_a_pause_is(gap_ms, n_utterances) -> None:
    pcm = tone(400) + silence(gap_ms) + tone(400) + silence(600)
    events = hear(SpeechDetector(Vad(silence_duration_ms=300)), pcm)
    assert sum(isinstance(event, Utterance) for event in events) == n_utterances


def test_a_click_is_no_speech_but_stays_in_the_padding() -> None:
    detector = SpeechDetector(Vad(prefix_padding_ms=200))
    assert hear(detector, silence(400) + tone(40) + silence(100)) == []
    _, utterance = hear(detector, tone(400) + silence(600))
    assert utterance.pcm == silence(60) + tone(40) + silence(100) + tone(400) + silence(100)


def test_low_sensitivity_needs_louder_speech() -> None:
    quiet = tone(500, dbfs=-42)
    high = hear(SpeechDetector(Vad()), quiet)
    low = hear(SpeechDetector(Vad(start_of_speech_sensitivity="START_SENSITIVITY_LOW")), quiet)
    assert (high, low) == ([SpeechStart()], [])


def test_the_end_of_the_stream_ends_the_utterance() -> None:
    detector = SpeechDetector(Vad(prefix_padding_ms=20))
    assert hear(detector, tone(310)) == [SpeechStart()]
    assert detector.end() == [Utterance(tone(310), HZ)]
    assert detector.end() == []


def test_another_rate_is_heard_at_that_rate() -> None:
    pcm = tone(500, hz=48_000) + bytes(48_000 * 2)
    _, utterance = hear(SpeechDetector(Vad(prefix_padding_ms=20)), pcm, 1920, 48_000)
    assert utterance.hz == 48_000
    assert utterance.seconds == pytest.approx(0.6)


def test_endless_speech_is_cut_so_that_memory_is_bounded() -> None:
    detector = SpeechDetector(Vad(prefix_padding_ms=20))
    loud = tone(10_000)
    events = [event for _ in range(25) for event in hear(detector, loud, len(loud))]
    lengths = [event.seconds for event in events if isinstance(event, Utterance)]
    assert lengths == pytest.approx([MAX_UTTERANCE_MS / 1000] * 2)
