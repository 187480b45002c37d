"""Everything that can go wrong, at random and for a while: every robot talks again, nobody else notices, nothing leaks."""

import asyncio
import ctypes
import gc
import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from leaks import sockets_of_ours

from gemini_gateway import outage, session
from gemini_live_sim import actions
from gemini_live_sim.actions import DEADLINE, Step
from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from gemini_live_sim.settings import SimSettings
from reachy_gateway.voice import Audio

CHAOS_S = float(os.environ.get("CHAOS_S", "30"))
"""As long as anybody likes: ``CHAOS_S=600 make sessions``."""
HEALED_S = 30.0
PATIENCE_S = 8.0
GROWTH_MIB = 4.0
"""What the process may grow by in the second half: the allocator's slack, with the audio of the test itself in memory."""
ROBOTS = ("reachy-1", "reachy-2", "reachy-3", "reachy-4")
USUAL = Behaviour(mode="tone", tone_ms=600, speed=2)
DIALS = [
    Behaviour(handshake_status=503),
    Behaviour(handshake_status=500, handshake_delay_ms=200),
    Behaviour(handshake_delay_ms=800),
    Behaviour(setup_reply=False),
    Behaviour(setup_delay_ms=900),
    Behaviour(script=(Step(on="setup", action=actions.Abort()),)),
    Behaviour(script=(Step(on="setup", action=actions.Close(code=1011)),)),
    Behaviour(script=(Step(on="setup", action=actions.Close(code=1008, reason="The operation was aborted.")),)),
    Behaviour(script=(Step(on="ready", action=actions.Abort()),)),
    Behaviour(script=(Step(on="ready", after_s=0.05, action=actions.Close(code=1000)),)),
]
LIVES = [
    *(actions.Close(code=code, reason="The operation was aborted.") for code in (1000, 1007, 1008, 1011)),
    actions.Close(code=1011, reason=DEADLINE),
    actions.Abort(),
    actions.GoAway(time_left_s=0.0),
    actions.GoAway(time_left_s=1.5),
    actions.SendRaw(message={"nobodyKnows": {}}),
    actions.SendRaw(message="[1, 2]"),
    actions.SendRaw(message=b"\xff\x00"),
    actions.SendError(),
    actions.SendBig(n_bytes=1_000_000),
    actions.SendBig(n_bytes=5_000_000),
    actions.ToolCall(name="dance"),
    actions.Interrupt(),
    actions.Stall(for_s=1.0),
    actions.Stall(reading=False, for_s=0.5),
    actions.Stall(),
    actions.Silent(),
]


class Gremlin:
    """Breaks something, now and then; repeatably as far as time lets it."""

    def __init__(self, sim, talks, draw: random.Random) -> None:
        self.done: Counter[str] = Counter()
        self._sim = sim
        self._talks = talks
        self._draw = draw
        self._next = 0.0

    def strike(self, now: float) -> None:
        if now < self._next:
            return
        self._next = now + self._draw.uniform(0.2, 0.8)
        talk = self._draw.choice(self._talks)
        session_ = next((it for it in reversed(talk.sessions) if it.open), None)
        if session_ is None:
            return
        if self._draw.random() < 0.3:
            behaviour = self._draw.choice(DIALS)
            self._sim.script([behaviour])
            session_.abort()
            self.done[f"dial {DIALS.index(behaviour)}"] += 1
        elif self._draw.random() < 0.1 and session_.handles:
            self._sim.handles.poison(session_.handles[-1])
            session_.abort()
            self.done["poisoned handle"] += 1
        else:
            action = self._draw.choice(LIVES)
            session_.do(action)
            self.done[action.do] += 1


def resident_mib() -> float:
    """The resident set, after everything that is free was given back."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class Chatter:
    """A person who asks again and again, and does not always wait for the answer."""

    def __init__(self, talk, question: bytes, draw: random.Random) -> None:
        self.talk = talk
        self._question = question
        self._draw = draw
        self._next = 0.0

    def go_on(self, now: float) -> None:
        if not self.talk.saying and now > self._next:
            self.talk.say(self._question)
            self._next = now + self._draw.uniform(1.5, 4.0)

    async def answered(self) -> float:
        """Ask until there is an answer, with the patience of people; how long that took."""
        began = time.monotonic()
        self._next = 0.0

        def heard() -> bool:
            now = time.monotonic()
            if not self.talk.saying and now > self._next:
                self.talk.say(self._question)
                self._next = now + PATIENCE_S
            return any(isinstance(event, Audio) and at > began for at, event in self.talk.events)

        return await self.talk.until(heard, HEALED_S)


@pytest.mark.timeout(CHAOS_S + 120)
async def test_a_long_run_of_everything_that_can_go_wrong(measured, talking, open_office, watchman, question, monkeypatch):
    """Four robots are struck, a fifth is not. Memory is the process's resident set, at the middle and at the end."""
    monkeypatch.setattr(session, "SILENCE_S", 4.0)
    monkeypatch.setattr(session, "SHORT_CAP_S", 4.0)
    monkeypatch.setattr(outage, "DIAL_S", 3.0)
    draw = random.Random(42)  # noqa: S311
    settings = SimSettings(mode="tone", tone_ms=600, speed=2, record_bytes=0, keep_sessions=20)
    async with serve(settings) as sim:
        office = open_office(sim, *ROBOTS, "bystander")
        await warm(talking, sim, office)
        before = descriptors(), len(asyncio.all_tasks())
        async with talking(sim, *ROBOTS, "bystander", office=office) as everybody:
            *talks, bystander = everybody
            for talk in everybody:
                await talk.until(lambda talk=talk: talk.states == ["live"])
                talk.forgetful = True
            gremlin, chatters = Gremlin(sim, talks, draw), [Chatter(talk, question, draw) for talk in everybody]
            began = time.monotonic()
            resident: list[float] = []

            def over() -> bool:
                now = time.monotonic()
                gremlin.strike(now)
                for chatter in chatters:
                    chatter.go_on(now)
                if now - began > CHAOS_S / 2 and not resident:
                    resident.append(resident_mib())
                return now - began > CHAOS_S

            await bystander.until(over, CHAOS_S + 30)
            resident.append(resident_mib())
            sim._script.clear()
            healed = [await chatter.answered() for chatter in chatters]
            strikes = sum(gremlin.done.values())
            connections = sim.sessions[-1].number
            measured(f"{strikes} strikes, {connections} connections: {dict(gremlin.done)}")
            measured(f"counted: {dict(office.tally.counts)}")
            measured(f"{resident[0]:.1f} MiB in the middle, {resident[1]:.1f} at the end; answered within {max(healed):.1f} s")
            assert strikes > 30
            assert len(bystander.sessions) == 1
            assert bystander.states == ["live"]
            assert bystander.voice.session.dropped_ms == 0
            assert resident[1] - resident[0] < GROWTH_MIB
            assert sockets_of_ours() <= len(everybody)
            tasks = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("line of ")]
            assert len(tasks) == len(set(tasks)) <= len(everybody)
        await nothing_is_left(sim, *before)


async def test_a_robot_that_leaves_in_any_phase_leaves_nothing_behind(talking, open_office):
    """While it dials, talks, is stalled, is refused, waits: its connection goes with it."""
    async with serve(SimSettings(mode="tone", tone_ms=600)) as sim:
        office = open_office(sim, "reachy-1")
        await warm(talking, sim, office)
        before = descriptors(), len(asyncio.all_tasks())
        for fault in (
            USUAL,
            Behaviour(setup_reply=False),
            Behaviour(handshake_delay_ms=2_000),
            Behaviour(script=(Step(on="ready", action=actions.Stall()),)),
            Behaviour(handshake_status=403),
            Behaviour(handshake_status=503),
        ):
            sim.behaviour = fault
            dials = len(sim.sessions) + len(sim.refused)
            async with talking(sim, "reachy-1", office=office) as [talk]:
                if not fault.handshake_delay_ms:
                    await talk.until(lambda n=dials: len(sim.sessions) + len(sim.refused) > n)
                await talk.never(lambda: False, 0.3)
                began = time.monotonic()
            assert time.monotonic() - began < 4.0, "a stalled server holds up nobody for long"
        await nothing_is_left(sim, *before)


async def warm(talking, sim, office) -> None:
    """Whatever is made once is made now."""
    async with talking(sim, "reachy-1", office=office) as [talk]:
        await talk.until(lambda: talk.states == ["live"])
    await sim.until(lambda sim: not sim.open_sessions)
    gc.collect()  # clients of former tests end themselves in whatever loop there is
    await asyncio.sleep(0)


async def nothing_is_left(sim, descriptors_before: int, tasks_before: int) -> None:
    """No connection, no task and no descriptor, once the server has dropped what it does not read."""
    for stalled in sim.open_sessions:
        stalled.resume_io()
    sim.abort_all()
    async with asyncio.timeout(5.0):
        while len(asyncio.all_tasks()) > tasks_before or descriptors() > descriptors_before or sockets_of_ours():
            await asyncio.sleep(0.05)
    assert not sim.open_sessions
