"""A gateway joins a running fleet and gets its share of the robots, and no person notices."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from boxes import until
from ports import free_ports
from rig import Keys, read_wav, running_hub, running_robot
from stores import running_store

from mock_gateway.voice import MockVoice
from reachy_gateway.fleet import level
from reachy_gateway.fleet.join import Parts, joined
from reachy_gateway.settings import GatewaySettings
from reachy_link.address import parse, spread

QUESTION = read_wav(Path(__file__).parent.parent / "sim" / "data" / "question.wav")


def where_is(hub) -> str:
    return f"127.0.0.1:{hub.bound.up_port}+{hub.bound.down_port}"


def place(robot, *hubs) -> int:
    """The up port of the gateway that a robot prefers."""
    return preferred(robot, *map(where_is, hubs))


def preferred(robot, *addresses) -> int:
    return spread(robot, parse(",".join(addresses)))[0].up_port


def ports_that_share(names, one) -> tuple[int, int]:
    """Ports for a second gateway, so that each of the two has some of the robots. One draw in 128 gives none or all."""
    while True:
        up, down = free_ports(2)
        share = sum(preferred(name, where_is(one), f"127.0.0.1:{up}+{down}") == up for name in names)
        if 0 < share < len(names):
            return up, down


@asynccontextmanager
async def gateway(made, store, name, ports=(0, 0)):
    """A gateway of the fleet."""
    async with running_hub(made, lambda *_: MockVoice(), *ports) as hub:
        settings = GatewaySettings(keys_dir=made.gateway_dir, store_url=store.url, name=name, advertise=where_is(hub))
        fleet = joined(hub, settings, made.pair, Parts())
        task = asyncio.create_task(fleet.run())
        try:
            yield hub
        finally:
            task.cancel()
            await asyncio.wait([task])
            await fleet.close()


async def test_idle_robots_go_to_a_gateway_that_was_added_and_talk_on_there(tmp_path, monkeypatch):
    monkeypatch.setattr(level, "SETTLED_S", 2.0)
    monkeypatch.setattr(level, "IDLE_S", 1.0)
    names = [f"reachy-{n}" for n in range(1, 9)]
    made = Keys(tmp_path, *names)
    with running_store(tmp_path / "store") as store:
        async with gateway(made, store, "one") as one, AsyncExitStack() as stack:
            robots = {name: await stack.enter_async_context(running_robot(made.robot(name), one.bound)) for name in names}
            for robot in robots.values():
                await robot.welcomed()
            async with gateway(made, store, "two", ports_that_share(names, one)) as two:
                share = sum(place(name, one, two) == two.bound.up_port for name in names)
                assert 0 < share < len(names)
                await until(lambda: len(two.robots) >= min(share, 3), 40.0)
                moved = sorted(two.robots)
                assert sorted([*one.robots, *two.robots]) == names
                assert all(place(name, one, two) == two.bound.up_port for name in moved)
                for name in moved:
                    robots[name].desk.say(QUESTION)
                    await robots[name].answered(1)
                    assert robots[name].core.summary[-1].complete
