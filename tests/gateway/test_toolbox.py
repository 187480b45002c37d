"""Tools: what is offered, how a call is checked and run, and what is loaded from a folder."""

import asyncio
import logging
import re
import threading
import time
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Literal

import pytest
from pydantic import BaseModel, Field, field_validator
from some_tools import BROKEN, GOOD, Blocks, Turn, Unstoppable, Wait

from reachy_gateway.tools import toolbox
from reachy_gateway.tools.port import (
    RESULT_MAX_BYTES,
    Arguments,
    Context,
    NoArguments,
    Parameter,
    ToolError,
    checked,
    flaws,
    parameters,
    result,
)
from reachy_gateway.tools.toolbox import Toolbox
from reachy_gateway.voice import Vitals

CONTEXT = Context("reachy-1", datetime(2026, 11, 30, 14, 5, tzinfo=UTC))


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Everything(Arguments):
    text: str = Field(description="Words.")
    count: int = Field(default=3, ge=1, le=9, description="How many.")
    share: float | None = Field(default=None, description="Of all.")
    loud: bool = False
    side: Literal["left", "right"] = Field(description="Where.")
    only: Literal["this"] = "this"
    colour: Colour = Field(default=Colour.RED, description="Which.")


def test_arguments_are_declared_flat():
    assert parameters(Everything) == (
        Parameter("text", "string", "Words.", required=True),
        Parameter("count", "integer", "How many.", required=False, minimum=1, maximum=9),
        Parameter("share", "number", "Of all.", required=False),
        Parameter("loud", "boolean", "Loud", required=False),
        Parameter("side", "string", "Where.", required=True, choices=("left", "right")),
        Parameter("only", "string", "Only", required=False, choices=("this",)),
        Parameter("colour", "string", "Which.", required=False, choices=("red", "blue")),
    )
    assert parameters(NoArguments) == ()


class Inner(BaseModel):
    x: int


@pytest.mark.parametrize("kind", [list[str], dict[str, int], Inner, int | str, Literal[1, 2], bytes | list[int]])
def test_what_not_every_model_takes_is_no_argument(kind):
    class Wrong(Arguments):
        what: kind

    with pytest.raises(ValueError, match="what: a model takes"):
        parameters(Wrong)


def tool_with(**fields):
    return type("Odd", (Wait,), fields)()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "Wait"}, "name: 'Wait' is not a tool's name"),
        ({"name": "wait!"}, "small letters"),
        ({"name": ""}, "small letters"),
        ({"name": "x" * 41}, "at most 40"),
        ({"name": None}, "small letters"),
        ({"description": " "}, "description: a text"),
        ({"description": "x" * 601}, "at most 600"),
        ({"arguments": BaseModel}, "derived from Arguments"),
        ({"arguments": None}, "derived from Arguments"),
        ({"mode": "soon"}, "mode: 'soon' is not 'wait' or 'background'"),
        ({"reply": ""}, "reply: '' is not 'speak' or 'silent'"),
        ({"reply": "silent"}, "'silent' needs the mode 'background'"),
        ({"deadline_s": 0}, "deadline_s: 0 is not above 0"),
        ({"deadline_s": 61}, "at most 60"),
        ({"deadline_s": float("nan")}, "deadline_s: nan"),
        ({"deadline_s": "5"}, "deadline_s: '5'"),
    ],
)
def test_a_tool_that_cannot_be_offered_says_why(fields, words):
    (flaw,) = flaws(tool_with(**fields))
    assert words in flaw
    with pytest.raises(ValueError, match=re.escape(flaw)):
        Toolbox([tool_with(**fields)])


def test_a_tool_with_too_many_arguments_is_not_offered():
    many = type("Many", (Arguments,), {"__annotations__": {f"a{n}": int for n in range(9)}})
    assert flaws(tool_with(arguments=many)) == ["arguments: more than 8"]


def test_the_tools_of_the_gateway_and_of_the_tests_can_be_offered():
    box = Toolbox(kind() for kind in (*GOOD, *BROKEN))
    assert {"what_time_is_it", "robot_status", "wait", "raises"} <= box.names
    assert [tool.name for tool in box.of(["wait", "nobody", "what_time_is_it"])] == ["wait", "what_time_is_it"]
    with pytest.raises(ValueError, match="there is a tool what_time_is_it already"):
        Toolbox([tool_with(name="what_time_is_it")])


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({}, "direction: Field required"),
        ({"direction": "up"}, "direction: Input should be 'left' or 'right'"),
        ({"direction": 3}, "direction: Input should be"),
        ({"direction": "\ud800"}, "direction: "),
    ],
)
def test_wrong_arguments_are_told_with_what_would_be_right(args, words):
    with pytest.raises(ToolError) as raised:
        checked(Turn(), args)
    assert raised.value.words.startswith("invalid_argument: ")
    assert words in raised.value.words
    assert raised.value.retryable


def test_what_the_model_adds_is_ignored():
    assert checked(Turn(), {"direction": "left", "speed": 9}).direction == "left"


def test_a_null_where_a_default_would_do_counts_as_left_out():
    wanted = checked(tool_with(arguments=Everything), {"text": "x", "side": "left", "count": None, "share": None, "loud": None})
    assert (wanted.count, wanted.share, wanted.loud) == (3, None, False)
    with pytest.raises(ToolError, match="side"):
        checked(tool_with(arguments=Everything), {"text": "x", "side": None})


@pytest.mark.parametrize(
    ("args", "count"),
    [({"count": "4"}, 4), ({"count": 4.0}, 4), ({"count": "four"}, None), ({"count": 4.5}, None), ({"count": 10**400}, None)],
)
def test_numbers_are_taken_as_models_write_them(args, count):
    given = {"text": "x", "side": "left"} | args
    if count is None:
        with pytest.raises(ToolError, match="count"):
            checked(tool_with(arguments=Everything), given)
    else:
        assert checked(tool_with(arguments=Everything), given).count == count


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("words", "no object"),
        (None, "no object"),
        ([1], "no object"),
        ({"x": float("nan")}, "no JSON"),
        ({"x": object()}, "no JSON"),
        ({1: 2, "x": {3, 4}}, "no JSON"),
        ({"x": "y" * RESULT_MAX_BYTES}, "too long"),
    ],
)
def test_a_result_that_cannot_be_told_is_an_error(data, words):
    with pytest.raises(ToolError, match=words):
        result(data)


def test_a_result_is_never_empty():
    assert result({}) == {"status": "done"}
    assert result({"a": [1, "\ud800"]})["a"][0] == 1


async def called(box: Toolbox, name: str, **args):
    return await asyncio.wait_for(box.call(box.of([name])[0], args, CONTEXT), 10)


async def test_each_way_in_which_a_call_ends_is_told_in_words():
    box = Toolbox(kind() for kind in (*GOOD, *BROKEN))
    assert await called(box, "turn", direction="left") == ({"turned": "left"}, "done")
    assert (await called(box, "turn", direction="up"))[1] == "invalid"
    assert await called(box, "says_no") == ({"error": "the door is locked: ask for the key", "retryable": True}, "error")
    for broken in ("raises", "exits"):
        told, outcome = await called(box, broken)
        assert outcome == "fault"
        assert "secret" not in str(told), "the exception belongs in the log only"
        assert await called(box, broken) == (told, "fault"), "its thread must live on"
    for unfit in ("huge", "no_json", "no_object"):
        told, outcome = await called(box, unfit)
        assert outcome == "error"
        assert len(str(told)) < 400
    assert await called(box, "empty") == ({"status": "done"}, "done")


async def test_what_a_validator_or_an_error_is_made_of_is_a_fault_of_the_tool_alone():
    class Checked(Arguments):
        what: str

        @field_validator("what")
        @classmethod
        def _known(cls, what):
            if what == "slow":
                time.sleep(0.5)
            return {"slow": "slow"}[what]

    class Odd(Wait):
        name = "odd"
        arguments = Checked

        async def call(self, _arguments, _context):
            raise ToolError(OSError("no such file"), retryable=re.match("x", "x"))

    box = Toolbox([Odd(), Turn()])
    assert (await called(box, "odd", what="strange"))[1] == "fault"
    slow = asyncio.create_task(box.call(box.of(["odd"])[0], {"what": "slow"}, CONTEXT))
    await asyncio.sleep(0)
    began = time.monotonic()
    await called(box, "turn", direction="left")
    assert time.monotonic() - began < 0.3, "the call must run in the tool's thread"
    assert await slow == ({"error": "no such file", "retryable": True}, "error")


async def test_a_broken_tool_is_told_in_the_log_once(caplog):
    box = Toolbox(kind() for kind in BROKEN)
    for _ in range(3):
        await called(box, "raises")
    assert caplog.text.count("RuntimeError: a secret of the tool's own") == 1
    assert "the tool raises is broken" in caplog.text


async def test_arguments_and_results_are_told_at_debug_alone(caplog):
    box = Toolbox([Turn()])
    caplog.set_level(logging.INFO)
    await called(box, "turn", direction="left")
    assert caplog.text == ""
    caplog.set_level(logging.DEBUG)
    await called(box, "turn", direction="left")
    assert "reachy-1: turn " in caplog.text
    assert "left" in caplog.text


async def test_a_tool_that_blocks_holds_up_nobody_but_its_own_callers(monkeypatch):
    monkeypatch.setattr(Blocks, "for_s", 1.0)
    box = Toolbox([Blocks(), Turn()])
    blocked = [asyncio.create_task(box.call(box.of(["blocks"])[0], {}, CONTEXT)) for _ in range(40)]
    await asyncio.sleep(0)
    began = time.monotonic()
    assert (await called(box, "turn", direction="left"))[1] == "done"
    assert time.monotonic() - began < 0.5
    refused = [task for task in blocked if task.done()]
    assert len(refused) == 40 - toolbox.INSIDE_MAX, "the number of waiting calls must be bounded"
    assert "busy" in refused[0].result()[0]["error"]
    for task in blocked:
        task.cancel()
    await asyncio.gather(*blocked, return_exceptions=True)
    async with asyncio.timeout(10):
        while box._threads["blocks"]._inside:
            await asyncio.sleep(0.01)
    assert sum(thread.name == "tool blocks" for thread in threading.enumerate()) == 1


async def test_a_call_that_is_cancelled_stops_in_its_thread():
    waits = Unstoppable()
    box = Toolbox([waits])
    call = asyncio.create_task(box.call(box.of(["unstoppable"])[0], {"seconds": 30}, CONTEXT))
    while not box._threads["unstoppable"]._inside:
        await asyncio.sleep(0)
    call.cancel()
    async with asyncio.timeout(10):
        while box._threads["unstoppable"]._inside:
            await asyncio.sleep(0.01)
    assert waits.ended == 0


async def test_a_tool_that_does_not_let_itself_be_stopped_holds_up_nobody():
    class Stubborn(Wait):
        name = "stubborn"

        async def call(self, arguments, context):
            try:
                return await super().call(arguments, context)
            except asyncio.CancelledError:
                await asyncio.sleep(0.5)
                return {"stopped": "at last"}

    box = Toolbox([Stubborn()])
    call = asyncio.create_task(box.call(box.of(["stubborn"])[0], {"seconds": 30}, CONTEXT))
    await asyncio.sleep(0.1)
    began = time.monotonic()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert time.monotonic() - began < 0.3
    assert (await called(box, "stubborn", seconds=0))[1] == "done"
    async with asyncio.timeout(10):
        while box._threads["stubborn"]._inside:
            await asyncio.sleep(0.01)


async def test_what_time_is_it():
    told, outcome = await called(Toolbox(), "what_time_is_it")
    assert outcome == "done"
    assert told == {"time": "14:05", "date": "Monday, 30 November 2026", "time_zone": "UTC"}


@pytest.mark.parametrize(
    ("vitals", "left", "told"),
    [
        (None, None, {"link": "unknown", "last_answer": "unknown", "budget": "no limit is set"}),
        (
            Vitals(connected_s=150, rtt_ms=3.4, last_turn_ms=812),
            Decimal("0.4211"),
            {
                "link": "good: 3 ms to the gateway and back",
                "last_answer": "began 0.8 seconds after the person had spoken",
                "connected_for": "2 minutes",
                "budget": "0.42 dollars are left for today",
            },
        ),
        (Vitals(connected_s=1, rtt_ms=100), Decimal(-1), {"link": "fair: 100 ms to the gateway and back"}),
        (Vitals(connected_s=1, rtt_ms=400), Decimal(-1), {"budget": "0.00 dollars are left for today"}),
        (Vitals(1, person_deg=-35.2), None, {"person": "35 degrees to the robot's right"}),
        (Vitals(1, person_deg=90), None, {"person": "90 degrees to the robot's left"}),
        (Vitals(1, person_deg=-4), None, {"person": "straight ahead"}),
    ],
)
async def test_robot_status_is_in_words(vitals, left, told):
    context = Context("reachy-1", CONTEXT.now, vitals, left)
    answer, outcome = await Toolbox().call(Toolbox().of(["robot_status"])[0], {}, context)
    assert outcome == "done"
    assert told.items() <= answer.items()


GOOD_FILE = """
from reachy_gateway.tools.port import NoArguments, Tool
class Hello(Tool[NoArguments]):
    name = "hello"
    description = "Says hello."
    arguments = NoArguments
    async def call(self, arguments, context):
        return {"hello": context.robot}
"""


async def test_the_tools_of_a_folder(tmp_path):
    (tmp_path / "hello.py").write_text(GOOD_FILE)
    (tmp_path / "_helpers.py").write_text("raise RuntimeError")
    (tmp_path / "notes.txt").write_text("nothing")
    tools, problems = toolbox.read(tmp_path)
    assert problems == []
    assert await called(Toolbox(tools), "hello") == ({"hello": "reachy-1"}, "done")
    assert toolbox.read(None) == ([], [])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nobody_has_this", "ModuleNotFoundError"),
        ("def", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("x = 1", "no class in it is derived from Tool"),
        (GOOD_FILE.replace('"hello"\n', '"Hello!"\n'), "Hello: name: 'Hello!' is not a tool's name"),
        (GOOD_FILE.replace("async def call", "async def cal"), "Hello: the method call is missing"),
        (GOOD_FILE.replace("async def call", "def call"), "Hello: call: write `async def call`"),
        (GOOD_FILE.replace('"hello"\n', '"what_time_is_it"\n'), "two tools are called what_time_is_it"),
        (GOOD_FILE + "    def __init__(self): 1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_file_that_is_no_tool_is_told_with_its_name(tmp_path, text, words):
    (tmp_path / "hello.py").write_text(text)
    _, (problem,) = toolbox.read(tmp_path)
    assert problem.startswith("GATEWAY_TOOLS_DIR: ")
    assert words in problem


def test_a_folder_that_is_none_is_told(tmp_path):
    assert toolbox.read(tmp_path / "nowhere")[1] == [f"GATEWAY_TOOLS_DIR: {tmp_path / 'nowhere'} is no folder"]
