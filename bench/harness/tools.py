"""Ten tools for every robot (the gateway's own two, and eight from a folder), and the calls that move a body."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

NAMES: Final = ("what_time_is_it", "robot_status", *(f"tool_{n}" for n in range(8)))
Called: TypeAlias = tuple[str, Mapping[str, object]]
"""A tool's name, and its arguments."""
CALLS: Final[tuple[Called, ...]] = tuple((name, {}) for name in NAMES)
OF_BODIES: Final[tuple[Called, ...]] = (
    ("look_at", {"direction": "left"}),
    ("gesture", {"name": "nod"}),
    ("dance", {"name": "sway", "seconds": 4}),
    ("stop_moving", {}),
)
CALL_EVERY_S: Final = 10.0
"""Pause between two calls of one robot's tools."""
_TOOL: Final = """
from typing import Literal

from pydantic import Field

from reachy_gateway.tools.port import Arguments, Tool


class What(Arguments):
    thing: str = Field(default="ball", description="What to look for.")
    where: Literal["left", "right", "ahead"] = Field(default="left", description="Where to look.")
    seconds: float = Field(default=1.0, ge=0, le=9, description="For how long.")


class It(Tool[What]):
    name = "{name}"
    description = "Looks for a thing on one side for a while, and tells what it found. Call it when one is missed."
    arguments = What
    mode = "background"

    async def call(self, arguments, context):
        return {{"found": arguments.thing, "where": arguments.where}}
"""


def equipped(work: Path) -> dict[str, str]:
    """Write the tools' files into the working directory. Returns the settings of a gateway whose robots have the tools."""
    folder = work / "tools"
    folder.mkdir(exist_ok=True)
    for name in NAMES:
        if name.startswith("tool_"):
            (folder / f"{name}.py").write_text(_TOOL.format(name=name))
    robots = work / "robots.toml"
    robots.write_text(f"[defaults]\ntools = {list(NAMES)}\n")
    return {"GATEWAY_TOOLS_DIR": str(folder), "GATEWAY_ROBOTS_FILE": str(robots)}
