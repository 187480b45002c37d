"""The speaker: the samples for the device, the effect of a flush, and the report of each turn. Pure."""

from collections import deque
from typing import Final

import numpy as np

from reachy_link.messages import Played
from reachy_link.pcm import Samples, from_pcm16
from reachy_robot.decisions import Hush, Log, Notice, Out, Play, Profile, TurnSummary
from reachy_robot.playout import Playout, TurnReport
from reachy_robot.sender import Sender
from reachy_robot.sound import Moment

LOUD_RMS: Final = 0.12
"""Speech of this level moves the head to its limit."""
LEVELS_MAX: Final = 300
"""Levels of the audio in the device: 3 s at the usual pace. The oldest are forgotten."""
RAMP_MS: Final = 20
"""A change of volume takes this long; an immediate change would click."""
SUMMARY_MAX: Final = 1000
"""Turns remembered for the summary; the oldest are forgotten."""


class Gain:
    """The volume of speech in percent; it changes by a ramp."""

    def __init__(self, rate_hz: int) -> None:
        self.percent = 100.0
        self._ramp = rate_hz * RAMP_MS // 1000
        self._at = 1.0

    def apply(self, samples: Samples) -> Samples:
        """The samples at the set volume: half the percentage is 9 dB less."""
        wanted = (self.percent / 100.0) ** 1.5
        if wanted == self._at == 1.0:
            return samples
        out = samples * np.float32(wanted)
        if wanted != self._at:
            n = min(len(samples), self._ramp)
            out[:n] = samples[:n] * np.linspace(self._at, wanted, n, dtype=np.float32)[:, None]
            self._at = wanted
        return out


class Playback:
    """The speech from the gateway to the device, around :class:`~reachy_robot.playout.Playout`."""

    def __init__(self, profile: Profile, sender: Sender) -> None:
        self.playout = Playout(profile.speaker, profile.lead_ms)
        self.gain = Gain(profile.speaker.rate_hz)
        self.spoke_until = float("-inf")
        """When the robot's speech ends at the speaker."""
        self.heard_us: int | None = None
        """When the person stopped speaking, on the robot's clock, as told by the gateway; None once the robot has answered."""
        self.summary: deque[TurnSummary] = deque(maxlen=SUMMARY_MAX)
        self._speaker = profile.speaker
        self._sender = sender
        self._arrived_us: dict[int, int] = {}
        self._started_us: dict[int, int] = {}
        self._cut_us: dict[int, int] = {}
        self._torn = 0
        """The turn that a loss of the link has cut; the rest of it may come once the link is back."""
        self._ending: list[TurnReport] = []
        self._levels: deque[tuple[float, float, float]] = deque(maxlen=LEVELS_MAX)
        """For each piece: when it begins and ends at the speaker, and how loud it is."""

    def level(self, now: float) -> float | None:
        """The loudness of the robot's speech now, 0 to 1; None if the robot is silent."""
        while self._levels and self._levels[0][1] < now:
            self._levels.popleft()
        if not self._levels:
            return None
        begins, _, level = self._levels[0]
        return level if begins <= now else 0.0

    @property
    def busy(self) -> bool:
        """Whether a turn is in the queue or still sounds."""
        return self.playout.active or bool(self._ending)

    def push(self, turn: int, payload: bytes, now: float) -> None:
        """Take a chunk."""
        if self.playout.push(turn, from_pcm16(payload, self._speaker.channels)):
            self._arrived_us.setdefault(turn, int(now * 1e6))

    def play(self, now: float, queued_ms: float) -> list[Out]:
        """Everything that is due by now; ``queued_ms`` is the audio that the device has yet to play."""
        out: list[Out] = []
        for samples in self.playout.due(queued_ms):
            begins = now + queued_ms / 1000
            queued_ms += self._speaker.ms(len(samples))
            loud = float(np.sqrt(np.mean(np.square(samples)))) if len(samples) else 0.0
            self._levels.append((begins, now + queued_ms / 1000, min(1.0, loud / LOUD_RMS)))
            out.append(Play(self.gain.apply(samples)))
        self._started_us |= {turn: int((now + before_ms / 1000) * 1e6) for turn, before_ms in self.playout.begun}
        self.playout.begun.clear()
        if queued_ms > 0:
            self.spoke_until = now + queued_ms / 1000
        self._ending += self.playout.finished
        self.playout.finished.clear()
        if self._ending and (queued_ms <= 0 or self.playout.active or not self._ending[-1].complete):
            reports, self._ending = self._ending, []
            for report in reports:
                out += self._ended(report, now)
        return out

    def cut(self, now: float) -> list[Out]:
        """End every turn: the rest of the device's audio is not heard either."""
        for report in self._ending:
            report.complete = False
        return self.play(now, 0.0)

    def flush(self, floor: int, now: float, queued_ms: float) -> list[Out]:
        """Drop all turns below the floor.

        Audio that the device still holds belongs to the turns that it got last.
        """
        if not self.playout.flush(floor):
            return []
        self._levels.clear()
        flushed, self.playout.finished = self.playout.finished, []
        self._ending += flushed
        for report in reversed(self._ending):
            unheard_ms = min(queued_ms, report.played_ms)
            if unheard_ms > 0 or (report.played_ms > 0 and report in flushed):
                self._cut_us[report.turn] = int(now * 1e6)
            queued_ms -= unheard_ms
            report.played_ms -= unheard_ms
            report.complete = report.complete and unheard_ms == 0
        return [Hush()]

    def link_lost(self, now: float) -> list[Out]:
        """The gateway no longer serves this robot."""
        hush: list[Out] = [Hush()] if self.playout.reset() else []
        self._levels.clear()
        self._torn = max((report.turn for report in self.playout.finished), default=self._torn)
        return hush + self.cut(now)

    def forget_gateway(self) -> None:
        """Forget the gateway's turns: a gateway that has restarted counts turns from the start."""
        self.heard_us = None
        self._torn = 0

    def _ended(self, report: TurnReport, now: float) -> list[Out]:
        """Report a turn that has ended at the speaker."""
        arrived_us = self._arrived_us.pop(report.turn, None)
        started_us = self._started_us.pop(report.turn, None)
        cut_us = self._cut_us.pop(report.turn, None)
        latency_ms = None
        if started_us is not None and self.heard_us is not None and started_us >= self.heard_us:
            latency_ms = (started_us - self.heard_us) // 1000
            self.heard_us = None
        told = TurnSummary(
            report.turn,
            latency_ms,
            round(report.played_ms),
            report.underruns,
            round(report.concealed_ms),
            report.complete and report.turn != self._torn,
            arrived_us,
            started_us,
            cut_us,
        )
        self.summary.append(told)
        fields = {name: getattr(told, name) for name in Played.model_fields if hasattr(told, name)}
        words = f"turn {told.turn} {'done' if told.complete else 'cut'}"
        words += f", answered after {latency_ms} ms" if latency_ms is not None else ""
        words += f", played {told.played_ms / 1000:.1f} s"
        out: list[Out] = [Log(words), self._sender.make(Played, now, **fields)]
        if not self.playout.active:
            out.append(Notice(Moment.ANSWERED))
        return out
