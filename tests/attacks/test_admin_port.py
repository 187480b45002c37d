"""Hostile consoles at a gateway's admin port, and hostile robots as consoles see them."""

import asyncio
import json
import logging
import os
import time
from pathlib import Path

import pytest
import zmq
from operating import Permissive, operating, operator_of, running_admin
from rig import Keys, running_hub, running_robot

from mock_gateway.voice import MockVoice
from reachy_gateway.admin import port as admin_port
from reachy_gateway.feed import Dropped, SessionNews
from reachy_link import admin
from reachy_link.keys import KeyPair
from reachy_link.operators import Operators
from reachy_link.sockets import set_dialer

pytestmark = pytest.mark.timeout(60)


class Slow(Permissive):
    """An office whose persona file takes for ever to read."""

    async def read_persona(self, robot: str):
        del robot
        await asyncio.Event().wait()


class Scene:
    """A gateway with its admin port, an operator, and hostile sockets."""

    def __init__(self, made: Keys, hub, served, operator, path: Path) -> None:
        self.made = made
        self.hub = hub
        self.served = served
        self.operator = operator
        self.path = path
        self.context = zmq.Context()
        self.sockets: list[zmq.Socket[bytes]] = []

    def dial(self, keys: KeyPair | None) -> zmq.Socket[bytes]:
        """A hostile program's socket at the admin port."""
        socket = self.context.socket(zmq.DEALER)
        self.sockets.append(socket)
        if keys:
            set_dialer(socket, keys, self.made.pair.public)
        socket.immediate = 0
        socket.connect(f"tcp://127.0.0.1:{self.served.port.port}")
        return socket

    def counted(self, cause: str) -> int:
        return sum(n for (known, _), n in self.hub.tally.counts.items() if known == cause)

    async def until(self, condition, timeout_s: float = 10.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.02)

    async def is_well(self) -> None:
        """Check that the honest operator is still served."""
        told = len(self.operator.told)
        await self.operator.watch(afresh=True)
        await self.operator.until(lambda: len(self.operator.told) > told)


@pytest.fixture
async def scene(tmp_path):
    made = Keys(tmp_path, "lab-1", "lab-2")
    keys = operator_of(made)
    async with (
        running_hub(made, lambda *_: MockVoice()) as hub,
        running_admin(hub, made, Slow(), tmp_path / "recordings") as served,
        operating(made, keys, served.port.port) as operator,
    ):
        there = Scene(made, hub, served, operator, tmp_path)
        await there.is_well()
        yield there
        for socket in there.sockets:
            socket.close(linger=0)
        there.context.term()


WATCH = admin.Watch(robots=("lab-1",)).model_dump_json().encode()


async def silent(socket, seconds: float = 1.0) -> bool:
    """Whether no message arrives."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            await asyncio.sleep(0.05)
        else:
            return False
    return True


@pytest.mark.parametrize("who", ["a stranger", "a robot", "without keys"])
async def test_whoever_has_no_operators_key_is_told_nothing(scene, who):
    keys = {"a stranger": KeyPair(*zmq.curve_keypair()), "a robot": scene.made.robot("lab-1").keys, "without keys": None}[who]
    socket = scene.dial(keys)
    socket.send(WATCH)
    cause = "operator" if keys else "handshake"
    await scene.until(lambda: scene.counted(cause))
    assert await silent(socket)
    assert scene.served.port.watchers == 1
    await scene.is_well()


async def test_an_operator_who_is_dismissed_is_hung_up_on_in_mid_session(scene):
    keys = operator_of(scene.made, "other")
    await scene.until(lambda: scene.served._operators.names >= {"other"})
    async with operating(scene.made, keys, scene.served.port.port) as other:
        await other.watch("lab-1")
        await other.until(lambda: other.view.rows)
        asks = asyncio.create_task(other.do(admin.Say, robot="lab-1", text="hello"))
        Operators(scene.made.gateway_dir).dismiss("other")
        began = time.monotonic()
        await scene.until(lambda: scene.served.port.watchers == 1)
        assert time.monotonic() - began < 1.0
        assert not (await asks).ok
        told = len(other.told)
        assert not (await other.do(admin.Revoke, robot="lab-2")).ok
        assert "lab-2" in scene.hub.admitted
        assert len(other.told) == told
    await scene.is_well()


async def test_a_viewer_sees_and_commands_nothing(scene, caplog):
    caplog.set_level(logging.INFO)
    keys = operator_of(scene.made, "guest", "viewer")
    async with (
        running_robot(scene.made.robot("lab-1"), scene.hub.bound) as robot,
        operating(scene.made, keys, scene.served.port.port) as viewer,
    ):
        await robot.welcomed()
        await viewer.watch("lab-1")
        await viewer.until(lambda: viewer.view.rows and viewer.view.rows["lab-1"].state == "listening")
        assert viewer.view.whole.role == "viewer"
        for kind, fields in (
            (admin.Admit, {"robot": "lab-3", "key": "abcdef"}),
            (admin.Revoke, {"robot": "lab-1"}),
            (admin.Say, {"robot": "lab-1", "text": "hello"}),
            (admin.Act, {"robot": "lab-1", "name": "stop"}),
            (admin.ReadPersona, {"robot": "lab-1"}),
            (admin.SavePersona, {"robot": "lab-1", "text": "", "was": ""}),
            (admin.Record, {"robot": "lab-1", "on": True}),
            (admin.Fetch, {"recording": "lab-1-20260101-000000"}),
        ):
            answer = await viewer.do(kind, **fields)
            assert (answer.ok, answer.words) == (False, "this console's key may look, and command nothing")
        assert not robot.core.recorded
        assert "lab-1" in scene.hub.robots
    assert caplog.text.count("viewer guest asked for") == 8


HOSTILE = [
    b"",
    b"{}",
    b"\xff\xfe",
    b"[" * 60000,
    b'{"kind":"watch","v":2}',
    b'{"kind":"launch","v":1,"id":5}',
    b'{"kind":"say","v":1,"id":5,"robot":"../lab-1","text":"x"}',
    b'{"kind":"say","v":1,"id":5,"robot":"lab-1","text":"' + b"x" * 60000 + b'"}',
    b'{"kind":"say","v":1,"id":-1,"robot":"lab-1","text":"x"}',
    b'{"kind":"act","v":1,"id":5,"robot":"lab-1","name":"nod","args":{"a":1e999}}',
    b'{"kind":"fetch","v":1,"id":5,"recording":"../../gateway/self.key"}',
    b'{"kind":"watch","v":1,"robots":' + json.dumps(["lab-1"] * 5000).encode() + b"}",
    b'{"kind":"admit","v":1,"id":5,"robot":"lab-9","key":"\\ud800aaaaa"}',
]


@pytest.mark.parametrize("request_", HOSTILE, ids=[str(index) for index in range(len(HOSTILE))])
async def test_what_makes_no_sense_is_dropped_or_answered_in_words_and_harms_nobody(scene, request_):
    socket = scene.dial(operator_of(scene.made, "mad"))
    await scene.until(lambda: scene.served._operators.names >= {"mad"})
    socket.send(request_)
    await scene.until(lambda: scene.counted("header"))
    await scene.is_well()
    assert "lab-9" not in scene.hub.admitted


async def test_oversized_many_parts_and_floods_end_or_are_dropped(scene):
    socket, watching = scene.dial(operator_of(scene.made, "mad")), scene.served.port.watchers
    socket.send(WATCH)
    await scene.until(lambda: scene.served.port.watchers > watching)  # else both leave at the end of the handshake
    socket.send(b"x" * (admin.REQUEST_MAX_BYTES + 1))
    socket.send_multipart([b"x"] * 10000)
    await scene.until(lambda: scene.counted("parts"))
    await scene.is_well()
    flood = scene.dial(operator_of(scene.made, "flood"))
    await scene.until(lambda: scene.served._operators.names >= {"flood"})
    for _ in range(2000):
        flood.send(WATCH)
        if not _ % 100:
            await asyncio.sleep(0)
    await scene.until(lambda: scene.counted("flood"))
    await scene.is_well()


async def test_too_many_consoles_put_out_the_one_that_was_silent_longest(scene, monkeypatch):
    monkeypatch.setattr(admin_port, "WATCHERS_MAX", 3)
    keys = operator_of(scene.made, "many")
    await scene.until(lambda: scene.served._operators.names >= {"many"})
    sockets = [scene.dial(keys) for _ in range(6)]
    for socket in sockets:
        socket.send(WATCH)
    await scene.until(lambda: scene.served.port.watchers == 3)
    await scene.is_well()


async def test_for_a_console_that_has_vanished_nothing_goes_on(scene):
    async with running_robot(scene.made.robot("lab-1"), scene.hub.bound) as robot:
        await robot.welcomed()
        await scene.operator.watch("lab-1")
        await scene.operator.until(lambda: scene.operator.of(admin.Levels))
        scene.operator.link.close()
        await scene.until(lambda: not scene.served.port.watchers and not scene.served.port.looked_at, 2.0)
        assert set(scene.served.port._timers) == {admin_port.AUDIT_S}


async def test_commands_in_flight_when_the_gateway_dies_are_not_waited_for(scene):
    asks = [asyncio.create_task(scene.operator.do(admin.ReadPersona, robot="lab-1")) for _ in range(3)]
    await scene.until(lambda: scene.served.port._tasks)
    began = time.monotonic()
    scene.served.port.close()
    for answer in await asyncio.gather(*asks):
        assert not answer.ok
        assert "the command may or may not have been carried out" in answer.words
    assert time.monotonic() - began < 5.0
    scene.served.port = None


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


WORDS = "x" * 480


def happen(hub, numbers) -> None:
    """Send so many events about a robot that is watched."""
    for number in numbers:
        hub.feed.tell(SessionNews("lab-1", "lost", f"{WORDS}{number:05}", is_news=False))


async def test_a_console_that_stops_reading_costs_nothing_and_is_told_all_of_it_once_it_reads(scene):
    deaf = scene.dial(operator_of(scene.made, "deaf"))
    deaf.rcvhwm = 1
    await scene.until(lambda: scene.served._operators.names >= {"deaf"})
    deaf.send(WATCH)
    await scene.until(lambda: scene.served.port.watchers == 2)
    await scene.operator.watch("lab-1")
    await scene.operator.until(lambda: scene.operator.view.detail("lab-1"))
    happen(scene.hub, range(5000))  # until its queue, and the kernel's, are full
    await asyncio.sleep(0)
    before, began = resident_bytes(), time.process_time()
    happen(scene.hub, range(5000, 30000))
    assert time.process_time() - began < 10.0
    assert resident_bytes() - before < 8_000_000
    assert [it.was_told for it in scene.served.port._watchers.values()].count(False) >= 1
    deaf.send(admin.Watch(robots=("lab-1",)).model_dump_json().encode())
    heard = []
    async with asyncio.timeout(10):
        while not (
            heard
            and isinstance(heard[-1], admin.Detail)
            and heard[-1].notes
            and heard[-1].notes[-1].words == f"{WORDS}29999 (lost)"
        ):
            try:
                heard.append(admin.TOLD.validate_json(deaf.recv_multipart(zmq.NOBLOCK)[0]))
            except zmq.Again:
                await asyncio.sleep(0.02)
            deaf.send(WATCH, zmq.NOBLOCK) if len(heard) % 50 == 0 else None
    assert any(isinstance(it, admin.Fleet) and it.afresh for it in heard[1:]), "no whole fleet was sent afresh"
    await scene.is_well()


async def test_a_million_events_are_kept_within_bounds(scene):
    began, before = time.process_time(), resident_bytes()
    for number in range(1_000_000):
        scene.hub.feed.tell(Dropped("late", "lab-1", "a mic chunk is late", is_news=False))
        if not number % 50:
            scene.hub.feed.tell(Dropped("key", "", "dialled", is_news=False, key=f"{number:040d}", address="10.0.0.9"))
    assert time.process_time() - began < 20.0
    assert resident_bytes() - before < 20_000_000
    assert len(scene.served._desk._refused) == 256
    assert len(scene.served._desk.strangers()) == admin.STRANGERS_MAX
    await scene.is_well()


async def test_a_key_that_begins_as_another_is_admitted_by_its_whole_alone(scene):
    for tail in "ab":
        scene.hub.feed.tell(Dropped("key", "", "dialled", is_news=False, key="twins." + tail * 34, address="10.0.0.9"))
    answer = await scene.operator.do(admin.Admit, robot="lab-3", key="twins.")
    assert (answer.ok, answer.words) == (False, "2 keys that were refused begin with twins.: give the whole one")
    answer = await scene.operator.do(admin.Admit, robot="lab-3", key="twins." + "a" * 34)
    assert answer.ok or "public key" in answer.words
    robot = scene.made.robot("lab-1").keys.public.decode()
    answer = await scene.operator.do(admin.Admit, robot="lab-2", key=robot)
    assert "admitted as lab-1 already" in answer.words


class TestWithoutADefence:
    async def test_without_the_operators_keys_a_stranger_sees_everything(self, scene, monkeypatch):
        monkeypatch.setattr(Operators, "robot_of", lambda *_: "anybody")
        monkeypatch.setattr(Operators, "role_of", lambda *_: "operator")
        socket = scene.dial(KeyPair(*zmq.curve_keypair()))
        socket.send(WATCH)
        await scene.until(lambda: socket.poll(0))
        assert b'"robot":"lab-1"' in socket.recv_multipart()[0]

    async def test_without_the_roles_a_viewer_commands(self, scene, monkeypatch):
        keys = operator_of(scene.made, "guest", "viewer")
        await scene.until(lambda: scene.served._operators.names >= {"guest"})
        monkeypatch.setattr(Operators, "role_of", lambda *_: "operator")
        async with operating(scene.made, keys, scene.served.port.port) as viewer:
            await viewer.watch()
            assert (await viewer.do(admin.Revoke, robot="lab-2")).ok

    async def test_without_the_bound_on_its_queue_a_console_that_stops_reading_costs_memory(self, scene, monkeypatch):
        monkeypatch.setattr(admin_port, "QUEUE", 0)  # libzmq: no limit
        async with running_admin(scene.hub, scene.made, Permissive()) as served:
            scene.served = served
            deaf = scene.dial(operator_of(scene.made, "deaf"))
            deaf.rcvhwm = 1
            await scene.until(lambda: served._operators.names >= {"deaf"})
            deaf.send(WATCH)
            await scene.until(lambda: served.port.watchers == 1)
            happen(scene.hub, range(10000))  # twice as many as fill a bounded queue; in less than the 3 s of TCP's own limit
            [watcher] = served.port._watchers.values()
            assert watcher.was_told, "the queue must hold every message in memory"
