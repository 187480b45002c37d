"""Stores recordings: one file for each, kept for a day. Threads write them, so that no audio waits for the disk."""

import asyncio
import io
import json
import logging
import os
import re
import shutil
import struct
import time
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from reachy_gateway.admin.office import OfficeError
from reachy_gateway.admin.recorder import LIMIT_S, Recorder
from reachy_gateway.feed import ConversationEnded, Feed
from reachy_gateway.robot import Robot
from reachy_gateway.talk.tell import Tell
from reachy_gateway.voice import HEARS_HZ
from reachy_link.admin import PIECE_MAX_BYTES, Note, Recording, Turn
from reachy_link.messages import Acted, Flush, Sense, Speaker, State, Transcript, Up

log = logging.getLogger(__name__)

KEEP_S: Final = 86400.0
KEPT_MAX: Final = 16
"""How many recordings are kept. Beyond this the oldest is deleted."""
FREE_BYTES: Final = 300_000_000
"""How much free disk space a new recording needs. The longest one has 58 MB, twice that while its file is made."""
WRITE_S: Final = 1.0
SWEEP_S: Final = 60.0
NAME: Final = re.compile(r"([a-z0-9][a-z0-9-]{0,62})-(\d{8})-(\d{6})\.zip")
LEFT: Final = re.compile(rf"\.{NAME.pattern.removesuffix('zip')}(pcm|jsonl|zip)")
"""Names of files that a killed gateway leaves behind."""
TELLS: Final = (State, Transcript, Flush)
"""The messages to a robot that are written down, besides speaker audio and acts."""


class Recordings:
    """All recordings, and the one that is being made.

    Args:
        directory: The folder; None keeps no recordings.
        feed: Tells when a conversation ends.
        permitted: Whether a robot's persona permits recordings.
        about: Returns what each recording says about the gateway.
        now: A clock, in seconds.
    """

    def __init__(
        self,
        directory: Path | None,
        feed: Feed,
        permitted: Callable[[str], bool],
        about: Callable[[], Mapping[str, Any]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._permitted = permitted
        self._about = about
        self._now = now
        self.on_lost: Callable[[str, str], None] = lambda *_: None
        """Called with a robot whose recording is lost, and why."""
        self._going_on: _GoingOn | None = None
        self._begins = False
        self._ending: asyncio.Task[None] | None = None
        self.all: tuple[Recording, ...] = ()
        """The recordings that can be fetched, the newest first."""
        self._swept = float("-inf")
        feed.read(ConversationEnded, self._conversation_ended)

    @property
    def robot(self) -> str | None:
        """The robot that is being recorded."""
        return self._going_on.robot.peer.robot if self._going_on else None

    async def begin(self, robot: Robot) -> None:
        """Record a robot from now on. The robot shows that it is recorded.

        Raises:
            OfficeError: If that is impossible.
        """
        name = robot.peer.robot
        if self._directory is None:
            raise OfficeError("there is no folder for recordings: set GATEWAY_RECORDINGS_DIR to one that the gateway may write")
        if not self._permitted(name):
            raise OfficeError(
                f"the persona of {name} permits no recordings: set recordings = true in the gateway's robots file"
            )
        if self._going_on or self._ending or self._begins:
            raise OfficeError(f"the recording of {self.robot or 'another robot'} is not finished: one at a time")
        assert robot.peer.hello is not None  # noqa: S101 - a robot is made by its hello
        if not robot.peer.hello.shows_recording:
            raise OfficeError(f"{name} could not show that it is recorded: upgrade its software")
        self._begins = True
        try:
            going_on = _GoingOn(self._directory, robot, self._now, self._about())
            await asyncio.to_thread(going_on.open)
        except OSError as error:
            raise OfficeError(f"GATEWAY_RECORDINGS_DIR={self._directory}: {error}") from None
        finally:
            self._begins = False
        if robot.conversation is None:
            await asyncio.to_thread(going_on.remove)
            raise OfficeError(f"the conversation of {name} has just ended")
        self._going_on = going_on
        robot.record(self._going_on)
        self._going_on.writing = asyncio.get_running_loop().create_task(self._write(self._going_on), name="recording")

    def end(self, robot: str, why: str) -> bool:
        """End a robot's recording. Returns false if the robot is not recorded."""
        going_on = self._going_on
        if going_on is None or going_on.robot.peer.robot != robot:
            return False
        self._going_on = None
        going_on.robot.record(None)
        going_on.over.set()
        self._ending = asyncio.get_running_loop().create_task(self._finish(going_on, why), name="end of a recording")
        return True

    async def close(self) -> None:
        """Finish the recording that is being written."""
        if self.robot:
            self.end(self.robot, "the gateway stops")
        if self._ending:
            await asyncio.wait([self._ending], timeout=5.0)

    async def sweep(self) -> None:
        """Delete old recordings, and list the others. It does so at most once every ``SWEEP_S``."""
        if self._directory and self._now() - self._swept >= SWEEP_S:
            self._swept = self._now()
            self.all = await asyncio.to_thread(_swept, self._directory)

    async def piece(self, recording: str, offset: int) -> tuple[bytes, int]:
        """A piece of a recording, and the size of the whole file.

        Raises:
            OfficeError: If there is no such recording.
        """
        if self._directory is None or not NAME.fullmatch(f"{recording}.zip"):
            raise OfficeError("there is no such recording")
        try:
            return await asyncio.to_thread(_piece, self._directory / f"{recording}.zip", offset)
        except OSError:
            raise OfficeError("there is no such recording any more: they are kept for a day") from None

    def happened(self, robot: str, item: Turn | Note) -> None:
        """Take note of a turn, or a note, of a robot."""
        if self._going_on and robot == self.robot:
            self._going_on.happened(type(item).__name__.lower(), item.model_dump(exclude={"at"}))

    def _conversation_ended(self, it: ConversationEnded) -> None:
        self.end(it.robot, "the conversation has ended")

    async def _write(self, going_on: "_GoingOn") -> None:
        name = going_on.robot.peer.robot
        while not going_on.over.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(WRITE_S):
                    await going_on.over.wait()
            try:
                await asyncio.to_thread(going_on.write, *going_on.recorder.take(self._now()))
            except OSError as error:
                self.end(name, f"it could not be written: {error}")
            if going_on.recorder.is_full(self._now()):
                self.end(name, f"it was {LIMIT_S / 60:.0f} min long")
            elif not self._permitted(name):
                self.end(name, "the persona permits it no more")

    async def _finish(self, going_on: "_GoingOn", why: str) -> None:
        try:
            if going_on.writing:
                await asyncio.wait([going_on.writing])
            await asyncio.to_thread(going_on.finish, *going_on.recorder.take(self._now(), to_the_end=True), why)
            log.info("%s: the recording %s has ended: %s", going_on.robot.peer.robot, going_on.id, why)
        except OSError as error:
            log.warning("the recording of %s is lost: %s", going_on.robot.peer.robot, error)
            self.on_lost(going_on.robot.peer.robot, f"the recording is lost: {error}")
        finally:
            self._ending = None
            self._swept = float("-inf")
            await self.sweep()


class _GoingOn:
    """The recording that is being made: a ``Tap`` of its robot, and the files that it is made from."""

    def __init__(self, directory: Path, robot: Robot, now: Callable[[], float], about: Mapping[str, Any]) -> None:
        began = datetime.now(UTC)
        hello = robot.peer.hello
        assert hello is not None  # noqa: S101 - a robot is made by its hello
        self.robot = robot
        self.id = f"{robot.peer.robot}-{began:%Y%m%d-%H%M%S}"
        self.recorder = Recorder(hello.speaker, now())
        self.writing: asyncio.Task[None] | None = None
        self.over = asyncio.Event()
        self._now = now
        self._directory = directory
        self._path = directory / f"{self.id}.zip"
        self._sound, self._events = directory / f".{self.id}.pcm", directory / f".{self.id}.jsonl"
        self._about = {"robot": robot.peer.robot, "began": began.isoformat(), "robot_software": hello.software, **about}

    def open(self) -> None:
        """Make the files. Runs in a thread.

        Raises:
            OfficeError: If the disk is too full.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (free := shutil.disk_usage(self._directory).free) < FREE_BYTES:
            raise OfficeError(f"the disk has {free / 1e6:.0f} MB left: a recording needs {FREE_BYTES / 1e6:.0f}")
        for path in (self._sound, self._events):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))

    def remove(self) -> None:
        """Delete the files. Runs in a thread."""
        for path in (self._sound, self._events):
            with suppress(OSError):
                path.unlink()

    def heard(self, pcm: bytes) -> None:
        """Take what the voice hears."""
        self.recorder.heard(pcm, self._now())

    def up(self, message: Up) -> None:
        """Take a message from the robot."""
        if isinstance(message, Sense) and message.pose:
            self.happened("pose", {"pose": message.pose})
        elif isinstance(message, Acted):
            self.happened("acted", message.model_dump(include={"id", "outcome", "reason"}))

    def down(self, tell: Tell) -> None:
        """Take a message to the robot."""
        if tell.kind is Speaker:
            self.recorder.sounded(tell.fields["turn"], tell.payload, self._now())
            return
        if tell.kind is Flush:
            self.recorder.flushed(self._now())
        kind = str(tell.kind.model_fields["kind"].default)
        if tell.kind in TELLS or kind in ("act", "cancel"):
            kind = "said" if tell.kind is Transcript else kind
            self.happened(kind, {key: value for key, value in tell.fields.items() if key != "to_boot"})

    def happened(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Write an event down."""
        self.recorder.happened(kind, fields, self._now())

    def write(self, pcm: bytes, lines: str) -> None:
        """Append to the files. Runs in a thread."""
        with self._sound.open("ab") as sound, self._events.open("a", encoding="utf-8", errors="backslashreplace") as events:
            sound.write(pcm)
            events.write(lines)

    def finish(self, pcm: bytes, lines: str, why: str) -> None:
        """Make the one file of the recording. Runs in a thread."""
        partial = self._path.with_name(f".{self._path.name}")
        try:
            with suppress(OSError):  # what was written before is still worth keeping
                self.write(pcm, lines)
            size = self._sound.stat().st_size // 4 * 4
            about = {"format": 1, **self._about, "ended": why, "seconds": round(size / 4 / HEARS_HZ, 2)}
            about |= {"rate_hz": HEARS_HZ, "channels": ["person", "robot"], "lost_samples": self.recorder.lost_samples}
            handle = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "w+b") as file, zipfile.ZipFile(file, "w") as pack:
                pack.writestr("about.json", json.dumps(about, indent=2, ensure_ascii=False))
                pack.write(self._events, "events.jsonl")
                with pack.open("sound.wav", "w", force_zip64=False) as sound, self._sound.open("rb") as raw:
                    sound.write(_wav_head(size))
                    while piece := raw.read(min(PIECE_MAX_BYTES, size)):
                        sound.write(piece)
                        size -= len(piece)
            partial.replace(self._path)
        finally:
            self.remove()
            with suppress(OSError):
                partial.unlink()


def _wav_head(size: int) -> bytes:
    """A WAV header for PCM16 in stereo at 16 kHz."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, HEARS_HZ, HEARS_HZ * 4, 4, 16)
    return struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + form + struct.pack("<4sI", b"data", size)


def _swept(directory: Path) -> tuple[Recording, ...]:
    """The recordings that are kept, the newest first. Older ones, and the remains of a killed gateway, are deleted."""
    found: list[tuple[float, Path, re.Match[str]]] = []
    with suppress(OSError):
        for path in directory.iterdir():
            with suppress(OSError):
                at = path.lstat().st_mtime
                match = NAME.fullmatch(path.name)
                if path.is_symlink() or not path.is_file():
                    continue
                left = LEFT.fullmatch(path.name) and time.time() - at > 2 * LIMIT_S
                if left or (match and time.time() - at > KEEP_S):
                    path.unlink(missing_ok=True)
                elif match:
                    found.append((at, path, match))
    found.sort(key=lambda it: it[1].name.rsplit("-", 2)[1:], reverse=True)
    for _, path, _ in found[KEPT_MAX:]:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    out = []
    for at, path, match in found[:KEPT_MAX]:
        with suppress(OSError):
            size = path.stat().st_size
            seconds = max(0.0, (size - 1000) / 4 / HEARS_HZ)
            with suppress(KeyError, ValueError, zipfile.BadZipFile), zipfile.ZipFile(path) as pack:
                seconds = float(json.loads(pack.read("about.json"))["seconds"])
            out.append(Recording(id=path.stem, robot=match[1], at=at, seconds=seconds, size_bytes=size))
    return tuple(out)


def _piece(path: Path, offset: int) -> tuple[bytes, int]:
    with io.FileIO(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)) as file:
        return os.pread(file.fileno(), PIECE_MAX_BYTES, offset), os.fstat(file.fileno()).st_size
