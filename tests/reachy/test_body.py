"""The real SDK and daemon move as told: one writer, within the limits, and back after the daemon has ended."""

import asyncio
import http.server
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from moving import Moved, Probe, connected, taken, turn
from virtual_reachy import VirtualReachy, virtual_reachy

from reachy_robot.acts import Acts
from reachy_robot.body import BodyError
from reachy_robot.motion.limits import TICK_MAX_DEG
from reachy_robot.motion.pose import Pose, head_of, pose_of
from reachy_robot.sender import Sender
from robot_io.reachy.body import ReachyBody
from robot_io.reachy.sdk import Sdk


@contextmanager
def answering(path: str, told: bytes) -> Iterator[int]:
    """A daemon that has one answer to one request. Yields its port."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == path
            self.send_response(200)
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize("pose", [Pose(), Pose(3, -4, 5, 10, -20, 30, 15, 40, -50), Pose(yaw_deg=-60, body_deg=-20)])
def test_a_pose_is_told_to_the_sdk_and_read_from_it(pose: Pose) -> None:
    again = pose_of(head_of(pose), *(math.radians(value) for value in (pose.body_deg, pose.right_deg, pose.left_deg)))
    assert again == pytest.approx(pose, abs=1e-6)


@pytest.mark.parametrize(
    ("told", "app"),
    [
        (b"null", ""),
        (b'{"info": {"name": "radio"}, "state": "running"}', "radio"),
        (b'{"info": {"name": "radio"}, "state": "done"}', ""),
        (b"{}", ""),
        (b"[1]", ""),
        (b"no JSON", ""),
    ],
)
def test_an_app_that_runs_on_the_robot_keeps_the_body_still(told: bytes, app: str) -> None:
    with answering("/api/apps/current-app-status", told) as port:
        sdk = Sdk(port=port)
        assert sdk.running_app() == app
        sdk._mini = SimpleNamespace(client=SimpleNamespace(is_connected=lambda: True))
        if app:
            with pytest.raises(BodyError, match="the app radio runs"):
                asyncio.run(ReachyBody(lambda: sdk).open())
    assert sdk.running_app() == "", "an unknown app must not count"


class Daemon:
    """The SDK at the body's port, with a daemon that may stall. It keeps what it was told."""

    is_connected = True
    held = False

    def __init__(self) -> None:
        self.poses: list[Pose] = []
        self.stalls = False
        self.deaf = False
        self.goes_on = threading.Event()

    def running_app(self) -> str:
        return ""

    def motors_are_off(self) -> bool:
        return False

    def hears_daemon(self) -> bool:
        return True

    def heard_deg(self) -> float | None:
        return 12.0

    def hold(self) -> Pose:
        return Pose()

    def move(self, pose: Pose) -> None:
        if self.stalls:
            self.goes_on.wait()
        if self.deaf:
            raise ConnectionError("no daemon")
        self.poses.append(pose)


@pytest.mark.parametrize("deaf", [False, True])
def test_after_a_stall_the_robot_goes_on_from_where_it_was_held_up(*, deaf: bool) -> None:
    async def move() -> tuple[list[Pose], float | None]:
        daemon = Daemon()
        body, acts = ReachyBody(lambda: daemon), Acts(Sender("reachy-1", "5f0c9d7a41e2b386"))  # type: ignore[arg-type, return-value]
        acts.mood = "listening"
        acts.found(await body.open(), time.monotonic())
        moved = Moved(body, acts)
        await moved.run(0.5)
        daemon.stalls, daemon.deaf = not deaf, deaf
        moved.act("look", direction="left")
        await moved.run(1.5)
        before = len(daemon.poses)
        assert daemon.poses[-1].yaw_deg < 1
        daemon.stalls = daemon.deaf = False
        daemon.goes_on.set()
        await moved.run(1.5)
        assert daemon.poses[-1].yaw_deg == pytest.approx(40, abs=1)
        await body.close()
        return daemon.poses[before - 1 :], body.heard_deg()

    poses, heard_deg = asyncio.run(move())
    assert max(turn(a, b) for a, b in pairwise(poses)) <= TICK_MAX_DEG
    assert heard_deg == 12.0, "the angle must come as it is"


@pytest.mark.parametrize(
    ("told", "heard_deg"),
    [
        (b"null", None),
        (b'{"angle": 0.0, "speech_detected": true}', 90.0),
        (b'{"angle": 3.141592653589793, "speech_detected": true}', -90.0),
        (b'{"angle": 1.0, "speech_detected": false}', None),
        (b'{"angle": "left", "speech_detected": true}', None),
        (b"[]", None),
        (b"no JSON", None),
    ],
)
def test_the_daemon_tells_from_where_a_voice_comes(told: bytes, heard_deg: float | None) -> None:
    with answering("/api/state/doa", told) as port:
        assert Sdk(port=port).heard_deg() == pytest.approx(heard_deg)
    assert Sdk(port=port).heard_deg() is None


async def does_as_it_is_asked(rig: VirtualReachy) -> None:
    with connected(rig) as sdk:
        probe = Probe(rig)
        moved = await taken(sdk)
        await moved.run(4.0)
        moved.act("look", direction="left")
        await moved.run(3.0)
        assert probe.newest.yaw_deg == pytest.approx(40, abs=4), "to its left"
        moved.act("look", direction="down")
        await moved.run(3.0)
        assert probe.newest.pitch_deg == pytest.approx(20 - 4, abs=4), "and down"
        moved.act("rest")
        await moved.run(6.0)
        assert probe.newest.z_mm == pytest.approx(-44, abs=6)
        moved.act("wake")
        await moved.run(5.0)
        assert probe.newest.z_mm > -6
        rig.hear(math.pi / 2 - math.radians(30), speech=True)
        moved.acts.person_speaks = True
        await moved.run(3.0)
        moved.acts.person_speaks = False
        moved.act("turn")
        await moved.run(3.0)
        assert probe.newest.yaw_deg == pytest.approx(30, abs=6), "to where a voice was heard"
        probe.close()
        await leaves_alone_what_somebody_turned_off(rig, sdk, moved)


async def leaves_alone_what_somebody_turned_off(rig: VirtualReachy, sdk: Sdk, moved: Moved) -> None:
    await asyncio.to_thread(rig.tell_daemon, "motors/set_mode/disabled")
    with pytest.raises(BodyError, match="motors"):
        await moved.run(20.0)
    await moved.body.close()
    with pytest.raises(BodyError, match="until they are on"):
        await taken(sdk)
    await asyncio.to_thread(rig.tell_daemon, "motors/set_mode/enabled")
    moved = await taken(sdk)
    await moved.run(6.0)
    rig.kill_daemon()
    with pytest.raises(BodyError, match="daemon"):
        await moved.run(20.0)
    await moved.body.close()


async def comes_back(rig: VirtualReachy) -> None:
    with connected(rig) as sdk:
        moved = await taken(sdk)
        await moved.run(5.0)
        moved.act("look", direction="right")
        await moved.run(3.0)
        probe = Probe(rig)
        await moved.run(0.5)
        assert probe.newest.yaw_deg == pytest.approx(-40, abs=4)
        probe.close()
        await moved.body.close()


@pytest.mark.timeout(150)
def test_the_robot_moves_as_it_is_asked_within_the_limits_and_comes_back_after_the_daemons_end(tmp_path: Path) -> None:
    with virtual_reachy(tmp_path, daemon=False) as rig:
        rig.start_daemon(ears=True)
        asyncio.run(does_as_it_is_asked(rig))
        rig.start_daemon()
        asyncio.run(comes_back(rig))
