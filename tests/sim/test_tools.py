"""Tool calls as each model makes them: when a turn ends, what the model speaks of, and what remains after a lost connection."""

import wave
from importlib import resources

import numpy as np
import pytest

from gemini_live_sim.answers import recordings
from gemini_live_sim.phrases import match, phrases
from gemini_live_sim.vad import Utterance

NEWER, THINKING = "gemini-3.8-live", "gemini-3.8-live-extended-thinking"
MIDDLE, OLDER = "gemini-3.1-flash-live", "gemini-2.5-flash-native-audio-preview-12-2025"
FAST = {"thinking_ms": 0, "speed": 0, "hold_turn_complete": False}
ASK = {"client_content": {"turns": [{"role": "user", "parts": [{"text": "So, what time is it?"}]}], "turn_complete": True}}
OTHER = {"realtime_input": {"text": "And your name?"}}


def declared(model: str, **more) -> dict:
    setup = {"model": f"models/{model}", "tools": [{"functionDeclarations": [{"name": "what_time_is_it", **more}]}]}
    return setup | ({"generationConfig": {"thinkingConfig": {"thinking_level": "LOW"}}} if model == THINKING else {})


def calls(opened) -> list[str]:
    return [it["id"] for message in opened.messages if "toolCall" in message for it in message["toolCall"]["functionCalls"]]


def respond(opened, call_id: str, response=None, **more) -> None:
    answer = {"id": call_id, "name": "what_time_is_it", "response": {"time": "12:00"} if response is None else response}
    opened.send({"tool_response": {"functionResponses": [answer | more]}})


def kinds(opened) -> list[str]:
    return [next(iter(message)) for message in opened.messages]


@pytest.mark.parametrize(
    ("model", "behaviour", "ends"),
    [(NEWER, None, True), (NEWER, "BLOCKING", False), (THINKING, None, True), (MIDDLE, None, False), (OLDER, None, False),
     (OLDER, "NON_BLOCKING", True)],
)  # fmt: skip
def test_a_turn_ends_with_a_call_that_does_not_block(talk, model, behaviour, ends) -> None:
    opened = talk(declared(model, **({"behavior": behaviour} if behaviour else {})), **FAST)
    opened.send(ASK if model != MIDDLE else {"realtime_input": {"text": "What time is it?"}})
    assert len(calls(opened)) == 1
    assert bool(opened.times("turnComplete")) is ends
    assert opened.audio == b""
    respond(opened, calls(opened)[0])
    assert opened.audio
    assert "12:00" in opened.journal.answers[-1].text


@pytest.mark.parametrize(("scheduling", "speaks"), [("SILENT", False), ("INTERRUPT", True), ("WHEN_IDLE", True), (None, True)])
def test_a_response_says_whether_it_is_spoken_of(talk, scheduling, speaks) -> None:
    opened = talk(declared(NEWER), **FAST)
    opened.send(ASK)
    respond(opened, calls(opened)[0], **({"scheduling": scheduling} if scheduling else {}))
    assert bool(opened.audio) is speaks


def test_a_response_that_interrupts_cuts_what_is_being_said(talk) -> None:
    opened = talk(declared(NEWER), **FAST | {"speed": 1, "mode": "tone", "tone_ms": 5000})
    opened.send(ASK)
    opened.send(OTHER)
    opened.wait(1)
    respond(opened, calls(opened)[0], scheduling="INTERRUPT")
    assert opened.journal.answers[0].interrupted
    opened.wait(5)
    assert "12:00" in opened.journal.answers[1].text


def test_gemini_31_never_speaks_of_what_did_not_block(talk) -> None:
    opened = talk(declared(MIDDLE, behavior="NON_BLOCKING"), **FAST)
    opened.send({"realtime_input": {"text": "What time is it?"}})
    respond(opened, calls(opened)[0])
    assert opened.audio == b""


def test_extended_thinking_calls_nothing_that_is_declared_by_a_json_schema(talk) -> None:
    opened = talk(declared(THINKING, parametersJsonSchema={"type": "object"}), **FAST)
    opened.send(ASK)
    assert calls(opened) == []
    assert opened.audio


def test_an_empty_result_is_asked_for_up_to_twice_more(talk) -> None:
    opened = talk(declared(NEWER), **FAST)
    opened.send(ASK)
    for n in range(3):
        assert len(calls(opened)) == n + 1
        respond(opened, calls(opened)[-1], {})
    assert len(calls(opened)) == 3
    assert opened.audio


def test_speech_takes_back_what_blocks_and_leaves_the_rest(talk) -> None:
    for behaviour, taken_back in (("BLOCKING", True), ("NON_BLOCKING", False)):
        opened = talk(declared(NEWER, behavior=behaviour), **FAST)
        opened.send(ASK)
        opened.send(OTHER)
        assert bool([m for m in opened.messages if "toolCallCancellation" in m]) is taken_back
        assert bool(opened.journal.cancelled_calls) is taken_back


def test_a_robot_without_the_tool_gets_an_answer(talk) -> None:
    opened = talk({"model": f"models/{NEWER}"}, **FAST)
    opened.send(ASK)
    assert calls(opened) == []
    assert opened.audio


def test_a_response_to_nobodys_call_changes_nothing(talk) -> None:
    opened = talk(declared(NEWER), **FAST)
    respond(opened, "nobody")
    opened.send(ASK)
    assert len(calls(opened)) == 1


def recording(name: str) -> np.ndarray:
    with wave.open(str(resources.files("gemini_live_sim") / "phrases" / name)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64)


def heard(samples: np.ndarray) -> Utterance:
    return Utterance(np.clip(samples, -32768, 32767).astype("<i2").tobytes(), 16_000)


def test_a_sentence_is_known_by_its_sound_louder_softer_noisy_and_with_silence_around() -> None:
    tools = [phrase.tool for phrase in phrases()]
    noise = np.random.default_rng(1)
    for name, tool in (("time.wav", "what_time_is_it"), ("status.wav", "robot_status")):
        samples = recording(name)
        for gain in (0.05, 1.0, 1.9):
            level = gain * np.sqrt((samples**2).mean()) / 10 ** (30 / 20)
            changed = np.concatenate([np.zeros(1600), samples, np.zeros(1600)]) * gain
            assert match(heard(changed + noise.normal(0, level, len(changed))), tools).tool == tool
        assert match(heard(samples), [other for other in tools if other != tool]) is None


def test_other_sentences_and_other_voices_are_none(question) -> None:
    tools = [phrase.tool for phrase in phrases()]
    assert match(Utterance(question, 16_000), tools) is None
    for speech in recordings():
        assert match(Utterance(speech.pcm, speech.hz), tools) is None
    for silence in (bytes(32_000), b"", bytes(2), b"\1\0" * 16_000):
        assert match(Utterance(silence, 16_000), tools) is None
    assert match("what a nice day", tools) is None
    assert match("tell me: WHAT TIME is it", tools).tool == "what_time_is_it"
