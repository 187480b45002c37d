"""The microphone: regroups samples, sends only what the link can take in time, notices a broken microphone. Pure."""

from dataclasses import replace
from typing import Final

import numpy as np

from reachy_link.causes import RobotCause
from reachy_link.messages import Activity, Mic
from reachy_link.pcm import CHUNK_MS, LONG_CHUNK_MS, Samples, to_pcm16
from reachy_link.tally import Tally
from reachy_robot.complaints import Complaints
from reachy_robot.decisions import Log, Out, Profile
from reachy_robot.sender import Sender
from reachy_robot.window import AckWindow

SILENT_MIC_S: Final = 10.0
"""A microphone that gives only zeros for this long is broken: a real one has noise."""
RETELL_S: Final = 4.0
"""The person's last mark (start or end of a turn) is sent again for this long, with each beat: a gap that is too short to count
as a loss may swallow it."""


class Microphone:
    """The audio from the microphone to the gateway. Holds less than a chunk between two reads."""

    def __init__(self, profile: Profile, sender: Sender, tally: Tally[RobotCause], complaints: Complaints) -> None:
        self.window = AckWindow()
        self._chunk_ms = CHUNK_MS
        self._profile = profile
        self._sender = sender
        self._tally = tally
        self._complaints = complaints
        self._pending = np.zeros((0, profile.mic.channels), np.float32)
        self._zeros_since: float | None = None
        self._silent = False
        self._activity: str | None = None
        """Manual VAD: the person's last mark, if any."""
        self._activity_at = float("-inf")

    def wanted(self, mic_ms: int | None) -> None:
        """Set how much audio a message has, as the gateway asks: 40 ms if it wants at least that, else the usual 20."""
        self._chunk_ms = LONG_CHUNK_MS if mic_ms and mic_ms >= LONG_CHUNK_MS else CHUNK_MS

    def regroup(self, samples: Samples) -> list[Samples]:
        """Add samples; returns the chunks that are complete."""
        self._pending = np.concatenate([self._pending, samples]) if len(self._pending) else samples
        n = self._profile.mic.chunk_samples(self._chunk_ms)
        whole = len(self._pending) - len(self._pending) % n
        chunks = [self._pending[start : start + n] for start in range(0, whole, n)]
        self._pending = self._pending[whole:]
        return chunks

    def send(self, chunk: Samples, now: float, rtt_s: float, spoke_until: float) -> list[Out]:
        """Send a chunk to a gateway that listens; ``spoke_until`` is when the robot's speech ends at the speaker."""
        if not self.window.admits(now, rtt_s):
            self._tally.count("window")
            if self._complaints.are_news("dropped", "the microphone"):
                words = "the link is too slow for live speech, or the gateway is gone: dropping audio that would arrive late"
                return [Log(words, warning=True)]
            return []
        tail_ms = self._profile.half_duplex_tail_ms
        pressed = self._activity == "start"  # a person who holds the button interrupts, and is heard from the first word on
        if tail_ms is not None and now < spoke_until + tail_ms / 1000 and not pressed:
            chunk = np.zeros_like(chunk)
        message = self._sender.make(Mic, now, samples=len(chunk))
        self.window.sent(message.message.seq, now)
        return [replace(message, payload=to_pcm16(chunk))]

    def notice_silence(self, samples: Samples, now: float) -> list[Out]:
        """Notice a microphone that gives only zeros."""
        if not len(samples):
            return []
        if np.count_nonzero(samples):
            self._zeros_since = None
            if self._silent:
                self._silent = False
                return [Log("the microphone is heard again")]
        elif self._zeros_since is None:
            self._zeros_since = now
        elif now - self._zeros_since > SILENT_MIC_S and not self._silent:
            self._silent = True
            words = "the microphone gives nothing but zeros: is it muted, or its flat cable loose?"
            words += " (normal for a virtual robot, and for a page with Push to talk)"
            return [Log(words, warning=True)]
        return []

    def device_lost(self) -> None:
        """Drop the incomplete chunk."""
        self._pending = self._pending[:0]
        self._zeros_since = None

    def mark(self, event: str, now: float) -> None:
        """Manual VAD: the person's turn starts or ends."""
        self._activity, self._activity_at = event, now

    def tell_mark(self, now: float, *, again: bool = False) -> list[Out]:
        """Send the person's last mark, if any; ``again`` only while it may have been lost. Receiving it twice does no harm."""
        if self._activity is None or (again and now - self._activity_at >= RETELL_S):
            return []
        return [self._sender.make(Activity, now, event=self._activity)]
