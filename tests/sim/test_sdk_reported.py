"""The real SDK against a running server with the reported behaviour of real servers."""

import asyncio

import numpy as np
import pytest
from google.genai import errors, types

from gemini_live_sim import SimSettings, serve
from gemini_live_sim.answers import recordings, tone

QUICK = {"thinking_ms": 0, "speed": 0, "hold_turn_complete": False}
TONE = QUICK | {"mode": "tone", "tone_ms": 200}
HELLO = types.Content(role="user", parts=[types.Part(text="hello")])
OLDER = "gemini-2.5-flash-native-audio-preview-12-2025"
THINKING = "gemini-3.8-live-extended-thinking"


async def take(session, until) -> list[types.LiveServerMessage]:
    """Receive messages up to the first for which the condition holds, over several turns."""
    messages = []
    async with asyncio.timeout(5):
        while True:
            async for message in session.receive():
                messages.append(message)
                if until(message):
                    return messages


def ended(message) -> bool:
    return bool(message.server_content and message.server_content.turn_complete)


def generated(message) -> bool:
    return bool(message.server_content and message.server_content.generation_complete)


def audio(messages) -> bytes:
    return b"".join(message.data or b"" for message in messages)


async def refused(connecting) -> str:
    """The reason of a setup's refusal with 1007."""
    with pytest.raises(errors.APIError) as error:
        await connecting.__aenter__()
    assert error.value.code == 1007
    return error.value.details


async def test_answers_without_turn_complete(call) -> None:
    async with serve(SimSettings(**TONE, end_turns="every_other")) as sim, call(sim) as session:
        for last in (generated, ended, generated, ended):
            await session.send_client_content(turns=HELLO)
            messages = await take(session, last)
            assert audio(messages) == tone(200).pcm
            assert sum(map(ended, messages)) == (last is ended)


async def test_a_stray_interrupted(call) -> None:
    settings = SimSettings(**TONE | {"thinking_ms": 60}, stray_interrupted_ms=40)
    async with serve(settings) as sim, call(sim) as session:
        await session.send_client_content(turns=HELLO)
        messages = await take(session, ended)
        assert messages[0].server_content.interrupted
        assert audio(messages[1:]) == tone(200).pcm


async def test_half_an_emoji_goes_out_as_json_has_it_and_the_sdk_hands_it_on(call) -> None:
    settings = SimSettings(**QUICK, split_emoji=True)
    async with serve(settings) as sim, call(sim, output_audio_transcription={}) as session:
        await session.send_client_content(turns=HELLO)
        raw = []
        async with asyncio.timeout(5):
            while not raw or b"turnComplete" not in raw[-1]:
                raw.append(await session._ws.recv(decode=False))
        texts = [message for message in raw if b"outputTranscription" in message]
        assert all(rb'\ud83d"}' in message for message in texts)
        assert texts[0].startswith(b'{"serverContent":{"outputTranscription":{"text":"Hello!')
        assert all(rb'{"text":"\ude00' in message for message in texts[1:])
        await session.send_client_content(turns=HELLO)
        contents = [message.server_content for message in await take(session, ended)]
        pieces = [content.output_transcription.text for content in contents if content.output_transcription]
        assert all(piece.endswith("\ud83d") for piece in pieces)
        assert "".join(pieces).count("\ud83d\ude00") == len(pieces) - 1 > 0


@pytest.mark.parametrize(
    ("babble", "shows"),
    [
        ("input", lambda message: message.server_content.input_transcription.text == "hello"),
        ("resumption", lambda message: message.session_resumption_update.new_handle),
        ("usage", lambda message: message.usage_metadata.total_token_count == 2),
        ("voice_activity", lambda message: message.voice_activity),
    ],
)
async def test_a_babble(call, babble, shows) -> None:
    settings = SimSettings(**QUICK, silent=True, babble=babble, babble_every_s=0.05)
    async with serve(settings) as sim, call(sim, session_resumption={}) as session:
        await anext(session.receive())
        await session.send_client_content(turns=HELLO)
        received = session.receive()
        assert all([shows(await anext(received)) for _ in range(3)])


async def test_turns_with_nothing_to_hear(call) -> None:
    async with serve(SimSettings(**QUICK, turn_reason="RESPONSE_REJECTED")) as sim, call(sim) as session:
        await session.send_client_content(turns=HELLO)
        (only,) = await take(session, ended)
        assert only.server_content.turn_complete_reason == types.TurnCompleteReason.RESPONSE_REJECTED
    async with serve(SimSettings(**QUICK, mute="text")) as sim, call(sim) as session:
        await session.send_client_content(turns=HELLO)
        assert "".join(message.text or "" for message in await take(session, ended)) == recordings()[0].text
    async with serve(SimSettings(**TONE, mute="faint")) as sim, call(sim) as session:
        await session.send_client_content(turns=HELLO)
        assert np.abs(np.frombuffer(audio(await take(session, ended)), "<i2")).max() == 2


@pytest.mark.parametrize(
    ("shape", "expected"),
    [("none", None), ("total", (None, 7)), ("candidates", (None, 7)), ("negative", (-5, -7)), ("huge", (2**31 - 1, 2**31 - 1))],
)
async def test_counts(call, shape, expected) -> None:
    async with serve(SimSettings(**TONE, usage=shape)) as sim, call(sim) as session:
        await session.send_client_content(turns=HELLO)
        usage = (await take(session, ended))[-1].usage_metadata
        assert expected == (usage and (usage.response_token_count, usage.total_token_count))


async def test_counts_that_come_twice(call) -> None:
    async with serve(SimSettings(**TONE, usage_again_ms=30)) as sim, call(sim) as session:
        await session.send_client_content(turns=HELLO)
        first = (await take(session, ended))[-1]
        again = (await take(session, lambda message: message.usage_metadata))[-1]
        assert again.usage_metadata == first.usage_metadata
        assert again.server_content is None


async def test_other_types_of_audio(call) -> None:
    async with serve(SimSettings(**TONE, mime="AUDIO/L16; Rate={hz}")) as sim, call(sim) as session:
        await session.send_client_content(turns=HELLO)
        messages = await take(session, generated)
        assert {part.inline_data.mime_type for m in messages[:-1] for part in m.server_content.model_turn.parts} == {
            "AUDIO/L16; Rate=24000"
        }


async def test_transcripts_that_are_late_and_that_nobody_asked_for(call, speak, spoken) -> None:
    settings = SimSettings(**QUICK, late_input=True)
    async with serve(settings) as sim, call(sim, output_audio_transcription={}) as session:
        await speak(session, spoken)
        contents = [message.server_content for message in await take(session, ended)]
        sides = [
            "input" if one.input_transcription else "output"
            for one in contents
            if one.input_transcription or one.output_transcription
        ]
        assert sides[:4] == ["output", "input", "input", "output"]
    async with serve(settings) as sim, call(sim, model=OLDER) as session:
        await speak(session, spoken)
        assert not [message for message in await take(session, ended) if message.server_content.input_transcription]


async def test_the_end_of_the_stream_that_is_not_heard(call, speak, question) -> None:
    async with serve(SimSettings(**TONE)) as sim, call(sim) as session:
        await speak(session, question)
        await session.send_realtime_input(audio_stream_end=True)
        await sim.sessions[0].until(lambda record: record.kinds[-1] == "StreamEnd")
        assert sim.sessions[0].answers == []
        await speak(session, bytes(32_000))
        assert audio(await take(session, ended)) == tone(200).pcm


async def test_what_models_refuse(call) -> None:
    look = {"name": "look", "parameters": {"type": "OBJECT", "additional_properties": False}}
    proactive = {"proactivity": {"proactive_audio": True}}
    async with serve(SimSettings(voices="Kore, Puck")) as sim:
        assert 'Unknown name "proactivity"' in await refused(call(sim, model=OLDER, **proactive))
        async with call(sim, model=OLDER, api_version="v1alpha", **proactive):
            pass
        assert await refused(call(sim, model=THINKING)) == "Thinking level must be specified."
        async with call(sim, model=THINKING, thinking_config={"thinking_level": "LOW"}):
            pass
        assert "invalid argument" in await refused(call(sim, thinking_config={"thinking_level": "LOW"}))
        assert "invalid argument" in await refused(call(sim, enable_affective_dialog=True))
        assert "additionalProperties" in await refused(call(sim, tools=[{"function_declarations": [look]}]))
        assert "look" in await refused(call(sim, tools=[{"function_declarations": [{"name": "look"}, {"name": "look"}]}]))
        voice = {"voice_config": {"prebuilt_voice_config": {"voice_name": "Nobody"}}}
        assert "Nobody" in await refused(call(sim, speech_config=voice))


async def test_a_setup_that_is_closed(call) -> None:
    for scenario, code, words in (("credits", 1011, "prepayment credits"), ("location", 1007, "User location")):
        async with serve(SimSettings(scenario=scenario)) as sim:
            with pytest.raises(errors.APIError, match=words) as error:
                await call(sim).__aenter__()
            assert error.value.code == code
