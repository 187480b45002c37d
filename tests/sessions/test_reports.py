"""Reports about real servers, each as the smallest input that shows the fault, through the real SDK to the simulator."""

import asyncio
import json
from decimal import Decimal

import pytest

from gemini_gateway.session import meter, timing
from gemini_live_sim import actions
from gemini_live_sim.actions import SendRaw, Step
from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from gemini_live_sim.settings import SimSettings
from reachy_gateway.voice import Audio, Said

QUICK = {"mode": "tone", "tone_ms": 600, "speed": 2}
TWO = ("reachy-1", "reachy-2")
THINKER = "gemini-3.8-live-extended-thinking"


def spent(office, robot: str = "reachy-1") -> Decimal:
    account = office.accounts().get(robot)
    return account.cost if account else Decimal(0)


def bills(office, robot: str = "reachy-1") -> int:
    account = office.accounts().get(robot)
    return account.turns if account else 0


# --- words ------------------------------------------------------------------------------------------------------------


HALF = '{"serverContent":{"outputTranscription":{"text":"done \\ud83d"}}}'


@pytest.mark.parametrize("kept", [False, True])
async def test_half_an_emoji_costs_nothing(talking, open_office, question, tmp_path, kept):
    """Report B: streamed text, cut anywhere."""
    async with serve(SimSettings(mode="tone", tone_ms=2000, speed=2)) as sim:
        office = open_office(sim, settings={"transcripts_to_file": kept}, transcripts=tmp_path / "said")
        async with talking(sim, office=office) as talk:
            live = await talk.live()
            talk.say(question)
            await talk.until(lambda: talk.reply)
            live.send_raw(HALF)
            await talk.until(lambda: talk.turns == 1)
            await talk.ask(question)
            assert talk.reply == talk.answered
            assert "\ufffd" in talk.said("robot")
            assert talk.states == ["live"]
            assert len(talk.sessions) == 1
            if kept:
                await talk.until(lambda: "\ufffd" in "".join(path.read_text("utf-8") for path in (tmp_path / "said").glob("*")))


async def test_an_emoji_that_was_split_is_whole_again(talking, question):
    """Report B."""
    async with serve(SimSettings(split_emoji=True)) as sim, talking(sim) as talk:
        await talk.live()
        await talk.ask(question)
        words = talk.said("robot")
        words.encode()
        assert any(ord(letter) > 0xFFFF for letter in words), "joined"


async def test_a_question_comes_before_its_answer_whenever_its_transcript_comes(talking, open_office, question, tmp_path):
    """Report J: in what a new session is told, and in the file."""
    async with serve(SimSettings(late_input=True, refused_handle_code=1008)) as sim:
        office = open_office(sim, settings={"transcripts_to_file": True}, transcripts=tmp_path / "said")
        async with talking(sim, office=office) as talk:
            await talk.live()
            for _ in range(2):
                await talk.ask(question)
            live = await talk.live()
            sim.handles.poison(live.handles[-1])
            live.abort()
            await talk.until(lambda: not talk.sessions[-1].resumed and talk.sessions[-1].history, 20)
            assert [role for role, _ in talk.sessions[-1].history] == ["user", "model", "user", "model"]
    office.close()  # the last lines are in the file now
    lines = [json.loads(line) for path in (tmp_path / "said").iterdir() for line in path.read_text("utf-8").splitlines()]
    order = [line["who"] for line in lines]
    assert [who for n, who in enumerate(order) if n == 0 or order[n - 1] != who] == ["person", "robot", "person", "robot"]


@pytest.mark.parametrize("unasked", [None, True])
async def test_words_that_nobody_asked_for_are_kept_nowhere(talking, open_office, question, tmp_path, unasked):
    """Report K: gemini-3 models send transcripts unasked."""
    async with serve(SimSettings(unasked_transcripts=unasked)) as sim:
        settings = {"transcripts": False, "transcripts_to_file": True}
        office = open_office(sim, settings=settings, transcripts=tmp_path / "said")
        async with talking(sim, office=office) as talk:
            live = await talk.live()
            await talk.ask(question)
            assert "serverContent" in live.sent_kinds
            sim.handles.poison(live.handles[-1])
            live.abort()
            await talk.until(lambda: talk.sessions[-1] is not live and not talk.sessions[-1].resumed, 20)
            await talk.ask(question)
            assert not [event for _, event in talk.events if isinstance(event, Said)]
            assert all(role != "user" or "speech" in text for role, text in talk.sessions[-1].history), "told nothing of before"
    assert not (tmp_path / "said").exists()


# --- answers that do not come -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("babble", ["input", "resumption", "usage", "voice_activity"])
async def test_a_server_that_babbles_and_does_not_answer_is_found_out(talking, question, monkeypatch, babble):
    """Report D1. The real limit is SILENCE_S, 10 s."""
    monkeypatch.setattr(timing, "SILENCE_S", 2.5)
    monkeypatch.setattr(timing, "SILENCE_MAX_S", 5.0)
    async with serve(SimSettings(**QUICK)) as sim:
        sim.script([Behaviour(**QUICK, silent=True, babble=babble, babble_every_s=0.4)])
        async with talking(sim) as talk:
            await talk.live()
            talk.say(question)
            took_s = await talk.until(lambda: len(talk.sessions) > 1, 8)
            assert took_s < 2.5 + 0.8 + 2.0
            await talk.ask(question)
            assert talk.office.tally.total("silent") == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"turn_reason": "RESPONSE_REJECTED"}, "RESPONSE_REJECTED"),
        ({"turn_reason": "GENERATED_AUDIO_SAFETY"}, "GENERATED_AUDIO_SAFETY"),
        ({"mute": "text"}, "without a sound"),
        ({"mute": "faint"}, "without a sound"),
    ],
    ids=str,
)
async def test_turns_without_a_sound_are_told_and_a_new_session_begins_after_some(talking, question, caplog, fault, words):
    """Report D2."""
    async with serve(SimSettings(**QUICK)) as sim:
        sim.script([Behaviour(**QUICK, **fault, hold_turn_complete=False)])
        async with talking(sim) as talk:
            await talk.live()
            for turn in range(timing.MUTE_TURNS):
                talk.say(question)
                await talk.until(lambda turn=turn: talk.office.tally.total("mute_turn") > turn)
            await talk.until(lambda: len(talk.sessions) > 1)
            before = len(talk.reply)
            await talk.ask(question)
            assert len(talk.reply) > before
            assert not talk.sessions[-1].resumed, "the old session goes on as it was"
            assert words in caplog.text


# --- money ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["none", "total", "candidates", "negative", "huge"])
async def test_a_turn_costs_what_is_known_of_it_whatever_is_counted(talking, question, caplog, shape, monkeypatch):
    """Report E1: by the total, or by 25 tokens for each second of sound, 0.8 s up and 2 s down."""
    monkeypatch.setattr(meter, "LATE_S", 0.5)
    settings = {"budget_usd_per_day": 0.0006}
    counting = SimSettings(mode="tone", tone_ms=2000, speed=4, usage=shape)
    async with serve(counting) as sim, talking(sim, settings=settings) as talk:
        await talk.live()
        await talk.ask(question)
        await talk.until(lambda: talk.states[-1] == "refused", 20)
        assert "budget" in talk.reasons
        assert bills(talk.office) == 1, "a budget that one turn exceeds"
        assert Decimal("0.0006") < spent(talk.office) < Decimal("0.002")
        assert "budgets use this estimate" in caplog.text


async def test_counts_that_come_twice_are_billed_once(talking, question):
    """Report E2."""
    async with serve(SimSettings(**QUICK, usage_again_ms=100)) as sim, talking(sim) as talk:
        live = await talk.live()
        for _ in range(3):
            await talk.ask(question)
        await talk.until(lambda: live.sent_kinds.count("usageMetadata") >= 3)
        await asyncio.sleep(0)
        assert bills(talk.office) == 3
        assert sum(talk.office.accounts()["reachy-1"].tokens.values()) == sum(report.total for report in live.usage)


# --- refusals ---------------------------------------------------------------------------------------------------------


def closing(code: int, reason: str) -> Behaviour:
    return Behaviour(**QUICK, script=(Step(on="setup", action=actions.Close(code=code, reason=reason)),))


@pytest.mark.parametrize(
    ("code", "reason", "dials", "told", "not_told"),
    [
        (1011, "Your prepayment credits are depleted. Please top up.", 1, "billing", "key"),
        (1011, "Your account was suspended on Tuesday.", 3, "suspended on Tuesday", "key"),
        (1013, "Call us.", 3, "Call us.", "key"),
        (1007, "User location is not supported for the API use.", 1, "the region of this gateway's address", "GEMINI_MODEL"),
        (1008, "Nobody likes you.", 1, "Nobody likes you.", "key"),
    ],
)
async def test_a_setup_that_is_refused_in_new_words_is_dialled_seldom(talking, question, code, reason, dials, told, not_told):
    """Reports F1 and F2: in 8 s a dropped socket would be dialled twenty times. Another robot is unaffected."""
    async with serve(SimSettings(**QUICK)) as sim:
        sim.script([closing(code, reason)] * 50)
        async with talking(sim) as talk:
            await talk.until(lambda: told in talk.reasons)
            await talk.never(lambda: len(sim.sessions) > dials, 8.0)
            assert not_told not in talk.reasons


async def test_a_robot_that_is_refused_for_itself_keeps_no_other_from_dialling(talking, question, open_office):
    """Report F4: a voice that the server does not have."""
    async with serve(SimSettings(**QUICK, voices="Kore")) as sim:
        office = open_office(sim, *TWO, file=None)
        office._configuration.personas.robots["reachy-1"] = office.persona("reachy-1").model_copy(update={"voice": "Nobody"})
        async with talking(sim, *TWO, office=office) as (talk, neighbour):
            await neighbour.live()
            await talk.until(lambda: talk.standings and "Nobody" in talk.reasons)
            for _ in range(3):
                sim.open_sessions[0].abort()
                await neighbour.ask(question)
            assert neighbour.states == ["live"], "its gaps were too short to be told"
            assert not office.down


async def test_a_fluke_right_after_the_setup_is_dialled_once_more(talking, question):
    """Report F3."""
    fluke = Step(on="ready", after_s=0.3, action=actions.Close(code=1007, reason="Request contains an invalid argument."))
    async with serve(SimSettings(**QUICK)) as sim:
        sim.script([Behaviour(**QUICK, script=(fluke,))])
        async with talking(sim) as talk:
            await talk.until(lambda: len(talk.sessions) > 1, 5)
            await talk.ask(question)
            assert talk.states == ["live"]


async def test_a_refusal_right_after_every_setup_is_believed(talking, caplog):
    fluke = Step(on="ready", after_s=0.1, action=actions.Close(code=1007, reason="Request contains an invalid argument."))
    async with serve(SimSettings(**QUICK)) as sim:
        sim.behaviour = Behaviour(**QUICK, script=(fluke,))
        async with talking(sim) as talk:
            await talk.until(lambda: talk.states[-1:] == ["refused"], 10)
            assert len(talk.sessions) <= 4


# --- sound ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mime", ["audio/L16;codec=pcm;rate={hz}", "AUDIO/PCM; RATE={hz}", 'audio/pcm;rate="{hz}"'])
@pytest.mark.parametrize("shortcut", [True, False])
async def test_pcm_is_played_whatever_its_type_is_called(talking, question, mime, shortcut):
    """Report H."""
    async with serve(SimSettings(**QUICK, mime=mime)) as sim, talking(sim, shortcut=shortcut) as talk:
        await talk.live()
        await talk.ask(question)
        assert talk.reply == talk.answered != b""


@pytest.mark.parametrize("mime", ["audio/pcmu;rate=8000", "audio/mpeg", "audio/pcm;rate={hz};channels=2"])
async def test_sound_that_cannot_be_played_is_said_once_and_counted(talking, question, caplog, mime):
    """Report H."""
    async with serve(SimSettings(**QUICK, mime=mime)) as sim, talking(sim) as talk:
        await talk.live()
        talk.say(question)
        await talk.until(lambda: talk.office.tally.total("mute_turn"))
        assert talk.reply == b""
        assert talk.office.tally.total("unknown_message") >= 1
        told = [
            record for record in caplog.records if "cannot be played" in record.getMessage() and record.levelname == "WARNING"
        ]
        assert len(told) == 1


async def test_a_model_that_needs_a_thinking_level_talks(talking, question):
    """Report M."""
    async with serve(SimSettings(**QUICK)) as sim, talking(sim, settings={"model": THINKER}) as talk:
        live = await talk.live()
        await talk.ask(question)
        assert live.setup_json["generationConfig"]["thinkingConfig"]["thinkingLevel"] == "LOW"


@pytest.mark.parametrize("model", ["gemini-3.8-live", THINKER, "gemini-3.1-flash-live-preview", "not-listed"])
@pytest.mark.parametrize("silence_ms", [300, 1500])
async def test_a_microphone_that_ends_right_after_speech_is_answered(talking, question, model, silence_ms):
    """Report N: gemini-3.8 ignores the end of the stream, and waits for silence that it can hear."""
    settings = {"model": model, "vad": {"silence_duration_ms": silence_ms}}
    heeds = None if model != "not-listed" else False
    async with serve(SimSettings(**QUICK, stream_end=heeds)) as sim, talking(sim, settings=settings) as talk:
        await talk.live()
        talk.say(question)
        await talk.until(lambda: not talk.saying)
        talk.muted = True
        await talk.until(lambda: talk.turns == 1, 8)
        assert any(isinstance(event, Audio) for _, event in talk.events)


async def test_an_answer_that_nobody_asked_for_is_no_trouble(talking, question):
    """SendRaw of everything at once. It costs only that one message."""
    hostile = [
        {"serverContent": {"turnComplete": True, "turnCompleteReason": "\ud83d" * 50}},
        {"toolCall": {"functionCalls": [{"id": "\ud83d", "name": "\ud83d", "args": {"x": "\ud83d"}}]}},
        {"sessionResumptionUpdate": {"newHandle": "\ud83d", "resumable": True}},
        {"goAway": {"timeLeft": "\ud83d"}},
        {"usageMetadata": {"totalTokenCount": 10**30}},
        {
            "serverContent": {
                "modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm;rate=" + "9" * 5000, "data": "AAAA"}}]}
            }
        },
        {"serverContent": {"inputTranscription": {"text": "\udfff" * 2000}}},
        {"error": {"code": 500, "message": "\ud83d", "status": "\ud83d"}},
    ]
    async with serve(SimSettings(**QUICK)) as sim, talking(sim) as talk:
        live = await talk.live()
        for message in hostile:
            live.do(SendRaw(message=json.dumps(message)))
        await talk.ask(question)
        assert "live" in talk.states
