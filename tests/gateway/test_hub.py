"""The hub, with real sockets and voices that a test plays: one connection per robot, admitted names, short looks."""

import asyncio
import logging
import re
import time
from contextlib import asynccontextmanager

import pytest
import zmq
from prometheus_client.parser import text_string_to_metric_families
from rig import STEREO_16K, Keys, running_hub

from reachy_gateway import hub as hub_module
from reachy_gateway import robot as robot_module
from reachy_gateway.link import end as end_module
from reachy_gateway.metrics import Metrics
from reachy_gateway.voice import HANG_UP_S, ConnectionState, Said
from reachy_link.keys import ADMITTED_NAME
from reachy_link.messages import Activity, Bye, Hello, Played


class Line:
    """A voice that holds a connection from its start until it has hung up."""

    opened: list["Line"]

    def __init__(self, opened):
        self.opened = opened
        self.lets_go = asyncio.Event()
        self.broken: Exception | None = None
        self.emit = None

    async def run(self, emit):
        self.emit = emit
        self.opened.append(self)
        try:
            await asyncio.Event().wait()
        finally:
            await self.lets_go.wait()
            self.opened.remove(self)
            if self.broken:
                raise self.broken

    def hear(self, _pcm, **_):
        pass

    def activity(self, _event):
        raise RuntimeError("the voice breaks")


class Scene:
    """A hub whose robots send what a test tells them, and all connections that their voices ever had."""

    def __init__(self, hub, lines, opened):
        self.hub, self.lines, self.opened = hub, lines, opened
        self._seq = 0

    def says(self, kind, robot="reachy-1", boot="a" * 16, **fields):
        self._seq += 1
        self.hub.on_up(kind(robot=robot, boot=boot, seq=self._seq, t_us=time.monotonic_ns() // 1000, **fields), b"")

    def hello(self, robot="reachy-1", boot="a" * 16):
        self.says(Hello, robot, boot, mic=STEREO_16K, speaker=STEREO_16K, lead_ms=40)

    async def until(self, condition, timeout_s=10.0):
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.005)


@pytest.fixture
def made(tmp_path):
    return Keys(tmp_path, "reachy-1", "reachy-2")


@asynccontextmanager
async def playing(made):
    lines, opened = [], []

    def make(_robot, _view):
        lines.append(Line(opened))
        return lines[-1]

    try:
        async with running_hub(made, make, max_robots=1000) as hub:
            await asyncio.sleep(0)  # else the hub would never begin, and never end
            yield Scene(hub, lines, opened)
    finally:
        for line in lines:
            line.lets_go.set()


# --- one connection a robot -------------------------------------------------------------------------------------------


def break_off(scene):
    scene.says(Activity, event="start")


def restart(scene):
    scene.hello(boot="b" * 16)


def leave_and_come_back(scene):
    scene.says(Bye)
    scene.hello(boot="b" * 16)


def change_its_formats(scene):
    scene.says(Hello, mic=STEREO_16K, speaker=STEREO_16K, lead_ms=60)


ENDS = [break_off, restart, leave_and_come_back, change_its_formats]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
async def test_the_next_conversation_begins_once_the_voice_of_the_last_has_hung_up(made, end):
    async with playing(made) as scene:
        scene.hello()
        await scene.until(lambda: scene.opened)
        ended_at = time.monotonic()
        end(scene)
        await scene.until(lambda: time.monotonic() - ended_at > 1.0)  # wait longer than the first pause after a fault
        assert scene.opened == scene.lines[:1], "there must be only the connection that is being closed"
        scene.lines[0].lets_go.set()
        await scene.until(lambda: len(scene.lines) == 2 and scene.opened == scene.lines[1:], 1.0)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
async def test_a_voice_that_never_hangs_up_holds_its_robot_up_for_a_bounded_time(made, end):
    async with playing(made) as scene:
        scene.hello()
        await scene.until(lambda: scene.opened)
        ended_at = time.monotonic()
        end(scene)
        await scene.until(lambda: len(scene.opened) == 2)
        assert HANG_UP_S - 0.1 < time.monotonic() - ended_at < HANG_UP_S + 1.0


async def test_a_hub_that_stops_waits_for_a_voice_that_hangs_up_after_a_fault(made):
    async with playing(made) as scene:
        scene.hello()
        await scene.until(lambda: scene.opened)
        break_off(scene)
        assert scene.hub.tally.total("fault") == 1
        asyncio.get_running_loop().call_later(0.5, scene.lines[0].lets_go.set)
        stopped_at = time.monotonic()
    assert scene.opened == []
    assert 0.3 < time.monotonic() - stopped_at < HANG_UP_S


async def test_what_a_voice_says_or_breaks_as_it_hangs_up_is_not_the_next_conversations(made, caplog):
    async with playing(made) as scene:
        scene.hello()
        await scene.until(lambda: scene.opened)
        first = scene.lines[0]
        first.broken = ValueError("breaks again")
        restart(scene)
        await scene.until(lambda: len(scene.opened) == 2)  # the first one's time is over
        robot = scene.hub.robots["reachy-1"]
        conversation = robot.conversation
        first.emit(ConnectionState("refused", "of the former voice"))
        first.emit(Said("robot", "of the former voice"))
        assert conversation.phase is None
        first.lets_go.set()
        await scene.until(lambda: scene.hub.tally.total("fault"))
        assert robot.conversation is conversation
        assert "as a voice hung up" in caplog.text
        assert scene.opened == scene.lines[1:]


# --- a loop that stood still ------------------------------------------------------------------------------------------


async def test_a_robot_is_neither_away_nor_gone_for_as_long_as_the_loop_stood_still(made, caplog):
    async with playing(made) as scene:
        scene.hello()
        scene.hub.now = lambda: time.monotonic() + 90.0
        scene.hub._end._pulse.stalled_s += 89.0
        scene.hub._look_around()
        assert scene.hub.robots.keys() == {"reachy-1"}
        assert "not heard" not in caplog.text
        scene.hub._end._pulse.stalled_s -= 89.0
        scene.hub._look_around()
        assert not scene.hub.robots, "a running loop would have removed the robot"
        scene.lines[0].lets_go.set()


async def test_a_loop_that_is_held_is_noticed(made):
    async with playing(made) as scene:
        before = scene.hub._end.stalled_s
        time.sleep(0.6)  # noqa: ASYNC251 - this is the stall
        await asyncio.sleep(0)
        assert 0.4 < scene.hub._end.stalled_s - before < 2.0


# --- names ------------------------------------------------------------------------------------------------------------


def admit(made: Keys, *robots: str) -> None:
    directory = made.gateway_dir / ADMITTED_NAME
    directory.mkdir(exist_ok=True)
    for robot in robots:
        (directory / f"{robot}.pub").write_bytes(zmq.curve_keypair()[0])


def drops(hub) -> dict[tuple[str, str], float]:
    """What Prometheus is told, by cause and robot."""
    families = text_string_to_metric_families(Metrics(hub).page().body.decode())
    samples = [sample for family in families for sample in family.samples if sample.name == "reachylink_drops_total"]
    return {(sample.labels["cause"], sample.labels["robot"]): sample.value for sample in samples}


async def test_alarms_of_every_admitted_robot_are_told_under_its_own_name_and_strangers_together(made):
    robots = [f"many-{number}" for number in range(1, 301)]
    admit(made, *robots)
    async with playing(made) as scene:
        for number in range(1000):
            scene.hub.on_bad("key", f"10.0.0.{number}", "dialled")
        for robot in robots:
            for cause in ("impostor", "flood", "clone"):
                scene.hub.on_bad(cause, robot, "an alarm")
        told = drops(scene.hub)
        for cause in ("impostor", "flood", "clone"):
            assert {told[cause, robot] for robot in robots} == {1}
        assert told["key", ""] == 1000
        assert {robot for _, robot in told} == {"", "reachy-1", "reachy-2", *robots}


async def test_a_robot_that_is_no_longer_admitted_is_forgotten_and_its_successor_is_counted(made):
    async with playing(made) as scene:
        for number in range(600):
            (made.gateway_dir / ADMITTED_NAME / f"new-{number - 1}.pub").unlink(missing_ok=True)
            admit(made, f"new-{number}")
            scene.hub._ring.reload()
            scene.hub.on_bad("impostor", f"new-{number}", "an alarm")
            scene.hub._look_around()
        assert dict(scene.hub.tally.counts) == {("impostor", "new-599"): 1}
        assert drops(scene.hub)["impostor", "new-599"] == 1


async def test_a_key_file_that_is_saved_anew_by_an_editor_ends_no_conversation(made, monkeypatch):
    """The file is moved away for a moment, and the link notices at once."""
    monkeypatch.setattr(hub_module, "LOOK_S", 60.0)
    async with playing(made) as scene:
        scene.hello()
        path = made.gateway_dir / ADMITTED_NAME / "reachy-1.pub"
        key = path.read_text()
        path.rename(path.with_suffix(".pub~"))
        await scene.until(lambda: not scene.hub._ring.admits("reachy-1"))
        path.write_text(key)
        await scene.until(lambda: scene.hub._ring.admits("reachy-1"))
        scene.hub._look_around()
        assert scene.hub.robots.keys() == {"reachy-1"}
        path.unlink()
        scene.hub._ring.reload()
        scene.hub._look_around()
        assert not scene.hub.robots, "once it is gone it is gone"
        scene.lines[0].lets_go.set()


async def test_a_key_file_that_is_damaged_while_the_gateway_runs_is_said_once(made, caplog, monkeypatch):
    monkeypatch.setattr(hub_module, "LOOK_S", 0.01)
    monkeypatch.setattr(end_module, "AUDITS_A_READING", 1)
    async with playing(made) as scene:
        path = made.gateway_dir / ADMITTED_NAME / "reachy-1.pub"
        key = path.read_text()
        path.write_text("no key")
        await scene.until(lambda: "is not a public key" in caplog.text)
        seen = scene.hub.looked_around
        await scene.until(lambda: scene.hub.looked_around > seen + 0.1)
        assert caplog.text.count("is not a public key") == 1
        path.write_text(key)
        await scene.until(lambda: scene.hub._ring.admits("reachy-1"))
        path.write_text("no key")
        await scene.until(lambda: caplog.text.count("is not a public key") == 2)


# --- what costs the loop its time -------------------------------------------------------------------------------------


async def test_a_look_around_among_a_thousand_robots_holds_up_nobody(made):
    """Measured: 3 ms. When every file was read and all robots were sorted for each robot, it took 412 ms."""
    admit(made, *(f"many-{number}" for number in range(1000)))
    async with playing(made) as scene:
        for number in range(1000):
            scene.hello(f"many-{number}")
        scene.hub._ring.reload()
        took = []
        for _ in range(7):
            began = time.perf_counter()
            scene.hub._look_around()
            took.append(time.perf_counter() - began)
        for line in scene.lines:
            line.lets_go.set()
        assert min(took) < 0.03


async def test_a_robot_that_starts_again_and_again_writes_no_more_lines_than_one_that_stays(made, caplog, monkeypatch):
    """Each start is a conversation, whose turns are lines in the log."""
    caplog.set_level(logging.INFO, "reachy_gateway")
    monkeypatch.setattr(robot_module, "HUNG_UP_LOOK_S", 0.0)
    async with playing(made) as scene:
        began, turn = time.monotonic(), 0
        for start in range(10):
            scene.hello(boot=f"{start:016x}")
            await scene.until(lambda start=start: len(scene.lines) > start)
            scene.lines[-1].lets_go.set()
            for _ in range(40):
                turn += 1
                scene.says(Played, boot=f"{start:016x}", turn=turn, played_ms=1, complete=True)
        passed_s = time.monotonic() - began
    turns = len(re.findall("reachy-1: turn=", caplog.text))
    assert 30 < turns <= 40 + 2 * passed_s + 1
