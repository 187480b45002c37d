"""A robot's core with a device and a gateway that a test plays."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np

from reachy_link.address import Address
from reachy_link.messages import (
    BeatDown,
    Down,
    Mic,
    Played,
    Speaker,
    Up,
    Welcome,
)
from reachy_link.pcm import Format, Samples, to_pcm16
from reachy_link.wire import check_audio, pack_up, unpack_up
from reachy_robot.core import RobotCore
from reachy_robot.decisions import Hush, Log, Out, Play, Profile, Say, Send

STEREO = Format(rate_hz=16000, channels=2)
BOOT, OTHER_BOOT = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"
GATEWAY, NEW_GATEWAY = "1111111111111111", "2222222222222222"
CHUNK_MS = 20
LEAD_MS = 40

M = TypeVar("M", bound=Up)
K = TypeVar("K", bound=Out)


class Rig:
    """A core, the device that it feeds, and the gateway that it talks to."""

    def __init__(
        self,
        *,
        lead_ms: int = LEAD_MS,
        tail_ms: int | None = None,
        show_transcripts: bool = False,
        addresses: Sequence[Address] = (),
        remembered: Sequence[Address] = (),
        device: bool = True,
    ) -> None:
        self.now = 50.0
        profile = Profile("reachy-1", BOOT, STEREO, STEREO, lead_ms, "test", tail_ms, show_transcripts)
        self.core = RobotCore(profile, self.now, addresses, remembered)
        self.queued_ms = 0.0
        self.out: list[tuple[float, Out]] = []
        self._told = 0
        if device:
            self.open_device()

    def open_device(self) -> None:
        self.take(self.core.device(self.now, there=True))

    def lose_device(self) -> None:
        self.queued_ms = 0.0
        self.take(self.core.device(self.now, there=False))

    def take(self, out: Sequence[Out]) -> list[Out]:
        for item in out:
            self.out.append((self.now, item))
            assert self.core.has_device or not isinstance(item, Play | Hush | Say), "audio without a device to play it on"
            match item:
                case Play(samples):
                    self.queued_ms += STEREO.ms(len(samples))
                case Hush():
                    self.queued_ms = 0.0
                case Send(message, payload):
                    assert unpack_up(pack_up(message, payload)) == (message, payload)
                    check_audio(message, payload, STEREO)
        return list(out)

    def tell(self, kind: type[Down], payload: bytes = b"", **fields: object) -> list[Out]:
        """Send the robot a message from the gateway."""
        header = {"robot": "reachy-1", "boot": GATEWAY, "seq": self._told, "t_us": int(self.now * 1e6) + 9_000_000_000}
        self._told += 1
        return self.take(self.core.down(kind(**header | fields), payload, self.now, self.queued_ms))

    def welcome(self, **fields: object) -> list[Out]:
        return self.tell(Welcome, **{"to_boot": BOOT, "software": "gateway 1"} | fields)

    def speaker(self, turn: int, level: float = 0.5, count: int = 1, **fields: object) -> None:
        """Send speaker chunks. A turn is recognised by its level."""
        for _ in range(count):
            payload = to_pcm16(np.full((320, 2), level, np.float32))
            self.tell(Speaker, payload, turn=turn, samples=320, **fields)

    def run(self, seconds: float, *, beats: bool = True, mic: bool = False, acks: bool = True) -> None:
        """Let time pass in ticks of 10 ms. The gateway beats as a real one does."""
        for _ in range(round(seconds * 100)):
            self.now = round(self.now + 0.01, 2)
            self.queued_ms = max(0.0, self.queued_ms - 10)
            if mic:
                self.hear(noise(160))
            if beats and self._told and round(self.now * 100) % (6 if mic else 25) == 0:
                self.tell(BeatDown, ack=self.last_seq() if acks else None)
            self.take(self.core.tick(self.now, self.queued_ms))

    def hear(self, samples: Samples) -> list[Out]:
        return self.take(self.core.mic(samples, self.now))

    def last_seq(self) -> int | None:
        sent = [item.message.seq for _, item in self.out if isinstance(item, Send)]
        return sent[-1] if sent else None

    def of(self, kind: type[K]) -> list[K]:
        return [item for _, item in self.out if isinstance(item, kind)]

    def when(self, item: Out) -> list[float]:
        return [at for at, other in self.out if type(other) is type(item) and other == item]

    def sent(self, kind: type[M]) -> list[M]:
        return [item.message for item in self.of(Send) if isinstance(item.message, kind)]

    def sent_at(self, kind: type[Up]) -> list[float]:
        return [at for at, item in self.out if isinstance(item, Send) and isinstance(item.message, kind)]

    def mic_pcm(self) -> list[bytes]:
        return [item.payload for item in self.of(Send) if isinstance(item.message, Mic)]

    def levels(self) -> list[float]:
        """The level at the end of each played piece, without concealment."""
        return [round(float(item.samples[-1, 0]), 2) for item in self.of(Play) if len(item.samples) == 320]

    def words(self, *, warning: bool | None = None) -> list[str]:
        return [item.words for item in self.of(Log) if warning in (None, item.warning)]

    def forget(self) -> None:
        """Forget what was put out so far."""
        self.out.clear()


def noise(n: int, seed: int = 1) -> Samples:
    return np.random.default_rng(seed).normal(0, 0.1, (n, 2)).astype(np.float32)


def connected(**options: object) -> Rig:
    rig = Rig(**options)
    rig.run(0.01)
    rig.welcome()
    rig.forget()
    return rig


def pauses(times: list[float]) -> list[float]:
    return [round(b - a, 3) for a, b in pairwise(times)]


def reports(rig: Rig) -> list[tuple[int, int, bool, int]]:
    return [(report.turn, report.played_ms, report.complete, report.underruns) for report in rig.sent(Played)]
