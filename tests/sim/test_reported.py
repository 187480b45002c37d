"""Reported behaviour of real servers, each a field of Behaviour: the pure core. test_sdk_reported.py tests the wire."""

import json

import numpy as np
import pytest

from gemini_live_sim import Close, Interrupt
from gemini_live_sim.answers import recordings, tone
from gemini_live_sim.usage import UsageReport

FAST = {"thinking_ms": 0, "speed": 0, "hold_turn_complete": False, "mode": "tone", "tone_ms": 400}
ASK = {"client_content": {"turns": [{"role": "user", "parts": [{"text": "hello"}]}], "turn_complete": True}}
BOTH = {"inputAudioTranscription": {}, "outputAudioTranscription": {}}


def contents(talk, name: str) -> list:
    return [message["serverContent"][name] for message in talk.messages if name in message.get("serverContent", {})]


def bills(talk) -> list[dict]:
    return [message["usageMetadata"] for message in talk.messages if "usageMetadata" in message]


def names(talk) -> list[str]:
    """The messages in order; a serverContent by its content."""
    return [next(iter(message.get("serverContent", message))) for message in talk.messages]


@pytest.mark.parametrize(("end_turns", "complete"), [("always", [1, 2, 3, 4]), ("every_other", [2, 4]), ("never", [])])
def test_an_answer_may_end_without_turn_complete_and_the_next_question_is_answered(talk, end_turns, complete) -> None:
    opened = talk({"sessionResumption": {}}, **FAST, end_turns=end_turns)
    for _ in range(4):
        opened.send(ASK)
        opened.wait(1)
    assert opened.audio == tone(400).pcm * 4
    assert len(opened.times("generationComplete")) == 4
    assert [answer.turn for answer in opened.journal.answers if answer.complete] == complete
    assert len(opened.times("turnComplete")) == len(bills(opened)) == len(opened.journal.usage) == len(complete)
    assert len(opened.journal.handles) == 5, "there must be handles nevertheless"


def test_an_interrupted_answer_may_stay_without_turn_complete_too(talk, spoken) -> None:
    opened = talk({}, mode="tone", tone_ms=5000, speed=1, end_turns="never")
    opened.send(ASK)
    opened.wait(1)
    opened.say(spoken)
    opened.wait(6)
    assert len(opened.times("interrupted")) == 1
    assert opened.times("turnComplete") == []
    assert opened.journal.answers[1].sent == tone(5000).pcm


def test_generation_complete_may_be_left_out(talk) -> None:
    opened = talk({}, **FAST, end_generation=False)
    opened.send(ASK)
    assert opened.times("generationComplete") == []
    assert len(opened.times("turnComplete")) == 1


@pytest.mark.parametrize(("thinking_ms", "early_s"), [(400, 0.25), (100, 0.1)])
def test_a_stray_interrupted_comes_before_a_whole_answer(talk, thinking_ms, early_s) -> None:
    opened = talk({}, mode="tone", tone_ms=400, thinking_ms=thinking_ms, stray_interrupted_ms=250)
    for n in (1, 2):
        opened.send(ASK)
        opened.wait(2)
        first = opened.times("modelTurn")[10 * (n - 1)]
        assert opened.times("interrupted")[n - 1] == pytest.approx(first - early_s)
    assert opened.audio == tone(400).pcm * 2
    assert len(opened.times("turnComplete")) == len(opened.times("interrupted")) == 2


def test_an_emoji_is_cut_in_two_and_the_last_half_stays_alone(talk, spoken) -> None:
    opened = talk(BOTH, **FAST | {"mode": "answers"}, split_emoji=True)
    opened.say(spoken)
    for side in ("input", "output"):
        pieces = [piece["text"] for piece in contents(opened, f"{side}Transcription")]
        assert len(pieces) > 1
        assert all(piece.endswith("\ud83d") for piece in pieces)
        assert all(piece.startswith("\ude00") for piece in pieces[1:])
        joined = "".join(pieces).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        assert joined.count("\U0001f600") == len(pieces) - 1
    assert "".join(text for _, text in opened.journal.history).isascii(), "the record has the words alone"
    assert '\\ud83d"' in json.dumps(opened.messages)


def test_every_answer_may_be_a_reason_alone(talk, spoken) -> None:
    opened = talk(BOTH, **FAST, turn_reason="RESPONSE_REJECTED")
    for _ in range(2):
        opened.say(spoken)
    assert opened.audio == b""
    assert contents(opened, "turnCompleteReason") == ["RESPONSE_REJECTED"] * 2
    assert names(opened) == ["setupComplete", *["inputTranscription", "inputTranscription", "turnComplete"] * 2]


def test_an_answer_in_text_alone(talk) -> None:
    opened = talk(BOTH, **FAST | {"mode": "answers"}, mute="text")
    opened.send(ASK)
    parts = [part for turn in contents(opened, "modelTurn") for part in turn["parts"]]
    assert "".join(part["text"] for part in parts) == recordings()[0].text
    assert {tuple(part) for part in parts} == {("text",)}
    assert names(opened)[-2:] == ["generationComplete", "turnComplete"]
    assert contents(opened, "outputTranscription") == [], "nothing was spoken"


def test_an_answer_that_is_hardly_there(talk) -> None:
    opened = talk({}, **FAST, mute="faint")
    opened.send(ASK)
    samples = np.frombuffer(opened.audio, "<i2")
    assert len(samples) == 9600
    assert (samples.min(), samples.max()) == (-2, 2)


@pytest.mark.parametrize(
    "mime", ["audio/L16;codec=pcm;rate={hz}", "AUDIO/PCM; RATE={hz}", "audio/pcmu;rate=8000", "{nobody} %s"]
)
def test_audio_has_the_type_that_is_asked_for(talk, mime) -> None:
    opened = talk({}, **FAST | {"answer_hz": 16_000}, mime=mime)
    opened.send(ASK)
    types = {part["inlineData"]["mimeType"] for turn in contents(opened, "modelTurn") for part in turn["parts"]}
    assert types == {mime.replace("{hz}", "16000")}


REPORT = UsageReport(1, {"TEXT": 12}, {"AUDIO": 10})


@pytest.mark.parametrize(
    ("shape", "prompt", "answer", "total"),
    [("full", 12, 10, 22), ("negative", -12, -10, -22), ("huge", 2**31 - 1, 2**31 - 1, 2**31 - 1)],
)
def test_counts_may_be_of_any_size(shape, prompt, answer, total) -> None:
    assert REPORT.as_json(shape) == {
        "promptTokenCount": prompt,
        "responseTokenCount": answer,
        "totalTokenCount": total,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
        "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": answer}],
    }


def test_counts_may_be_missing_or_few_or_named_otherwise() -> None:
    assert REPORT.as_json("none") is None
    assert REPORT.as_json("total") == {"totalTokenCount": 22}
    named = REPORT.as_json("candidates")
    assert {name: named[name] for name in named if name.startswith("candidates")} == {
        "candidatesTokenCount": 10,
        "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 10}],
    }
    assert not [name for name in named if name.startswith("response")]


def test_a_turn_without_counts_is_billed_in_the_record(talk) -> None:
    opened = talk({}, **FAST, usage="none", usage_again_ms=100)
    opened.send(ASK)
    opened.wait(1)
    assert bills(opened) == []
    assert len(opened.times("turnComplete")) == len(opened.journal.usage) == 1


def test_a_turns_counts_may_come_twice(talk) -> None:
    opened = talk({}, **FAST, usage_again_ms=100)
    opened.send(ASK)
    asked = opened.now
    opened.wait(1)
    first, second = bills(opened)
    assert first == second
    assert opened.times("usageMetadata") == pytest.approx([asked, asked + 0.1])
    assert len(opened.journal.usage) == len(opened.times("turnComplete")) == 1


def test_the_question_may_be_written_down_after_the_answers_first_words(talk, spoken) -> None:
    opened = talk(BOTH, **FAST | {"mode": "answers"}, late_input=True)
    opened.say(spoken)
    said = [name for name in names(opened) if name.endswith("Transcription")]
    assert said[:4] == ["outputTranscription", "inputTranscription", "inputTranscription", "outputTranscription"]
    assert said.count("inputTranscription") == 2


@pytest.mark.parametrize("setup", [{"inputAudioTranscription": {}}, BOTH])
def test_a_late_question_is_written_down_before_the_turn_ends_however_it_ends(talk, spoken, setup) -> None:
    opened = talk(setup, mode="tone", late_input=True)
    opened.say(spoken)
    opened.session.do(Interrupt(), opened.now)
    opened.say(spoken)
    opened.wait(3)
    ends = [name for name in names(opened) if name in ("inputTranscription", "turnComplete")]
    assert ends == ["inputTranscription", "inputTranscription", "turnComplete"] * 2


def test_a_late_question_that_nobody_answers_comes_at_once(talk, spoken) -> None:
    opened = talk(BOTH, **FAST, late_input=True, silent=True)
    opened.say(spoken)
    assert len(contents(opened, "inputTranscription")) == 2


def asks(talk, spoken, **fields):
    """A session in which the person asks at once. A silent server then only babbles."""
    opened = talk(BOTH | {"sessionResumption": {}}, **FAST, silent=True, **fields)
    opened.say(spoken)
    del opened.out[:]
    return opened


@pytest.mark.parametrize(
    ("babble", "name"),
    [
        ("input", "inputTranscription"),
        ("resumption", "sessionResumptionUpdate"),
        ("usage", "usageMetadata"),
        ("voice_activity", "voiceActivity"),
    ],
)
def test_a_server_babbles_after_a_question_and_answers_nothing(talk, spoken, babble, name) -> None:
    opened = asks(talk, spoken, babble=babble, babble_every_s=8)
    heard_at = opened.now - 0.7 + 0.5
    opened.wait(30)
    assert opened.times(name) == pytest.approx([heard_at + 8 * n for n in (1, 2, 3)], abs=0.1)
    assert names(opened) == [name] * 3
    assert {json.dumps(piece) for piece in contents(opened, name)} <= {'{"text": "(1.0 s of speech)"}'}


def test_a_new_question_begins_the_babble_anew(talk, spoken) -> None:
    opened = asks(talk, spoken, babble="input")
    opened.wait(4)
    opened.send(ASK)
    asked = opened.now
    opened.wait(11)
    assert opened.times("inputTranscription") == pytest.approx([asked + 5, asked + 10])
    assert contents(opened, "inputTranscription") == [{"text": "hello"}] * 2


def test_a_babble_ends_with_its_connection(talk, spoken) -> None:
    opened = asks(talk, spoken, babble="usage")
    opened.session.do(Close(code=1000, reason="bye"), opened.now)
    opened.wait(100)
    assert opened.times("usageMetadata") == []
    assert opened.session.next_due() is None


OLDER, NEWER = "models/gemini-2.5-flash-native-audio-preview-12-2025", "models/gemini-3.8-live"


@pytest.mark.parametrize(
    ("model", "unasked", "sides"),
    [
        (NEWER, None, ["input"]),
        ("models/gemini-3.1-flash-live-preview", None, ["input"]),
        (OLDER, None, []),
        ("models/another", None, []),
        (NEWER, False, []),
        (OLDER, True, ["input", "output"]),
    ],
)
def test_transcripts_may_come_unasked(talk, spoken, model, unasked, sides) -> None:
    opened = talk({"model": model}, **FAST, unasked_transcripts=unasked)
    opened.say(spoken)
    assert [side for side in ("input", "output") if contents(opened, f"{side}Transcription")] == sides


@pytest.mark.parametrize(
    ("model", "stream_end", "answered"),
    [(OLDER, None, True), ("models/another", None, True), (NEWER, None, False), (NEWER, True, True), (OLDER, False, False)],
)
def test_the_end_of_the_stream_may_end_nothing(talk, question, model, stream_end, answered) -> None:
    opened = talk({"model": model}, **FAST, stream_end=stream_end)
    opened.say(question)
    opened.send({"realtime_input": {"audioStreamEnd": True}})
    opened.wait(60)
    assert (len(opened.journal.answers) == 1) == answered
    opened.say(bytes(32_000))
    assert len(opened.journal.answers) == 1, "silence ends it"
    assert opened.journal.kinds.count("StreamEnd") == 1
