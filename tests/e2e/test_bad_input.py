"""Bad input of every kind is counted by cause, logged once per cause and peer, and dropped; nothing else changes."""

import asyncio
import json
import os
import secrets
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import zmq
from rig import Keys, read_wav, running_hub, running_robot

from mock_gateway.voice import MockVoice
from reachy_link.address import Address
from reachy_link.messages import Mic
from reachy_link.sockets import set_dialer
from reachy_link.wire import pack_up
from reachy_robot.link import RobotEnd

NUMBER = read_wav(Path(__file__).parent / "data" / "number-1.wav")
BOOT = secrets.token_hex(8)


def header(**changes) -> bytes:
    fields = {"v": 1, "kind": "mic", "robot": "reachy-2", "boot": BOOT, "seq": 0, "t_us": 1, "samples": 320}
    return json.dumps(fields | changes).encode()


def hello(**changes) -> bytes:
    pcm = {"rate_hz": 16000, "channels": 2}
    return header(kind="hello", mic=pcm, speaker=pcm, lead_ms=40, **changes)


UP = b"reachy-2/up"
BAD = {
    "no JSON": ("header", [UP, b"{", b""]),
    "no object": ("header", [UP, b"[]", b""]),
    "a field of the wrong type": ("header", [UP, header(seq="7"), b""]),
    "a negative seq": ("header", [UP, header(seq=-1), b""]),
    "an unknown kind": ("kind", [UP, header(kind="dance"), b""]),
    "a message of the other direction": ("kind", [UP, header(kind="speaker", turn=1), b""]),
    "another version": ("version", [UP, header(v=2), b""]),
    "a missing part": ("parts", [UP, header()]),
    "a part too many": ("parts", [UP, header(), b"", b""]),
    "only a topic": ("parts", [UP]),
    "random bytes": ("header", [UP, os.urandom(200), os.urandom(200)]),
    "a topic that is not its own": ("topic", [b"reachy-1/up", header(), b"\0" * 1280]),
    "another robot's name in both": ("impostor", [b"reachy-1/up", header(robot="reachy-1"), b"\0" * 1280]),
    "a header of 5 KiB": ("oversized", [UP, header(padding="x" * 5000), b""]),
    "a payload of 9 KiB": ("oversized", [UP, header(), b"\0" * 9000]),
    "a payload that is too short": ("payload", [UP, header(seq=9), b"\0" * 1278]),
    "a payload where none belongs": ("payload", [UP, hello(seq=9), b"\0"]),
    "mic before any hello": ("stranger", [UP, header(boot="f" * 16), b"\0" * 1280]),
    "a seq that was there": ("repeat", [UP, header(seq=0), b"\0" * 1280]),
}


@asynccontextmanager
async def raw_robot(made: Keys, hub, name: str):
    """A robot's connected PUB socket that the test controls."""
    identity = made.robot(name)
    end = RobotEnd(identity, Address("127.0.0.1", *hub.bound[1:]), lambda _: None, lambda _: None)
    try:
        yield end
    finally:
        end.close()


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_message_is_counted_by_cause_and_logged_once(tmp_path, caplog, name):
    cause, parts = BAD[name]
    made = Keys(tmp_path, "reachy-1", "reachy-2")
    async with (
        running_hub(made, lambda *_: MockVoice()) as hub,
        running_robot(made.robot("reachy-1"), hub.bound) as other,
        raw_robot(made, hub, "reachy-2") as bad,
    ):
        await other.welcomed()
        await other.desk.until(lambda: "reachy-2" in hub.robots or bad.send((UP, hello(), b"")))
        for seq in (9, 10, 11):
            bad._up.send_multipart([part.replace(b'"seq": 9', b'"seq": %d' % seq) for part in parts])
        await other.desk.until(lambda: hub.tally.total(cause, "reachy-2") == 3)
        lines = [record for record in caplog.records if f"({cause};" in record.getMessage()]
        assert len(lines) == 1
        assert "reachy-2" in lines[0].getMessage()
        assert hub.tally.total(cause, "reachy-1") == 0
        other.desk.say(NUMBER[:16000])
        await other.answered(1)
        assert other.core.summary[0].complete


async def test_a_robot_of_another_version_is_told_who_must_upgrade(tmp_path):
    made = Keys(tmp_path, "reachy-2")
    told = []
    async with running_hub(made, lambda *_: MockVoice()) as hub, raw_robot(made, hub, "reachy-2") as robot:
        robot._on_parts = told.append
        async with running_robot(made.robot("reachy-2"), hub.bound) as clock:
            await clock.desk.until(lambda: robot.send((UP, hello(v=2), b"")) or any(b'"refuse"' in parts[1] for parts in told))
    refusal = json.loads(next(parts[1] for parts in told if b'"refuse"' in parts[1]))
    assert "speaks protocol version 2, this end 1: upgrade this end" in refusal["reason"]


async def test_a_part_beyond_the_sockets_own_limit_costs_its_sender_the_connection_only(tmp_path):
    made = Keys(tmp_path, "reachy-1", "reachy-2")
    async with (
        running_hub(made, lambda *_: MockVoice()) as hub,
        running_robot(made.robot("reachy-1"), hub.bound) as other,
        raw_robot(made, hub, "reachy-2") as bad,
    ):
        await other.welcomed()
        bad._up.send_multipart([UP, header(), b"\0" * 20000])
        other.desk.say(NUMBER[:16000])
        await other.answered(1)
        assert other.core.summary[0].underruns == 0
        # The sender is connected again, and heard again.
        await other.desk.until(lambda: bad.send((UP, header(kind="dance"), b"")) or hub.tally.total("kind", "reachy-2"))


@pytest.mark.parametrize("port", ["up", "down"])
async def test_random_bytes_on_either_port_change_nothing(tmp_path, port):
    made = Keys(tmp_path, "reachy-1")
    async with running_hub(made, lambda *_: MockVoice()) as hub, running_robot(made.robot("reachy-1"), hub.bound) as other:
        await other.welcomed()
        number = hub.bound.up_port if port == "up" else hub.bound.down_port
        for size in (1, 10, 64, 1000, 100_000):
            _, writer = await asyncio.open_connection("127.0.0.1", number)
            writer.write(os.urandom(size))
            writer.close()
        other.desk.say(NUMBER[:16000])
        await other.answered(1)
        assert other.core.summary[0].complete


async def test_a_robot_with_a_key_that_is_not_admitted_hears_why_and_is_let_in_once_it_is(tmp_path, caplog):
    made = Keys(tmp_path)
    identity = made.robot("reachy-9")
    async with running_hub(made, lambda *_: MockVoice()) as hub, running_robot(identity, hub.bound) as robot:
        await robot.desk.until(lambda: "refused this robot's key" in caplog.text)
        assert f"reachy-keys admit reachy-9 '{identity.keys.public.decode()}'" in caplog.text
        assert hub.tally.total("key") >= 1
        made.ring.admit("reachy-9", identity.keys.public.decode())
        await robot.welcomed()
        robot.desk.say(NUMBER[:16000])
        await robot.answered(1)


async def test_a_wrong_gateway_key_is_named(tmp_path, caplog):
    made = Keys(tmp_path, "reachy-1")
    other, _ = zmq.curve_keypair()
    identity = made.robot("reachy-1")
    wrong = type(identity)(identity.robot, identity.keys, other)
    async with running_hub(made, lambda *_: MockVoice()) as hub, running_robot(wrong, hub.bound) as robot:
        await robot.desk.until(lambda: "reachy-keys trust" in caplog.text)
        assert other.decode() in caplog.text


async def test_a_null_client_gets_nothing_in_or_out(tmp_path):
    made = Keys(tmp_path, "reachy-1")
    context = zmq.Context()
    async with running_hub(made, lambda *_: MockVoice()) as hub, running_robot(made.robot("reachy-1"), hub.bound) as robot:
        eavesdropper, speaker = context.socket(zmq.SUB), context.socket(zmq.PUB)
        eavesdropper.subscribe(b"")
        eavesdropper.connect(f"tcp://127.0.0.1:{hub.bound.down_port}")
        speaker.connect(f"tcp://127.0.0.1:{hub.bound.up_port}")
        await robot.welcomed()
        robot.desk.say(NUMBER[:16000])
        speaker.send_multipart([UP, hello(), b""])
        await robot.answered(1)
        assert eavesdropper.poll(0) == 0
        assert list(hub.robots) == ["reachy-1"]
    context.destroy(linger=0)


async def test_a_robot_that_asks_for_anothers_topic_hears_nothing(tmp_path):
    made = Keys(tmp_path, "reachy-1", "reachy-2")
    spy_keys = made.robot("reachy-2")
    context = zmq.Context()
    async with running_hub(made, lambda *_: MockVoice()) as hub, running_robot(made.robot("reachy-1"), hub.bound) as robot:
        spy = context.socket(zmq.SUB)
        set_dialer(spy, spy_keys.keys, spy_keys.gateway_public)
        for topic in (b"", b"reachy-1/down", b"reachy", b"reachy-1"):
            spy.subscribe(topic)
        spy.connect(f"tcp://127.0.0.1:{hub.bound.down_port}")
        # Asking for its events makes the socket process its connection.
        await robot.desk.until(lambda: spy.getsockopt(zmq.EVENTS) == 0 and hub.tally.total("subscription", "reachy-2") >= 4)
        await robot.welcomed()
        robot.desk.say(NUMBER[:16000])
        await robot.answered(1)
        assert spy.poll(0) == 0
    context.destroy(linger=0)


def test_a_mic_message_is_as_small_as_it_is_said_to_be():
    message = Mic(robot="reachy-1", boot=BOOT, seq=12345, t_us=123456789, samples=320)
    topic, packed, _ = pack_up(message)
    assert len(topic) + len(packed) < 160


async def test_each_key_that_is_not_admitted_is_named_once_and_so_is_one_that_was_revoked(tmp_path, caplog):
    """Not only the first such key: when another robot is set up weeks later, the log must show its key, too."""
    made = Keys(tmp_path, "reachy-1", "reachy-2")
    strangers = [made.robot("reachy-8"), made.robot("reachy-9")]
    async with (
        running_hub(made, lambda *_: MockVoice()) as hub,
        running_robot(made.robot("reachy-1"), hub.bound) as one,
        running_robot(made.robot("reachy-2"), hub.bound) as two,
        running_robot(strangers[0], hub.bound) as first,
        running_robot(strangers[1], hub.bound),
    ):
        await one.welcomed()
        await two.welcomed()
        await first.desk.until(lambda: hub.tally.total("key") >= 8)
        for robot in ("reachy-1", "reachy-2"):
            made.ring.revoke(robot)
        keys = [made.robot(robot).keys.public.decode() for robot in ("reachy-1", "reachy-2")]
        await first.desk.until(lambda: all(f"{key}: its key is no longer admitted" in caplog.text for key in keys))
    for stranger in strangers:
        public = stranger.keys.public.decode()
        assert sum(f"dialled with {public}, which is not admitted" in line for line in caplog.messages) == 1
