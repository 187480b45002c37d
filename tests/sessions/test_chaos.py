"""All faults at random, for a while: in the end every robot talks again, the bystander notices nothing, and nothing leaks."""

import asyncio
import ctypes
import gc
import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from leaks import sockets_of_ours
from live_faults import CALLS, LIVES
from some_tools import KINDS
from tests.sessions.conftest import BYTES_PER_S, Talk

from gemini_gateway.implied import session_settings
from gemini_gateway.personas import Persona
from gemini_gateway.session import timing
from gemini_gateway.session.answers import is_audible
from gemini_gateway.session.decisions import Run
from gemini_gateway.session.timing import SessionSettings
from gemini_live_sim import actions, resumption
from gemini_live_sim.actions import Step
from gemini_live_sim.behaviour import Babble, Behaviour
from gemini_live_sim.scenario import SCENARIOS, load_scenario
from gemini_live_sim.server import serve
from gemini_live_sim.settings import SimSettings
from reachy_gateway.provider import circuit_breaker
from reachy_gateway.talk.conversation import Conversation, Tell
from reachy_gateway.tools.port import Tool
from reachy_gateway.tools.toolbox import Toolbox
from reachy_gateway.voice import Interrupted
from reachy_link.messages import Hello, Mic, Speaker
from reachy_link.pcm import Format

CHAOS_S = float(os.environ.get("CHAOS_S", "60"))
"""How long to run; ``make chaos`` runs for half an hour."""
HEALED_S = 30.0
PATIENCE_S = 8.0
UNTOLD_S = 45.0
"""A question without an answer or a reported loss counts as lost silently after this time. With the times below, a server that
says nothing is detected within 4 s, and within 32 s if that happens again and again."""
ROOM_DBFS = -52.0
"""The noise on everything that the microphones hear."""
GROWTH_MIB = 4.0
"""How much the process may grow from the middle to the end, once all is well again: the allocator's slack."""
CALLED = 0.5
"""How often tools are called right before a fault hits a session."""
ROBOTS = tuple(f"reachy-{n}" for n in range(1, 7))
BOOT = "0123456789abcdef"
MONO_16K = Format(rate_hz=16000, channels=1)
HELLO = Hello(robot="chaos", boot=BOOT, seq=0, t_us=0, mic=MONO_16K, speaker=MONO_16K, lead_ms=40)
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


def setup_closed(code: int, reason: str) -> Behaviour:
    return Behaviour(script=(Step(on="setup", action=actions.Close(code=code, reason=reason)),))


NAMED = [load_scenario(name, USUAL) for name in SCENARIOS]
REPORTED = [
    *(scenario.behaviour for scenario in NAMED),
    *(behaviour for scenario in NAMED for behaviour in scenario.connections),
    *(USUAL.model_copy(update={"usage": shape}) for shape in ("total", "candidates", "negative", "huge")),
    *(USUAL.model_copy(update={"silent": True, "babble": babble, "babble_every_s": 0.5}) for babble in get_args(Babble)),
    USUAL.model_copy(update={"end_turns": "never", "end_generation": False}),
    USUAL.model_copy(update={"turn_reason": "GENERATED_AUDIO_SAFETY"}),
    USUAL.model_copy(update={"mime": "AUDIO/PCM; RATE={hz}"}),
    USUAL.model_copy(update={"hold_turn_complete": False, "tone_ms": 3000}),
    USUAL.model_copy(update={"voice_activity": True, "leftover_ms": 400, "settle_ms": 300}),
    setup_closed(1011, "Words that nobody has seen."),
    setup_closed(1008, "Nor these."),
]
"""Faults reported of real servers: every scenario of the simulator, and the faults that no scenario covers."""
LOSSES = ("lost", "unreachable", "declined", "quota", "refused", "silent", "mute", "mute_turn", "stalled", "uplink")
"""Causes that explain why a question got no answer."""


class Robot(Talk):
    """A robot whose voice talks through a conversation, as in a gateway. What is heard is what the robot would be sent."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.conversation = Conversation(HELLO)
        self.conversation.hears = True
        self.heard_at = float("-inf")
        """When the robot was last sent a sound."""
        self.interrupted_at = float("-inf")

    def told_losses(self) -> float:
        """How many counted causes explain a question without an answer."""
        tally = self.office.tally
        return sum(tally.total(cause, self.robot) for cause in LOSSES) + self.voice.session.dropped_ms

    def _emit(self, event) -> None:
        now = time.monotonic()
        if isinstance(event, Interrupted):
            self.interrupted_at = now
        self._take(self.conversation.voice(event, now))
        super()._emit(event)

    def _give(self, pcm: bytes) -> None:
        now = time.monotonic()
        room = self._noise.normal(0, 32768 * 10 ** (ROOM_DBFS / 20), len(pcm) // 2)
        loud = np.clip(np.frombuffer(pcm, "<i2") + room, -32768, 32767).astype("<i2")
        message = Mic(robot=self.robot, boot=BOOT, seq=0, t_us=int(now * 1e6), samples=len(loud))
        heard, out = self.conversation.mic(message, loud.tobytes(), now)
        self._take(out)
        self.voice.hear(heard, speaking=self.conversation.gate.speaking)
        self._take(self.conversation.tick(now))

    def _take(self, out) -> None:
        for item in out:
            if isinstance(item, Tell) and item.kind is Speaker and is_audible(item.payload):
                self.heard_at = time.monotonic()


class Gremlin:
    """Breaks something now and then. Its choices are repeatable as far as timing allows."""

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
        if self._draw.random() < CALLED:
            session_.do(CALLS)
            self.done["calls before"] += 1
        match self._draw.random():
            case chance if chance < 0.45:
                kind, behaviours = ("report", REPORTED) if chance < 0.3 else ("dial", DIALS)
                behaviour = self._draw.choice(behaviours)
                self._sim.script([behaviour])
                session_.abort()
                self.done[f"{kind} {behaviours.index(behaviour)}"] += 1
            case chance if chance < 0.5 and session_.handles:
                self._sim.handles.poison(session_.handles[-1])
                session_.abort()
                self.done["poisoned handle"] += 1
            case _:
                action = self._draw.choice(LIVES)
                session_.do(action)
                self.done[action.do] += 1


class Answered:
    """Watches how calls are answered, connection by connection."""

    def __init__(self, sim) -> None:
        self.counts: Counter[str] = Counter()
        self._sim = sim
        self._seen: set[int] = set()

    def look(self) -> None:
        """Count the connections that have ended since the last look."""
        for session in self._sim.sessions:
            if not session.open and session.number not in self._seen:
                self._seen.add(session.number)
                self._count(session)

    def _count(self, session) -> None:
        ids = [response["id"] for response in session.tool_responses]
        made = [call["id"] for call in session.tool_calls]
        self.counts["answered"] += len(ids)
        self.counts["answered twice"] += len(ids) - len(set(ids))
        self.counts["lost before"] += sum(each not in made for each in ids)
        self.counts["taken back"] += len(session.cancelled_calls)
        self.counts["open at the end"] += len(set(made) - set(ids) - set(session.cancelled_calls))


def resident_mib() -> float:
    """The resident memory, after all free memory was given back."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class Chatter:
    """A person who asks, waits with a person's patience for the answer, and asks again.

    Args:
        talk: The robot.
        question: The question.
        draw: How long to wait before the next question.
    """

    def __init__(self, talk, question: bytes, draw: random.Random) -> None:
        self.talk = talk
        self.outcomes: Counter[str] = Counter()
        self._question = question
        self._draw = draw
        self._next = 0.0
        self._asked_at: float | None = None
        """When the question that waits for its outcome ended."""
        self._losses = 0.0

    def go_on(self, now: float) -> None:
        if self.talk.saying:
            return
        if self._asked_at is not None and (outcome := self._outcome(self._asked_at, now)):
            self.outcomes[outcome] += 1
            self._asked_at = None
            self._next = now + self._draw.uniform(0.5, 3.0)
        if now > self._next:
            self._next = now + PATIENCE_S
            if self._asked_at is None:
                self._losses = self.talk.told_losses()
                self._asked_at = now + len(self._question) / BYTES_PER_S
            self.talk.say(self._question)

    def _outcome(self, asked_at: float, now: float) -> str:
        if self.talk.heard_at > asked_at:
            return "answered"
        if self.talk.told_losses() > self._losses or self.talk.interrupted_at > asked_at:
            return "told"
        return "untold" if now - asked_at > UNTOLD_S else ""

    async def answered(self) -> float:
        """Ask until there is an answer, with a person's patience. Returns how long that took."""
        began = time.monotonic()
        self._next = 0.0

        def heard() -> bool:
            now = time.monotonic()
            if not self.talk.saying and now > self._next:
                self.talk.say(self._question)
                self._next = now + PATIENCE_S
            return self.talk.heard_at > began

        return await self.talk.until(heard, HEALED_S)


PATIENT = {
    "SILENCE_S": 4.0,
    "SILENCE_MAX_S": 10.0,
    "SHORT_CAP_S": 4.0,
    "REFUSED_RETRY_S": 4.0,
    "DOUBTED_S": 1.0,
    "DECLINED_S": (0.5, 4.0),
    "QUOTA_S": (2.0, 4.0),
}
"""As much trouble in a minute as otherwise in an hour."""


AGELESS = {"max_age_s": None, "session_limit_s": None}
"""No connection is ever too old for either end: a dial of the bystander's would meet faults that are meant for others."""


def lasting(persona: Persona, tools: Sequence[Tool]) -> SessionSettings:
    """Connections that never age at our end, as with ``AGELESS``."""
    return replace(session_settings(persona, tools), max_age_s=float("inf"))


@pytest.mark.timeout(CHAOS_S + 120)
async def test_a_long_run_of_everything_that_can_go_wrong(measured, talking, open_office, question, monkeypatch):  # noqa: PLR0915
    """Six robots are struck, a seventh is not. Memory is the process's resident set, measured in the middle and at the end."""
    for name, value in PATIENT.items():
        monkeypatch.setattr(timing, name, value)
    monkeypatch.setattr(circuit_breaker, "DIAL_S", 3.0)
    monkeypatch.setattr(resumption, "MAX_HANDLES", 200)  # the simulator keeps the whole conversation for each
    draw = random.Random(42)  # noqa: S311
    settings = SimSettings(**{"mode": "tone", "tone_ms": 600, "speed": 2, "record_bytes": 0, "keep_sessions": 20} | AGELESS)
    async with serve(settings) as sim:
        tools = {"toolbox": Toolbox(kind() for kind in KINDS), "settings": {"tools": [kind.name for kind in KINDS]}}
        office = open_office(sim, *ROBOTS, "bystander", settings_of=lasting, **tools)
        await warm(talking, sim, office)
        before = descriptors(), len(asyncio.all_tasks())
        async with talking(sim, *ROBOTS, "bystander", office=office, made=Robot) as everybody:
            *talks, bystander = everybody
            for talk in everybody:
                await talk.until(lambda talk=talk: talk.states == ["live"])
                talk.forgetful = True
            gremlin, chatters = Gremlin(sim, talks, draw), [Chatter(talk, question, draw) for talk in everybody]
            answered = Answered(sim)
            healed: list[float] = []
            resident: list[float] = []
            for _ in range(2):
                until = time.monotonic() + CHAOS_S / 2

                def over(until: float = until) -> bool:
                    now = time.monotonic()
                    gremlin.strike(now)
                    answered.look()
                    for chatter in chatters:
                        chatter.go_on(now)
                    return now > until

                await bystander.until(over, CHAOS_S / 2 + 30)
                sim._script.clear()
                for (
                    session_
                ) in sim.open_sessions:  # what the server holds for a client that does not read counts as the server's
                    if session_ is not bystander.sessions[-1]:
                        session_.abort()
                healed += [await chatter.answered() for chatter in chatters]
                # So does what it holds for a connection that has ended: a TLS buffer as large as the largest message, 5 MB.
                sim.sessions[:] = sim.open_sessions
                resident.append(resident_mib())
            strikes = sum(gremlin.done.values())
            connections = sim.sessions[-1].number
            measured(f"{strikes} strikes, {connections} connections: {dict(gremlin.done)}")
            outcomes = sum((chatter.outcomes for chatter in chatters), Counter())
            measured(f"questions: {dict(outcomes)}")
            measured(f"calls of tools: {dict(answered.counts)}")
            measured(f"counted: {dict(office.tally.counts)}")
            measured(f"{resident[0]:.1f} MiB in the middle, {resident[1]:.1f} at the end; answered within {max(healed):.1f} s")
            assert strikes > 30
            assert answered.counts["answered"] > strikes / 10
            assert answered.counts["answered twice"] == 0
            assert outcomes["untold"] == 0
            assert outcomes["answered"] > outcomes["told"] / 2
            assert bystander.told_losses() == 0
            assert len(bystander.sessions) == 1
            assert bystander.states == ["live"]
            assert bystander.voice.session.dropped_ms == 0
            assert resident[1] - resident[0] < GROWTH_MIB
            assert sockets_of_ours() <= len(everybody)
            tasks = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("connection of ")]
            assert len(tasks) == len(set(tasks)) <= len(everybody)
        await nothing_is_left(sim, *before)


async def test_a_robot_that_leaves_in_any_phase_leaves_nothing_behind(talking, open_office):
    """While it dials, talks, is stalled, is refused, or waits: its connection goes with it."""
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
            assert time.monotonic() - began < 4.0, "a stalled server must not delay the end for long"
        await nothing_is_left(sim, *before)


async def warm(talking, sim, office) -> None:
    """Make now what is made only once."""
    async with talking(sim, "reachy-1", office=office) as [talk]:
        await talk.until(lambda: talk.states == ["live"])
        for n, tool in enumerate(talk.voice.session.settings.tools, 1):
            talk.voice._running_tools.run(Run(-n, tool, {}), talk.voice._tools)  # bypassing the limits
        await talk.until(lambda: not talk.voice._running_tools._tasks)
    await sim.until(lambda sim: not sim.open_sessions)
    gc.collect()  # clients of former tests end in the current loop
    await asyncio.sleep(0)


async def nothing_is_left(sim, descriptors_before: int, tasks_before: int) -> None:
    """Check that no connection, task or descriptor is left, once the server has dropped what it does not read."""
    for stalled in sim.open_sessions:
        stalled.resume_io()
    sim.abort_all()
    async with asyncio.timeout(5.0):
        while len(asyncio.all_tasks()) > tasks_before or descriptors() > descriptors_before or sockets_of_ours():
            await asyncio.sleep(0.05)
    assert not sim.open_sessions
