"""Tool calls, with the real SDK and the simulator: what each model needs, and what can happen to an open call."""

import asyncio
import re
import time
import wave
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
from some_tools import BROKEN, GOOD, Blocks, Unstoppable

from gemini_gateway.implied import session_settings
from gemini_gateway.session.calls import OPEN_MAX, REFUSALS_MAX
from gemini_live_sim.actions import CallTools, Step, ToolCall, WantedCall
from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.phrases import Phrase
from gemini_live_sim.server import serve
from gemini_live_sim.settings import SimSettings
from reachy_gateway.tools import toolbox
from reachy_gateway.tools.toolbox import Toolbox
from reachy_gateway.voice import Interrupted, ToolEnded

NEWER = "gemini-3.8-live"
THINKING = "gemini-3.8-live-extended-thinking"
MIDDLE = "gemini-3.1-flash-live"
OLDER = "gemini-2.5-flash-native-audio-preview-12-2025"
MODELS = (NEWER, THINKING, MIDDLE, OLDER)
ANOTHER = "gemini-9-live"
QUICK = SimSettings(mode="tone", tone_ms=500, thinking_ms=100)
DOC = Path(__file__).parents[2] / "docs" / "tools.md"


def spoken(name: str) -> bytes:
    with wave.open(str(resources.files("gemini_live_sim") / "phrases" / name)) as file:
        return file.readframes(file.getnframes())


TIME = spoken("time.wav")


@pytest.fixture
def equipped(talking):
    """One robot's conversation, with tools."""

    def run(sim, *tools: str, model: str = NEWER, kinds=(*GOOD, *BROKEN), **changes):
        box = changes.pop("toolbox", None) or Toolbox(kind() for kind in kinds)
        return talking(sim, toolbox=box, settings={"model": model, "tools": list(tools)}, **changes)

    return run


@pytest.fixture
def asked_by_phrase(monkeypatch):
    """Make the simulator take one of its own recordings for a question that this tool answers."""

    def made(tool: str, **args):
        known = Phrase("What time is it?", tool, args)
        monkeypatch.setattr("gemini_live_sim.tools.match", lambda _heard, tools: known if tool in tools else None)

    return made


def ended(talk) -> list[tuple[str, str]]:
    return [(event.name, event.outcome) for _, event in talk.events if isinstance(event, ToolEnded)]


def running(talk) -> int:
    """How many tools run."""
    return len(talk.voice._running_tools._tasks)


def declared(session) -> dict[str, dict]:
    return {it["name"]: it for it in session.setup_json["tools"][0]["functionDeclarations"]}


def want(*names: str, ids: str | None = None, **args) -> CallTools:
    return CallTools(calls=tuple(WantedCall(name=name, args=args, id=ids) for name in names))


# --- what each model needs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [*MODELS, ANOTHER])
async def test_a_question_that_only_a_tool_can_answer_is_answered_on_every_model(equipped, model):
    async with serve(QUICK) as sim, equipped(sim, "what_time_is_it", model=model) as talk:
        await talk.live()
        talk.say(TIME)
        await talk.until(lambda: talk.sessions[-1].answers and talk.turns >= 1 and talk.reply == talk.answered)
        [session] = talk.sessions
        [response] = session.tool_responses
        assert response["response"]["time"] in session.answers[-1].text
        assert "scheduling" not in response, "the answer waits for this response"
        behaviour = declared(session)["what_time_is_it"].get("behavior")
        assert behaviour == ("BLOCKING" if model == NEWER else None)
        assert ended(talk) == [("what_time_is_it", "done")]


@pytest.mark.parametrize(
    ("model", "behaviour", "speaks", "scheduling"),
    [
        (NEWER, None, "search", "INTERRUPT"),
        (NEWER, None, "boogie", "SILENT"),
        (OLDER, "NON_BLOCKING", "search", "INTERRUPT"),
        (OLDER, "NON_BLOCKING", "boogie", "SILENT"),
        (THINKING, None, "search", None),
        (THINKING, None, "boogie", None),
        (MIDDLE, None, "search", None),
        (MIDDLE, None, "boogie", None),
        (ANOTHER, None, "search", None),
    ],
)
async def test_what_goes_on_in_the_background_is_declared_and_spoken_of_as_the_model_has_it(
    equipped, asked_by_phrase, model, behaviour, speaks, scheduling
):
    asked_by_phrase(speaks, seconds=0.3)
    async with serve(QUICK) as sim, equipped(sim, speaks, model=model) as talk:
        session = await talk.live()
        talk.say(TIME)
        await session.until(lambda it: it.tool_responses, 15)
        assert session.tool_responses[0].get("scheduling") == scheduling
        assert declared(session)[speaks].get("behavior") == behaviour
        if scheduling == "SILENT":
            await talk.until(lambda: talk.turns == 1)
            await talk.never(lambda: talk.reply, 1.0)
        else:
            await talk.until(lambda: session.answers and session.answers[-1].complete)
        assert session.open, "no 1007 must have closed the session"


@pytest.mark.parametrize("model", MODELS)
async def test_arguments_are_declared_as_every_model_takes_them(equipped, model):
    async with serve(QUICK) as sim, equipped(sim, "turn", "wait", model=model) as talk:
        session = await talk.live()
        functions = declared(session)
        assert functions["turn"]["parameters"] == {
            "type": "OBJECT",
            "properties": {"direction": {"type": "STRING", "description": "Where to.", "enum": ["left", "right"]}},
            "required": ["direction"],
        }
        assert functions["wait"]["parameters"]["properties"]["seconds"]["maximum"] == 60
        assert not any("parametersJsonSchema" in it for it in functions.values())


async def test_a_robot_whose_persona_names_no_tool_has_none(talking):
    async with serve(QUICK) as sim, talking(sim) as talk:
        session = await talk.live()
        assert "tools" not in session.setup_json


async def test_a_call_in_mid_speech_and_several_in_one_message(equipped, question):
    """The model speaks, and calls: the sound continues, and each id gets its answer."""
    script = (Step(on="audio_out", count=5, action=want("boogie", "search", "turn", direction="left")),)
    settings = QUICK.model_copy(update={"tone_ms": 2000, "script": script})
    async with serve(settings) as sim, equipped(sim, "boogie", "search", "turn") as talk:
        session = await talk.live()
        await talk.ask(question)
        await session.until(lambda it: len(it.tool_responses) == 3)
        assert talk.reply == session.answers[0].sent == session.answers[0].pcm
        assert sorted(it["name"] for it in session.tool_responses) == ["boogie", "search", "turn"]
        assert len({it["id"] for it in session.tool_responses}) == 3
        assert Interrupted() not in [event for _, event in talk.events]


async def test_of_a_call_that_nobody_asked_for_no_words_are_owed(equipped, question, monkeypatch):
    monkeypatch.setattr("gemini_gateway.session.timing.SILENCE_S", 1.0)
    async with serve(QUICK) as sim, equipped(sim, "what_time_is_it") as talk:
        session = await talk.live()
        session.do(ToolCall(name="what_time_is_it"))
        await session.until(lambda it: it.tool_responses)
        await talk.never(lambda: len(talk.sessions) > 1, 2.5)
        await talk.ask(question)


@pytest.mark.parametrize("why", ["parking", "go away"])
async def test_the_words_about_a_result_come_before_the_session_is_parked_or_renewed(equipped, asked_by_phrase, why):
    def parks(persona, tools):
        return replace(session_settings(persona, tools), park_after_s=1.5 if why == "parking" else None)

    asked_by_phrase("search", seconds=2.5)
    async with serve(QUICK.model_copy(update={"thinking_ms": 600})) as sim, equipped(sim, "search", settings_of=parks) as talk:
        session = await talk.live()
        talk.say(TIME)
        await session.until(lambda it: it.tool_calls)
        if why == "go away":
            session.go_away(30)
        await talk.until(lambda: session.answers and session.answers[-1].complete)
        assert talk.reply == session.answers[-1].pcm
        await talk.until(lambda: not session.open, 15)


async def test_silence_after_a_result_ends_in_a_new_connection(equipped, question, monkeypatch):
    monkeypatch.setattr("gemini_gateway.session.timing.SILENCE_S", 2.0)
    silent = QUICK.model_copy(update={"speaks_of_results": False})
    async with serve(silent) as sim, equipped(sim, "what_time_is_it") as talk:
        await talk.live()
        talk.say(TIME)
        await talk.until(lambda: len(talk.sessions) == 2, 15)
        assert talk.office.tally.total("silent", "reachy-1") == 1
        await talk.ask(question)


async def test_a_model_that_calls_again_on_an_empty_result_gets_none(equipped, asked_by_phrase):
    asked_by_phrase("empty")
    async with serve(QUICK) as sim, equipped(sim, "empty") as talk:
        session = await talk.live()
        talk.say(TIME)
        await talk.until(lambda: session.answers)
        assert len(session.tool_calls) == 1
        assert session.tool_responses[0]["response"] == {"status": "done"}


async def test_a_call_that_the_microphones_noise_takes_back_is_answered_on_its_second_time(equipped, asked_by_phrase):
    """gemini-3.1 does so after 12 s; here after one."""
    asked_by_phrase("wait", seconds=1.5)
    settings = QUICK.model_copy(update={"mic_cancels_after_s": 1.0})
    async with serve(settings) as sim, equipped(sim, "wait", model=MIDDLE) as talk:
        session = await talk.live()
        talk.say(TIME)
        await session.until(lambda it: len(it.cancelled_calls) == 1)
        await session.until(lambda it: len(it.tool_calls) >= 2)
        await talk.until(lambda: ("wait", "cancelled") in ended(talk))
        assert {it["id"] for it in session.tool_responses}.isdisjoint(session.cancelled_calls)


# --- what can happen to an open call ----------------------------------------------------------------------------------


async def test_speech_into_a_call_that_the_model_waits_for_takes_it_back(equipped, asked_by_phrase, question):
    asked_by_phrase("wait", seconds=8)
    async with serve(QUICK) as sim, equipped(sim, "wait") as talk:
        session = await talk.live()
        talk.say(TIME)
        await session.until(lambda it: it.tool_calls)
        asked_by_phrase("nothing")
        await talk.ask(question)
        await talk.until(lambda: ended(talk) == [("wait", "cancelled")])
        assert session.cancelled_calls == [session.tool_calls[0]["id"]]
        assert session.tool_responses == []
        await talk.never(lambda: session.tool_responses, 0.5)


async def test_a_renewal_waits_for_a_call_and_for_a_handle_that_knows_of_its_answer(equipped, monkeypatch):
    monkeypatch.setattr("gemini_gateway.session.calls.SILENCE_S", 0.5)  # no person asked, and the result is not spoken of
    async with serve(QUICK) as sim, equipped(sim, "search") as talk:
        first = await talk.live()
        first.do(want("search", seconds=2.5))
        await first.until(lambda it: it.tool_calls)
        first.go_away(30)
        handles = len(first.handles)
        await talk.never(lambda: len(talk.sessions) > 1, 2.0)
        await talk.until(lambda: len(talk.sessions) == 2, 5)
        assert [it["response"] for it in first.tool_responses] == [{"waited_s": 2.5}]
        assert len(first.handles) > handles, "the gateway must have waited for this handle"
        assert talk.sessions[1].resumed
        assert talk.sessions[1].setup.session_resumption.handle == first.handles[-1]


async def test_a_go_away_that_leaves_no_time_answers_the_call_and_renews(equipped, question):
    async with serve(QUICK) as sim, equipped(sim, "search") as talk:
        first = await talk.live()
        first.do(want("search", seconds=30))
        await first.until(lambda it: it.tool_calls)
        first.go_away(0)
        await talk.until(lambda: len(talk.sessions) == 2, 5)
        [response] = first.tool_responses
        assert "error" in response["response"]
        assert ended(talk) == [("search", "lost")]
        await talk.ask(question)
        assert len(talk.sessions) == 2


@pytest.mark.parametrize("model", MODELS)
async def test_lost_calls_are_answered_before_the_microphone_and_the_next_sentence_gets_its_answer(equipped, question, model):
    async with serve(QUICK) as sim, equipped(sim, "search", "wait", model=model) as talk:
        first = await talk.live()
        await talk.ask(question)
        first.do(want("search", "wait", seconds=9))
        await talk.until(lambda: running(talk) == 2)
        talk.say(question[:16000])
        first.abort()
        await talk.until(lambda: len(talk.sessions) == 2)
        second = talk.sessions[1]
        await second.until(lambda it: it.tool_responses)
        assert second.kinds[:2] == ["Setup", "ToolResponse"], "before the microphone"
        assert [it["id"] for it in second.tool_responses] == [it["id"] for it in first.tool_calls]
        assert all("error" in it["response"] for it in second.tool_responses)
        await talk.until(lambda: second.heard_bytes)
        await talk.ask(question)
        assert second.answers
        assert ended(talk) == [("search", "lost"), ("wait", "lost")]
        assert talk.office.tally.total("silent", "reachy-1") == 0


async def test_the_simulator_swallows_the_next_sentence_where_lost_calls_get_no_answer(equipped, question, monkeypatch):
    """Else the test before this one would show nothing."""
    monkeypatch.setattr("gemini_gateway.session.calls.Calls.connected", lambda *_, **__: [])
    async with serve(QUICK) as sim, equipped(sim, "search") as talk:
        first = await talk.live()
        first.do(want("search", seconds=9))
        await talk.until(lambda: running(talk) == 1)
        first.abort()
        await talk.until(lambda: len(talk.sessions) == 2)
        second = await talk.live()
        turns = talk.turns
        talk.say(question)
        await talk.until(lambda: talk.turns > turns)
        assert not second.answers


async def test_no_handle_comes_while_a_call_is_open(equipped, question):
    async with serve(QUICK) as sim, equipped(sim, "search") as talk:
        session = await talk.live()
        session.do(want("search", seconds=3))
        await session.until(lambda it: it.tool_calls)
        handles = len(session.handles)
        await talk.ask(question)
        assert len(session.handles) == handles
        await session.until(lambda it: it.tool_responses and len(it.handles) > handles)


async def test_a_tool_that_may_not_be_cut_runs_to_its_end_and_its_result_is_dropped(equipped, question):
    unstoppable = Unstoppable()
    async with serve(QUICK) as sim, equipped(sim, "unstoppable", toolbox=Toolbox([unstoppable])) as talk:
        first = await talk.live()
        first.do(want("unstoppable", seconds=1))
        await talk.until(lambda: running(talk) == 1)
        first.abort()
        await talk.until(lambda: len(talk.sessions) == 2 and unstoppable.ended == 1)
        await talk.ask(question)
        assert [len(it.tool_responses) for it in talk.sessions] == [0, 1]


async def test_a_persona_without_the_tool_refuses_it_at_once_and_declares_it_no_more(
    equipped, robots_file, question, monkeypatch
):
    monkeypatch.setattr("gemini_gateway.session.calls.SILENCE_S", 0.5)  # no person asked, and the result is not spoken of
    async with serve(QUICK) as sim, equipped(sim, "search", "turn") as talk:
        first = await talk.live()
        first.do(want("search", seconds=1.5))
        await first.until(lambda it: it.tool_calls)
        robots_file(defaults={"vad": {"silence_duration_ms": 300}, "tools": ["search"]})
        talk.office.reload()
        first.do(want("turn", direction="left"))
        await first.until(lambda it: len(it.tool_responses) == 2)
        assert ended(talk) == [("unknown", "unknown"), ("search", "done")]
        await talk.until(lambda: len(talk.sessions) == 2)
        await talk.live()
        assert declared(talk.sessions[1]).keys() == {"search"}
        await talk.ask(question)


async def test_a_session_with_an_open_call_is_not_parked(equipped, monkeypatch):
    monkeypatch.setattr("gemini_gateway.session.calls.SILENCE_S", 0.5)  # no person asked, and the result is not spoken of

    def parks(persona, tools):
        return replace(session_settings(persona, tools), park_after_s=1.0)

    async with serve(QUICK) as sim, equipped(sim, "search", settings_of=parks) as talk:
        session = await talk.live()
        session.do(want("search", seconds=2.5))
        await session.until(lambda it: it.tool_calls)
        await talk.never(lambda: not session.open, 2.0)
        await talk.until(lambda: not session.open, 5)
        assert len(session.tool_responses) == 1


async def test_what_may_not_be_cut_ends_though_the_robot_leaves(equipped):
    unstoppable = Unstoppable()
    async with serve(QUICK) as sim:
        async with equipped(sim, "unstoppable", toolbox=Toolbox([unstoppable])) as talk:
            session = await talk.live()
            session.do(want("unstoppable", seconds=0.7))
            await talk.until(lambda: running(talk) == 1)
        async with asyncio.timeout(5):
            while not unstoppable.ended:
                await asyncio.sleep(0.02)


async def test_a_robot_that_leaves_stops_its_tools_and_nothing_is_left(equipped):
    async with serve(QUICK) as sim:
        tasks = len(asyncio.all_tasks())
        async with equipped(sim, "search", "hangs") as talk:
            session = await talk.live()
            session.do(want("search", "hangs", seconds=30))
            await talk.until(lambda: running(talk) == 2)
            left_at = time.monotonic()
        assert time.monotonic() - left_at < 2
        async with asyncio.timeout(5):
            while len(asyncio.all_tasks()) > tasks or any(thread._inside for thread in talk.office.toolbox._threads.values()):
                await asyncio.sleep(0.02)
        assert session.tool_responses == []


async def test_a_setup_that_is_refused_for_its_tools_is_made_without_and_said(equipped, question):
    refusing = Behaviour(script=(Step(on="setup", action={"do": "close", "code": 1007, "reason": "Too strange."}),))
    async with serve(QUICK) as sim:
        sim.script([refusing])
        async with equipped(sim, "what_time_is_it") as talk:
            await talk.until(lambda: talk.states == ["live"])
            assert "tools" not in talk.sessions[-1].setup_json
            assert talk.office.tally.total("tools_refused", "reachy-1") == 1
            await talk.ask(question)


# --- hostile calls ----------------------------------------------------------------------------------------------------


BIG = "x" * 1_000_000


@pytest.mark.parametrize(
    ("action", "answers", "outcome"),
    [
        (want(*["turn"] * 1000, direction="left"), OPEN_MAX + REFUSALS_MAX, "limit"),
        (want("turn", direction=BIG), 1, "invalid"),
        (want("turn", deep=[[[[[[[[[[1]]]]]]]]]]), 1, "invalid"),
        (want("turn", direction=["left"]), 1, "invalid"),
        (want("no_such_tool" * 20), 1, "unknown"),
        (want("\ud800"), 1, "unknown"),
        (want("turn", ids="x" * 400, direction="left"), 1, "done"),
        (want("raises"), 1, "fault"),
        (want("exits"), 1, "fault"),
        (want("says_no"), 1, "error"),
        (want("hangs"), 1, "timeout"),
        (want("blocks"), 1, "timeout"),
        (want("huge"), 1, "error"),
        (want("no_json"), 1, "error"),
        (want("no_object"), 1, "error"),
        (want("empty"), 1, "done"),
    ],
    ids=lambda it: None if isinstance(it, int | str) else it.calls[0].name[:10],
)
async def test_whatever_a_model_calls_and_a_tool_does_each_id_is_answered_once_and_nobody_else_notices(
    equipped, question, action, answers, outcome, monkeypatch
):
    monkeypatch.setattr(Blocks, "for_s", 3.0)
    names = ["turn", *(kind.name for kind in BROKEN)]
    async with serve(QUICK) as sim, equipped(sim, *names) as talk:
        session = await talk.live()
        ids = {call.id for call in action.calls} if action.calls[0].id else None
        session.do(action)
        await session.until(lambda it: len(it.tool_responses) >= answers, 10)
        told = [it["id"] for it in session.tool_responses]
        assert len(told) == len(set(told)) == answers
        assert not ids or set(told) == ids
        assert all(len(str(it["response"])) < 600 for it in session.tool_responses)
        await talk.until(lambda: outcome in [how for _, how in ended(talk)])
        began = time.monotonic()
        await talk.ask(question)
        assert time.monotonic() - began < 6
        assert [it.open for it in talk.sessions] == [True]
        assert talk.states == ["live"]


async def test_calls_without_an_id_or_with_arguments_of_no_shape_are_counted_and_the_talk_goes_on(equipped, question):
    async with serve(QUICK) as sim, equipped(sim, "turn") as talk:
        session = await talk.live()
        session.do(want("turn", ids="", direction="left"))
        session.send_raw({"toolCall": {"functionCalls": [{"id": "7", "name": "turn", "args": "left"}]}})
        session.send_raw({"toolCall": {"functionCalls": [{"id": "8", "name": "turn", "args": {"direction": "left"}}] * 2}})
        session.send_raw({"toolCallCancellation": {"ids": ["8", "nobody"]}})
        await talk.until(lambda: talk.office.tally.total("unknown_message", "reachy-1") >= 2)
        await talk.ask(question)
        assert [it["id"] for it in session.tool_responses] in ([], ["8"])
        assert session.open


# --- the page -----------------------------------------------------------------------------------------------------------


async def test_the_example_of_the_page_is_a_tool_that_is_called(equipped, asked_by_phrase, tmp_path):
    [code] = re.findall(r"```python\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "fridge.py").write_text(code)
    tools, problems = toolbox.read(tmp_path)
    assert problems == []
    asked_by_phrase("look_into_fridge", food="eggs")
    async with serve(QUICK) as sim, equipped(sim, "look_into_fridge", toolbox=Toolbox(tools)) as talk:
        session = await talk.live()
        talk.say(TIME)
        await talk.until(lambda: session.answers)
        assert session.tool_responses[0]["response"] == {"food": "eggs", "pieces": 6}
        assert "pieces: 6" in session.answers[0].text
        session.do(want("look_into_fridge", food="gold"))
        await session.until(lambda it: len(it.tool_responses) == 2)
        assert session.tool_responses[1]["response"]["error"] == "there is no gold; there are milk, eggs"


def test_the_page_names_every_tool_of_the_gateway_and_every_field_of_a_tool():
    text = DOC.read_text(encoding="utf-8")
    for name in Toolbox().names:
        assert re.search(rf"^\| .*`{name}`.* \|", text, re.MULTILINE)
    for field in ("name", "description", "arguments", "mode", "reply", "deadline_s", "may_be_cut"):
        assert f"| `{field}` |" in text
