"""A fleet that remembers: whatever happens to its gateway, a robot goes on in the same Gemini session."""

import asyncio
import json
import signal
import time
import urllib.error
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from boxes import at, boxes, until
from rig import Keys, faults, read_wav, running_robot
from stores import PASSWORD, running_store

from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from reachy_service.health import fetched

QUESTION = read_wav(Path(__file__).parent.parent / "sim" / "data" / "question.wav")
ECHO, ANSWERS = Behaviour(mode="echo"), Behaviour()


@asynccontextmanager
async def talking(tmp_path, count=2, behaviour=ECHO, **more):
    """A robot that has asked a fleet's gateway one question and was answered."""
    made = Keys(tmp_path, "reachy-1")
    with running_store(tmp_path / "store") as store:
        async with serve() as sim:
            sim.behaviour = behaviour
            async with boxes(made, sim, store, count, **more) as found:
                bind, *others = (box.bind for box in found)
                async with running_robot(made.robot("reachy-1"), bind, others=others) as robot:
                    await robot.welcomed()
                    await answered(robot, QUESTION, whole=behaviour is ECHO)
                    yield robot, sim, store, found


async def answered(robot, question=QUESTION, *, whole=True) -> None:
    """Ask a question, and wait for the answer. An echo must be whole."""
    before, turns = len(robot.desk.played), len(robot.core.summary)
    robot.desk.say(question)
    await robot.desk.until(lambda: len(robot.core.summary) > turns and robot.core.summary[-1].complete)
    assert not whole or faults(robot.desk.played[before:, 0], question[:, 0]) == []


async def heard_elsewhere(sim, was, timeout_s=10.0):
    """Wait until a different connection hears the person."""
    await sim.until(lambda it: it.sessions[-1] is not was and it.sessions[-1].heard_bytes > 0, timeout_s)
    return sim.sessions[-1]


def probed(box, path):
    """The status and the report of a gateway's probe."""
    try:
        return 200, json.loads(fetched(f"http://127.0.0.1:{box.ports[2]}/{path}", 3.0))
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())
    except OSError:
        return 0, {}


def open_ones(sim):
    return [session for session in sim.open_sessions if session.is_connected]


@pytest.mark.parametrize("fault", ["killed", "stopped", "cut"])
async def test_the_robot_is_heard_again_in_the_same_session(tmp_path, fault):
    async with talking(tmp_path) as (robot, sim, _, found):
        where, [session] = at(robot, found), open_ones(sim)
        await asyncio.sleep(0.2)
        began = time.monotonic()
        match fault:
            case "killed":
                where.here.signal(signal.SIGKILL)
            case "stopped":
                where.here.signal(signal.SIGTERM)
            case "cut":
                where.here.robots.stop()
        now = await heard_elsewhere(sim, session)
        assert time.monotonic() - began < 3.0
        assert now.resumed
        assert now.session_id == session.session_id
        await answered(robot)
        assert len(open_ones(sim)) == 1
        assert len(now.history) >= 4, "it knows what was said"


async def test_a_gateway_that_hangs_holds_its_connection_so_the_robot_goes_on_with_what_was_said(tmp_path):
    async with talking(tmp_path, behaviour=ANSWERS) as (robot, sim, _, found):
        where, [session] = at(robot, found), open_ones(sim)
        await asyncio.sleep(0.3)
        began = time.monotonic()
        where.here.signal(signal.SIGSTOP)
        now = await heard_elsewhere(sim, session)
        assert time.monotonic() - began < 4.0
        assert not now.resumed
        await sim.until(lambda _: now.history)
        assert not now.resumed, "but it was told what was said"
        heard = session.heard_bytes
        await answered(robot, whole=False)
        where.here.signal(signal.SIGCONT)
        woken = time.monotonic()
        await sim.until(lambda _: not session.is_connected)
        assert time.monotonic() - woken < 1.0
        assert session.heard_bytes - heard < 3 * 32_000, "no more than lay before it"
        assert open_ones(sim) == [now]


async def test_a_gateway_alone_that_is_started_again_goes_on_in_the_same_session(tmp_path):
    async with talking(tmp_path, count=1) as (robot, sim, _, [box]):
        [session] = open_ones(sim)
        box.kill()
        box.start()
        now = await heard_elsewhere(sim, session)
        assert now.resumed
        await answered(robot)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("fault", ["killed", "hung", "emptied", "full", "cut"])
async def test_whatever_befalls_the_store_nobody_notices(tmp_path, fault):
    async with talking(tmp_path) as (robot, sim, store, found):
        where, [session] = at(robot, found), open_ones(sim)
        robot.desk.say(QUESTION)
        match fault:
            case "killed":
                store.kill()
            case "hung":
                store.hang()
            case "emptied":
                store.empty()
            case "full":
                with store.client() as client:
                    client.config_set("maxmemory", 1)
            case "cut":
                where.here.to_store.stop()
        turns = len(robot.core.summary)
        await robot.desk.until(lambda: len(robot.core.summary) > turns)
        await answered(robot)
        assert open_ones(sim) == [session]
        assert len(sim.sessions) == 1
        if fault not in ("emptied", "cut"):
            await until(lambda: "it goes on without" in where.here.said())
            store.wake()
            if fault == "killed":
                store.start()
            if fault == "full":
                with store.client() as client:
                    client.config_set("maxmemory", 0)
            await until(lambda: "the store is there again" in where.here.said())
        if fault != "cut":
            await until(lambda: any(key.endswith("robot:reachy-1") for key in store.names()))
            await asyncio.sleep(0.5)
            where.here.kill()
            now = await heard_elsewhere(sim, session)
            assert now.resumed, "it is remembered again"
        said = where.here.said()
        assert said.count("it goes on without") <= 1
        assert "Traceback" not in said


async def test_a_wrong_password_is_said_once_everybody_talks_and_the_right_one_is_found_later(tmp_path):
    made = Keys(tmp_path, "reachy-1")
    with running_store(tmp_path / "store") as store, store.client() as client:
        client.config_set("requirepass", "another-one")
        async with serve() as sim:
            sim.behaviour = ECHO
            more = {"GATEWAY_STORE_URL": store.url}
            async with boxes(made, sim, None, 1, **more) as [box], running_robot(made.robot("reachy-1"), box.bind) as robot:
                await robot.welcomed()
                await answered(robot)
                health = json.loads(await asyncio.to_thread(fetched, f"http://127.0.0.1:{box.ports[2]}/healthz", 3.0))
                assert health["ok"], "which asks no store"
                assert box.said().count("refuses the password") == 1
                client.config_set("requirepass", PASSWORD)
                await until(lambda: "the store is there again" in box.said())
                await until(lambda: any(key.endswith("robot:reachy-1") for key in store.names()))
                assert PASSWORD not in box.said()
                assert len(sim.sessions) == 1


async def test_a_gateway_that_knows_nobody_is_ready_once_the_store_has_told_and_stays_so_without_it(tmp_path):
    made = Keys(tmp_path, "reachy-1")
    with running_store(tmp_path / "store") as store:
        async with serve() as sim, boxes(made, sim, store) as [one, two]:
            await until((one.keys_dir / "admitted" / "versions.json").exists)
            two.kill()
            for path in (two.keys_dir / "admitted").iterdir():
                path.unlink()
            store.kill()
            two.start()
            await until(lambda: probed(two, "livez")[0] == 200)
            status, told = probed(two, "readyz")
            assert (status, told["unready"][:27]) == (503, "who is admitted is not know")
            assert probed(one, "readyz")[0] == 200, "which has its list"
            store.start()
            await until(lambda: probed(two, "readyz")[0] == 200)
            assert two.admitted == one.admitted
            store.hang()
            await until(lambda: "it goes on without" in two.said().rpartition("is there")[2])
            assert [probed(box, path)[0] for box in (one, two) for path in ("livez", "readyz")] == [200] * 4
            two.signal(signal.SIGTERM)
