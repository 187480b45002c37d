"""The sound and the body of a robot that is a page: ports of ``reachy_robot`` over what a page is sent and sends."""

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
"""Messages of sound that wait for the page's socket, 2 s; beyond it the oldest are dropped: the page reads too slowly."""
TEXT_MAX: Final = 200
"""Other messages that wait; a page that leaves more is hung up on."""
MIC_MAX: Final = 50
"""Chunks of the microphone that wait for the runner, 1 s; the oldest are dropped."""
PAGE_GONE_S: Final = 10.0
"""A page that was reloaded, or whose network blinked, finds its robot for so long."""
POSE_EVERY: Final = 2
"""Of the poses, 50 a second, the page is sent one in so many."""
POSE_STEP: Final = 0.05
"""In degrees and mm: less is no change."""


class Page:
    """What waits to be sent to one page. Bounded; who fills it never waits."""

    def __init__(self) -> None:
        self._texts: deque[ConsoleMessage] = deque()
        self._audio: deque[bytes] = deque(maxlen=AUDIO_MAX)
        self._pose: Posed | None = None
        self._more = asyncio.Event()
        self.over = ""
        """Why it is to be hung up on, if it is."""
        self.dropped = 0
        """Messages of sound that found no room."""

    def tell(self, message: ConsoleMessage) -> None:
        """Send it, after what waits; before sound that waits."""
        if len(self._texts) >= TEXT_MAX:
            self.hang_up("the page reads too slowly")
        else:
            self._texts.append(message)
        self._more.set()

    def hang_up(self, why: str) -> None:
        """End it."""
        self.over = self.over or why
        self._more.set()

    def play(self, pcm: bytes) -> None:
        """Send sound."""
        self.dropped += len(self._audio) == AUDIO_MAX
        self._audio.append(pcm)
        self._more.set()

    def hush(self) -> None:
        """Drop the sound that waits, and have the page drop its own; what is played after this is heard."""
        self._audio.clear()
        self.tell(Hush())

    def show(self, pose: Posed) -> None:
        """Send the pose; one that waits is out of date."""
        self._pose = pose
        self._more.set()

    async def next(self) -> ConsoleMessage | bytes | None:
        """What is to be sent next; None if it is to be hung up on."""
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
    """The microphone and the speaker of whichever page the robot is at. Mono, at the page's own rate."""

    lead_ms = 80

    def __init__(self, rate_hz: int) -> None:
        self.mic = self.speaker = Format(rate_hz=rate_hz, channels=1)
        self.page: Page | None = None
        self._gone_at = 0.0
        self._heard: deque[Samples] = deque(maxlen=MIC_MAX)
        self._more = asyncio.Event()
        self.ended = False
        """Whether its microphone has ended for good."""
        self._plays_until = 0.0

    def attach(self, page: Page | None) -> None:
        """Be at this page from now on, or at none for a while."""
        self.page, self._gone_at = page, time.monotonic()
        self._more.set()

    def hear(self, pcm: bytes) -> None:
        """What the page's microphone heard."""
        self._heard.append(from_pcm16(pcm, 1))
        self._more.set()

    def end(self) -> None:
        """End the microphone, and so the robot: it says goodbye."""
        self.ended = True
        self._more.set()

    async def open(self) -> None:
        """It is open with the page."""

    async def record(self) -> AsyncIterator[Samples]:
        """The page's microphone; ends with the page."""
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
        """Send sound to the page."""
        now = time.monotonic()
        self._plays_until = max(self._plays_until, now) + len(samples) / self.speaker.rate_hz
        if self.page:
            self.page.play(to_pcm16(samples))

    def queued_ms(self) -> float:
        """What the page has yet to play, by the clock of this machine."""
        return max(0.0, self._plays_until - time.monotonic()) * 1000

    def hush(self) -> None:
        """Silence the page."""
        self._plays_until = 0.0
        if self.page:
            self.page.hush()

    def notice(self, moment: Moment) -> None:
        """A page shows how the robot stands, and needs none of it."""

    async def close(self) -> None:
        """The page stays: it may ask for a robot again."""


class BrowserBody:
    """A body that the page draws.

    Args:
        device: Where the page is.
    """

    def __init__(self, device: BrowserDevice) -> None:
        self._device = device
        self._n = 0
        self._shown: Pose | None = None
        self._shown_to: Page | None = None

    async def open(self) -> Pose:
        """A page's robot lies asleep until it has a gateway."""
        return ASLEEP

    def target(self, pose: Pose) -> None:
        """Show it."""
        page = self._device.page
        self._n += 1
        if page is None or self._n % POSE_EVERY:
            return
        changed = self._shown is None or page is not self._shown_to
        if changed or np.abs(np.subtract(pose, self._shown or NEUTRAL)).max() > POSE_STEP:
            self._shown, self._shown_to = pose, page
            page.show(Posed(pose=tuple(round(value, 2) for value in pose)))

    def heard_deg(self) -> float | None:
        """A page does not know where its person is."""
        return None

    async def close(self) -> None:
        """Nothing to let go of."""
