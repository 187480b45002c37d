"""The real SDK against a running server: a conversation."""

import asyncio
import ssl

import pytest
from google.genai import types

from gemini_live_sim import Behaviour, SimSettings, Step, ToolCall, serve
from gemini_live_sim.answers import recordings, tone

QUICK = {"thinking_ms": 0, "speed": 0, "hold_turn_complete": False}
HELLO = types.Content(role="user", parts=[types.Part(text="hello")])


async def turn(session) -> list[types.LiveServerMessage]:
    async with asyncio.timeout(5):
        return [message async for message in session.receive()]


def parts(messages) -> list[types.Part]:
    turns = [m.server_content.model_turn for m in messages if m.server_content and m.server_content.model_turn]
    return [part for one in turns for part in one.parts]


def audio(messages) -> bytes:
    return b"".join(part.inline_data.data or b"" for part in parts(messages) if part.inline_data)


async def test_speech_is_answered_with_recorded_speech_and_transcripts(call, speak, spoken) -> None:
    config = {"input_audio_transcription": {}, "output_audio_transcription": {}}
    async with serve(SimSettings(**QUICK)) as sim, call(sim, **config) as session:
        for answer in recordings()[:2]:
            await speak(session, spoken)
            messages = await turn(session)
            assert audio(messages) == answer.pcm
            contents = [message.server_content for message in messages if message.server_content]
            said = "".join(content.output_transcription.text for content in contents if content.output_transcription)
            heard = "".join(content.input_transcription.text for content in contents if content.input_transcription)
            assert said == answer.text
            assert heard == "(1.0 s of speech)"
            assert [bool(content.generation_complete) for content in contents[-2:]] == [True, False]
            assert contents[-1].turn_complete


async def test_the_record_has_what_was_heard_and_what_was_said(call, speak, spoken) -> None:
    async with serve(SimSettings(**QUICK, mode="echo")) as sim:
        voice = {"voice_config": {"prebuilt_voice_config": {"voice_name": "Kore"}}}
        async with call(sim, speech_config=voice, system_instruction="Be brief.") as session:
            await speak(session, spoken)
            messages = await turn(session)
            record = await sim.session(1)
            assert session.session_id == record.session_id
            assert bytes(record.heard) == spoken
            assert audio(messages) == record.answers[0].sent
            assert (record.setup.voice, record.setup.instruction) == ("Kore", "Be brief.")
            assert record.kinds == ["Setup"] + ["Audio"] * len(range(0, len(spoken), 640))
        await record.until(lambda it: not it.open)
        assert record.close_code == 1000


async def test_usage_is_reported_and_adds_up(call) -> None:
    async with serve(SimSettings(**QUICK, mode="tone", tone_ms=1000)) as sim, call(sim) as session:
        reported = []
        for _ in range(3):
            await session.send_client_content(turns=HELLO)
            reported.append((await turn(session))[-1].usage_metadata)
        ledger = sim.sessions[0].usage
        assert [usage.response_token_count for usage in reported] == [25, 25, 25]
        assert [usage.total_token_count for usage in reported] == [report.total for report in ledger]
        details = {detail.modality.value: detail.token_count for detail in reported[2].prompt_tokens_details}
        assert details == ledger[2].prompt == {"TEXT": 6, "AUDIO": 50}


async def test_every_part_arrives_however_they_are_packed(call) -> None:
    shape = {"parts_per_message": 3, "odd_bytes": True, "empty_parts": True, "thought_parts": True, "unknown_fields": True}
    async with serve(SimSettings(**QUICK, **shape, mode="tone", binary=True)) as sim, call(sim) as session:
        await session.send_client_content(turns=HELLO)
        messages = await turn(session)
        sizes = [len(part.inline_data.data or b"") for part in parts(messages) if part.inline_data]
        assert audio(messages) == tone(2000).pcm
        assert any(size % 2 for size in sizes)
        assert 0 in sizes
        assert any(part.thought for part in parts(messages))
        assert max(len(m.server_content.model_turn.parts) for m in messages if m.server_content.model_turn) == 12


async def test_interruption_and_the_leftover_after_it(call, speak, question) -> None:
    settings = SimSettings(mode="tone", tone_ms=60_000, thinking_ms=0, leftover_ms=120)
    async with serve(settings) as sim, call(sim) as session:
        await session.send_client_content(turns=HELLO)
        received = session.receive()
        first = await anext(received)
        await speak(session, question)
        messages = [first, *[message async for message in received]]
        record = sim.sessions[0].answers[0]
        at = next(i for i, m in enumerate(messages) if m.server_content.interrupted)
        assert len(audio(messages[:at])) == record.sent_bytes < 2_000_000
        assert len(audio(messages[at:])) == record.leftover_bytes == 120 * 48
        assert messages[-1].server_content.turn_complete
        assert not any(message.server_content.generation_complete for message in messages)


async def test_answers_keep_to_the_pace_that_is_set(call) -> None:
    settings = SimSettings(mode="tone", tone_ms=400, speed=4, thinking_ms=50)
    async with serve(settings) as sim, call(sim) as session:
        clock = asyncio.get_running_loop().time
        spans = []
        for _ in range(3):
            await session.send_client_content(turns=HELLO)
            asked = clock()
            times = [(clock() - asked, message) async for message in session.receive()]
            heard = [at for at, message in times if message.data]
            assert heard[0] >= 0.045
            assert heard[-1] >= 0.13, "90 ms after the first one was due"
            assert times[-1][0] >= 0.445
            spans.append(heard[-1] - heard[0])
        # Sent well before it would be heard: 360 ms of sound. A busy machine makes an answer later, and hardly ever all three.
        assert min(spans) < 0.2


async def test_manual_activity(call, speak, question) -> None:
    off = {"automatic_activity_detection": {"disabled": True}}
    async with serve(SimSettings(**QUICK, mode="echo")) as sim, call(sim, realtime_input_config=off) as session:
        await session.send_realtime_input(activity_start=types.ActivityStart())
        await speak(session, question)
        await session.send_realtime_input(activity_end=types.ActivityEnd())
        assert len(audio(await turn(session))) / 48 == pytest.approx(len(question) / 32, abs=1)
        assert sim.sessions[0].kinds[1] == "ActivityStart"


async def test_the_end_of_the_stream_and_realtime_text(call, speak, question) -> None:
    older = "gemini-2.5-flash-native-audio-preview-12-2025"
    async with serve(SimSettings(**QUICK, mode="echo")) as sim, call(sim, model=older) as session:
        await speak(session, question)
        await session.send_realtime_input(audio_stream_end=True)
        assert audio(await turn(session)) == sim.sessions[0].answers[0].pcm
        await session.send_realtime_input(text="and in words?")
        assert audio(await turn(session)) == recordings()[1].pcm
        assert sim.sessions[0].texts == ["and in words?"]


async def test_tools(call) -> None:
    settings = SimSettings(**QUICK, mode="tone", script=(Step(on="speech_end", action=ToolCall(name="look")),))
    async with serve(settings) as sim, call(sim) as session:
        await session.send_client_content(turns=HELLO)
        received = session.receive()
        asked = await anext(received)
        (asking,) = asked.tool_call.function_calls
        response = types.FunctionResponse(id=asking.id, name=asking.name, response={"what_is_there": "a cat"})
        await session.send_tool_response(function_responses=response)
        assert audio([message async for message in received]) == tone(2000).pcm
        assert sim.sessions[0].tool_responses[0]["response"] == {"what_is_there": "a cat"}
        sim.sessions[0].tool_call("look", where="up")
        received = session.receive()
        assert (await anext(received)).tool_call.function_calls[0].args == {"where": "up"}
        await session.send_client_content(turns=HELLO)
        assert (await anext(received)).tool_call_cancellation.ids == ["call-1-2"]


async def test_resumption_goes_on_with_turns_and_history(call) -> None:
    async with serve(SimSettings(**QUICK, mode="tone")) as sim:
        async with call(sim, session_resumption={}) as session:
            await session.send_client_content(turns=HELLO)
            first = await turn(session)
            after = await anext(session.receive())
        handles = [m.session_resumption_update for m in [*first, after] if m.session_resumption_update]
        assert [update.resumable for update in handles] == [True, True]
        async with call(sim, session_resumption={"handle": handles[-1].new_handle}) as session:
            await session.send_client_content(turns=HELLO)
            await turn(session)
            old, new = sim.sessions
            assert (new.resumed, new.session_id, new.answers[0].turn) == (True, old.session_id, 2)
            assert list(new.history)[:2] == list(old.history)


async def test_extended_thinking_goes_on_until_idle(call) -> None:
    settings = SimSettings(**QUICK, mode="tone", replies=3, interaction_status=True)
    async with serve(settings) as sim, call(sim) as session:
        await session.send_client_content(turns=HELLO)
        messages = await turn(session)
        assert sum(bool(m.server_content and m.server_content.turn_complete) for m in messages) == 3
        assert audio(messages) == tone(2000).pcm


async def test_one_server_many_behaviours(call) -> None:
    async with serve(SimSettings(**QUICK, mode="tone")) as sim:
        sim.script([Behaviour(**QUICK, mode="tone", tone_ms=100), Behaviour(**QUICK, mode="tone", tone_ms=200)])
        lengths = []
        for _ in range(3):
            async with call(sim) as session:
                await session.send_client_content(turns=HELLO)
                lengths.append(len(audio(await turn(session))) // 48)
        assert lengths == [100, 200, 2000]


async def test_saying_something_unasked_and_interrupting_by_hand(call) -> None:
    async with serve(SimSettings(thinking_ms=0, speed=1)) as sim, call(sim) as session:
        record = await sim.session(1)
        record.say(b"\1\2" * 24_000)
        received = session.receive()
        first = await anext(received)
        record.interrupt()
        messages = [first, *[message async for message in received]]
        assert any(message.server_content.interrupted for message in messages)
        assert audio(messages) == record.answers[0].sent
        assert 0 < record.answers[0].sent_bytes < 48_000


async def test_events_carry_times_in_order(call, speak, spoken) -> None:
    events = []
    settings = SimSettings(**QUICK, mode="tone", tone_ms=80)
    async with serve(settings, on_event=lambda *event: events.append(event)) as sim, call(sim) as session:
        await speak(session, spoken)
        await turn(session)
    names = [name for _, name, _, _ in events]
    assert b"".join(detail for _, name, _, detail in events if name == "audio_in") == spoken
    out = [detail for _, name, _, detail in events if name == "audio_out"]
    assert [(audio_out.turn, audio_out.first) for audio_out in out] == [(1, True), (1, False)]
    assert b"".join(audio_out.pcm for audio_out in out) == tone(80).pcm
    assert names.index("heard") < names.index("audio_out") < names.index("turn_complete")
    assert [at for _, _, at, _ in events[-5:]] == sorted(at for _, _, at, _ in events[-5:])
    assert {session for session, *_ in events} == set(sim.sessions)


async def test_connecting_in_the_strictest_way_there_is(tmp_path) -> None:
    async with serve(SimSettings(tls_dir=tmp_path, tls_names="sim.test,10.1.2.3")) as sim:
        assert [path.name for path in tmp_path.iterdir()] == ["root.pem"]
        assert b"PRIVATE" not in sim.root_path.read_bytes()
        for name in ("localhost", "127.0.0.1", "::1", "gemini-live-sim", "sim.test", "10.1.2.3"):
            context = ssl.create_default_context(cafile=str(sim.root_path))
            context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
            _, writer = await asyncio.open_connection("127.0.0.1", sim.port, ssl=context, server_hostname=name)
            writer.close()
            await writer.wait_closed()
        context = ssl.create_default_context(cafile=str(sim.root_path))
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", sim.port, ssl=context, server_hostname="other.test")
