"""The real SDK against a running server: each failure raises the same exception as with Google."""

import asyncio
import ssl

import pytest
from google.genai import errors, types
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from gemini_live_sim import Abort, Behaviour, Close, GoAway, SendBig, SendError, SendRaw, SimSettings, Stall, Step, serve
from gemini_live_sim.actions import QUOTA

QUICK = {"thinking_ms": 0, "speed": 0, "hold_turn_complete": False, "mode": "tone", "tone_ms": 200}
HELLO = types.Content(role="user", parts=[types.Part(text="hello")])
BLOB = types.Blob(data=bytes(640), mime_type="audio/pcm;rate=16000")


async def drain(session) -> list[types.LiveServerMessage]:
    messages = []
    async with asyncio.timeout(5):
        while True:
            messages += [message async for message in session.receive()]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
async def test_a_refused_handshake(call, status) -> None:
    async with serve() as sim:
        sim.script([Behaviour(handshake_status=status)])
        with pytest.raises(InvalidStatus, match=f"HTTP {status}"):
            await call(sim).__aenter__()
        async with call(sim):
            pass
        assert sim.refused == [status]


async def test_refusing_until_told_otherwise(call) -> None:
    async with serve() as sim:
        sim.refuse(429)
        for _ in range(2):
            with pytest.raises(InvalidStatus, match="HTTP 429"):
                await call(sim).__aenter__()
        sim.refuse(None)
        async with call(sim):
            assert sim.refused == [429, 429]


async def test_a_key_that_is_not_listed(call, caplog) -> None:
    caplog.set_level("DEBUG")
    async with serve(SimSettings(api_keys="good-key-1,good-key-2")) as sim:
        async with call(sim, key="good-key-2"):
            pass
        with pytest.raises(errors.APIError) as error:
            await call(sim, key="secret-but-bad").__aenter__()
    assert (error.value.code, error.value.details) == (1007, "API key not valid. Please pass a valid API key.")
    ours = [record.getMessage() for record in caplog.records if record.name == "gemini_live_sim"]
    assert ours
    assert not any("good-key" in line or "secret" in line for line in ours)


@pytest.mark.parametrize("code", [1000, 1007, 1008, 1011])
@pytest.mark.parametrize("on", ["ready", "audio_out"])
async def test_a_close_while_receiving(call, code, on) -> None:
    script = (Step(on=on, action=Close(code=code, reason="for this reason")),)
    async with serve(SimSettings(**QUICK, script=script)) as sim, call(sim) as session:
        if on == "audio_out":
            await session.send_client_content(turns=HELLO)
        with pytest.raises(errors.APIError) as error:
            await drain(session)
        assert (error.value.code, error.value.details) == (code, "for this reason")
        await sim.sessions[0].until(lambda record: not record.open)
        assert sim.sessions[0].close_code == code


async def test_a_close_while_only_sending(call) -> None:
    async with serve() as sim, call(sim) as session:
        sim.sessions[0].close(1011, "x" * 300)
        await sim.sessions[0].until(lambda record: not record.open)
        with pytest.raises(ConnectionClosedError, match=r"1011 .* x{123};"):
            await session.send_realtime_input(audio=BLOB)


@pytest.mark.parametrize("on", ["open", "setup"])
@pytest.mark.parametrize(("action", "code"), [(Close(code=1011, reason=QUOTA), 1011), (Abort(), 1006)])
async def test_an_end_in_the_middle_of_the_setup(call, on, action, code) -> None:
    async with serve(SimSettings(script=(Step(on=on, action=action),))) as sim:
        # By chance the SDK is still sending its setup, or already waits for the reply.
        with pytest.raises((errors.APIError, ConnectionClosedError)) as error:
            await call(sim).__aenter__()
        assert str(code) in str(error.value) or code == 1006
        await sim.sessions[0].until(lambda record: not record.open)
        assert sim.sessions[0].close_code == code


async def test_a_connection_dropped_without_a_word(call) -> None:
    async with serve(SimSettings(**QUICK)) as sim:
        async with call(sim) as session:
            sim.sessions[0].abort()
            with pytest.raises(errors.APIError) as error:
                await drain(session)
            assert error.value.code == 1006
        async with call(sim) as session:
            sim.sessions[1].abort()
            await session._ws.wait_closed()
            with pytest.raises(ConnectionClosedError, match="no close frame"):
                await session.send_realtime_input(audio=BLOB)
        assert [record.close_code for record in sim.sessions] == [1006, 1006]


async def test_go_away_then_the_close(call) -> None:
    async with serve(SimSettings(max_age_s=0.1, go_away_left_s=0.05)) as sim, call(sim) as session:
        received = session.receive()
        assert (await anext(received)).go_away.time_left == "0.05s"
        with pytest.raises(errors.APIError) as error:
            await anext(received)
        assert (error.value.code, error.value.details[:16]) == (1011, "Deadline expired")


async def test_go_away_that_nothing_follows(call) -> None:
    async with serve(SimSettings(**QUICK)) as sim, call(sim) as session:
        sim.sessions[0].go_away(0)
        received = session.receive()
        assert (await anext(received)).go_away.time_left == "0s"
        await session.send_client_content(turns=HELLO)
        assert (await anext(received)).data


async def test_a_setup_that_is_never_answered(call) -> None:
    async with serve(SimSettings(setup_reply=False)) as sim:
        dialling = asyncio.create_task(call(sim).__aenter__())
        await sim.until(lambda it: it.sessions and it.sessions[0].setup)
        done, _ = await asyncio.wait([dialling], timeout=0.3)
        assert not done
        dialling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialling


async def test_nobody_listens_and_then_somebody_does(call) -> None:
    async with serve() as sim, call(sim) as session:
        port = sim.port
        await sim.go_dark()
        with pytest.raises(errors.APIError):
            await drain(session)
        with pytest.raises(ConnectionRefusedError):
            await call(sim).__aenter__()
        await sim.come_back()
        async with call(sim):
            assert sim.port == port


async def test_open_connections_may_outlive_the_dark(call) -> None:
    async with serve(SimSettings(**QUICK)) as sim, call(sim) as session:
        await sim.go_dark(drop=False)
        with pytest.raises(ConnectionRefusedError):
            await call(sim).__aenter__()
        await session.send_client_content(turns=HELLO)
        assert (await anext(session.receive())).data


async def test_a_handshake_that_is_swallowed(call) -> None:
    async with serve() as sim:
        await sim.swallow()
        with pytest.raises(TimeoutError):
            await call(sim, socket={"open_timeout": 0.2}).__aenter__()
        await sim.come_back()
        async with call(sim):
            pass


async def test_a_stalled_socket_shows_as_a_lost_connection(call) -> None:
    socket = {"ping_interval": 0.1, "ping_timeout": 0.1, "close_timeout": 0.1}
    async with serve(SimSettings(**QUICK)) as sim, call(sim, socket=socket) as session:
        sim.sessions[0].stall()
        await session.send_client_content(turns=HELLO)
        with pytest.raises(errors.APIError) as error:
            await drain(session)
        assert error.value.code == 1006
        assert "keepalive ping timeout" in str(error.value.__context__)
        assert sim.sessions[0].kinds == ["Setup"]


async def test_a_stall_that_ends(call) -> None:
    async with serve(SimSettings(**QUICK)) as sim, call(sim) as session:
        record = sim.sessions[0]
        record.stall()
        await session.send_client_content(turns=HELLO)
        waiting = asyncio.ensure_future(anext(session.receive()))
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        assert not done
        record.resume_io()
        assert (await asyncio.wait_for(waiting, 5)).data


async def test_a_stall_in_one_direction_hears_on(call) -> None:
    script = (Step(action=Stall(reading=False, for_s=1.0)),)
    async with serve(SimSettings(**QUICK, script=script)) as sim, call(sim) as session:
        await session.send_client_content(turns=HELLO)
        await sim.sessions[0].until(lambda record: record.texts == ["hello"])
        assert sim.sessions[0].sent_kinds == ["setupComplete"]
        assert (await asyncio.wait_for(anext(session.receive()), 5)).data


async def test_a_server_that_hears_and_never_answers(call, speak, spoken) -> None:
    async with serve(SimSettings(**QUICK, silent=True)) as sim, call(sim, input_audio_transcription={}) as session:
        await speak(session, spoken)
        received = session.receive()
        texts = [(await anext(received)).server_content.input_transcription.text for _ in range(2)]
        assert "".join(texts) == "(1.0 s of speech)"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await anext(received)
        assert sim.sessions[0].answers == []


async def test_late_pongs(call) -> None:
    async with serve(SimSettings(pong_delay_ms=150)) as sim, call(sim) as session:
        latency_s = await asyncio.wait_for(await session._ws.ping(), 5)
        assert latency_s >= 0.14
    async with serve() as sim, call(sim, socket={"ping_interval": 0.05, "ping_timeout": 1.0}) as session:
        sim.script([Behaviour(pong_delay_ms=2000)])
        async with call(sim, socket={"ping_interval": 0.05, "ping_timeout": 0.05, "close_timeout": 0.1}) as late:
            with pytest.raises(errors.APIError):
                await drain(late)
        assert (await (await session._ws.ping())) < 1


async def test_messages_that_the_sdk_does_not_know(call) -> None:
    script = (
        Step(action=SendRaw(message={"somethingNew": {"a": 1}})),
        Step(action=SendError()),
        Step(action=SendRaw(message={"setupComplete": {}, "somethingNew": 1})),
    )
    async with serve(SimSettings(script=script)) as sim, call(sim) as session:
        for _ in range(2):
            with pytest.raises(TypeError):
                await anext(session.receive())
        assert (await anext(session.receive())).setup_complete
        assert sim.sessions[0].open


async def test_a_message_that_is_no_json(call) -> None:
    async with serve(SimSettings(script=(Step(action=SendRaw(message="}{")),))) as sim, call(sim) as session:
        with pytest.raises(ValueError, match="Failed to parse"):
            await anext(session.receive())


async def test_a_message_of_more_than_a_mebibyte(call) -> None:
    script = (Step(on="speech_end", action=SendBig(n_bytes=2**20)),)
    async with serve(SimSettings(**QUICK, script=script)) as sim:
        async with call(sim) as session:
            await session.send_client_content(turns=HELLO)
            assert len((await anext(session.receive())).server_content.model_turn.parts[0].text) == 2**20
        async with call(sim, socket={"max_size": 2**20}) as session:
            await session.send_client_content(turns=HELLO)
            with pytest.raises(errors.APIError):
                await drain(session)
            await sim.sessions[1].until(lambda record: not record.open)
            assert sim.sessions[1].close_code == 1009


async def test_resuming_while_the_old_socket_is_open(call) -> None:
    async with serve(SimSettings(**QUICK)) as sim, call(sim, session_resumption={}) as session:
        update = (await anext(session.receive())).session_resumption_update
        with pytest.raises(errors.APIError) as error:
            await call(sim, session_resumption={"handle": update.new_handle}).__aenter__()
        assert error.value.code == 1011
        await session.close()
        async with call(sim, session_resumption={"handle": update.new_handle}):
            assert sim.sessions[2].resumed


async def test_a_poisoned_handle_dies_the_same_way_every_time(call) -> None:
    async with serve(SimSettings(**QUICK)) as sim:
        async with call(sim, session_resumption={}) as session:
            handle = (await anext(session.receive())).session_resumption_update.new_handle
        sim.handles.poison(handle)
        for _ in range(2):
            with pytest.raises(errors.APIError) as error:
                await call(sim, session_resumption={"handle": handle}).__aenter__()
            assert (error.value.code, error.value.details) == (1011, "Internal error encountered.")


async def test_an_unknown_model(call) -> None:
    async with serve(SimSettings(models="gemini-3.8-live")) as sim:
        async with call(sim):
            pass
        with pytest.raises(errors.APIError) as error:
            await call(sim, model="gemini-0").__aenter__()
        assert error.value.code == 1008
        assert "models/gemini-0 is not found" in error.value.details


async def test_a_certificate_that_is_not_trusted(call) -> None:
    async with serve() as sim:
        with pytest.raises(ssl.SSLCertVerificationError):
            await call(sim, socket={"ssl": ssl.create_default_context()}).__aenter__()


async def test_a_client_in_trouble_leaves_the_others_alone(call) -> None:
    async with serve(SimSettings(**QUICK)) as sim, call(sim) as steady, call(sim) as troubled:
        await troubled._ws.send('{"realtimeInput": {"audio": {"data": "!!!", "mimeType": "audio/pcm"}}}')
        with pytest.raises(errors.APIError) as error:
            await drain(troubled)
        assert (error.value.code, error.value.details[-24:]) == (1007, " Base64 decoding failed.")
        await steady.send_client_content(turns=HELLO)
        assert (await anext(steady.receive())).data


async def test_go_away_in_a_script_by_the_clock(call) -> None:
    script = (Step(on="ready", after_s=0.02, every_s=0.02, action=GoAway(time_left_s=7)),)
    async with serve(SimSettings(script=script)) as sim, call(sim) as session:
        received = session.receive()
        assert [(await anext(received)).go_away.time_left for _ in range(3)] == ["7s"] * 3
