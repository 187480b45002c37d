"""A process's first conversations. Prints which of the SDK's models were compiled only then."""

import asyncio
import contextlib
import inspect
import sys
from typing import Literal

from google.genai import types
from pydantic import BaseModel, Field, SecretStr

from gemini_gateway.endpoint import Endpoint
from gemini_gateway.personas import Persona, Vad
from gemini_gateway.sdk.client import Live
from gemini_gateway.sdk.connection import Connection
from gemini_gateway.session.decisions import Response
from gemini_live_sim.server import serve
from reachy_gateway.tools.port import Arguments, Tool
from reachy_gateway.voice import TurnComplete

MANUAL = Vad(mode="manual")
RICH = Persona(
    model="one-that-takes-all", thinking_level="low", affective_dialog=True, proactive_audio=True, language="de-DE", vad=MANUAL
)


class HowLong(Arguments):
    seconds: int | None = Field(default=None, ge=1, le=9, description="For how long.")
    style: Literal["wild", "calm"] = Field(description="How.")


class Dance(Tool[HowLong]):
    name = "dance"
    description = "Dances."
    arguments = HowLong
    mode = "background"

    async def call(self, arguments, context):
        raise NotImplementedError


SECOND = b"\1\0" * 16000


def compiled() -> set[str]:
    models = [item for item in vars(types).values() if inspect.isclass(item) and issubclass(item, BaseModel)]
    return {model.__name__ for model in models if model.__pydantic_complete__}


async def answer(line: Connection) -> None:
    async with contextlib.aclosing(line.receive()) as events:
        async for event in events:
            if isinstance(event, TurnComplete):
                return


async def main() -> None:
    async with serve() as sim:
        for shortcut in (True, False):
            live = Live(Endpoint("the simulator", SecretStr("none"), sim.url, sim.root_path), shortcut=shortcut)
            before = compiled()
            async with live.connect(RICH, seeded=True, tools=[Dance()]) as line:
                await line.remind([("person", "Hello."), ("robot", "Hello, too.")])
                await line.send_activity("start")
                await line.send_audio(SECOND)
                await line.send_activity("end")
                await line.answer([Response("1", "what_time_is_it", {"time": "now"}, background=True, speaks=False)])
                await answer(line)
            sys.stdout.write(" ".join(compiled() - before) + "\n")


asyncio.run(main())
