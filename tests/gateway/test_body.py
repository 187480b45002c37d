"""The tools of a robot's body: what a model is offered, what it may pass, and what the robot is asked."""

from typing import Any

import pytest
from pydantic import ValidationError

from reachy_gateway.tools.body import NAMES, OFFERED_MAX, tools_of
from reachy_gateway.tools.port import ToolError, flaws
from reachy_gateway.voice import ActError
from reachy_link.messages import BodyOffer

ALL = BodyOffer(gestures=("nod", "shake"), dances=("sway",), turns=True, volume=True, manner=True)


class Robot:
    """The port to a robot: it records what it is asked, or refuses."""

    def __init__(self, refusal: str = "") -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._refusal = refusal

    async def act(self, name: str, args: dict[str, Any]) -> None:
        if self._refusal:
            raise ActError(self._refusal)
        self.asked.append((name, args))


class Context:
    def __init__(self, robot: Robot) -> None:
        self.robot_view = robot


def named(offer: BodyOffer, first=()) -> dict[str, Any]:
    return {tool.name: tool for tool in tools_of(offer, first)}


def test_a_body_that_can_all_has_every_tool_and_none_has_a_flaw():
    tools = named(ALL)
    assert tuple(tools) == ("gesture", "dance", "look_at", "stop_moving", "rest", "wake_up", "turn_to_me", "volume") == NAMES
    for tool in tools.values():
        assert flaws(tool) == [], tool.name


@pytest.mark.parametrize(("changes", "missing"), [
    ({"gestures": ()}, {"gesture"}),
    ({"dances": ()}, {"dance"}),
    ({"turns": False}, {"turn_to_me"}),
    ({"volume": False}, {"volume"}),
])  # fmt: skip
def test_what_a_body_cannot_is_not_offered(changes, missing):
    assert set(NAMES) - named(ALL.model_copy(update=changes)).keys() == missing


def test_a_model_is_offered_few_names_and_those_of_the_persona_first():
    many = tuple(f"move_{n}" for n in range(OFFERED_MAX + 5))
    gesture = named(BodyOffer(gestures=many), first=(many[-1],))["gesture"]
    offered = gesture.arguments.model_json_schema()["properties"]["name"]["enum"]
    assert len(offered) == OFFERED_MAX
    assert offered[0] == many[-1]
    assert offered[1:] == list(many[: OFFERED_MAX - 1])


@pytest.mark.parametrize(("tool", "arguments", "asked"), [
    ("gesture", {"name": "nod"}, ("gesture", {"name": "nod"})),
    ("dance", {"name": "sway"}, ("dance", {"name": "sway", "seconds": 6.0})),
    ("dance", {"name": "sway", "seconds": 30.0}, ("dance", {"name": "sway", "seconds": 30.0})),
    ("look_at", {"direction": "up"}, ("look", {"direction": "up"})),
    ("stop_moving", {}, ("stop", {})),
    ("wake_up", {}, ("wake", {})),
    ("turn_to_me", {}, ("turn", {})),
    ("volume", {"percent": 50.0}, ("volume", {"percent": 50.0})),
])  # fmt: skip
async def test_a_call_asks_the_robot(tool, arguments, asked):
    robot, it = Robot(), named(ALL)[tool]
    assert await it.call(it.arguments(**arguments), Context(robot)) == {"status": "started"}
    assert robot.asked == [asked]


@pytest.mark.parametrize(("tool", "arguments"), [
    ("gesture", {"name": "fly"}),
    ("gesture", {}),
    ("dance", {"name": "sway", "seconds": 2.0}),
    ("dance", {"name": "sway", "seconds": 31.0}),
    ("look_at", {"direction": "behind"}),
    ("volume", {"percent": 9.0}),
])  # fmt: skip
def test_arguments_that_no_body_knows_are_refused(tool, arguments):
    with pytest.raises(ValidationError):
        named(ALL)[tool].arguments(**arguments)


async def test_the_model_is_told_why_the_robot_does_not_move():
    it = named(ALL)["rest"]
    with pytest.raises(ToolError, match="the motors are off"):
        await it.call(it.arguments(), Context(Robot("the motors are off")))
