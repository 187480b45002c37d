"""A gateway is stopped: turns in progress are heard to their end; robots go to another gateway or wait for its successor."""

import asyncio
import json
import signal
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from ports import free_ports
from processes import gateway_process
from rig import Keys, faults, read_wav, running_hub, running_robot
from stores import running_store

from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from mock_gateway.voice import MockVoice
from reachy_gateway.link.end import Bind

NUMBERS = [read_wav(Path(__file__).parent / "data" / f"number-{n}.wav") for n in (1, 2, 3)]


async def test_an_answer_in_progress_is_heard_to_its_end_and_the_other_gateway_answers_the_next_question(tmp_path):
    made, one, two = Keys(tmp_path, "reachy-1"), free_ports(2), free_ports(2)
    async with serve() as sim:
        sim.behaviour = Behaviour(mode="echo")
        binds = Bind("127.0.0.1", *one), Bind("127.0.0.1", *two)
        with gateway_process(made, one, sim, GATEWAY_DRAIN_S=15) as first:
            async with running_robot(made.robot("reachy-1"), binds[0], others=binds[1:]) as robot:
                await robot.welcomed()
                with gateway_process(made, two, sim):
                    await listening(*two)
                    await drained(robot, first, two)


async def listening(*ports: int) -> None:
    """Wait until the ports are open. A starting process uses a whole core, which the test's speech needs."""
    for port in ports:
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            await asyncio.sleep(0.05)


async def refused(port: int) -> None:
    """Wait until no program listens. An ending process takes time to unload its modules."""
    with suppress(OSError):
        while True:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            await asyncio.sleep(0.02)


async def drained(robot, first, two) -> None:
    robot.desk.say(NUMBERS[0])
    await robot.desk.until(lambda: len(robot.desk.played) > 8000)
    first.send_signal(signal.SIGTERM)
    await robot.answered(1)
    assert robot.core.summary[0].complete
    assert faults(robot.desk.played[:, 0], NUMBERS[0][:, 0]) == []
    await robot.desk.until(lambda: robot.core.welcomed and robot.core.route.here[1:] == two)
    assert await asyncio.to_thread(first.wait, 3) == 0
    before = len(robot.desk.played)
    robot.desk.say(NUMBERS[1])
    await robot.answered(2)
    assert faults(robot.desk.played[before:, 0], NUMBERS[1][:, 0]) == []


async def test_a_gateway_waits_no_longer_than_it_may_and_a_second_signal_ends_it_at_once(tmp_path):
    made, ports = Keys(tmp_path, "reachy-1"), free_ports(2)
    async with serve() as sim, running_robot(made.robot("reachy-1"), Bind("127.0.0.1", *ports)) as robot:
        sim.behaviour = Behaviour(mode="tone", tone_ms=20_000)
        for drain_s, signals, least_s, most_s in ((1.0, 1, 1.0, 2.5), (600.0, 2, 0.0, 1.5), (0.0, 1, 0.0, 1.5)):
            with gateway_process(made, ports, sim, GATEWAY_DRAIN_S=drain_s) as process:
                await robot.welcomed()
                turns = len(robot.core.summary)
                before = len(robot.desk.handed)
                robot.desk.say(NUMBERS[0])
                await robot.desk.until(lambda n=before: len(robot.desk.handed) > n + 10)
                asked = time.monotonic()
                for n in range(signals):
                    process.send_signal(signal.SIGTERM)
                    seen_s = asked + 0.2 * (n + 1)  # a pending signal hides the next one
                    await robot.desk.until(lambda at=seen_s: time.monotonic() > at)
                await refused(ports[0])
                assert least_s <= time.monotonic() - asked < most_s
                assert await asyncio.to_thread(process.wait, 5) == 0
            await robot.desk.until(lambda n=turns: len(robot.core.summary) > n)
            assert not robot.core.summary[-1].complete


def booked(made, ports) -> list[dict[str, int]]:
    """The input tokens of each turn in a gateway's ledger."""
    db = sqlite3.connect(made.directory / f"ledger-{ports[0]}.sqlite")
    try:
        return [json.loads(prompt) for (prompt,) in db.execute("SELECT prompt FROM turns")]
    finally:
        db.close()


async def test_the_turn_in_progress_is_billed_although_the_server_does_not_let_go(tmp_path):
    made, ports = Keys(tmp_path, "reachy-1"), free_ports(2)
    async with serve() as sim, running_robot(made.robot("reachy-1"), Bind("127.0.0.1", *ports)) as robot:
        sim.behaviour = Behaviour(mode="tone", tone_ms=20_000, speed=1)
        with gateway_process(made, ports, sim, GATEWAY_DRAIN_S=0) as process:
            await robot.welcomed()
            robot.desk.say(NUMBERS[0])
            await robot.desk.until(lambda: any(session.answers for session in sim.sessions) and robot.desk.handed)
            [session] = sim.sessions
            session.send_raw({"usageMetadata": {"promptTokenCount": 20}})
            sent_s = session.answers[0].sent_bytes / 48_000
            await robot.desk.until(lambda: len(robot.desk.played) / 16_000 > sent_s + 0.5)
            session.stall()
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 5) == 0
        assert booked(made, ports) == [{"audio": 20}]


async def test_a_turn_that_found_the_ledger_locked_is_written_at_the_end(tmp_path):
    made, ports = Keys(tmp_path, "reachy-1"), free_ports(2)
    async with serve() as sim, running_robot(made.robot("reachy-1"), Bind("127.0.0.1", *ports)) as robot:
        sim.behaviour = Behaviour(mode="tone", tone_ms=500)
        with gateway_process(made, ports, sim, GATEWAY_DRAIN_S=0) as process:
            await robot.welcomed()
            other = sqlite3.connect(made.directory / f"ledger-{ports[0]}.sqlite", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            robot.desk.say(NUMBERS[0])
            await robot.answered(1)
            [session] = sim.sessions
            session.say(20_000)
            before = len(robot.desk.handed)
            await robot.desk.until(lambda: session.usage and len(robot.desk.handed) > before + 10)
            other.close()
            assert booked(made, ports) == []
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 5) == 0
        assert len(booked(made, ports)) == 2, "the turn in progress must be billed for its sound so far"


class Lingering(MockVoice):
    """A voice that hangs up when it is allowed to."""

    def __init__(self, allowed: asyncio.Event) -> None:
        super().__init__()
        self.allowed = allowed

    async def run(self, emit) -> None:
        try:
            await super().run(emit)
        finally:
            await self.allowed.wait()


async def test_a_gateway_that_is_stopped_again_while_a_voice_hangs_up_stops_to_listen(tmp_path):
    """Else nothing else can listen on its ports for as long as its process lives."""
    made, ports, allowed = Keys(tmp_path, "reachy-1"), free_ports(2), asyncio.Event()
    async with running_robot(made.robot("reachy-1"), Bind("127.0.0.1", *ports)) as robot:
        async with running_hub(made, lambda *_: Lingering(allowed), *ports) as hub:
            await robot.welcomed()
            hub.drain(0.0)
            await robot.desk.until(lambda: not hub.robots)
            assert hub._leaving
        async with running_hub(made, lambda *_: MockVoice(), *ports) as successor:
            await robot.desk.until(lambda: successor.robots)
            allowed.set()


async def test_a_gateway_that_is_told_to_stop_again_and_again_ends_as_one_that_is_told_once(tmp_path):
    made, ports = Keys(tmp_path, "reachy-1"), free_ports(2)
    async with serve() as sim, running_robot(made.robot("reachy-1"), Bind("127.0.0.1", *ports)) as robot:
        with (
            running_store(tmp_path / "store") as store,
            gateway_process(made, ports, sim, GATEWAY_DRAIN_S=600, GATEWAY_STORE_URL=store.url) as process,
        ):
            await robot.welcomed()
            store.hang()  # so that the gateway takes its time to leave the fleet
            while process.poll() is None:
                process.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.1)
        assert process.returncode in {0, -signal.SIGTERM}  # Python's own last steps heed no signal, which then ends them


async def test_a_gateway_ends_when_its_voices_have_hung_up(tmp_path, gemini):
    """Else the server takes their sessions for open, and refuses the successor's connections."""
    made, ports = Keys(tmp_path, "reachy-1"), free_ports(2)
    async with serve() as sim, running_robot(made.robot("reachy-1"), Bind("127.0.0.1", *ports)) as robot:
        async with running_hub(made, gemini(sim), *ports) as hub:
            await robot.welcomed()
            (await sim.session(1)).stall()
        assert not hub._leaving


async def test_a_gateway_that_is_stopped_sends_idle_robots_away_at_once_and_welcomes_nobody(tmp_path):
    made = Keys(tmp_path, "reachy-1", "reachy-2")
    async with running_hub(made, lambda *_: MockVoice()) as one, running_hub(made, lambda *_: MockVoice()) as two:
        async with running_robot(made.robot("reachy-1"), one.bound, others=[two.bound]) as idle:
            await idle.welcomed()
            asked = time.monotonic()
            one.drain(60.0)
            await idle.desk.until(lambda: "reachy-1" in two.robots)
            assert time.monotonic() - asked < 2.0
        assert one.robots == {}


async def test_who_talks_when_the_gateway_is_stopped_is_answered_first_and_its_successor_welcomes_the_robot(tmp_path):
    made, (up_port, down_port) = Keys(tmp_path, "reachy-1", "reachy-2"), free_ports(2)
    async with running_robot(made.robot("reachy-1"), Bind("127.0.0.1", up_port, down_port)) as robot:
        async with running_hub(made, lambda *_: MockVoice(), up_port, down_port) as hub:
            await robot.welcomed()
            robot.desk.say(NUMBERS[0])
            await robot.desk.until(lambda: hub.robots["reachy-1"]._conversation.gate.speaking)
            hub.drain(60.0)
            async with running_robot(made.robot("reachy-2"), hub.bound) as late:
                await late.desk.until(lambda: late.core.refused)
                assert late.core.refused == "this gateway is being stopped"
            await robot.answered(1)
            assert robot.core.summary[0].complete
            await robot.desk.until(lambda: not robot.core.welcomed)
        async with running_hub(made, lambda *_: MockVoice(), up_port, down_port) as successor:
            began = time.monotonic()
            await robot.welcomed()
            assert time.monotonic() - began < 1.5
            assert list(successor.robots) == ["reachy-1"]
