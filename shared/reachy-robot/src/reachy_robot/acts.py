"""The gateway's requests to a robot's body, and the robot's reports about them. Pure: time is passed in."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from reachy_link.messages import DANCES_MAX, GESTURES_MAX, Act, Acted, BodyOffer, Cancel, Outcome, Sense
from reachy_robot.decisions import Log, Out, Send
from reachy_robot.motion.composer import Composer, Mood, Situation
from reachy_robot.motion.direction import Direction
from reachy_robot.motion.moves import MOVES, Move
from reachy_robot.motion.pose import Pose
from reachy_robot.sender import Sender

RETELL_S: Final = 4.0
"""The outcome of an act is reported again for this long, with each beat: a message may be lost."""
KEPT_MAX: Final = 64
"""Acts whose outcome is remembered, so that an act that arrives twice is carried out once. The oldest are forgotten."""
DANCE_S: Final = (3.0, 30.0)
"""The shortest and the longest dance that may be asked for."""
ALONE_S: Final = 60.0
"""After this long without a gateway the robot lies down to sleep."""
LOOKS: Final[Mapping[str, tuple[float, float]]] = {
    "ahead": (0.0, 0.0),
    "left": (40.0, 0.0),
    "right": (-40.0, 0.0),
    "up": (0.0, -20.0),
    "down": (0.0, 20.0),
}
"""Yaw and pitch of each direction, in degrees."""
TURNED_S: Final = 30.0
"""How long the robot stays turned to the person."""
ASIDE_DEG: Final = 15.0
"""If the person is no further aside than this, the robot looks at them already."""
SENSE_S: Final = 0.2
"""The shortest time between two reports of the person's direction."""
WATCHED_S: Final = 0.1
"""The shortest time between two reports of the pose, while somebody watches."""
POSE_STEP: Final = 0.2
"""In degrees and mm: a smaller change of the pose is not reported."""
VOLUME: Final = (10.0, 100.0)
"""In percent. Below the lower limit the robot would seem to have gone silent."""


def offer(moves: Mapping[str, Move]) -> BodyOffer:
    """The offer of a body with these moves. Names for which a hello has no room are left out, the last ones first."""
    gestures = tuple(name for name, move in moves.items() if not move.dances)[:GESTURES_MAX]
    dances = tuple(name for name, move in moves.items() if move.dances)[:DANCES_MAX]
    return BodyOffer(gestures=gestures, dances=dances, turns=True, volume=True, manner=True)


OFFER: Final = offer(MOVES)
"""The offer of every body."""


@dataclass(frozen=True, slots=True)
class Manner:
    """The movements that a body makes by itself."""

    breathing: bool = True
    posture: bool = True
    """Show the state of the conversation by a posture."""
    wobble: bool = True
    """Move with the robot's speech."""
    turn: bool = False
    """Turn to the person when they have spoken."""
    sense: bool = False
    """Report the person's direction to the gateway."""
    watch: bool = False
    """Report the body's pose to the gateway, because somebody watches."""


class Acts:
    """The acts of one body. Without a body every act is refused, with a reason.

    Args:
        moves: The gestures and dances of the body, by name.
    """

    def __init__(self, sender: Sender, moves: Mapping[str, Move] = MOVES) -> None:
        self._sender = sender
        self._moves = moves
        self._direction = Direction()
        self._composer: Composer | None = None
        self._gateway: str | None = None
        """The boot of the gateway whose acts are counted."""
        self._told: dict[int, tuple[Outcome, str, float]] = {}
        """The outcome of each act, its reason, and when it was reported."""
        self._going_on: dict[int, tuple[int, int | None]] = {}
        """Current moves by the composer's key: the act's number and, for a gesture, the turn with which it ends. Keys are our
        own, because another gateway may use the same numbers."""
        self._next_key = 0
        self._alone_since: float | None = None
        self.mood: Mood = "alone"
        self.person_speaks = False
        self.volume_percent = VOLUME[1]
        self._manner = Manner()
        self._sensed: tuple[int | None, float] = None, 0.0
        """The direction that was reported last, and when."""
        self._shown: tuple[Pose | None, float] = None, 0.0
        """The pose that was reported last, and when."""
        self.recorded = False
        """Whether the gateway records the conversation."""
        self._spoke = False
        """Whether the person spoke at the previous pose."""
        self.missing = "it has no body that moves"
        """Why there is no body, in words for the person."""

    # --- the body -----------------------------------------------------------------------------------------------------

    def found(self, present: Pose, now: float) -> None:
        """The body is there, in this pose."""
        self._composer = Composer(present, now)
        self._alone_since = None

    def lost(self, why: str, now: float) -> list[Out]:
        """The body is gone: its current moves are over."""
        composer, self._composer, self.missing = self._composer, None, why
        if composer is None:
            return []
        going_on, self._going_on = self._going_on, {}
        return [self._tell(act, "cancelled", why, now) for act, _ in going_on.values()]

    def pose(self, now: float, level: float | None, heard_deg: float | None = None) -> tuple[Pose | None, list[Out]]:
        """The pose for now, and the reports that are due.

        Args:
            now: In seconds.
            level: The loudness of the robot's speech, 0 to 1; None if it is silent.
            heard_deg: The direction of a voice now, to the left of where the head looks; None if there is no voice.
        """
        composer = self._composer
        if composer is None:
            return None, []
        self._lie_down_alone(composer, now)
        if heard_deg is not None and self.person_speaks and level is None:
            self._direction.hear(heard_deg, composer.yaw_deg, now)
        self._turn_by_itself(composer, now)
        by_itself = self._manner.breathing, self._manner.posture, self._manner.wobble
        pose = composer.pose(now, Situation(self.mood, self.person_speaks, level, *by_itself, self.recorded))
        ended, composer.ended[:] = composer.ended[:], []
        known = [(self._going_on.pop(key)[0], outcome) for key, outcome in ended if key in self._going_on]
        return pose, [*(self._tell(act, outcome, "", now) for act, outcome in known), *self._sense(now, pose)]

    def _sense(self, now: float, pose: Pose) -> list[Send]:
        """The person's direction and the pose, if the gateway asks for them and they have changed."""
        if self._manner.watch:
            return self._show(now, pose)
        told, at = self._sensed
        if not self._manner.sense or now - at < SENSE_S:
            return []
        yaw_deg = self._direction.yaw_deg(now)
        feels = None if yaw_deg is None else round(yaw_deg)
        if feels == told:
            return []
        self._sensed = feels, now
        return [self._sender.make(Sense, now, person_deg=feels)]

    def _show(self, now: float, pose: Pose) -> list[Send]:
        shown, at = self._shown
        yaw_deg = self._direction.yaw_deg(now)
        person_deg = None if yaw_deg is None else round(yaw_deg)
        stays = shown and max(abs(a - b) for a, b in zip(shown, pose, strict=True)) < POSE_STEP
        if now - at < WATCHED_S or (stays and person_deg == self._sensed[0]):
            return []
        self._shown, self._sensed = (pose, now), (person_deg, now)
        return [self._sender.make(Sense, now, person_deg=person_deg, pose=tuple(round(value, 1) for value in pose))]

    def _lie_down_alone(self, composer: Composer, now: float) -> None:
        if self.mood != "alone":
            if self._alone_since is not None and now - self._alone_since >= ALONE_S:
                composer.rests = False
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since >= ALONE_S and not composer.rests:
            composer.rest(now)

    # --- the gateway --------------------------------------------------------------------------------------------------

    def act(self, message: Act, now: float) -> list[Out]:
        """Carry out an act. An act that was carried out before is only reported again."""
        self._know(message.boot, now)
        if message.id in self._told:
            became, reason, _ = self._told[message.id]
            return [self._tell(message.id, became, reason, now)]
        refusal = self._do(message, now)
        outcome: Outcome = "refused" if refusal else "started" if message.name in ("gesture", "dance") else "done"
        words = f"{message.name} {' '.join(map(str, message.args.values()))}".strip()
        told = [] if message.name == "manner" and not refusal else [Log(f"{words}: {refusal or outcome}")]
        return [*told, self._tell(message.id, outcome, refusal, now)]

    def cancel(self, message: Cancel, now: float) -> list[Out]:
        """End one act, or all current ones. The outcome of an act that has ended is reported again."""
        self._know(message.boot, now)
        for key, (act, _) in self._going_on.items():
            if self._composer and message.id in (None, act):
                self._composer.cut(now, key)
        if message.id is None or message.id not in self._told:
            return []
        outcome, reason, _ = self._told[message.id]
        return [] if outcome == "started" else [self._tell(message.id, outcome, reason, now)]

    def flush(self, floor: int, now: float) -> None:
        """End the gestures of turns below the floor; a dance goes on."""
        for key, (_, turn) in self._going_on.items():
            if self._composer and turn is not None and turn < floor:
                self._composer.cut(now, key)

    def gateway_changed(self, boot: str, now: float) -> None:
        """A gateway that has restarted counts acts from the start and knows none: current moves end."""
        self._know(boot, now)

    def retell(self, now: float) -> list[Out]:
        """The recent outcomes, sent with a beat."""
        return [
            self._sender.make(Acted, now, id=key, outcome=outcome, reason=reason)
            for key, (outcome, reason, at) in self._told.items()
            if now - at < RETELL_S
        ]

    def _know(self, boot: str, now: float) -> None:
        if boot == self._gateway:
            return
        if self._gateway is not None:
            self._told.clear()
            self._going_on.clear()
            self._manner, self._sensed, self._shown = Manner(), (None, 0.0), (None, 0.0)
            self.recorded = False
            if self._composer:
                self._composer.cut(now)
        self._gateway = boot

    def _do(self, message: Act, now: float) -> str:
        """Carry out an act; returns the reason if it is refused."""
        if message.name == "manner":
            return self._set_manner(message)
        composer = self._composer
        if composer is None:
            return self.missing
        refusal = ""
        match message.name:
            case "gesture" | "dance":
                refusal = self._move(composer, message, now)
            case "look":
                refusal = self._look(composer, message, now)
            case "turn":
                refusal = self._turn(composer, now)
            case "volume":
                refusal = self._set_volume(message)
            case "stop":
                composer.cut(now)
            case "rest":
                composer.rest(now)
            case "wake":
                composer.rests = False
            case _:
                refusal = f"this robot cannot {message.name}"
        return refusal

    def _look(self, composer: Composer, message: Act, now: float) -> str:
        if (where := LOOKS.get(str(message.args.get("direction")))) is None:
            return f"it can look {', '.join(LOOKS)}"
        composer.look(*where, now)
        return ""

    def _turn(self, composer: Composer, now: float) -> str:
        if (yaw_deg := self._direction.yaw_deg(now)) is None:
            return "it has not heard yet where the person is"
        composer.look(yaw_deg, 0.0, now, TURNED_S)
        return ""

    def _move(self, composer: Composer, message: Act, now: float) -> str:
        dances = message.name == "dance"
        move = self._moves.get(str(message.args.get("name")))
        if move is None or move.dances != dances:
            known = (name for name, move in self._moves.items() if move.dances == dances)
            return f"it knows no such {message.name}; it knows {', '.join(known)}"[:500]
        seconds = message.args.get("seconds")
        length_s = None
        if dances and isinstance(seconds, int | float):
            least, most = DANCE_S
            length_s = min(most, max(least, float(seconds))) if seconds == seconds else least  # noqa: PLR0124 - NaN
        self._next_key += 1
        self._going_on[self._next_key] = message.id, None if dances else message.turn
        composer.start(self._next_key, move, now, length_s)
        return ""

    def _turn_by_itself(self, composer: Composer, now: float) -> None:
        """Turn to the person when they have spoken and the robot looks elsewhere."""
        ended, self._spoke = self._spoke and not self.person_speaks, self.person_speaks
        if not (ended and self._manner.turn) or composer.rests or composer.moves:
            return
        yaw_deg = self._direction.yaw_deg(now)
        if yaw_deg is not None and abs(yaw_deg - composer.yaw_deg) > ASIDE_DEG:
            composer.look(yaw_deg, 0.0, now, TURNED_S)

    def _set_manner(self, message: Act) -> str:
        """Set the manner. Fields that are not named get their initial value; the same manner twice changes nothing."""
        given = {field.name: bool(message.args[field.name]) for field in fields(Manner) if field.name in message.args}
        self._manner, self._sensed, self._shown = Manner(**given), (None, 0.0), (None, 0.0)
        return ""

    def _set_volume(self, message: Act) -> str:
        percent, (least, most) = message.args.get("percent"), VOLUME
        if not isinstance(percent, int | float) or not least <= percent <= most:
            return f"its volume is a number from {least:.0f} to {most:.0f}"
        self.volume_percent = float(percent)
        return ""

    def _tell(self, key: int, outcome: Outcome, reason: str, now: float) -> Send:
        self._told[key] = outcome, reason, now
        while len(self._told) > KEPT_MAX:
            del self._told[next(iter(self._told))]
        return self._sender.make(Acted, now, id=key, outcome=outcome, reason=reason[:500])
