"""Which robot may speak and hear: each attack on the gateway, and first on one without the defence in question."""

import asyncio
import json
import secrets
import struct
import time
from contextlib import contextmanager, suppress

import zmq
from rig import Keys, running_hub, running_robot

from mock_gateway.voice import MockVoice
from reachy_link.sockets import set_dialer

BOOT = secrets.token_hex(8)
PCM = {"rate_hz": 16000, "channels": 2}


def hello(robot):
    fields = {"v": 1, "kind": "hello", "robot": robot, "boot": BOOT, "seq": 0, "t_us": 1}
    return [f"{robot}/up".encode(), json.dumps(fields | {"mic": PCM, "speaker": PCM, "lead_ms": 40}).encode(), b""]


@contextmanager
def dialled(kind, port, identity=None):
    """A hostile robot's socket, with or without keys."""
    context = zmq.Context()
    made = context.socket(kind)
    if identity:
        set_dialer(made, identity.keys, identity.gateway_public)
    made.connect(f"tcp://127.0.0.1:{port}")
    try:
        yield made
    finally:
        context.destroy(linger=0)


async def speaks(gateway, victim, parts, until, identity=None):
    """Send a message again and again until the gateway's health fulfils a condition and the victim has been answered."""
    with dialled(zmq.PUB, gateway.bound.up_port, identity) as pub:

        def found(health):
            pub.send_multipart(parts)
            return until(health)

        await gateway.until(found, 8)
        if victim:
            await victim.talks()
    return victim and await victim.noticed()


ALWAYS = 3


def counter():
    """A condition that holds at the 13th look: an effect would show by then."""
    looks = iter(range(100))
    return lambda _: next(looks) >= ALWAYS * 4


class TestAKeyThatIsNotAdmitted:
    async def test_gets_in_if_nobody_looks_it_up(self, undefended, made):
        async with undefended("admission") as open_gateway:
            stranger = made.robot("reachy-9")
            await speaks(open_gateway, None, hello("reachy-2"), lambda health: "reachy-2" in health["robots"], stranger)

    async def test_gets_nowhere(self, gateway, victim, made):
        async with gateway() as real, victim(real) as robot:
            stranger = made.robot("reachy-9")
            with dialled(zmq.SUB, real.bound.down_port, stranger) as spy:
                spy.subscribe(b"reachy-1/down")
                seen = counter()
                noticed = await speaks(
                    real, robot, hello("reachy-2"), lambda h: seen(h) and h["counts"].get("key", 0) >= 2, stranger
                )
                assert spy.poll(0) == 0
            assert noticed == ([], {})
            assert (await real.health())["robots"] == ["reachy-1"]


class Null:
    """A client without CURVE, byte by byte, which claims any identity."""

    GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)

    def __init__(self, kind, user_id):
        fields = {b"Socket-Type": kind, b"User-Id": user_id}
        body = b"\x05READY"
        for name, value in fields.items():
            body += bytes([len(name)]) + name + struct.pack(">I", len(value)) + value
        self.opening = self.GREETING + bytes([4, len(body)]) + body

    @staticmethod
    def message(*parts):
        return b"".join(struct.pack(">BQ", 2 | (n < len(parts)), len(part)) + part for n, part in enumerate(parts, 1))


class TestAClientWithoutCurve:
    """A client with an invented User-Id. libzmq believes a NULL client: without enforced CURVE a User-Id is worth nothing."""

    async def says(self, gateway, made, until):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.bound.up_port)
        client = Null(b"PUB", made.robot("reachy-1").keys.public)
        writer.write(client.opening)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readexactly(len(Null.GREETING) + 8)  # and the beginning of its READY
            writer.write(client.message(*hello("reachy-1")))
        await gateway.until(until, 8)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def test_is_believed_if_curve_is_not_enforced(self, undefended, made):
        async with undefended("curve") as open_gateway:
            await self.says(open_gateway, made, lambda health: "reachy-1" in health["robots"])

    async def test_is_not_heard(self, gateway, victim, made):
        async with gateway() as real:
            await self.says(real, made, lambda health: health["counts"].get("handshake"))
            assert (await real.health())["robots"] == []
            with dialled(zmq.SUB, real.bound.down_port) as spy:
                spy.subscribe(b"")
                async with victim(real) as robot:
                    seen = counter()
                    assert await speaks(real, robot, hello("reachy-2"), seen) == ([], {})
                    assert spy.poll(0) == 0
                    assert (await real.health())["robots"] == ["reachy-1"]


class TestAGatewayWithAnotherKey:
    """The robot's own defence: it recognises its gateway by the key."""

    async def test_is_talked_to_if_its_key_is_trusted(self, made, tmp_path):
        rogue = Keys(tmp_path / "rogue")
        robot = made.robot("reachy-1")
        rogue.ring.admit("reachy-1", robot.keys.public.decode())
        trusting = type(robot)(robot.robot, robot.keys, rogue.pair.public)
        async with running_hub(rogue, lambda *_: MockVoice()) as hub, running_robot(trusting, hub.bound) as running:
            await running.welcomed()

    async def test_hears_nothing(self, made, tmp_path, caplog):
        rogue = Keys(tmp_path / "rogue")
        robot = made.robot("reachy-1")
        rogue.ring.admit("reachy-1", robot.keys.public.decode())
        async with running_hub(rogue, lambda *_: MockVoice()) as hub, running_robot(robot, hub.bound) as running:
            await running.desk.until(lambda: "reachy-keys trust" in caplog.text and hub.tally.total("handshake") >= 4)
            assert not running.core.welcomed
            assert not hub.robots


class TestARobotThatSpeaksAsAnother:
    async def test_takes_its_place_if_names_are_not_compared(self, undefended, victim, made):
        async with undefended("names") as open_gateway, victim(open_gateway):
            identity = made.robot("reachy-2")
            await speaks(open_gateway, None, hello("reachy-1"), lambda _: "has restarted" in open_gateway.said, identity)

    async def test_is_counted_and_changes_nothing(self, gateway, victim, made):
        async with gateway() as real, victim(real) as robot:
            identity = made.robot("reachy-2")
            enough = lambda health: health["counts"].get("impostor reachy-2", 0) >= ALWAYS  # noqa: E731
            assert await speaks(real, robot, hello("reachy-1"), enough, identity) == ([], {})
            assert "has restarted" not in real.said
            assert real.said.count("impostor") == 1


class TestARobotThatListensToAnother:
    TOPICS = (b"", b"reachy-1/down", b"reachy-1", b"reachy", b"r")

    async def test_hears_it_if_subscriptions_are_not_checked(self, undefended, victim, made):
        async with undefended("gatekeeper") as open_gateway, victim(open_gateway) as robot:
            with dialled(zmq.SUB, open_gateway.bound.down_port, made.robot("reachy-2")) as spy:
                spy.subscribe(b"reachy-1/down")
                await open_gateway.until(lambda _: spy.poll(0))
                await robot.talks()

    async def test_hears_nothing(self, gateway, victim, made):
        async with gateway() as real, victim(real) as robot:
            with dialled(zmq.SUB, real.bound.down_port, made.robot("reachy-2")) as spy:
                for topic in self.TOPICS:
                    spy.subscribe(topic)
                await real.until(
                    lambda health: spy.poll(0) == 0 and health["counts"].get("subscription reachy-2", 0) >= len(self.TOPICS)
                )
                await robot.talks()
                assert spy.poll(0) == 0
            assert await robot.noticed() == ([], {})


class TestNotificationsOutOfStep:
    """A message up the down connection takes a place in one of libzmq's two queues, so that the next grant goes to another."""

    async def attack(self, gateway, made, rounds):
        """How many of reachy-1's frames reached reachy-2."""
        leaked = 0
        for _ in range(rounds):
            with (
                dialled(zmq.XSUB, gateway.bound.down_port, made.robot("reachy-2")) as spy,
                dialled(zmq.SUB, gateway.bound.down_port, made.robot("reachy-1")) as again,
            ):
                await gateway.until(lambda _, spy=spy, again=again: not spy.poll(100) and not again.poll(100))
                gateway.busy()
                spy.poll(50)
                spy.send(b"hello")
                spy.poll(50)
                again.subscribe(b"reachy-1/down")
                again.poll(50)
                spy.send(b"\x01anything")
                while spy.poll(1000):
                    leaked += spy.recv_multipart()[0] == b"reachy-1/down"
                    if leaked > 3:
                        return leaked
        return leaked

    async def test_give_one_robot_what_is_anothers_if_nothing_is_done(self, undefended, victim, made):
        async with undefended("taint") as open_gateway, victim(open_gateway):
            assert await self.attack(open_gateway, made, 6) > 3

    async def test_grant_nothing_until_they_are_in_step_again(self, gateway, victim, made):
        async with gateway() as real, victim(real) as robot:
            assert await self.attack(real, made, 2) == 0
            assert await real.counted("upstream", "reachy-2") > 0
            await robot.talks()


async def test_both_robots_talk_when_nobody_is_hostile(gateway, victim, made):
    """The reference for the attacks. Health also reports which key is connected, and since when."""
    began = time.time()
    async with gateway() as real, victim(real) as one, victim(real, "reachy-2") as other:
        await one.talks()
        await other.talks()
        assert await one.noticed() == await other.noticed() == ([], {})
        health = await real.health()
        assert {name for name in health["counts"] if "handshake" not in name} == set()
        keys = [(robot, made.robot(robot).keys.public.decode()) for robot in ("reachy-1", "reachy-2")]
        assert [(each["robot"], each["key"]) for each in health["connections"]] == keys
        assert all(began - 1 <= each["since"] <= time.time() for each in health["connections"])
