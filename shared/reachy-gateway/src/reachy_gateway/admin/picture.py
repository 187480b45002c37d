"""How the robots of a gateway stand at a moment, read from the gateway when somebody asks."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np

from reachy_gateway.admin.desk import Desk, Kept
from reachy_gateway.admin.office import Office, Spending
from reachy_gateway.admin.watcher import Picture
from reachy_gateway.hub import Hub
from reachy_gateway.robot import Robot
from reachy_gateway.stats import RobotStats
from reachy_gateway.talk.speech_gate import dbfs
from reachy_link.admin import KEY_START, Levels, Recording, Row
from reachy_link.causes import LinkCause
from reachy_link.keys import Keyring

LOST: Final = frozenset({"gap", "late", "queue_full", "flood"})
"""Causes in the tally that cost audio. Chunks that the robot dropped are added."""
REFUSED_S: Final = 8.0
"""A robot whose hello was refused asks again within this time."""
FAULTS_OF: Final = "fault"
NO_STATS: Final = RobotStats()
State = Literal["absent", "away", "starting", "listening", "thinking", "speaking", "reconnecting", "refused"]


class View:
    """What consoles can see of a gateway.

    Args:
        now: The time of day at the gateway's start, in seconds since 1970.
    """

    def __init__(self, hub: Hub, ring: Keyring, desk: Desk, office: Office, now: float) -> None:
        self._hub = hub
        self._ring = ring
        self._desk = desk
        self._office = office
        self._started = now
        self._keys: dict[str, tuple[str, ...]] = {}
        self._keys_of = -1

    def picture(self, unix: float, recordings: tuple[Recording, ...], recorded: str | None) -> Picture:
        """How everything stands.

        Args:
            unix: The time of day, in seconds since 1970.
            recordings: The recordings that can be fetched.
            recorded: The robot that is being recorded.
        """
        hub, spending = self._hub, self._office.spending()
        drops, faults = _counts(hub.tally.counts)
        rows = {
            name: self._row(name, unix, spending, drops[name], faults[name], keys, recorded=name == recorded)
            for name, keys in self._key_starts().items()
        }
        whole: dict[str, Any] = {
            "software": hub.software[:500],
            "now": unix,
            "started": self._started,
            "here": len(hub.robots),
            "admitted": len(rows),
            "max_robots": hub.max_robots,
            "faults": faults.total(),
            "dollars": float(spending.total),
            "budget": None if spending.budget is None else float(spending.budget),
            "voice": self._office.service()[:500],
            "fleet": hub.fleet.words()[:500] if hub.fleet else "",
        }
        return Picture(whole, rows, self._desk.strangers(), recordings)

    def detail(self, name: str) -> dict[str, Any]:
        """Everything that is kept of a robot, for a console that begins to look at it."""
        robot, kept, permits = self._hub.robots.get(name), self._desk.of(name), self._office.permits(name)
        if not permits.transcripts:
            self._desk.forget_said(name)
        return {
            "body": robot.body if robot else None,
            "may_show": permits.transcripts,
            "may_record": permits.recordings,
            "turns": tuple(kept.turns),
            "said": tuple(kept.said),
            "notes": tuple(kept.notes),
        }

    def levels(self, name: str) -> Levels | None:
        """How loud a robot is now, and its pose; None if the robot is not served."""
        if (robot := self._hub.robots.get(name)) is None:
            return None
        mic_db, speaker_db = _levels(robot, self._hub.now())
        return Levels(robot=name, mic_db=mic_db, speaker_db=speaker_db, pose=robot.limbs.pose)

    def _row(
        self, name: str, unix: float, spending: Spending, drops: int, faults: int, keys: tuple[str, ...], *, recorded: bool
    ) -> Row:
        kept, stats = self._desk.of(name), self._hub.stats.robots.get(name) or NO_STATS
        budget = spending.budgets.get(name)
        robot, now = self._hub.robots.get(name), self._hub.now()
        state, reason, since = self._standing(robot, kept, unix, now)
        mic_db, speaker_db = _levels(robot, now) if robot else (None, None)
        hello, rtt_us = (robot.peer.hello, robot.peer.clock.rtt_us) if robot else (None, None)
        return Row(
            robot=name,
            state=state,
            reason=reason[:500],
            since=since,
            person_speaks=robot is not None and robot.conversation is not None and robot.conversation.gate.speaking,
            software=hello.software if hello else "",
            rtt_ms=None if rtt_us is None else round(rtt_us / 1000, 1),
            mic_db=mic_db,
            speaker_db=speaker_db,
            turn=kept.turns[-1] if kept.turns else None,
            p50_ms=kept.p50_ms,
            turns=stats.turns[True] + stats.turns[False],
            cut=stats.turns[False],
            underruns=stats.underruns,
            drops=drops + sum(stats.robot_drops.values()),
            faults=faults,
            dollars=float(spending.robots.get(name, 0)),
            budget=None if budget is None else float(budget),
            keys=keys,
            recording=recorded,
        )

    def _standing(self, robot: Robot | None, kept: Kept, unix: float, now: float) -> tuple[State, str, float | None]:
        """A robot's state, the reason for it, and since when."""
        if robot is None:
            if kept.refused and unix - kept.refused[0] < REFUSED_S:
                return "refused", kept.refused[1], round(kept.refused[0], 1)
            return "absent", kept.left, kept.changed_at
        conversation = robot.conversation
        if robot.away:
            return "away", "", round(unix - robot.peer.silent_s(now, self._hub.stalled_s), 1)
        if conversation is None or conversation.phase is None or conversation.told_at is None:
            return "starting", "", kept.changed_at
        return conversation.phase, conversation.reason, round(unix - (now - conversation.told_at), 1)

    def _key_starts(self) -> dict[str, tuple[str, ...]]:
        """The first characters of each robot's keys. Computed again when the admitted keys change."""
        if self._keys_of != self._ring.changes:
            self._keys_of = self._ring.changes
            self._keys = {robot: tuple(key[:KEY_START] for key in keys) for robot, keys in self._ring.robots.items()}
        return self._keys


def _counts(counts: Mapping[tuple[LinkCause, str], int]) -> tuple[Counter[str], Counter[str]]:
    """By robot: how much was lost, and how many bugs in the gateway were met."""
    drops, faults = Counter[str](), Counter[str]()
    for (cause, peer), count in counts.items():
        if cause in LOST:
            drops[peer] += count
        elif cause == FAULTS_OF:
            faults[peer] += count
    return drops, faults


def _levels(robot: Robot, now: float) -> tuple[float | None, float | None]:
    """The levels of the newest 20 ms: of the mic if chunks arrive, and of the speaker if the robot speaks."""
    mic = robot.heard_pcm if robot.peer.mic_arrives(now) else b""
    sounds = robot.conversation is not None and robot.conversation.phase == "speaking"
    return _level(mic), _level(robot.sound_pcm if sounds else b"")


def _level(pcm: bytes) -> float | None:
    return round(dbfs(np.frombuffer(pcm, "<i2"))) if pcm else None
