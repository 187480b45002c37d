"""Robots that send too much: what the gateway does, and that an honest robot notices nothing."""

import asyncio
from contextlib import suppress

import pytest
import zmq
from rig import Keys

from reachy_link.sockets import set_dialer


async def beside(victim, attack):
    """Let the victim talk until an attack is over. Returns what the attack did, and what the victim lost."""
    task = asyncio.create_task(attack)
    while not task.done():
        await victim.talks()
    return await task, await victim.noticed()


class TestAFloodOfMessages:
    async def test_is_looked_at_one_by_one_if_there_are_no_limits(self, undefended):
        async with undefended("limits") as open_gateway:
            await open_gateway.attack("flood", "reachy-2", 2)
            await open_gateway.until(lambda health: health["counts"].get("header reachy-2", 0) > 1500)

    async def test_is_dropped_unseen_and_then_hung_up_on(self, gateway, victim):
        async with gateway() as real, victim(real) as robot:
            sent, noticed = await beside(robot, real.attack("flood", "reachy-2", 4))
            counts = (await real.health())["counts"]
            assert noticed == ([], {})
            assert counts["header reachy-2"] < 1000 < counts["flood reachy-2"] <= sent
            assert counts["hung_up reachy-2"] >= 1
            assert real.said.count("(flood;") == 1
            assert robot.p99_ms < 100
            print(f"\nflood of {sent}: the victim's p99 {robot.p99_ms:.0f} ms, {counts}")  # noqa: T201


async def test_malformed_messages_at_2000_a_second(gateway, victim):
    async with gateway() as real, victim(real) as robot:
        await robot.talks()
        before_mb = real.memory_mb
        sent, noticed = await beside(robot, real.attack("malformed", "reachy-2", 8))
        grown_mb = real.memory_mb - before_mb
        print(f"\n{sent} malformed messages: the victim's p99 {robot.p99_ms:.0f} ms, memory {grown_mb:+.1f} MB")  # noqa: T201
        assert noticed == ([], {})
        assert robot.p99_ms < 100
        assert grown_mb < 5
        assert await real.counted("flood", "reachy-2") > 8000


class TestAMessageOfVeryManyParts:
    async def test_comes_whole_if_nobody_hangs_up(self, undefended):
        async with undefended("hanging up") as open_gateway:
            await open_gateway.attack("parts", "reachy-2", 2)
            await open_gateway.until(lambda health: "parts reachy-2" in health["counts"])

    async def test_does_not_keep_the_gateway_from_the_others(self, gateway, victim):
        async with gateway() as real, victim(real) as robot:
            sent, noticed = await beside(robot, real.attack("parts", "reachy-2", 2))
            assert sent == 150_000
            assert noticed == ([], {})
            await real.until(lambda health: {"hung_up", "hung_up reachy-2", "parts reachy-2"} & health["counts"].keys())


class Cut:
    """Forwards a robot's bytes to the gateway up to a limit, then holds the line: the message never ends."""

    def __init__(self, port, limit):
        self._port, self._limit, self.passed = port, limit, 0
        self._serving = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)

    async def _serve(self, reader, writer):
        self._serving.add(asyncio.current_task())
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)

        async def pass_on():
            with suppress(OSError):
                while self.passed < self._limit and (data := await reader.read(65536)):
                    self.passed += len(data)
                    up_writer.write(data)
                    await up_writer.drain()

        passing = asyncio.create_task(pass_on())
        try:
            with suppress(OSError):
                while data := await up_reader.read(65536):
                    writer.write(data)
        finally:
            passing.cancel()
            for each in (up_writer, writer):
                each.transport.abort()  # the gateway would never read what the writer still holds


class TestAMessageThatDoesNotEnd:
    """libzmq limits the size of a message's parts but not their number, and shows none before the last has arrived."""

    @staticmethod
    async def attack(gateway, until):
        async with Cut(gateway.bound.up_port, 15_000_000) as cut:
            task = asyncio.create_task(
                type(gateway)(gateway.made, gateway.process, (cut.port, gateway.bound.down_port, 0), gateway.log).attack(
                    "endless", "reachy-2", 4
                )
            )
            try:
                await gateway.until(lambda _: until(cut))
            finally:
                await task

    async def test_fills_the_memory_if_nobody_hangs_up(self, undefended):
        async with undefended("hanging up") as open_gateway:
            before_mb = open_gateway.memory_mb
            await self.attack(open_gateway, lambda _: open_gateway.memory_mb - before_mb > 12)

    async def test_is_hung_up_on(self, gateway, victim):
        async with gateway() as real, victim(real) as robot:
            await robot.talks()
            task = asyncio.create_task(self.attack(real, lambda _: ": hung up" in real.said))
            await robot.talks(2)
            await task
            assert await robot.noticed() == ([], {})


class TestRefusedSubscriptions:
    async def test_fill_the_memory_if_nobody_hangs_up(self, undefended):
        async with undefended("hanging up") as open_gateway:
            before_mb = open_gateway.memory_mb
            await open_gateway.attack("spam", "reachy-2", 4)
            await open_gateway.until(lambda health: health["counts"].get("subscription reachy-2", 0) > 5000)
            assert open_gateway.memory_mb - before_mb > 50

    async def test_are_hung_up_on_before_they_do(self, gateway, victim):
        async with gateway() as real, victim(real) as robot:
            await robot.talks()
            before_mb = real.memory_mb
            _, noticed = await beside(robot, real.attack("spam", "reachy-2", 3))
            grown_mb = real.memory_mb - before_mb
            print(f"\nsubscription spam: {grown_mb:+.1f} MB, {(await real.health())['counts']}")  # noqa: T201
            assert noticed == ([], {})
            assert await real.counted("hung_up", "reachy-2") >= 1
            assert grown_mb < 10
            assert await real.counted("subscription", "reachy-2") < 1000, "libzmq took in subscriptions that nobody looked at"


async def test_a_storm_of_handshakes_by_strangers(gateway, victim):
    async with gateway() as real, victim(real) as robot:
        n, noticed = await beside(robot, real.attack("storm", "reachy-9", 3))
        counts = (await real.health())["counts"]
        print(f"\n{n} handshakes on each port: the victim's p99 {robot.p99_ms:.0f} ms, {counts}")  # noqa: T201
        assert noticed == ([], {})
        assert counts["key"] > 20


class TestConnectionsThatSayNothing:
    """300 silent connections, at a gateway that may have 160 descriptors."""

    @pytest.mark.parametrize("without", ["handshake limit"])
    async def test_keep_newcomers_out_for_good_if_they_may_stay(self, undefended, without):
        async with undefended(without, descriptors=160) as open_gateway:
            assert await open_gateway.attack("idle", "reachy-2", 4) == 0

    async def test_are_ended_and_newcomers_get_in(self, gateway, victim):
        async with gateway(descriptors=160) as real, victim(real) as robot:
            closed, noticed = await beside(robot, real.attack("idle", "reachy-9", 5))
            assert closed > 50
            assert noticed == ([], {})
            assert await real.counted("crowded") > 0
            async with victim(real, "reachy-2") as newcomer:
                await newcomer.talks()


class TestConnectionsOfAnAdmittedKey:
    """60 to each port. They pass the handshake's limit, and each subscribed one gets every message once more."""

    async def test_are_held_for_good_if_nobody_hangs_up(self, undefended):
        async with undefended("hanging up") as open_gateway:
            before = open_gateway.descriptors
            task = asyncio.create_task(open_gateway.attack("hoard", "reachy-2", 5))
            await open_gateway.until(lambda _: open_gateway.descriptors - before > 115)
            await task

    async def test_are_ended_beyond_a_few_and_newcomers_get_in(self, gateway, victim):
        async with gateway(descriptors=150) as real, victim(real) as robot:
            task = asyncio.create_task(real.attack("hoard", "reachy-2", 14))
            await real.until(lambda health: health["counts"].get("hung_up reachy-2"))
            await real.until(lambda _: "connects and says nothing" in real.said)
            async with victim(real, "reachy-3") as newcomer:
                await asyncio.gather(newcomer.talks(), robot.talks())
            assert not task.done()
            assert await robot.noticed() == ([], {})
            await task


class TestARobotThatStartsAgainAndAgain:
    async def test_begins_a_conversation_each_time_if_it_may(self, undefended):
        async with undefended("start limit") as open_gateway:
            await open_gateway.attack("restless", "reachy-2", 2)
            assert open_gateway.said.count("reachy-2: connected") > 150

    async def test_is_refused_soon_and_writes_no_lines_of_its_own(self, gateway, victim):
        async with gateway() as real, victim(real) as robot:
            sent, noticed = await beside(robot, real.attack("restless", "reachy-2", 3))
            assert noticed == ([], {})
            assert 20 <= real.said.count("reachy-2: connected") < 30 < sent
            assert await real.counted("refused", "reachy-2") > 0
            assert "\x1b" not in real.said
            assert r"\x1b[2J\n" in real.said


class TestARobotThatFillsTheLog:
    """With turns that never happened, or with a button that its persona does not have; gemini-gateway logs the latter."""

    TALKATIVE, PRESSING = ("talkative", "reachy-2: turn"), ("pressing", "(activity_ignored)")
    ATTACKS = (("mock-gateway", *TALKATIVE), ("gemini-gateway", *TALKATIVE), ("gemini-gateway", *PRESSING))

    @pytest.mark.parametrize(("gateway", "attack", "line"), ATTACKS, indirect=["gateway"])
    async def test_writes_a_line_with_each_message_if_it_may(self, gateway, attack, line):
        async with gateway("line limit") as open_gateway:
            await open_gateway.attack(attack, "reachy-2", 2)
            assert open_gateway.said.count(line) > 200

    @pytest.mark.parametrize(("gateway", "attack", "line"), ATTACKS, indirect=["gateway"])
    async def test_writes_a_few_lines(self, gateway, victim, attack, line):
        async with gateway() as real, victim(real) as robot:
            sent, noticed = await beside(robot, real.attack(attack, "reachy-2", 3))
            assert noticed == ([], {})
            assert 10 < real.said.count(line) < 60 < sent


async def test_a_robot_that_reads_nothing(gateway, victim):
    async with gateway() as real, victim(real) as robot:
        await robot.talks()
        before_mb = real.memory_mb
        sent, noticed = await beside(robot, real.attack("slow", "reachy-2", 5))
        grown_mb = real.memory_mb - before_mb
        print(f"\n{sent} hellos, no answer read: {grown_mb:+.1f} MB, {(await real.health())['counts']}")  # noqa: T201
        assert noticed == ([], {})
        assert grown_mb < 5


async def test_a_body_that_lies(gateway, victim):
    async with gateway() as real, victim(real) as robot:
        await robot.talks()
        before_mb = real.memory_mb
        sent, noticed = await beside(robot, real.attack("lying", "reachy-2", 5))
        grown_mb, counts = real.memory_mb - before_mb, (await real.health())["counts"]
        print(f"\n{sent} lies: the victim's p99 {robot.p99_ms:.0f} ms, memory {grown_mb:+.1f} MB, {counts}")  # noqa: T201
        assert noticed == ([], {})
        assert counts["unasked reachy-2"] > 300
        assert counts["header reachy-2"] > 100
        assert real.said.count("never asked") == 1
        assert grown_mb < 5


async def test_a_body_that_boasts(gateway, victim):
    async with gateway() as real, victim(real) as robot:
        sent, noticed = await beside(robot, real.attack("boastful", "reachy-2", 3))
        health = await real.health()
        print(f"\n{sent} offers: {health['counts']}")  # noqa: T201
        assert noticed == ([], {})
        assert health["counts"]["header reachy-2"] > 50
        assert "reachy-2" not in health["robots"]


class TestKeysThatChange:
    async def test_a_revoked_key_goes_on_hearing_if_nobody_hangs_up(self, undefended, victim, made, tmp_path):
        async with undefended("hanging up") as open_gateway:
            old = made.robot("reachy-2")
            spy = zmq.Context.instance().socket(zmq.SUB)
            set_dialer(spy, old.keys, old.gateway_public)
            spy.subscribe(b"reachy-2/down")
            spy.connect(f"tcp://127.0.0.1:{open_gateway.bound.down_port}")
            made.robot_dir("reachy-2").rename(tmp_path / "old-keys")
            made.ring.admit("reachy-2", made.robot("reachy-2").keys.public.decode())
            async with victim(open_gateway, "reachy-2") as robot:
                await open_gateway.until(lambda _: spy.poll(0))
                made.ring.revoke("reachy-2", old.keys.public.decode())
                await robot.talks()
                with suppress(zmq.Again):
                    while True:
                        spy.recv(zmq.NOBLOCK)
                await robot.talks()
                assert spy.poll(0)
            spy.close(linger=0)

    async def test_a_robots_key_is_replaced_while_another_robot_talks(self, gateway, victim, made, tmp_path):
        async with gateway() as real, victim(real) as bystander:
            old = made.robot("reachy-2")
            spy = zmq.Context.instance().socket(zmq.SUB)
            set_dialer(spy, old.keys, old.gateway_public)
            spy.subscribe(b"reachy-2/down")
            spy.connect(f"tcp://127.0.0.1:{real.bound.down_port}")
            async with victim(real, "reachy-2") as robot:
                await robot.talks()
                assert spy.poll(1000), "the old key must still hear its robot"
            made.robot_dir("reachy-2").rename(tmp_path / "old-keys")
            new = made.robot("reachy-2")
            made.ring.admit("reachy-2", new.keys.public.decode())
            async with victim(real, "reachy-2") as robot:
                made.ring.revoke("reachy-2", old.keys.public.decode())
                await real.until(lambda health: health["counts"].get("revoked", 0) >= 1)
                with suppress(zmq.Again):
                    while True:
                        spy.recv(zmq.NOBLOCK)
                both = asyncio.gather(robot.talks(2), bystander.talks(2))
                await both
                with pytest.raises(zmq.Again):  # a revoked key hears nothing
                    spy.recv(zmq.NOBLOCK)
                assert await robot.noticed() == ([], {})
            spy.close(linger=0)
            assert await bystander.noticed() == ([], {})

    async def test_a_robot_that_is_revoked_is_silent_at_once_and_the_other_does_not_notice(self, gateway, victim, made):
        async with gateway() as real, victim(real) as bystander, victim(real, "reachy-2") as robot:
            await robot.talks()
            made.ring.revoke("reachy-2")
            await real.until(lambda health: health["robots"] == ["reachy-1"])
            heard = len(robot.robot.desk.handed)
            robot.robot.desk.say(robot.robot.desk.said[-16000:])
            await bystander.talks(2)
            assert len(robot.robot.desk.handed) == heard
            assert await bystander.noticed() == ([], {})

    async def test_a_gateways_key_is_replaced_robot_by_robot(self, gateway, victim, made, tmp_path):
        """A second gateway with the new key takes over the robots one by one."""
        renewed = Keys(tmp_path / "renewed")
        for robot in ("reachy-1", "reachy-2"):
            renewed.ring.admit(robot, made.robot(robot).keys.public.decode())
        async with gateway() as old, gateway(keys_dir=renewed.gateway_dir) as new, victim(old) as stays:
            (made.robot_dir("reachy-2") / "gateway.pub").write_text(renewed.pair.public.decode())
            async with victim(new, "reachy-2") as moved:
                await asyncio.gather(moved.talks(), stays.talks())
                assert await moved.noticed() == await stays.noticed() == ([], {})
