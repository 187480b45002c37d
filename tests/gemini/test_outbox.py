"""Audio that waits to be sent, and the end of the stream."""

from session_rim import CHUNK_BYTES, Rim

from gemini_gateway.session.timing import (
    SILENCE_S,
    STREAM_END_S,
)


def test_the_server_is_told_once_when_the_microphone_pauses():
    rim = Rim().open()
    rim.mic(1)
    rim.wait(STREAM_END_S - 0.1)
    assert rim.marks == [[]]
    rim.wait(10)
    assert rim.marks == [["stream_end"]]
    rim.mic(1)
    rim.wait(10)
    assert rim.marks == [["stream_end"] * 2]


def test_silence_is_no_pause():
    rim = Rim().open()
    for _ in range(100):
        rim.now += 0.5
        rim.do(rim.session.hear(bytes(CHUNK_BYTES), rim.now, speaking=False))
        rim.tick()
    assert rim.marks == [[]]


def test_a_microphone_that_was_never_on_has_no_pause():
    rim = Rim().open()
    rim.wait(10)
    assert rim.marks == [[]]


def test_speech_is_over_when_the_microphone_pauses_in_the_middle_of_it():
    rim = Rim().open("h1")
    rim.mic(1, speaking=True)
    rim.wait(2)
    rim.answer()
    rim.session.persona_changed()
    rim.wait(1)
    assert rim.hanging_up, "nobody speaks"


def test_speech_that_a_pause_of_the_microphone_ends_is_to_be_answered():
    rim = Rim().open("h1")
    rim.mic(1, speaking=True)
    rim.wait(SILENCE_S + 2)
    assert rim.counts == ["silent"]
