"""Each observed failure of Gemini, one by one: the conversation goes on, and the neighbour robot notices nothing."""

import time

import pytest
from leaks import sockets_of_ours

from gemini_gateway.models import MODELS
from gemini_gateway.sdk import client
from gemini_gateway.session import timing
from gemini_live_sim import resumption
from gemini_live_sim.actions import Abort, Close, SendBig, SendRaw, Stall, Step
from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from gemini_live_sim.settings import SimSettings
from reachy_gateway.voice import HANG_UP_S

REASONS = {
    1000: "The operation was cancelled.",
    1007: "Request contains an invalid argument.",
    1008: "The operation was aborted.",
    1011: "Internal error encountered.",
}
QUICK = SimSettings(mode="tone", tone_ms=800, speed=1.2)
TWO = ("reachy-1", "reachy-2")


async def mid_answer(talk, question):
    """Ask, and return in the middle of the answer."""
    heard = len(talk.reply)
    talk.say(question)
    await talk.until(lambda: len(talk.reply) > heard + 12000)


async def unaffected(neighbour):
    """Check that the neighbour had only one connection and lost nothing."""
    await neighbour.all_heard()
    assert len(neighbour.sessions) == 1
    assert neighbour.heard == neighbour.fed
    assert neighbour.reply == neighbour.answered
    assert neighbour.states == ["live"]


@pytest.mark.parametrize("code", sorted(REASONS))
@pytest.mark.parametrize("moment", ["idle", "in mid-answer", "in mid-setup"])
async def test_a_close(measured, talking, watchman, question, code, moment):
    async with serve(QUICK, on_event=watchman) as sim:
        watchman.sim = sim
        async with talking(sim, *TWO) as (talk, neighbour):
            first = await talk.live()
            await neighbour.live()
            if moment == "idle":
                await talk.ask(question)
            if moment == "in mid-answer":
                await mid_answer(talk, question)
            neighbour.say(question)
            if moment == "in mid-setup":
                sim.script([Behaviour(script=(Step(on="setup", action=Close(code=code, reason=REASONS[code])),))])
                first.abort()
            else:
                first.close(code, REASONS[code])
            gone = time.monotonic()
            await talk.until(lambda: not first.open)
            newest = await talk.live()
            measured(f"{moment}, {code}: heard again after {1000 * (time.monotonic() - gone):.0f} ms")
            if moment == "in mid-answer":
                assert talk.turns == 1, "the answer was ended cleanly"
                [cut] = first.answers
                assert talk.reply == cut.sent
                assert len(cut.sent) < len(cut.pcm)
            await talk.ask(question)
            assert talk.reply == talk.answered
            assert newest.resumed or (moment, code) == ("in mid-setup", 1007), (
                "only a code that blames the setup may cost the handle"
            )
            await unaffected(neighbour)
    assert watchman.doubles == []
    assert "refused" not in talk.states


@pytest.mark.parametrize("moment", ["idle", "in mid-answer", "in mid-setup", "in mid-question"])
async def test_a_connection_that_is_dropped_without_a_word(talking, watchman, question, numbers, moment):
    async with serve(QUICK, on_event=watchman) as sim:
        watchman.sim = sim
        async with talking(sim, *TWO) as (talk, neighbour):
            first = await talk.live()
            await neighbour.live()
            neighbour.say(question)
            match moment:
                case "in mid-answer":
                    await mid_answer(talk, question)
                case "in mid-setup":
                    sim.script([Behaviour(script=(Step(on="setup", action=Abort()),))])
                case "in mid-question":
                    talk.say(numbers[0][:48000])
                    await talk.until(lambda: talk.gate.speaking)
            first.abort()
            await talk.until(lambda: not first.open)
            assert (await talk.live()).resumed
            if moment == "in mid-question":
                await talk.until(lambda: talk.turns)
                assert not talk.saying, "the rest of the question was answered"
            await talk.ask(question)
            assert talk.reply == talk.answered
            await unaffected(neighbour)
    assert watchman.doubles == []


async def test_the_end_of_an_answer_that_is_followed_by_a_close_at_once_is_not_lost(talking, question):
    """All of a long answer, and the close, arrive in one burst, while the microphone continues."""
    last = Step(on="audio_out", count=100, action=Close(code=1011))
    async with serve(QUICK) as sim:
        sim.script([Behaviour(mode="tone", tone_ms=4000, speed=0, script=(last,))])
        async with talking(sim) as talk:
            first = await talk.live()
            talk.say(question)
            await talk.until(lambda: not first.open)
            await talk.until(lambda: talk.turns == 1)
            [answer] = first.answers
            assert len(answer.sent) == len(answer.pcm) == 4 * 48000
            assert talk.reply == answer.pcm


@pytest.mark.parametrize("status", [500, 503])
async def test_a_handshake_for_which_the_server_is_in_trouble_is_tried_again_with_the_same_handle(
    measured, talking, question, status
):
    async with serve(QUICK) as sim, talking(sim, *TWO) as (talk, neighbour):
        first = await talk.live()
        await neighbour.live()
        sim.refuse(status)
        first.abort()
        await talk.until(lambda: len(sim.refused) >= 4)
        sim.refuse(None)
        took_s = await talk.until(lambda: len(talk.sessions) == 2)
        measured(f"HTTP {status}: {len(sim.refused)} dials, back after {took_s:.2f} s")
        assert (await talk.live()).resumed, "the handle was not to blame"
        await talk.ask(question)
        await unaffected(neighbour)


async def test_a_setup_that_is_never_answered(measured, talking, question):
    async with serve(QUICK) as sim, talking(sim, *TWO) as (talk, neighbour):
        first = await talk.live()
        await neighbour.live()
        sim.script([Behaviour(setup_reply=False)])
        first.abort()
        gone = time.monotonic()
        await talk.until(lambda: len(talk.sessions) == 3)
        await talk.live()
        healed_s = time.monotonic() - gone
        measured(f"a setup never answered: heard again after {healed_s:.2f} s")
        assert healed_s < 5.0 + 1.0
        assert [session.resumed for session in talk.sessions] == [False, True, True]
        assert talk.states == ["live", "reconnecting", "live"]
        await talk.ask(question)
        await unaffected(neighbour)


@pytest.mark.parametrize("message", ["[]", "[1, 2]", "7", "null", '"hello"', "[" * 100_000])
async def test_a_setup_whose_answer_is_none(talking, question, message):
    strange = Behaviour(setup_reply=False, script=(Step(on="setup", action=SendRaw(message=message)),))
    async with serve(QUICK) as sim, talking(sim) as talk:
        first = await talk.live()
        sim.script([strange])
        first.abort()
        await talk.until(lambda: len(talk.sessions) == 3)
        await talk.ask(question)
        assert talk.sessions[2].resumed


@pytest.mark.parametrize(
    ("how", "moment", "silence_s"),
    [
        ("stalled", "after speech", timing.SILENCE_S),
        ("stalled", "in mid-answer", 2.5),
        ("silent", "after speech", 2.5),
        ("silent", "in mid-answer", 2.5),
    ],
)
async def test_a_server_that_falls_silent_on_an_open_socket(
    measured, talking, watchman, question, monkeypatch, how, moment, silence_s
):
    """A stalled socket takes and gives nothing, not even pongs. A silent server hears everything and says nothing."""
    monkeypatch.setattr(timing, "SILENCE_S", silence_s)
    async with serve(QUICK, on_event=watchman) as sim:
        watchman.sim = sim
        async with talking(sim, *TWO) as (talk, neighbour):
            first = await talk.live()
            await neighbour.live()
            neighbour.say(question)
            if moment == "in mid-answer":
                await mid_answer(talk, question)
            else:
                await talk.ask(question)
            first.do(Stall(reading=how == "stalled"))
            if moment == "after speech":
                talk.say(question)
                await talk.until(lambda: talk.gate.speaking)
                await talk.until(lambda: not talk.gate.speaking)
            silent_s = await talk.until(lambda: talk.sessions[-1] is not first and talk.sessions[-1].heard_bytes, 30)
            measured(f"heard again after {silent_s:.1f} s, of which {silence_s:.1f} s were waited for a word")
            assert silence_s - 1.0 < silent_s < silence_s + HANG_UP_S + 2.5
            assert talk.turns == 1, "an answer that stopped was ended cleanly"
            assert talk.unanswered == (moment == "after speech"), "the robot must not go on thinking"
            await talk.ask(question)
            await unaffected(neighbour)
            first.resume_io()
    assert watchman.doubles == [] or how == "stalled", "a server that does not read does not know that we hung up"


async def test_a_server_that_takes_nothing_while_the_microphone_fills_all_buffers(measured, talking, question):
    """Sends then block, and so would an orderly close. Sixty times real time fills the buffers with a minute of audio."""
    async with serve(QUICK) as sim, talking(sim, pace=60.0) as talk:
        first = await talk.live()
        first.stall()
        taken = len(talk.fed)
        await talk.until(lambda: talk.voice.session._connection.sending_since, 30)
        room_s = (len(talk.fed) - taken) / 32000
        stuck_s = await talk.until(lambda: talk.sessions[-1] is not first and talk.sessions[-1].heard_bytes, 30)
        measured(f"buffers hold {room_s:.0f} s of audio; heard again {stuck_s:.1f} s after")
        assert stuck_s < 3.0 + 1.0 + HANG_UP_S + 3.0
        assert sockets_of_ours() == 1, "the stuck socket must not be waited for"
        first.resume_io()


@pytest.mark.parametrize("patient", [True, False])
async def test_pongs_that_come_late_are_no_reason_to_connect_anew(talking, question, monkeypatch, patient):
    """Ten times as fast as reality: pongs were seen 8 to 30 s late. The SDK alone waits for 20 s and then hangs up."""
    assert (client.PING_S, client.PONG_S) == (20.0, 60.0)
    monkeypatch.setattr(client, "PING_S", 2.0)
    monkeypatch.setattr(client, "PONG_S", 6.0 if patient else 2.0)
    async with serve(SimSettings(mode="tone", tone_ms=500, pong_delay_ms=3_000)) as sim, talking(sim) as talk:
        await talk.live()
        await talk.ask(question)
        if not patient:
            await talk.until(lambda: len(sim.sessions) > 1)
            return
        await talk.never(lambda: len(sim.sessions) > 1, 6.0)
        await talk.ask(question)
        assert talk.reply == talk.answered
        await talk.all_heard()
        assert talk.heard == talk.fed


INLINE = {"mimeType": "audio/pcm"}


def turn(blob) -> dict:
    return {"serverContent": {"modelTurn": {"parts": [{"inlineData": blob}]}}}


STRANGE = {
    "unknown name": {"nobodyKnows": {"this": 1}},
    "error": {"error": {"code": 500, "message": "Internal error encountered.", "status": "INTERNAL"}},
    "error with its code on top": {"code": 500, "message": "Internal error encountered."},
    "no JSON": "<html>Bad gateway</html>",
    "empty": "",
    "half a message": '{"serverContent":{"modelTurn":{"parts":[{"inl',
    "a list": "[1, 2]",
    "an empty list": "[]",
    "a text": '"hello"',
    "a number": "5",
    "lists in lists in lists": "[" * 100_000,
    "null": "null",
    "no UTF-8": b"\xff\xfe\x00\xd8",
    "content that is a number": {"serverContent": 5},
    "content that is a text": {"serverContent": "x"},
    "a turn without parts": {"serverContent": {"modelTurn": None}},
    "audio that is no base64": turn(INLINE | {"data": "@@@"}),
    "audio without a type": turn({"data": "AAAA"}),
    "audio of an empty rate": turn({"data": "", "mimeType": "audio/pcm;rate="}),
    "audio of no rate at all": turn({"data": "AAAA", "mimeType": "audio/pcm;rate=0"}),
    "a tool call without calls": {"toolCall": {}},
    "a tool call of no name": {"toolCall": {"functionCalls": [{}]}},
    "usage of nothing": {"usageMetadata": {}},
    "usage in words": {"usageMetadata": {"promptTokenCount": "many"}},
    "a handle of nothing": {"sessionResumptionUpdate": {}},
    "a handle that cannot be used": {"sessionResumptionUpdate": {"newHandle": "", "resumable": False}},
    "a second setupComplete": {"setupComplete": {}},
    "voice activity of no kind": {"voiceActivity": {}},
    "a cancelled call that nobody knows": {"toolCallCancellation": {"ids": ["x"]}},
}


async def test_messages_that_nobody_understands_do_no_harm(talking):
    """No such message is a reason to reconnect, or to lose anything."""
    async with serve(QUICK) as sim, talking(sim) as talk:
        session = await talk.live()
        for name, message in STRANGE.items():
            before = len(talk.reply)
            session.send_raw(message)
            session.say(100)
            await talk.until(lambda n=before: len(talk.reply) >= n + 4800 or not session.open)
            assert session.open, name
        assert talk.voice.session.phase.name == "LIVE"
        await talk.all_heard()
        assert talk.heard == talk.fed
        assert len(sim.sessions) == 1


async def test_a_modality_that_the_sdk_does_not_know_is_billed_as_the_dearest(talking, question):
    """The SDK warns of the unknown modality."""
    usage = {"promptTokenCount": 7, "promptTokensDetails": [{"modality": "SMELL", "tokenCount": 7}]}
    async with serve(QUICK) as sim, talking(sim) as talk:
        session = await talk.live()
        session.send_raw({"serverContent": {"turnComplete": True}, "usageMetadata": usage})
        with pytest.warns(UserWarning, match="SMELL is not a valid"):
            await talk.until(lambda: talk.turns == 1)
        day = talk.office._today().date()
        assert talk.office.books.account(day, "reachy-1").tokens["in_audio"] == 7


@pytest.mark.parametrize("fields", [{"binary": True}, {"unknown_fields": True, "empty_parts": True, "odd_bytes": True}])
async def test_unusual_ways_to_say_the_usual(talking, question, fields):
    async with serve(SimSettings(mode="tone", tone_ms=1000, **fields)) as sim, talking(sim) as talk:
        await talk.live()
        await talk.ask(question)
        assert talk.reply == talk.answered == sim.sessions[0].answers[0].pcm
        assert len(sim.sessions) == 1


@pytest.mark.parametrize(("n_bytes", "connections"), [(3_900_000, 1), (4_300_000, 2)])
async def test_a_big_message_is_read_and_one_beyond_all_measure_costs_the_connection_only(
    talking, question, n_bytes, connections
):
    async with serve(QUICK) as sim, talking(sim, *TWO) as (talk, neighbour):
        first = await talk.live()
        await neighbour.live()
        neighbour.say(question)
        first.do(SendBig(n_bytes=n_bytes))
        if connections == 2:
            await talk.until(lambda: not first.open)
            assert first.close_code == 1009
        await talk.ask(question)
        assert len(talk.sessions) == connections
        assert talk.reply == talk.answered
        await unaffected(neighbour)


async def test_a_tool_call_that_nobody_serves_gets_its_response_and_the_answer_comes(talking, question):
    call = Step(on="speech_end", action={"do": "tool_call", "name": "dance"})
    async with serve(SimSettings(mode="tone", tone_ms=500, script=(call,))) as sim, talking(sim) as talk:
        session = await talk.live()
        await talk.ask(question)
        [response] = session.tool_responses
        assert response["name"] == "dance"
        assert "unsupported" in str(response["response"])
        assert talk.reply == talk.answered


async def test_a_tool_call_without_an_id_is_counted_and_the_others_get_their_responses(talking):
    async with serve(QUICK) as sim, talking(sim) as talk:
        session = await talk.live()
        session.send_raw({"toolCall": {"functionCalls": [{"name": "dance"}, {"id": "7", "name": "wave"}]}})
        await session.until(lambda it: it.tool_responses)
        assert [response["id"] for response in session.tool_responses] == ["7"]
        assert talk.office.tally.total("unknown_message", "reachy-1") == 1


@pytest.mark.parametrize("why", ["poisoned", "unknown", "too old"])
async def test_a_handle_that_is_refused_is_dropped_and_the_new_session_is_told_what_was_said(
    measured, talking, watchman, question, monkeypatch, why
):
    async with serve(QUICK, on_event=watchman) as sim:
        watchman.sim = sim
        async with talking(sim) as talk:
            first = await talk.live()
            await talk.ask(question)
            await talk.ask(question)
            history = list(first.history)
            assert [role for role, _ in history] == ["user", "model"] * 2
            assert talk.said("person") == "".join(text for role, text in history if role == "user")
            assert talk.said("robot") == "".join(text for role, text in history if role == "model")
            match why:
                case "poisoned":
                    sim.handles.is_poisoned = lambda _: True
                case "unknown":
                    sim.handles._entries.clear()
                case "too old":
                    monkeypatch.setattr(resumption, "LIFETIME_S", 0.0)
            first.abort()
            await talk.until(lambda: len(talk.sessions) == 2)
            newest = await talk.live()
            tried = [session.close_reason for session in sim.sessions if session.setup is None]
            measured(f"{why}: {len(tried)} dials in vain: {tried}")
            assert len(tried) == (2 if why == "poisoned" else 1)
            assert not newest.resumed
            assert list(newest.history) == history, "word for word"
            assert newest.answers == [], "the transcript must not count as a question"
    assert watchman.doubles == []


async def test_a_handle_to_which_gemini_says_nothing_is_dropped_too_and_is_nobody_elses_outage(measured, talking, question):
    async with serve(QUICK) as sim, talking(sim) as talk:
        first = await talk.live()
        await talk.ask(question)
        sim.script([Behaviour(setup_reply=False)] * 2)
        first.abort()
        took_s = await talk.until(lambda: len(sim.sessions) == 4 and sim.sessions[-1].setup, 20)
        measured(f"a session that Gemini does not find, without a word: {took_s:.1f} s until there is a new one")
        newest = await talk.live()
        assert not newest.resumed
        assert list(newest.history) == list(first.history)
        assert talk.office.tally.total("handle_dropped") == 1
        assert talk.office.tally.total("unreachable") == 0


@pytest.mark.parametrize("model", MODELS)
async def test_every_model_takes_what_a_new_session_is_told(talking, question, model):
    """Older models close with 1007 unless the history is announced. Then only the person's next question is answered."""
    async with serve(QUICK) as sim, talking(sim, settings={"model": model}) as talk:
        first = await talk.live()
        await talk.ask(question)
        sim.handles._entries.clear()
        first.abort()
        await talk.until(lambda: len(talk.sessions) == 2)
        newest = await talk.live()
        assert list(newest.history) == list(first.history)
        assert newest.setup.history_config == {"initialHistoryInClientContent": True}
        assert first.setup.history_config is None
        await talk.ask(question)
        assert len(newest.answers) == 1
        assert len(sim.sessions) == 3, "one dial was refused for its handle"
        assert talk.states == ["live"]


async def test_a_new_session_that_is_refused_for_what_it_is_told_begins_without(talking, question):
    refuses = Step(on="ready", after_s=0.1, action=Close(code=1007, reason=REASONS[1007]))
    async with serve(QUICK) as sim, talking(sim) as talk:
        first = await talk.live()
        await talk.ask(question)
        sim.handles._entries.clear()
        sim.script([Behaviour(), Behaviour(script=(refuses,))])
        first.abort()
        await talk.until(lambda: len(talk.sessions) == 3)
        assert talk.sessions[1].history
        assert not talk.sessions[2].history
        await talk.ask(question)
        assert "refused" not in talk.states


async def test_a_server_that_still_holds_the_old_connection_refuses_the_handle_and_a_new_session_begins(talking, question):
    """As when a stall ends at our side only: the server does not read, so it does not know that we hung up."""
    async with serve(QUICK) as sim, talking(sim) as talk:
        first = await talk.live()
        await talk.ask(question)
        first.stall()
        talk.voice.session.persona_changed()
        await talk.until(lambda: len(talk.sessions) > 1 and talk.sessions[-1].session_id and talk.sessions[-1].open)
        newest = await talk.live()
        reasons = [session.close_reason for session in sim.sessions if session.setup is None]
        assert reasons == ["The session is still open on another connection."] * 2
        assert not newest.resumed
        assert len(newest.history) == 2, "the new session must be told what was said"
        await talk.ask(question)
        first.resume_io()
