"""The rim of a Gemini voice, with a connection that says what a test tells it to."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from gemini_gateway.events import Tokens
from gemini_gateway.outage import Outage
from gemini_gateway.personas import Persona
from gemini_gateway.usage import Verdict
from gemini_gateway.voice import GeminiVoice
from reachy_gateway.voice import Audio, TurnComplete

TOKENS = Tokens({"audio": 100_000}, {"audio": 1500})
A_REPLY = Audio(b"\0\0" * 100, 24000)


class Office:
    """What the voices of a gateway share."""

    def __init__(self):
        self.bills = []

    def persona(self, _robot):
        return Persona()

    def verdict(self, _robot):
        return Verdict(allowed=True)

    def bill(self, _robot, _session, _model, tokens):
        self.bills.append(tokens)

    def count(self, *_):
        pass


class Gemini:
    """A connection, and who dials it."""

    def __init__(self, *events):
        self._events = events
        self.told = asyncio.Event()
        self.hung_up_on = asyncio.Event()
        self.lets_go = asyncio.Event()

    @asynccontextmanager
    async def connect(self, *_, **__):
        try:
            yield self
        finally:
            self.hung_up_on.set()
            await self.lets_go.wait()

    async def receive(self):
        for event in self._events:
            yield event
        self.told.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    "events",
    [(A_REPLY, TOKENS), (A_REPLY, TurnComplete(), TOKENS), (A_REPLY, TOKENS, TurnComplete())],
    ids=["in mid-answer", "counts that came late", "an answer that is over"],
)
async def test_a_turn_is_billed_once_when_its_robot_leaves(events):
    office, gemini = Office(), Gemini(*events)
    voice = asyncio.create_task(GeminiVoice("reachy-1", gemini, Outage(lambda: 0.5), office).run(lambda _: None))
    await asyncio.wait_for(gemini.told.wait(), 10)
    voice.cancel()
    await asyncio.wait_for(gemini.hung_up_on.wait(), 10)
    assert office.bills == [TOKENS], "while the server does not let go of the connection"
    gemini.lets_go.set()
    await asyncio.wait([voice])
    assert office.bills == [TOKENS]
