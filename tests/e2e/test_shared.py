"""What the gateways of a fleet share besides conversations: the admitted keys, the robots file, and the spending."""

import asyncio
import signal
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from boxes import boxes, until
from rig import Keys, read_wav, running_robot
from scraping import Scrape
from stores import running_store

from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from reachy_gateway.top import ask, table
from reachy_link.keys import Keyring
from reachy_service.health import fetched

QUESTION = read_wav(Path(__file__).parent.parent / "sim" / "data" / "question.wav")


@asynccontextmanager
async def fleet(tmp_path, *robots, count=2, behaviour=None, **more):
    """Run gateways, each with its own keys, ledger and robots file."""
    made = Keys(tmp_path, *robots)
    with running_store(tmp_path / "store") as store:
        async with serve() as sim:
            sim.behaviour = behaviour or Behaviour(mode="echo")
            async with boxes(made, sim, store, count, **more) as found:
                yield made, sim, store, found


async def test_who_is_admitted_and_revoked_at_one_gateway_is_at_all(tmp_path):
    async with fleet(tmp_path, "reachy-1") as (made, _, _, (one, two)):
        identity = made.robot("reachy-2")
        public = identity.keys.public.decode()
        Keyring(one.keys_dir).admit("reachy-2", public)
        await until(lambda: public in two.admitted)
        async with running_robot(identity, two.bind) as robot:
            await robot.welcomed()
            began = time.monotonic()
            Keyring(one.keys_dir).revoke("reachy-2")
            await robot.desk.until(lambda: "reachy-2: is no longer admitted" in two.said())
            assert time.monotonic() - began < 2.5
            assert public not in two.admitted


@pytest.mark.timeout(90)
async def test_a_revoked_key_stays_revoked_whatever_becomes_of_gateways_and_store(tmp_path):
    async with fleet(tmp_path, "reachy-1", "reachy-2") as (made, _, store, (one, two)):
        public = made.robot("reachy-2").keys.public.decode()
        two.kill()  # it is away, and has the key on its disk
        Keyring(one.keys_dir).revoke("reachy-2")
        await until(lambda: len([name for name in store.names() if name.endswith("shelf:admitted")]) == 1)
        await asyncio.sleep(0.5)
        store.kill()
        one.kill()
        store.start()
        one.start()
        two.start()
        await until(lambda: "the store is there" in two.said()[-2000:] and public not in two.admitted)
        for n in range(3):
            store.empty()
            for box in (one, two) if n else (two, one):
                box.signal(signal.SIGKILL)
                box.kill()
                box.start()
            await until(lambda: any(name.endswith("shelf:admitted") for name in store.names()))
        for box in (one, two):
            assert public not in box.admitted
            assert made.robot("reachy-1").keys.public.decode() in box.admitted, "and nobody else is shut out"


async def test_the_robots_file_that_was_changed_last_counts_everywhere(tmp_path):
    files = []
    for name in ("box-1", "box-2"):
        (tmp_path / name).mkdir()
        files.append(tmp_path / name / "robots.toml")
        files[-1].write_text('[robots.reachy-1]\ninstruction = "as it was"\n')
    more = {"GATEWAY_ROBOTS_FILE": "robots.toml"}
    async with fleet(tmp_path, "reachy-1", **more) as (made, sim, _, (_, two)):
        async with running_robot(made.robot("reachy-1"), two.bind) as robot:
            await robot.welcomed()
            await sim.until(lambda it: it.open_sessions and it.sessions[-1].setup)
            assert sim.sessions[-1].setup.instruction == "as it was"
            files[0].write_text('[robots.reachy-1]\ninstruction = "as it is"\n')
            await sim.until(lambda it: it.sessions[-1].setup and it.sessions[-1].setup.instruction == "as it is", 10)
        assert "the fleet's robots file is used" in two.said()
        two.kill()
        two.start()
        async with running_robot(made.robot("reachy-1"), two.bind) as robot:
            await robot.welcomed()
            await sim.until(lambda it: len(it.sessions) > 2 and it.sessions[-1].setup)
            assert sim.sessions[-1].setup.instruction == "as it is", "it is noted for the next start"


async def test_a_budget_is_the_fleets(tmp_path):
    for name in ("box-1", "box-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "robots.toml").write_text("[gateway]\nbudget_usd_per_day = 0.0005\n")
    more = {"GATEWAY_ROBOTS_FILE": "robots.toml"}
    async with fleet(tmp_path, "reachy-1", "reachy-2", behaviour=Behaviour(), **more) as (made, _, _, (one, two)):
        async with running_robot(made.robot("reachy-1"), one.bind) as robot:
            await robot.welcomed()
            robot.desk.say(QUESTION)
            await until(lambda: "it goes on tomorrow" in one.said())
        async with running_robot(made.robot("reachy-2"), two.bind) as other:
            await other.welcomed()
            await until(lambda: "reachy-2: the fleet's budget for today" in two.said())
        url = f"http://127.0.0.1:{two.ports[2]}/metrics"
        told = Scrape((await asyncio.to_thread(fetched, url, 3.0)).decode())
        assert told.value("reachylink_fleet_cost_dollars_today") > 0.0005
        assert told.value("reachylink_gateway_cost_dollars_today") == 0
        assert told.value("reachylink_store_up") == 1
        async with asyncio.timeout(5):
            while "fleet: box-1 0 of 50; box-2 " not in (shown := await asyncio.to_thread(lambda: table(ask(url)))):
                await asyncio.sleep(0.1)  # each gateway tells how many it serves once a second
        assert "of $0.00" in shown
