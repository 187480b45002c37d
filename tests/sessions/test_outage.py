"""Gemini is unreachable for a while: one robot probes for all, and then all talk again at once."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from gemini_live_sim.settings import SimSettings
from reachy_gateway.provider import circuit_breaker

BACK_S = 1.0
"""The budget: how long after the server's return it must hear the robot again."""
NOISE_S = 0.5
"""What a busy machine may add: both ends' TLS handshakes and setups are some 40 ms of work in this one process."""
QUICK = SimSettings(mode="tone", tone_ms=500, thinking_ms=100)
TWENTY = [f"reachy-{n}" for n in range(1, 21)]


async def down_for(sim, how: str, seconds: float) -> None:
    """Make the simulator unreachable for so long."""
    until = asyncio.get_running_loop().time() + seconds
    await (sim.go_dark() if how == "refused" else sim.swallow())
    await asyncio.sleep(until - asyncio.get_running_loop().time())
    await sim.come_back()


@pytest.mark.parametrize(("how", "seconds"), [("refused", 5.0), ("swallowed", 5.0), ("swallowed", 2.0)])
async def test_it_talks_again_within_a_second_after_gemini_is_back(measured, talking, watchman, question, how, seconds):
    async with serve(QUICK, on_event=watchman) as sim:
        watchman.sim = sim
        async with talking(sim) as talk:
            first = await talk.live()
            await talk.ask(question)
            await down_for(sim, how, seconds)
            took_s = await talk.until(lambda: talk.sessions[-1] is not first and talk.sessions[-1].heard_bytes)
            measured(f"{how} for {seconds:.0f} s: heard again {1000 * took_s:.0f} ms after it is back")
            at_heard = len(talk.fed)
            assert took_s <= BACK_S + NOISE_S
            second = talk.sessions[-1]
            assert second.resumed
            assert talk.states == ["live", "reconnecting", "live"]
            await talk.ask(question)
            assert talk.reply == talk.answered
            await talk.all_heard()
            # The first audio heard is from the 2 s before, and from there on nothing is missing.
            at = talk.fed.find(second.heard)
            assert at > 0
            assert talk.fed.endswith(second.heard)
            assert 1.8 * 32000 <= at_heard - at <= 2.5 * 32000
    assert watchman.doubles == []


class Pit:
    """Takes the place of a server: accepts connections, says nothing, and counts its clients."""

    def __init__(self) -> None:
        self.came: list[float] = []
        self.there = 0
        self.most = 0

    async def _accept(self, reader, writer) -> None:
        self.came.append(time.monotonic())
        self.there += 1
        self.most = max(self.most, self.there)
        try:
            while await reader.read(65536):
                pass
        except OSError:
            pass
        finally:
            self.there -= 1
            writer.close()

    @asynccontextmanager
    async def instead_of(self, sim):
        """Replace the simulator while the block lasts. Open connections are dropped."""
        await sim.go_dark(drop=False)
        server = await asyncio.start_server(self._accept, "127.0.0.1", sim.port)
        sim.abort_all()
        try:
            yield
        finally:
            server.close()
            await sim.come_back()


@pytest.mark.calm
async def test_one_voice_of_twenty_asks_whether_gemini_is_back_and_then_all_talk_within_two_seconds(
    measured, talking, question
):
    pit = Pit()
    async with serve(QUICK) as sim, talking(sim, *TWENTY) as talks:
        for talk in talks:
            await talk.live()
        async with pit.instead_of(sim):
            outage = talks[0].office.breaker(talks[0].voice._model)
            await talks[0].until(lambda: outage.down)
            await talks[0].until(lambda: pit.there == 0)
            pit.most, known = 0, len(pit.came)
            await talks[0].until(lambda: len(pit.came) >= known + 5)
            probes = len(pit.came) - known
        back = time.monotonic()
        at = []
        for talk in talks:
            await talk.until(lambda talk=talk: len(talk.sessions) >= 2 and talk.sessions[-1].heard_bytes)
        at = sorted(next(t for t, event in talk.events[::-1] if event in talk.standings) - back for talk in talks)
        rate = 19 / (at[-1] - at[0])
        measured(f"20 voices: {known} dials until it was known, {probes} probes, never more than {pit.most} at a time;")
        measured(f"back after {at[0]:.2f} to {at[-1]:.2f} s, at {rate:.0f} a second")
        assert pit.most == 1
        assert at[-1] <= 2.0 + 3 * NOISE_S, "twenty handshakes"
        assert rate <= circuit_breaker.RELEASE_PER_S * 1.2
        assert all(talk.sessions[-1].resumed for talk in talks)
        await talks[-1].ask(question)
        assert talks[-1].reply == talks[-1].answered


async def test_a_server_that_is_slow_after_an_outage_is_given_the_time(measured, talking, question, monkeypatch):
    """The server needs longer for a handshake than probes allow at first."""
    delay_ms = 2500
    monkeypatch.setattr(circuit_breaker, "HASTY_S", 2.0)
    monkeypatch.setattr(circuit_breaker, "SHORT_S", 4.0)
    async with serve(QUICK) as sim, talking(sim) as talk:
        await talk.live()
        sim.behaviour = Behaviour(mode="tone", tone_ms=500, handshake_delay_ms=delay_ms)
        await down_for(sim, "refused", 1.5)
        took_s = await talk.until(lambda: len(talk.sessions) >= 2 and talk.sessions[-1].heard_bytes, 30)
        measured(f"a handshake of {delay_ms} ms: back after {took_s:.1f} s")
        assert took_s < 4.0 + 5.0 + delay_ms / 1000 + NOISE_S
        await talk.ask(question)
