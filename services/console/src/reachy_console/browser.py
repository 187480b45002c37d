"""A page as a robot's sound device and body: implements the ports of ``reachy_robot`` with messages to and from the page."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

import numpy as np

from reachy_console.messages import ConsoleMessage, Hush, Posed
from reachy_link.pcm import Format, Samples, from_pcm16, to_pcm16
from reachy_robot.motion.pose import ASLEEP, NEUTRAL, Pose
from reachy_robot.sound import Moment

AUDIO_MAX: Final = 100
"""Audio messages that may wait for the page's socket: 2 s. Beyond this the oldest are dropped: the page reads too slowly."""
TEXT_MAX: Final = 200
"""Other messages that may wait. Beyond this the console closes the page's connection."""
MIC_MAX: Final = 50
"""Microphone chunks that may wait for the runner: 1 s. Beyond this the oldest are dropped."""
PAGE_GONE_S: Final = 10.0
"""How long a robot waits for its page after a reload or a network failure."""
POSE_EVERY: Final = 2
"""The page gets one of this many poses. Poses come 50 times a second."""
POSE_STEP: Final = 0.05
"""Smallest change of a pose that is sent, in degrees and mm."""


class Page:
    """The queue of messages to one page. Bounded; adding a message never waits."""

    def __init__(self) -> None:
        self._texts: deque[ConsoleMessage] = deque()
        self._audio: deque[bytes] = deque(maxlen=AUDIO_MAX)
        self._pose: Posed | None = None
        self._more = asyncio.Event()
        self.over = ""
        """Why the page's connection is to be closed; empty while it stays open."""
        self.taken = False
        """Whether it is closed because another page has its robot."""
        self.dropped = 0
        """Audio messages that were dropped because the queue was full."""

    def tell(self, message: ConsoleMessage) -> None:
        """Queue a message after the other messages and before all audio."""
        if len(self._texts) >= TEXT_MAX:
            self.hang_up("the page reads too slowly")
        else:
            self._texts.append(message)
        self._more.set()

    def hang_up(self, why: str, *, taken: bool = False) -> None:
        """Close the page's connection. ``taken``: another page has its robot."""
        self.over = self.over or why
        self.taken = taken
        self._more.set()

    def play(self, pcm: bytes) -> None:
        """Queue audio."""
        self.dropped += len(self._audio) == AUDIO_MAX
        self._audio.append(pcm)
        self._more.set()

    def hush(self) -> None:
        """Drop the queued audio, and make the page drop its own. Audio that is queued later is heard."""
        self._audio.clear()
        self.tell(Hush())

    def show(self, pose: Posed) -> None:
        """Queue a pose. It replaces a pose that still waits."""
        self._pose = pose
        self._more.set()

    async def next(self) -> ConsoleMessage | bytes | None:
        """Wait for the next message to send; None if the connection is to be closed."""
        while not self.over:
            if self._texts:
                return self._texts.popleft()
            if self._audio:
                return self._audio.popleft()
            if self._pose:
                pose, self._pose = self._pose, None
                return pose
            self._more.clear()
            await self._more.wait()
        return None


class BrowserDevice:
    """The microphone and speaker of the robot's page. Mono, at the page's own rate."""

    lead_ms = 80

    def __init__(self, rate_hz: int) -> None:
        self.mic = self.speaker = Format(rate_hz=rate_hz, channels=1)
        self.page: Page | None = None
        self._gone_at = 0.0
        self._heard: deque[Samples] = deque(maxlen=MIC_MAX)
        self._more = asyncio.Event()
        self.ended = False
        """Whether the microphone has ended for good."""
        self._plays_until = 0.0

    def attach(self, page: Page | None) -> None:
        """Use this page from now on, or wait ``PAGE_GONE_S`` for a page if None."""
        self.page, self._gone_at = page, time.monotonic()
        self._more.set()

    def hear(self, pcm: bytes) -> None:
        """Take audio from the page's microphone."""
        self._heard.append(from_pcm16(pcm, 1))
        self._more.set()

    def end(self) -> None:
        """End the microphone, so that the robot says goodbye and ends."""
        self.ended = True
        self._more.set()

    async def open(self) -> None:
        """Do nothing: the device is open while the page is."""

    async def record(self) -> AsyncIterator[Samples]:
        """The page's microphone audio. It ends by :meth:`end`, or ``PAGE_GONE_S`` after the page has gone."""
        while not self.ended:
            while self._heard:
                yield self._heard.popleft()
            self._more.clear()
            left_s = None if self.page else self._gone_at + PAGE_GONE_S - time.monotonic()
            if left_s is not None and left_s <= 0:
                return
            try:
                async with asyncio.timeout(left_s):
                    await self._more.wait()
            except TimeoutError:
                return

    def play(self, samples: Samples) -> None:
        """Send audio to the page."""
        now = time.monotonic()
        self._plays_until = max(self._plays_until, now) + len(samples) / self.speaker.rate_hz
        if self.page:
            self.page.play(to_pcm16(samples))

    def queued_ms(self) -> float:
        """The audio that the page has yet to play, estimated by this machine's clock."""
        return max(0.0, self._plays_until - time.monotonic()) * 1000

    def hush(self) -> None:
        """Silence the page."""
        self._plays_until = 0.0
        if self.page:
            self.page.hush()

    def notice(self, moment: Moment) -> None:
        """Do nothing: the page shows the robot's state by other messages."""

    async def close(self) -> None:
        """Do nothing: the page stays and may ask for a robot again."""


class BrowserBody:
    """A body that the page draws.

    Args:
        device: The device that knows the page.
    """

    def __init__(self, device: BrowserDevice) -> None:
        self._device = device
        self._n = 0
        self._shown: Pose | None = None
        self._shown_to: Page | None = None

    async def open(self) -> Pose:
        """Return the sleeping pose: a page's robot sleeps until it has a gateway."""
        return ASLEEP

    def target(self, pose: Pose) -> None:
        """Show a pose on the page."""
        page = self._device.page
        self._n += 1
        if page is None or self._n % POSE_EVERY:
            return
        changed = self._shown is None or page is not self._shown_to
        if changed or np.abs(np.subtract(pose, self._shown or NEUTRAL)).max() > POSE_STEP:
            self._shown, self._shown_to = pose, page
            page.show(Posed(pose=tuple(round(value, 2) for value in pose)))

    def heard_deg(self) -> float | None:
        """Return None: a page does not know the person's direction."""
        return None

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""
