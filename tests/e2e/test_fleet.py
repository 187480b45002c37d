"""Several gateways: when a robot's gateway is gone, full or refuses the robot, the robot goes to another one."""

import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from ports import free_ports
from processes import gateway_process
from rig import Keys, a_line_to, faults, read_wav, running_hub, running_robot

from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from mock_gateway.voice import MockVoice
from reachy_gateway.hub import Hub
from reachy_gateway.link.end import Bind
from reachy_link.address import Address, parse
from reachy_link.messages import Down, Leave, Welcome
from robot_io import gateways

NUMBERS = [read_wav(Path(__file__).parent / "data" / f"number-{n}.wav") for n in (1, 2, 3)]
FAIL_OVER_S = 3.0


async def answered(robot, question) -> None:
    """Ask a question, and check that its echo is whole."""
    before, turns = len(robot.desk.played), len(robot.core.summary)
    robot.desk.say(question)
    await robot.desk.until(lambda: len(robot.core.summary) > turns and robot.core.summary[-1].complete)
    assert faults(robot.desk.played[before:, 0], question[:, 0]) == []


async def test_a_gateway_killed_in_mid_answer_is_left_and_the_other_answers(tmp_path):
    made, one, two = Keys(tmp_path, "reachy-1"), free_ports(2), free_ports(2)
    async with serve() as sim:
        sim.behaviour = Behaviour(mode="echo")
        binds = Bind("127.0.0.1", *one), Bind("127.0.0.1", *two)
        with gateway_process(made, one, sim) as first, gateway_process(made, two, sim) as second:
            processes = {one: first, two: second}
            async with running_robot(made.robot("reachy-1"), binds[0], others=binds[1:]) as robot:
                await robot.welcomed()
                serving = processes.pop(robot.core.route.here[1:])
                robot.desk.say(NUMBERS[0])
                await robot.desk.until(lambda: len(robot.desk.played) > 8000)
                serving.send_signal(signal.SIGKILL)
                killed = time.monotonic()
                await robot.desk.until(lambda: robot.core.welcomed and robot.core.route.here[1:] in processes)
                heard = len(sim.open_sessions[-1].heard) if sim.open_sessions else 0
                await sim.until(lambda sim: sim.open_sessions and len(sim.open_sessions[-1].heard) > heard)
                assert time.monotonic() - killed < FAIL_OVER_S
                await answered(robot, NUMBERS[1])


async def test_a_gateway_that_lives_and_is_left_because_one_line_failed_is_told_goodbye(tmp_path):
    made = Keys(tmp_path, "reachy-1")
    async with (
        running_hub(made, lambda *_: MockVoice()) as one,
        running_hub(made, lambda *_: MockVoice()) as two,
        a_line_to(one.bound.down_port) as (port, cut),
        running_robot(made.robot("reachy-1"), one.bound._replace(down_port=port), others=[two.bound]) as robot,
    ):
        await robot.welcomed()
        conversations = one.stats.of("reachy-1").endings
        cut()
        await robot.desk.until(lambda: "reachy-1" in two.robots)
        await robot.desk.until(lambda: not one.robots)
        assert (conversations["bye"], one.lost) == (1, set())


async def test_all_gateways_gone_and_one_back_is_enough(tmp_path):
    made = Keys(tmp_path, "reachy-1")
    async with AsyncExitStack() as stack:
        first, second = free_ports(2), free_ports(2)
        async with (
            running_hub(made, lambda *_: MockVoice(), *first) as one,
            running_hub(made, lambda *_: MockVoice(), *second) as two,
        ):
            binds = one.bound, two.bound
            robot = await stack.enter_async_context(running_robot(made.robot("reachy-1"), binds[0], others=binds[1:]))
            await robot.welcomed()
        await robot.desk.until(lambda: not robot.core.welcomed)
        for bind in binds:
            async with running_hub(made, lambda *_: MockVoice(), bind.up_port, bind.down_port):
                await robot.welcomed()
                assert robot.core.route.here[1:] == bind[1:]
                turns = len(robot.core.summary)
                robot.desk.say(NUMBERS[0])
                await robot.desk.until(lambda turns=turns: len(robot.core.summary) > turns and robot.core.summary[-1].complete)
            await robot.desk.until(lambda: not robot.core.welcomed)


async def test_a_gateway_that_is_full_sends_robots_on(tmp_path):
    names = ["reachy-1", "reachy-2", "reachy-3"]
    made = Keys(tmp_path, *names)
    async with AsyncExitStack() as stack:
        hubs = [await stack.enter_async_context(running_hub(made, lambda *_: MockVoice(), max_robots=n)) for n in (1, 2)]
        robots = [
            await stack.enter_async_context(running_robot(made.robot(name), hubs[0].bound, others=[hubs[1].bound]))
            for name in names
        ]
        for robot in robots:
            await robot.welcomed()
        assert [len(hub.robots) for hub in hubs] == [1, 2]
        assert hubs[0].tally.total("refused") == 2


async def test_a_gateway_that_does_not_admit_the_robot_sends_it_on(tmp_path, caplog):
    foreign, made = Keys(tmp_path / "a"), Keys(tmp_path / "b", "reachy-1")
    async with (
        running_hub(foreign, lambda *_: MockVoice()) as first,
        running_hub(made, lambda *_: MockVoice()) as second,
        running_robot(made.robot("reachy-1"), first.bound, others=[second.bound]) as robot,
    ):
        await robot.welcomed()
        assert list(second.robots) == ["reachy-1"]
    assert "its public key is not" in caplog.text


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6")
async def test_gateways_listen_on_ipv6_too(tmp_path):
    made = Keys(tmp_path, "reachy-1")
    async with (
        running_hub(made, lambda *_: MockVoice(), host="[::1]") as hub,
        running_robot(made.robot("reachy-1"), hub.bound) as robot,
    ):
        await robot.welcomed()
        robot.desk.say(NUMBERS[0])
        await robot.answered(1)


# --- gateways that a gateway names -----------------------------------------------------------------------------------------


def tell(hub: Hub, kind: type[Down], **fields: object) -> None:
    """Add these fields to every message of this kind that a gateway sends."""
    publish = hub.publish

    def published(message: Down, payload: bytes = b"") -> bool:
        return publish(message.model_copy(update=fields) if isinstance(message, kind) else message, payload)

    hub.publish = published


async def talked(robot, question) -> None:
    """Ask a question, and hear the answer to its end."""
    turns = len(robot.core.summary)
    robot.desk.say(question)
    await robot.desk.until(lambda: len(robot.core.summary) > turns and robot.core.summary[-1].complete)


def where(hub: Hub) -> str:
    return str(Address(*hub.bound))


async def test_a_robot_that_knew_one_gateway_talks_on_at_another_and_finds_that_by_itself_at_its_next_start(tmp_path):
    made, file = Keys(tmp_path, "reachy-1"), tmp_path / "gateways"
    keeper = gateways.Keeper(file)
    async with AsyncExitStack() as stack:
        two = await stack.enter_async_context(running_hub(made, lambda *_: MockVoice()))
        async with running_hub(made, lambda *_: MockVoice()) as one:
            tell(one, Welcome, gateways=("no such host!", "nobody.invalid:5555+5556", where(two)))
            tell(two, Welcome, gateways=(where(one),))
            bound = one.bound
            robot = await stack.enter_async_context(
                running_robot(made.robot("reachy-1"), bound, on_remember=keeper.keep, look_up=lambda _: [])
            )
            await robot.welcomed()
            await talked(robot, NUMBERS[0])
            assert robot.core.route.here[1:] == bound[1:]
        gone = time.monotonic()
        await robot.desk.until(lambda: "reachy-1" in two.robots and robot.core.welcomed)
        assert time.monotonic() - gone < FAIL_OVER_S
        await talked(robot, NUMBERS[1])
        robot.desk.switch_off()
        await robot.task
        assert [str(each) for each in gateways.read(file)] == [str(Address(*bound)), "nobody.invalid:5555+5556", where(two)], (
            "the first gateway, then those that it named"
        )

        nobody = running_robot(
            made.robot("reachy-1"),
            Bind("gateways.lab", 5555, 5556),
            remembered=gateways.read(file),
            look_up=lambda _: [],
        )
        again = await stack.enter_async_context(nobody)
        await again.desk.until(lambda: again.core.welcomed and again.core.route.here == parse(where(two))[0])
        await talked(again, NUMBERS[2])


async def test_a_robot_that_is_asked_to_leave_goes_where_it_is_sent(tmp_path):
    made = Keys(tmp_path, "reachy-1")
    async with (
        running_hub(made, lambda *_: MockVoice()) as one,
        running_hub(made, lambda *_: MockVoice()) as two,
        running_robot(made.robot("reachy-1"), one.bound) as robot,
    ):
        tell(one, Leave, to=where(two))
        await robot.welcomed()
        one.robots["reachy-1"].leave(at_once=True)
        await robot.desk.until(lambda: "reachy-1" in two.robots and robot.core.welcomed)
        assert one.stats.of("reachy-1").endings["bye"] == 1
        await talked(robot, NUMBERS[0])
