"""Robots share one event loop: a burst for one robot must not keep the others waiting."""

import asyncio
import base64
from itertools import groupby

from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from reachy_gateway.voice import Audio, Interrupted, SpeechNoticed

BURST = 200


class Turns:
    """Counts the turns of the event loop."""

    def __init__(self):
        self.n = 0

    async def count(self):
        """Count until cancelled."""
        while True:
            self.n += 1
            await asyncio.sleep(0)


async def test_a_burst_is_taken_a_message_at_a_time(gemini):
    """After each message every other task gets a turn. Without that dozens are handled in one turn: 50 ms and more."""
    turns_of_the_loop, taken = Turns(), []

    def emit(event):
        if isinstance(event, Audio):
            taken.append(turns_of_the_loop.n)

    async with serve() as sim:
        sim.behaviour = Behaviour(mode="tone", speed=0)
        tasks = [asyncio.create_task(gemini(sim)("reachy-1").run(emit)), asyncio.create_task(turns_of_the_loop.count())]
        try:
            session = await sim.session(1)
            session.say(20_000)  # ms, in messages of 40
            async with asyncio.timeout(20):
                while len(taken) < 500:
                    await asyncio.sleep(0.01)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
    assert max(len(list(group)) for _, group in groupby(taken)) == 1


async def test_an_interruption_does_not_wait_for_a_turn_for_each_message_before_it(gemini):
    """The interruption is found where it waits. Otherwise each message of the burst before it would take a turn of the loop."""
    turns_of_the_loop, taken = Turns(), []

    async with serve() as sim:
        tasks = [
            asyncio.create_task(gemini(sim)("reachy-1").run(lambda event: taken.append((turns_of_the_loop.n, event)))),
            asyncio.create_task(turns_of_the_loop.count()),
        ]
        blob = {"mimeType": "audio/pcm;rate=24000", "data": base64.b64encode(bytes(1920)).decode()}
        try:
            session = await sim.session(1)
            for _ in range(BURST):
                session.send_raw({"serverContent": {"modelTurn": {"parts": [{"inlineData": blob}]}}})
            session.interrupt()
            async with asyncio.timeout(20):
                while not any(isinstance(event, Interrupted) for _, event in taken):
                    await asyncio.sleep(0.01)
                answer = len(taken)
                session.say(4000)
                while sum(isinstance(event, Audio) for _, event in taken[answer:]) < 100:
                    await asyncio.sleep(0.01)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
    events = [event for _, event in taken]
    silenced, interrupted = events.index(SpeechNoticed()), events.index(Interrupted())
    assert sum(isinstance(event, Audio) for event in events[:silenced]) < BURST / 2, "silence comes at once"
    assert not any(isinstance(event, Audio) for event in events[silenced:interrupted]), (
        "no sound of the cut answer may be heard"
    )
    assert taken[interrupted][0] - taken[silenced][0] < BURST / 2
    afterwards = [turn for turn, event in taken[interrupted:] if isinstance(event, Audio)]
    assert len(set(afterwards)) == len(afterwards) == 100, "one message in each turn again"
