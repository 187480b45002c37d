"""Tools that tests offer to a model: good ones, slow ones, broken ones."""

import asyncio
import sys
import time
from typing import Literal

from pydantic import Field

from reachy_gateway.tools.port import Arguments, NoArguments, Tool, ToolError


class Seconds(Arguments):
    seconds: float = Field(default=0.1, ge=0, le=60, description="How long it takes.")


class Direction(Arguments):
    direction: Literal["left", "right"] = Field(description="Where to.")


class Wait(Tool[Seconds]):
    """The model waits for this tool's result before it answers."""

    name = "wait"
    description = "Waits, and tells for how long."
    arguments = Seconds
    deadline_s = 10.0

    async def call(self, arguments, _context):
        await asyncio.sleep(arguments.seconds)
        return {"waited_s": arguments.seconds}


class Search(Wait):
    """Runs while the robot talks; the robot then speaks of the result."""

    name = "search"
    mode = "background"


class Boogie(Tool[Seconds]):
    """Runs while the robot talks; the result is not spoken of."""

    name = "boogie"
    description = "Dances."
    arguments = Seconds
    mode = "background"
    reply = "silent"

    async def call(self, _arguments, _context):
        return {"status": "started"}


class Turn(Tool[Direction]):
    name = "turn"
    description = "Turns."
    arguments = Direction

    async def call(self, arguments, _context):
        return {"turned": arguments.direction}


class Unstoppable(Wait):
    """Runs to its end even when its result is no longer wanted."""

    name = "unstoppable"
    may_be_cut = False
    ended = 0

    async def call(self, arguments, context):
        result = await super().call(arguments, context)
        self.ended += 1
        return result


class _Broken(Tool[NoArguments]):
    description = "It is broken."
    arguments = NoArguments
    deadline_s = 0.5


class Raises(_Broken):
    name = "raises"

    async def call(self, _arguments, _context):
        raise RuntimeError("a secret of the tool's own")


class Exits(_Broken):
    name = "exits"

    async def call(self, _arguments, _context):
        sys.exit(1)


class SaysNo(_Broken):
    name = "says_no"

    async def call(self, _arguments, _context):
        raise ToolError("the door is locked: ask for the key", retryable=True)


class Hangs(_Broken):
    name = "hangs"

    async def call(self, _arguments, _context):
        await asyncio.Event().wait()


class Blocks(_Broken):
    """Blocks its thread for as long as the test sets."""

    name = "blocks"
    for_s = 2.0

    async def call(self, _arguments, _context):
        time.sleep(self.for_s)  # noqa: ASYNC251 - as a tool's author may write it
        return {"status": "done"}


class Huge(_Broken):
    name = "huge"

    async def call(self, _arguments, _context):
        return {"it": "x" * 10_000_000}


class Empty(_Broken):
    name = "empty"

    async def call(self, _arguments, _context):
        return {}


class NoJson(_Broken):
    name = "no_json"

    async def call(self, _arguments, _context):
        return {"it": float("nan"), "what": object()}


class NoObject(_Broken):
    name = "no_object"

    async def call(self, _arguments, _context):
        return "just words"


GOOD = (Wait, Search, Boogie, Turn, Unstoppable)
BROKEN = (Raises, Exits, SaysNo, Hangs, Blocks, Huge, Empty, NoJson, NoObject)
KINDS = (Wait, Search, Boogie, Unstoppable, Raises)
"""Tools that end by themselves, whatever their arguments."""
