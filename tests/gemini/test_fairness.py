"""Robots share one event loop: what is sent to one in a burst must not keep the others waiting."""

import asyncio
from itertools import groupby

from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from reachy_gateway.voice import Audio


async def test_a_burst_is_taken_a_message_at_a_time(gemini):
    """Behind each message everybody else gets a turn; without that dozens are taken in one, 50 ms and more."""
    turns_of_the_loop, taken = 0, []

    async def count():
        nonlocal turns_of_the_loop
        while True:
            turns_of_the_loop += 1
            await asyncio.sleep(0)

    def emit(event):
        if isinstance(event, Audio):
            taken.append(turns_of_the_loop)

    async with serve() as sim:
        sim.behaviour = Behaviour(mode="tone", speed=0)
        tasks = [asyncio.create_task(gemini(sim)("reachy-1").run(emit)), asyncio.create_task(count())]
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
