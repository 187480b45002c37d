"""An ended connection is freed at once, not at Python's next garbage collection: it holds 0.3 MB, or a big message."""

import asyncio
import gc
import os
import socket

import pytest

from gemini_gateway.sdk.socket import Socket
from gemini_gateway.session import timing
from gemini_live_sim import actions
from gemini_live_sim.actions import Action, Step
from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from gemini_live_sim.settings import SimSettings
from reachy_gateway.provider import circuit_breaker

ENDS: dict[str, Action] = {
    "a cut": actions.Abort(),
    "1000": actions.Close(code=1000),
    "1008": actions.Close(code=1008, reason="The operation was aborted."),
    "1011": actions.Close(code=1011, reason="x"),
    "go away": actions.GoAway(time_left_s=0.0),
    "too big": actions.SendBig(n_bytes=5_000_000),
}
FAILS = {
    "403": Behaviour(handshake_status=403),
    "503": Behaviour(handshake_status=503),
    "a cut": Behaviour(script=(Step(on="open", action=actions.Abort()),)),
    "a cut at the setup": Behaviour(script=(Step(on="setup", action=actions.Abort()),)),
    "1011": Behaviour(script=(Step(on="setup", action=actions.Close(code=1011, reason="x")),)),
    "no JSON object": Behaviour(script=(Step(on="setup", action=actions.SendRaw(message="[1, 2]")),)),
    "no answer": Behaviour(setup_reply=False),
}


@pytest.fixture
def uncollected():
    """Stop the garbage collector meanwhile."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def sockets() -> list[Socket]:
    return [it for it in gc.get_objects() if type(it) is Socket]  # isinstance would follow weak proxies


@pytest.mark.parametrize("end", ENDS)
async def test_a_connection_that_ends_leaves_no_garbage(talking, open_office, uncollected, end):
    async with serve(SimSettings(mode="tone", tone_ms=600)) as sim:
        office = open_office(sim, "reachy-1")
        async with talking(sim, "reachy-1", office=office) as [talk]:
            await talk.until(lambda: talk.states == ["live"] and bool(sim.sessions[-1].handles))
            for number in (2, 3):
                sim.sessions[-1].do(ENDS[end])
                await talk.until(lambda number=number: sim.sessions[-1].number == number and bool(sim.sessions[-1].handles), 30)
            await talk.until(lambda: len(sockets()) == 1)


@pytest.mark.parametrize("fails", FAILS)
async def test_a_dial_that_fails_leaves_no_garbage(talking, open_office, uncollected, monkeypatch, fails):
    monkeypatch.setattr(timing, "REFUSED_RETRY_S", 0.5)
    if fails == "no answer":
        monkeypatch.setattr(circuit_breaker, "DIAL_S", 1.0)
    async with serve(SimSettings(mode="tone", tone_ms=600)) as sim:
        office = open_office(sim, "reachy-1")
        async with talking(sim, "reachy-1", office=office) as [talk]:
            await talk.until(lambda: talk.states == ["live"])
            sim.script([FAILS[fails]])
            sim.sessions[-1].abort()
            await talk.until(lambda: bool(sim.sessions[-1].handles) and len(sim.sessions) + len(sim.refused) > 2, 30)
            await talk.until(lambda: len(sockets()) == 1)


async def test_a_cut_that_a_write_meets_leaves_no_garbage(talking, open_office, uncollected):
    async with serve(SimSettings(mode="tone", tone_ms=600)) as sim:
        office = open_office(sim, "reachy-1")
        async with talking(sim, "reachy-1", office=office) as [talk]:
            await talk.live()
            [cut] = sockets()
            with socket.socket(fileno=os.dup(cut.transport.get_extra_info("socket").fileno())) as same:
                same.shutdown(socket.SHUT_WR)  # the system refuses a write, as after a cut that no reader has noticed yet
            await talk.until(cut.transport.is_closing)
            del cut
            await talk.until(lambda: len(talk.sessions) == 2 and talk.sessions[-1].heard_bytes)
            await talk.until(lambda: len(sockets()) == 1)


async def test_a_robot_that_leaves_leaves_no_garbage(talking, open_office, uncollected):
    async with serve(SimSettings(mode="tone", tone_ms=600)) as sim:
        office = open_office(sim, "reachy-1")
        async with talking(sim, "reachy-1", office=office) as [talk]:
            await talk.until(lambda: talk.states == ["live"])
        async with asyncio.timeout(5):
            while sockets():
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("renewed", ["by the server", "by a persona"])
async def test_a_connection_that_we_end_leaves_no_garbage(talking, open_office, uncollected, renewed):
    async with serve(SimSettings(mode="tone", tone_ms=600)) as sim:
        office = open_office(sim, "reachy-1")
        async with talking(sim, "reachy-1", office=office) as [talk]:
            await talk.until(lambda: talk.states == ["live"] and bool(sim.sessions[-1].handles))
            if renewed == "by the server":
                sim.sessions[-1].do(actions.GoAway(time_left_s=1.0))
            else:
                talk.voice.session.persona_changed()
            await talk.until(lambda: sim.sessions[-1].number == 2 and bool(sim.sessions[-1].handles), 30)
            await talk.until(lambda: len(sockets()) == 1)
