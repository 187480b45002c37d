"""Where recordings are kept, for how long, and what ends one."""

import asyncio
import json
import os
import stat
import time
import zipfile
from pathlib import Path

import pytest
from rig import Keys, running_hub, running_robot

from mock_gateway.voice import MockVoice
from reachy_gateway.admin import recordings as module
from reachy_gateway.admin.office import OfficeError
from reachy_gateway.admin.recorder import LIMIT_S
from reachy_gateway.admin.recordings import KEEP_S, KEPT_MAX, Recordings

pytestmark = pytest.mark.timeout(30)


class Scene:
    def __init__(self, hub, robot, folder: Path) -> None:
        self.hub = hub
        self.running = robot
        self.folder = folder
        self.permitted = True
        self.later_s = 0.0
        self.recordings = self.made(folder)

    def made(self, folder: Path | None) -> Recordings:
        return Recordings(folder, self.hub.feed, lambda _: self.permitted, lambda: {"voice": "mock"}, self.now)

    def now(self) -> float:
        return time.monotonic() + self.later_s

    @property
    def robot(self):
        return self.hub.robots["lab-1"]

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    async def until(self, condition) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.02)

    async def ended(self) -> dict:
        """The metadata in the file that was written."""
        await self.until(lambda: self.recordings.robot is None and not self.recordings._ending and self.recordings.all)
        [name] = self.files
        with zipfile.ZipFile(self.folder / name) as pack:
            assert pack.testzip() is None
            return json.loads(pack.read("about.json"))


@pytest.fixture
async def scene(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WRITE_S", 0.1)
    made = Keys(tmp_path, "lab-1")
    async with running_hub(made, lambda *_: MockVoice()) as hub, running_robot(made.robot("lab-1"), hub.bound) as robot:
        await robot.welcomed()
        await robot.desk.until(lambda: hub.robots["lab-1"].conversation.phase)
        there = Scene(hub, robot, tmp_path / "recordings")
        yield there
        await there.recordings.close()


async def test_it_is_the_gateways_alone_and_tells_what_it_is(scene):
    await scene.recordings.begin(scene.robot)
    assert scene.recordings.robot == "lab-1"
    assert all(stat.S_IMODE((scene.folder / name).stat().st_mode) == 0o600 for name in scene.files)
    assert scene.recordings.end("lab-1", "it was ended")
    about = await scene.ended()
    assert (about["format"], about["robot"], about["voice"], about["ended"]) == (1, "lab-1", "mock", "it was ended")
    assert stat.S_IMODE(scene.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((scene.folder / scene.files[0]).stat().st_mode) == 0o600
    [found] = scene.recordings.all
    assert (found.robot, found.seconds) == ("lab-1", about["seconds"])
    assert not scene.recordings.end("lab-1", "again")


@pytest.mark.parametrize("why", ["the persona permits it no more", "it was 15 min long", "the conversation has ended"])
async def test_it_ends_by_itself(scene, why):
    await scene.recordings.begin(scene.robot)
    await scene.running.desk.until(lambda: scene.running.core.recorded)
    match why.split()[1]:
        case "persona":
            scene.permitted = False
        case "was":
            scene.later_s = LIMIT_S
        case _:
            scene.running.desk.switch_off()
            await scene.running.task
    assert (await scene.ended())["ended"] == why


async def test_a_gateway_that_stops_finishes_it(scene):
    await scene.recordings.begin(scene.robot)
    await scene.recordings.close()
    assert (await scene.ended())["ended"] == "the gateway stops"


async def test_what_cannot_be_is_said(scene, monkeypatch):
    with pytest.raises(OfficeError, match="GATEWAY_RECORDINGS_DIR"):
        await scene.made(None).begin(scene.robot)
    scene.permitted = False
    with pytest.raises(OfficeError, match="recordings = true"):
        await scene.recordings.begin(scene.robot)
    scene.permitted = True
    scene.folder.parent.joinpath("file").write_text("")
    with pytest.raises(OfficeError, match="Not a directory"):
        await scene.made(scene.folder.parent / "file" / "below").begin(scene.robot)
    monkeypatch.setattr(module, "FREE_BYTES", 1 << 60)
    with pytest.raises(OfficeError, match="MB left"):
        await scene.recordings.begin(scene.robot)
    monkeypatch.undo()
    await scene.recordings.begin(scene.robot)
    with pytest.raises(OfficeError, match="one at a time"):
        await scene.recordings.begin(scene.robot)


async def test_a_disk_that_fails_ends_it_and_it_is_said(scene):
    lost = []
    scene.recordings.on_lost = lambda robot, words: lost.append((robot, words))
    await scene.recordings.begin(scene.robot)
    going_on = scene.recordings._going_on
    going_on._sound.unlink()
    going_on._sound.mkdir()
    await scene.until(lambda: lost)
    assert scene.recordings.robot is None
    assert lost[0][0] == "lab-1"
    assert "is lost" in lost[0][1]
    assert "lab-1" in scene.hub.robots


async def test_what_was_written_before_the_disk_was_full_is_kept(scene, monkeypatch):
    await scene.recordings.begin(scene.robot)
    going_on = scene.recordings._going_on
    await asyncio.to_thread(going_on.write, b"\1\0\2\0" * 16000, "")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(going_on, "write", full)
    about = await scene.ended()
    assert (about["seconds"], "No space" in about["ended"]) == (1.0, True)


async def test_a_robot_that_could_not_show_it_is_not_recorded(scene):
    hello = scene.robot.peer.hello
    scene.robot.peer.hello = hello.model_copy(update={"shows_recording": None})
    with pytest.raises(OfficeError, match="could not show"):
        await scene.recordings.begin(scene.robot)


async def test_what_is_old_is_deleted_and_what_is_no_recording_is_let_be(scene):
    scene.folder.mkdir()
    names = [f"lab-1-202611{day:02}-093000.zip" for day in range(1, 21)]
    others = ("notes.txt", "lab-1.zip", ".mine.zip", ".mine.pcm")
    for name in (*names, *others, ".lab-1-20261101-093000.pcm"):
        (scene.folder / name).write_bytes(b"x" * 5000)
    old = time.time() - KEEP_S - 10
    for name in (*names[:2], *others, ".lab-1-20261101-093000.pcm"):
        os.utime(scene.folder / name, (old, old))
    (scene.folder / "lab-2-20261120-093000.zip").symlink_to("/etc/passwd")
    (scene.folder / "lab-3-20261120-093000.zip").symlink_to("nowhere")
    await scene.recordings.sweep()
    kept = [it.id for it in scene.recordings.all]
    assert kept == [name.removesuffix(".zip") for name in reversed(names)][:KEPT_MAX]
    assert set(scene.files) == {*(f"{it}.zip" for it in kept), *others, *(f"lab-{n}-20261120-093000.zip" for n in (2, 3))}
    piece, size = await scene.recordings.piece(kept[0], 4000)
    assert (piece, size) == (b"x" * 1000, 5000)
    for wrong in ("lab-2-20261120-093000", "lab-9-20261120-093000", "../gateway/self", "notes", ""):
        with pytest.raises(OfficeError):
            await scene.recordings.piece(wrong, 0)
