"""The tools of a robot's body. Each asks the robot, and answers when the motion has begun."""

from collections.abc import Collection, Mapping
from typing import Any, Final, Literal, cast

from pydantic import Field, create_model

from reachy_gateway.tools.port import Arguments, Context, NoArguments, Tool, ToolError
from reachy_gateway.voice import ActError
from reachy_link.messages import BodyOffer

NAMES: Final = ("gesture", "dance", "look_at", "stop_moving", "rest", "wake_up", "turn_to_me", "volume")
OFFERED_MAX: Final = 24
"""How many names of gestures, and of dances, a model is offered."""


class _OfTheBody(Tool[Any]):
    """A tool that makes the robot act."""

    mode = "background"
    reply = "silent"
    deadline_s = 4.0
    act: str

    def __init__(self, name: str, act: str, description: str, arguments: type[Arguments] = NoArguments) -> None:
        self.name = name
        self.act = act
        self.description = description
        self.arguments = arguments

    async def call(self, arguments: Arguments, context: Context) -> Mapping[str, Any]:
        """Ask the robot to begin."""
        try:
            await context.robot_view.act(self.act, arguments.model_dump(exclude_none=True))
        except ActError as error:
            raise ToolError(str(error)) from None
        return {"status": "started"}


class _Direction(Arguments):
    direction: Literal["left", "right", "up", "down", "ahead"] = Field(description="Where to, as the robot sees it.")


class _Volume(Arguments):
    percent: float = Field(ge=10, le=100, description="How loud; 100 is the loudest, and usual.")


def tools_of(offer: BodyOffer, first: Collection[str] = ()) -> tuple[Tool[Any], ...]:
    """The tools for a body with these abilities.

    Args:
        offer: What the body can do, as the robot says.
        first: Gestures that are offered before others, if there are too many.
    """
    found: list[Tool[Any]] = []
    by_choice = sorted(offer.gestures, key=lambda name: name not in first)
    if gestures := tuple(by_choice[:OFFERED_MAX]):
        asks = (
            "Moves head and antennas for a moment, beside what you say. Call it to answer by a gesture, or when asked for one."
        )
        found.append(_OfTheBody("gesture", "gesture", asks, _choice("Gesture", gestures)))
    if dances := offer.dances[:OFFERED_MAX]:
        asks = "Dances. Call it when the person asks you to dance."
        seconds = (float, Field(default=6.0, ge=3.0, le=30.0, description="For how long."))
        found.append(_OfTheBody("dance", "dance", asks, _choice("Dance", dances, seconds=seconds)))
    found += [
        _OfTheBody("look_at", "look", "Turns the head. Call it when the person asks you to look somewhere.", _Direction),
        _OfTheBody("stop_moving", "stop", "Ends whatever gesture or dance goes on."),
        _OfTheBody("rest", "rest", "Lays head and antennas down to rest. You still hear and talk."),
        _OfTheBody("wake_up", "wake", "Raises the head after a rest."),
    ]
    if offer.turns:
        found.append(
            _OfTheBody("turn_to_me", "turn", "Turns to the person who spoke. Call it when asked to turn or look there.")
        )
    if offer.volume:
        asks = "Makes your voice louder or softer. Call it when the person asks for that."
        found.append(_OfTheBody("volume", "volume", asks, _Volume))
    return tuple(found)


def _choice(name: str, names: tuple[str, ...], **more: Any) -> type[Arguments]:
    """A model of arguments whose ``name`` is one of these."""
    fields: dict[str, Any] = {"name": (Literal[names], Field(description="Which one.")), **more}
    return cast("type[Arguments]", create_model(name, __base__=Arguments, **fields))
