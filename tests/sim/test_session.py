"""The pure core: the test passes the time in, and nothing sleeps."""

import pytest

from gemini_live_sim import Abort, Close, GoAway, Interrupt, Say, SendRaw, Silent, Step, ToolCall
from gemini_live_sim.answers import recordings, tone
from gemini_live_sim.opening import Door
from gemini_live_sim.outputs import Note
from gemini_live_sim.resumption import HandleStore

FAST = {"thinking_ms": 0, "speed": 0, "hold_turn_complete": False, "mode": "tone", "tone_ms": 400}
ASK = {"client_content": {"turns": [{"role": "user", "parts": [{"text": "hello"}]}], "turn_complete": True}}
INTERRUPT_OFF = {"realtimeInputConfig": {"activity_handling": "NO_INTERRUPTION"}}


def closes(talk) -> list[Close]:
    return [output for _, output in talk.out if isinstance(output, Close)]


def contents(talk, name: str) -> list:
    return [message["serverContent"][name] for message in talk.messages if name in message.get("serverContent", {})]


def test_setup_is_answered_with_the_session_id(talk) -> None:
    opened = talk({"generationConfig": {"speechConfig": {"voice_config": {"prebuilt_voice_config": {"voice_name": "Kore"}}}}})
    assert opened.messages == [{"setupComplete": {"sessionId": "session-1"}}]
    assert (opened.journal.setup.model, opened.journal.setup.voice) == ("models/gemini-3.8-live", "Kore")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"nonsense_here": 1}, "Unknown name \"nonsense_here\" at 'setup'"),
        ({"realtimeInputConfig": {"automatic_activity_detection": {"silence_duration_ms": "soon"}}}, "silence_duration_ms"),
        ({"realtimeInputConfig": {"activity_handling": "SHOUT"}}, "activity_handling"),
        ({"sessionResumption": "yes"}, "session_resumption"),
    ],
)
def test_a_wrong_setup_is_a_1007_that_names_what_is_wrong(talk, fields, reason) -> None:
    (close,) = closes(talk(fields))
    assert close.code == 1007
    assert reason in close.reason


def test_the_first_message_must_be_the_setup(talk, door) -> None:
    opened = talk({})
    opened.send({"setup": {"model": "models/x"}})
    assert [close.code for close in closes(opened)] == [1007]
    unopened = type(opened)(door)
    unopened.send(ASK)
    assert [close.reason[:5] for close in closes(unopened)] == ["setup"]


def test_an_unknown_model_is_refused_in_words(door, talk) -> None:
    strict = Door(door.handles, door.spoken, frozenset({"gemini-other"}), door.new_id)
    opened = type(talk({}))(strict, {})
    (close,) = closes(opened)
    assert close.code == 1008
    assert close.reason.startswith("models/gemini-3.8-live is not found for API version v1beta")


def test_an_unknown_key_closes_after_the_setup(talk) -> None:
    assert closes(talk({}, key_is_known=False)) == [Close(code=1007, reason="API key not valid. Please pass a valid API key.")]


def test_speech_is_answered_after_thinking_and_held_until_it_was_heard(talk, spoken) -> None:
    opened = talk({})
    opened.say(spoken)
    said_at = next(at for at, output in opened.out if isinstance(output, Note) and output.name == "heard")
    opened.wait(6)
    answer = recordings()[0]
    assert opened.audio == answer.pcm
    assert opened.times("modelTurn")[0] == pytest.approx(said_at + 0.15)
    assert opened.times("generationComplete")[0] == pytest.approx(said_at + 0.15 + answer.seconds / 4, abs=0.011)
    assert opened.times("turnComplete") == pytest.approx([said_at + 0.15 + answer.seconds])
    (record,) = opened.journal.answers
    assert (record.turn, record.sent, record.complete, record.interrupted) == (1, answer.pcm, True, False)


def test_an_echo_says_what_was_heard(talk, question) -> None:
    opened = talk({}, **FAST | {"mode": "echo"})
    opened.say(bytes(6400) + question + bytes(25600))
    (record,) = opened.journal.answers
    assert len(record.pcm) / 48_000 == pytest.approx(len(question) / 32_000 + 0.2, abs=0.06)
    assert opened.audio == record.pcm


ANNOUNCED = {"historyConfig": {"initialHistoryInClientContent": True}}


@pytest.mark.parametrize("model", ["gemini-3.8-live", "gemini-3.1-flash-live-preview"])
def test_announced_history_is_no_question(talk, model) -> None:
    opened = talk({"model": f"models/{model}"} | ANNOUNCED, **FAST)
    opened.send(ASK)
    assert list(opened.journal.history) == [("user", "hello")]
    assert opened.audio == b""


def test_an_older_model_takes_no_other_content_than_announced_history(talk) -> None:
    opened = talk({"model": "models/gemini-3.1-flash-live-preview"}, **FAST)
    opened.send(ASK)
    assert closes(opened) == [Close(code=1007, reason="Request contains an invalid argument.")]
    opened = talk({"model": "models/gemini-3.1-flash-live-preview"} | ANNOUNCED, **FAST)
    opened.send(ASK)
    opened.send(ASK)
    assert [close.code for close in closes(opened)] == [1007], "only once"


def test_a_text_is_answered_and_a_turn_that_is_not_complete_only_kept(talk) -> None:
    opened = talk({}, **FAST)
    opened.send({"client_content": {"turns": [{"role": "user", "parts": [{"text": "remember"}]}]}})
    assert opened.audio == b""
    opened.send(ASK)
    opened.send({"realtime_input": {"text": "and now?"}})
    assert opened.journal.texts == ["remember", "hello", "and now?"]
    assert [turn for turn in opened.journal.history if turn[0] == "user"] == [
        ("user", "remember"),
        ("user", "hello"),
        ("user", "and now?"),
    ]
    assert [answer.turn for answer in opened.journal.answers] == [1, 2]


def test_initial_history_is_not_answered(talk) -> None:
    opened = talk({"historyConfig": {"initialHistoryInClientContent": True}}, **FAST)
    opened.send(ASK)
    assert opened.journal.answers == []
    opened.send(ASK)
    assert len(opened.journal.answers) == 1


@pytest.mark.parametrize("leftover_ms", [0, 100])
def test_speech_interrupts_an_answer_that_still_plays(talk, spoken, question, leftover_ms) -> None:
    opened = talk({}, mode="tone", tone_ms=5000, speed=1, leftover_ms=leftover_ms)
    opened.say(spoken)
    opened.wait(1)
    already = len(opened.audio)
    opened.say(question)
    (interrupted_at,) = opened.times("interrupted")
    (complete_at,) = opened.times("turnComplete")
    assert complete_at == pytest.approx(interrupted_at + 0.02)
    record = opened.journal.answers[0]
    assert record.interrupted
    assert record.complete
    assert record.leftover_bytes == leftover_ms * 48
    assert already <= record.sent_bytes < 0.5 * len(record.pcm)
    assert opened.audio == tone(5000).pcm[: record.sent_bytes + record.leftover_bytes]
    assert len(opened.times("generationComplete")) == 0
    opened.say(bytes(32_000))
    opened.wait(6)
    assert [answer.turn for answer in opened.journal.answers] == [1, 2]
    assert opened.journal.answers[1].sent == tone(5000).pcm


def test_speech_interrupts_after_the_last_audio_while_it_would_still_play(talk, spoken, question) -> None:
    opened = talk({}, mode="tone", tone_ms=5000, speed=0)
    opened.say(spoken)
    opened.wait(1)
    assert len(opened.times("generationComplete")) == 1
    opened.say(question)
    assert len(opened.times("interrupted")) == len(opened.times("turnComplete")) == 1


def test_speech_after_the_end_interrupts_nothing(talk, spoken) -> None:
    opened = talk({}, mode="tone", tone_ms=100)
    opened.say(spoken)
    opened.wait(1)
    opened.say(spoken)
    assert opened.times("interrupted") == []


def test_a_complete_text_turn_interrupts_and_is_answered_after_the_old_turn_ended(talk) -> None:
    opened = talk({}, **FAST | {"hold_turn_complete": True, "settle_ms": 50, "leftover_ms": 40})
    opened.send(ASK)
    opened.send(ASK)
    opened.wait(2)
    names = [next(iter(message["serverContent"])) for message in opened.messages if "serverContent" in message]
    whole = [*["modelTurn"] * 10, "generationComplete"]
    assert names == [*whole, "interrupted", "turnComplete", *whole, "turnComplete"]


def test_no_interruption_lets_answers_queue(talk, spoken) -> None:
    opened = talk(INTERRUPT_OFF, mode="tone", tone_ms=4000)
    opened.say(spoken)
    opened.say(spoken)
    assert opened.times("interrupted") == []
    assert len(opened.journal.answers) == 1
    opened.wait(9)
    assert opened.audio == tone(4000).pcm * 2
    assert len(opened.times("turnComplete")) == 2


OLDER = {"model": "models/gemini-2.5-flash-native-audio-preview-12-2025"}
"""This model understands audioStreamEnd, and sends no unasked transcripts."""
MANUAL = {"realtimeInputConfig": {"automatic_activity_detection": {"disabled": True}}}


def test_manual_activity_decides_alone(talk, spoken) -> None:
    opened = talk(MANUAL, **FAST | {"mode": "echo", "answer_hz": 16_000})
    opened.say(spoken)
    assert opened.audio == b""
    opened.send({"realtime_input": {"activityStart": {}}})
    opened.say(spoken[:32_000])
    opened.send({"realtime_input": {"activityEnd": {}}})
    opened.wait(0.1)
    assert opened.audio == spoken[:32_000]


def test_manual_activity_start_interrupts(talk) -> None:
    opened = talk(MANUAL, mode="tone")
    opened.send(ASK)
    opened.wait(0.5)
    opened.send({"realtime_input": {"activityStart": {}}})
    assert len(opened.times("interrupted")) == 1


def test_activity_signals_are_refused_while_detection_is_automatic(talk) -> None:
    opened = talk({})
    opened.send({"realtime_input": {"activityStart": {}}})
    (close,) = closes(opened)
    assert close.reason.startswith("Explicit activity control is not supported")


def test_the_end_of_the_stream_ends_the_utterance(talk, question) -> None:
    opened = talk(OLDER, **FAST)
    opened.say(question)
    assert opened.audio == b""
    opened.send({"realtime_input": {"audioStreamEnd": True}})
    assert opened.audio == tone(400).pcm


def test_transcripts_come_only_if_asked_for(talk, spoken) -> None:
    asked = talk({"inputAudioTranscription": {}, "outputAudioTranscription": {}}, **FAST | {"mode": "answers"})
    asked.say(spoken)
    assert "".join(piece["text"] for piece in contents(asked, "outputTranscription")) == recordings()[0].text
    assert "".join(piece["text"] for piece in contents(asked, "inputTranscription")) == "(1.0 s of speech)"
    unasked = talk(OLDER, **FAST)
    unasked.say(spoken)
    assert contents(unasked, "outputTranscription") + contents(unasked, "inputTranscription") == []


def test_usage_bills_the_whole_context_again_every_turn(talk) -> None:
    opened = talk({"systemInstruction": {"parts": [{"text": "x" * 40}]}}, **FAST)
    opened.send(ASK)
    opened.send(ASK)
    first, second = opened.journal.usage
    assert (first.prompt, first.response) == ({"TEXT": 12}, {"AUDIO": 10})
    assert (second.prompt, second.response, second.total) == ({"TEXT": 14, "AUDIO": 10}, {"AUDIO": 10}, 34)
    reported = [message["usageMetadata"] for message in opened.messages if "usageMetadata" in message]
    assert reported == [first.as_json(), second.as_json()]
    assert reported[1]["promptTokensDetails"] == [
        {"modality": "TEXT", "tokenCount": 14},
        {"modality": "AUDIO", "tokenCount": 10},
    ]


def test_an_interrupted_answer_is_billed_as_far_as_it_went_out(talk) -> None:
    opened = talk({}, mode="tone", tone_ms=4000, speed=1, thinking_ms=0)
    opened.send(ASK)
    opened.wait(0.99)
    opened.session.do(Interrupt(), opened.now)
    opened.wait(1)
    assert opened.journal.answers[0].sent_bytes == 48_000
    assert opened.journal.usage[0].response == {"AUDIO": 25}


@pytest.mark.parametrize(("coverage", "audio_tokens"), [("TURN_INCLUDES_ONLY_ACTIVITY", 26), ("TURN_INCLUDES_ALL_INPUT", 71)])
def test_silence_is_billed_only_if_the_turn_covers_it(talk, spoken, coverage, audio_tokens) -> None:
    opened = talk({"realtimeInputConfig": {"turn_coverage": coverage}}, **FAST)
    opened.say(spoken)
    # Tokens are rounded up per message: 71 messages of 20 ms are 71 tokens, up to the message that ended the speech.
    assert opened.journal.usage[0].prompt["AUDIO"] == pytest.approx(audio_tokens, abs=8)


def test_several_replies_say_whether_more_follows(talk) -> None:
    opened = talk({}, **FAST | {"replies": 3, "interaction_status": True})
    opened.send(ASK)
    assert contents(opened, "interactionStatus") == ["IN_PROGRESS", "IN_PROGRESS", "IDLE"]
    assert len(opened.times("turnComplete")) == 3
    assert opened.audio == tone(400).pcm
    assert sum(report.response["AUDIO"] for report in opened.journal.usage) == pytest.approx(10, abs=2)


def test_a_tool_call_holds_the_answer_until_its_response(talk) -> None:
    opened = talk({}, **FAST, script=(Step(on="speech_end", action=ToolCall(name="look", args={"at_what": "me"})),))
    opened.send(ASK)
    opened.wait(5)
    (call,) = [message["toolCall"]["functionCalls"][0] for message in opened.messages if "toolCall" in message]
    assert call == {"id": "call-1-1", "name": "look", "args": {"at_what": "me"}}
    assert opened.audio == b""
    opened.send({"tool_response": {"functionResponses": [{"id": "call-1-1", "name": "look", "response": {"out_put": 1}}]}})
    assert opened.audio == tone(400).pcm
    assert opened.journal.tool_responses[0]["response"] == {"out_put": 1}


def test_an_interruption_takes_tool_calls_back(talk) -> None:
    opened = talk({}, **FAST, script=(Step(on="speech_end", action=ToolCall()),))
    opened.send(ASK)
    opened.send(ASK)
    assert [m["toolCallCancellation"]["ids"] for m in opened.messages if "toolCallCancellation" in m] == [["call-1-1"]]
    assert [answer.turn for answer in opened.journal.answers if not answer.interrupted] != []


def test_a_connection_announces_its_end_and_ends(talk) -> None:
    opened = talk({})
    opened.wait(601)
    (left,) = [message["goAway"]["timeLeft"] for message in opened.messages if "goAway" in message]
    assert left == "50s"
    assert opened.times("goAway") == [550.0]
    ((at, close),) = [(at, output) for at, output in opened.out if isinstance(output, Close)]
    assert (at, close.code, close.reason[:16]) == (600.0, 1011, "Deadline expired")


@pytest.mark.parametrize(
    ("fields", "n_go_aways", "n_closes"),
    [
        ({"close_at_max_age": False}, 1, 0),
        ({"go_away_left_s": None}, 0, 1),
        ({"max_age_s": None, "session_limit_s": None}, 0, 0),
    ],
)
def test_go_away_without_close_and_close_without_go_away(talk, fields, n_go_aways, n_closes) -> None:
    opened = talk({}, **fields)
    opened.wait(2000)
    assert (len(opened.times("goAway")), len(closes(opened))) == (n_go_aways, n_closes)


def test_a_session_without_compression_ends_after_15_minutes_over_all_its_connections(talk, door) -> None:
    first = talk({"sessionResumption": {}}, **FAST)
    first.wait(500)
    first.send(ASK)
    door.handles.closed(1)
    resume = {"sessionResumption": {"handle": first.journal.handles[-1]}}
    later = type(first)(door, resume, number=2, now=first.now, **FAST)
    later.wait(600)
    assert later.times("goAway") == [pytest.approx(850)]
    assert later.out[-1] == (pytest.approx(900), Close(code=1011, reason="Deadline expired before operation could complete."))


def test_compression_lifts_the_limit_and_shortens_the_context(talk) -> None:
    compressed = {"contextWindowCompression": {"trigger_tokens": "40", "sliding_window": {"target_tokens": 15}}}
    opened = talk(compressed, **FAST, max_age_s=None)
    for _ in range(5):
        opened.send(ASK)
    opened.wait(2000)
    assert closes(opened) == []
    assert max(sum(report.prompt.values()) for report in opened.journal.usage) <= 42


def test_resuming_restores_history_turns_and_context(talk, door) -> None:
    first = talk({"sessionResumption": {}, "systemInstruction": {"parts": [{"text": "x" * 40}]}}, **FAST)
    first.send(ASK)
    assert len(first.journal.handles) == 2
    door.handles.closed(1)
    setup = {"sessionResumption": {"handle": first.journal.handles[-1]}}
    second = type(first)(door, setup, number=2, now=100.0, **FAST)
    second.send(ASK)
    assert second.journal.resumed
    assert second.journal.session_id == first.journal.session_id
    assert list(second.journal.history)[:2] == list(first.journal.history)
    assert second.journal.answers[0].turn == 2
    assert second.journal.usage[0].prompt == {"TEXT": 14, "AUDIO": 10}


def test_no_handles_unless_asked_for(talk) -> None:
    opened = talk({}, **FAST)
    opened.send(ASK)
    assert opened.times("sessionResumptionUpdate") == []


@pytest.mark.parametrize("case", ["unknown", "stale", "open", "poisoned", "poisoned later"])
def test_a_handle_that_opens_nothing(talk, door, case) -> None:
    first = talk({"sessionResumption": {}}, poison_handles=case == "poisoned")
    handle = first.journal.handles[0]
    now = 7201.0 if case == "stale" else 7199.0
    if case != "open":
        door.handles.closed(1)
    if case == "unknown":
        handle = "nobody-gave-this-out"
    if case == "poisoned later":
        door.handles.is_poisoned = lambda name: name == handle
    tries = [type(first)(door, {"sessionResumption": {"handle": handle}}, number=n, now=now) for n in (2, 3)]
    expected = {
        "unknown": Close(code=1008, reason="BidiGenerateContent session not found."),
        "stale": Close(code=1008, reason="BidiGenerateContent session expired."),
        "open": Close(code=1011, reason="The session is still open on another connection."),
    }.get(case, Close(code=1011, reason="Internal error encountered."))
    assert [closes(again) for again in tries] == [[expected]] * 2


def test_an_old_handle_does_not_open_a_session_that_goes_on_elsewhere(talk, door) -> None:
    first = talk({"sessionResumption": {}})
    resume = {"sessionResumption": {"handle": first.journal.handles[0]}}
    door.handles.closed(1)
    second = type(first)(door, resume, number=2)
    third = type(first)(door, resume, number=3)
    assert closes(second) == []
    assert [close.code for close in closes(third)] == [1011]


def test_handles_are_bounded() -> None:
    names = iter(range(20_000))
    store = HandleStore(lambda: str(next(names)))
    for _ in range(10_001):
        store.issue(None, 0.0)
    assert len(store._entries) == 10_000


def test_silence_on_request(talk) -> None:
    opened = talk({}, **FAST, silent=True)
    opened.send(ASK)
    opened.wait(10)
    assert opened.audio == b""
    opened.session.do(Silent(on=False), opened.now)
    opened.send(ASK)
    assert opened.audio == tone(400).pcm


def test_saying_something_unasked_waits_for_the_answer_that_plays(talk) -> None:
    opened = talk({}, mode="tone", tone_ms=400)
    opened.send(ASK)
    opened.session.do(Say(pcm=b"\1\0" * 2400), opened.now)
    opened.wait(2)
    assert opened.audio == tone(400).pcm + b"\1\0" * 2400


def test_a_script_counts_delays_and_repeats(talk) -> None:
    script = (
        Step(on="audio_out", count=3, action=SendRaw(message={"third": {}})),
        Step(on="turn_complete", count=0, action=SendRaw(message={"turn": {}})),
        Step(on="ready", after_s=1.0, every_s=2.0, action=GoAway(time_left_s=0)),
        Step(on="ready", after_s=8.5, action=Abort()),
    )
    opened = talk({}, **FAST, script=script)
    opened.send(ASK)
    names = [next(iter(m.get("serverContent", m))) for m in opened.messages]
    assert names.index("third") == 4
    opened.send(ASK)
    opened.wait(20)
    assert len(opened.times("turn")) == 2
    assert opened.times("goAway") == [1.0, 3.0, 5.0, 7.0]
    assert [message["goAway"]["timeLeft"] for message in opened.messages if "goAway" in message] == ["0s"] * 4
    assert isinstance(opened.out[-1][1], Abort)


@pytest.mark.parametrize("on", ["open", "setup", "ready", "speech_start", "audio_out", "turn_complete", "interrupted"])
def test_nothing_follows_a_close_wherever_it_comes(talk, spoken, on) -> None:
    opened = talk({}, **FAST | {"hold_turn_complete": True}, script=(Step(on=on, action=Close(code=1000, reason="bye")),))
    opened.say(spoken)
    opened.send(ASK)
    opened.wait(700)
    assert opened.out[-1][1] == Close(code=1000, reason="bye")
    assert len(closes(opened)) == 1
    assert opened.session.next_due() is None


def test_a_setup_that_is_never_answered(talk) -> None:
    opened = talk({}, setup_reply=False)
    opened.send(ASK)
    opened.wait(1000)
    assert [output for _, output in opened.out if not isinstance(output, Note)] == []


def test_voice_activity_carries_the_place_in_the_audio(talk, spoken) -> None:
    opened = talk({}, **FAST, voice_activity=True)
    opened.say(spoken)
    started, ended = [m["voiceActivity"] for m in opened.messages if "voiceActivity" in m]
    assert (started["type"], ended["type"]) == ("ACTIVITY_START", "ACTIVITY_END")
    assert 0.2 <= float(started["audioOffset"].rstrip("s")) <= 0.4


def test_what_a_record_keeps_is_bounded(talk, door, question) -> None:
    opened = talk({}, **FAST)
    opened.journal.max_bytes = 20_000
    opened.say(question)
    opened.send(ASK)
    assert bytes(opened.journal.heard) == question[:20_000]
    assert opened.journal.heard_bytes == len(question)
    assert opened.audio == tone(400).pcm
    opened.send(ASK)
    assert opened.journal.answers[1].pcm == b""
