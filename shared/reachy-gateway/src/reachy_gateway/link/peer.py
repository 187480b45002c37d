"""One robot as the gateway's link knows it: boots, sequences, acks, lateness, clocks and headers. Pure."""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeVar

from reachy_gateway.fleet.claims import Start
from reachy_link.causes import LinkCause
from reachy_link.clock import ClockSync, Lateness
from reachy_link.messages import BeatDown, BeatUp, Down, Echo, Hello, Mic, Up, make
from reachy_link.pcm import Format

BEAT_S: Final = 0.25
ACK_S: Final = 0.06
MIC_ARRIVES_S: Final = 0.3
"""How long mic chunks count as arriving after the newest one."""
AWAY_S: Final = 3.0
"""A robot that has not been heard for so long is away. A robot that sends nothing else sends a beat every 250 ms."""
GONE_S: Final = 60.0
"""After so long without being heard the robot's conversation ends. If the link heals earlier, the conversation goes on."""
CLONE_AFTER_S: Final = 1.0
"""If a boot still speaks so long after another boot replaced it, and both speak, two robots have the same key."""

D = TypeVar("D", bound=Down)


CLONE_REMEDY: Final = "stop one of them, or give each a key of its own with: reachy-keys robot ID"


class Handling(Enum):
    """What to do with a message."""

    PASSED = "handle it"
    RESTARTED = "handle it, and begin anew: the robot has started, or changed its formats"
    DROPPED = "drop it"
    STRANGER = "drop it, and ask its sender to say hello"
    CLONE = "drop it, and tell its sender that another robot has its place"


@dataclass(frozen=True, slots=True)
class Note:
    """An event to count. If it has a detail, the first one of its cause is logged."""

    cause: LinkCause
    detail: str = ""
    n: int = 1


class Peer:
    """What the gateway knows of one robot's link. It begins again with each new boot of the robot.

    Args:
        robot: The robot's id.
        boot: The gateway's boot.
    """

    def __init__(self, robot: str, boot: str) -> None:
        self.robot = robot
        self._boot = boot
        self._seq = 0
        self._last_told = float("-inf")
        self._last_mic = float("-inf")
        self._former: tuple[str, float] | None = None
        self._last_heard = float("-inf")
        self.floor = 0
        self.mic_ms: int | None = None
        """How much audio the robot should put into a message; None for the usual 20 ms."""
        self.next_turn = 1
        self.next_act = 1
        self.hello: Hello | None = None
        self.boot = ""
        self._newest_us = 0
        self.ack: int | None = None
        self.clock = ClockSync()
        self._lateness = Lateness()
        self._latest_us = -1
        self._echo: Echo | None = None

    @property
    def mic(self) -> Format | None:
        """The format of the robot's microphone; None before the robot's hello."""
        return self.hello.mic if self.hello else None

    def newest(self) -> Start:
        """The robot's boot, and the robot's clock at its newest message."""
        return Start(self.boot, self._newest_us)

    def heard(self, message: Up, now: float, stalled_s: float = 0.0) -> tuple[Handling, list[Note]]:
        """Take note of a message. Returns what to do with it, and what to count.

        Args:
            message: The message.
            now: The time.
            stalled_s: The sum of all stalls of the gateway. Stalls do not count as the robot's silence.
        """
        notes: list[Note] = []
        awake_s = now - stalled_s
        if message.boot != self.boot:
            handling, notes = self._other_boot(message, awake_s)
            if handling is not Handling.RESTARTED:
                return handling, notes
        restarted = self.ack is None
        self._last_heard = awake_s
        if self.ack is not None:
            if message.seq <= self.ack:
                return Handling.DROPPED, [*notes, Note("repeat", f"seq {message.seq} after {self.ack}")]
            if gap := message.seq - self.ack - 1:
                notes.append(Note("gap", n=gap))
        self.ack = message.seq
        self._newest_us = message.t_us
        if isinstance(message, Hello):
            restarted = restarted or self._differs(message)
            self.hello = message
            self._measure_anew()
        now_us = int(now * 1e6)
        late_us = self._lateness.late_us(message.t_us, now_us)
        if isinstance(message, BeatUp):
            self._beat(message, now_us)
        elif isinstance(message, Mic):
            self._last_mic = now
            self._latest_us = max(self._latest_us, late_us)
            if late_us > Lateness.LIMIT_US:
                return Handling.DROPPED, [*notes, Note("late", f"a mic chunk {late_us // 1000} ms later than the fastest")]
        return Handling.RESTARTED if restarted else Handling.PASSED, notes

    def make(self, kind: type[D], now: float, **fields: Any) -> D:
        """Make a message to this robot, with the next sequence number and the fields of every header."""
        message = make(
            kind,
            robot=self.robot,
            boot=self._boot,
            seq=self._seq,
            t_us=int(now * 1e6),
            ack=self.ack,
            floor=self.floor,
            mic_ms=self.mic_ms,
            **fields,
        )
        self._seq += 1
        self._last_told = now
        return message

    def beat(self, now: float) -> BeatDown | None:
        """A beat, if one is due; else None."""
        if now < self.next_beat(now):
            return None
        return self.make(BeatDown, now, echo=self._echo)

    def next_beat(self, now: float) -> float:
        """When the next beat is due, if nothing else is sent before."""
        return self._last_told + (ACK_S if self.mic_arrives(now) else BEAT_S)

    def mic_arrives(self, now: float) -> bool:
        """Whether mic chunks are arriving."""
        return now - self._last_mic < MIC_ARRIVES_S

    def take_latest_us(self) -> int | None:
        """The delay of the latest mic chunk since the last call; None if no chunk came."""
        latest_us, self._latest_us = self._latest_us, -1
        return None if latest_us < 0 else latest_us

    def silent_s(self, now: float, stalled_s: float = 0.0) -> float:
        """How long the robot has not been heard, without the gateway's stalls."""
        return now - stalled_s - self._last_heard

    def _differs(self, hello: Hello) -> bool:
        """Whether a hello differs from the last one in formats or lead."""
        old = self.hello
        return old is None or (old.mic, old.speaker, old.lead_ms) != (hello.mic, hello.speaker, hello.lead_ms)

    def _beat(self, beat: BeatUp, now_us: int) -> None:
        self._echo = Echo(t_us=beat.t_us, received_us=now_us)
        if beat.echo:
            self.clock.add(beat.echo.t_us, beat.echo.received_us, beat.t_us, now_us)

    def _other_boot(self, message: Up, awake_s: float) -> tuple[Handling, list[Note]]:
        """Judge a message of another boot: a restart of the robot, or another robot with the same key."""
        lost_at = self._former[1] if self._former and self._former[0] == message.boot else None
        if lost_at is not None and awake_s - lost_at > CLONE_AFTER_S and self.silent_s(awake_s) < AWAY_S:
            detail = f"two robots use the key of {self.robot} (boots {message.boot} and {self.boot}): {CLONE_REMEDY}"
            return Handling.CLONE, [Note("clone", detail)]
        if not isinstance(message, Hello):
            return Handling.STRANGER, [Note("stranger", f"{message.kind} of a boot that has not said hello")]
        # A boot that takes its place back does not begin the time anew, or two robots could go on for ever.
        self._former = (self.boot, awake_s if lost_at is None else lost_at) if self.boot else None
        self._fresh(message.boot)
        return Handling.RESTARTED, []

    def _fresh(self, boot: str) -> None:
        """Begin the counts of a new boot of the robot."""
        self.boot = boot
        self.ack = None

    def _measure_anew(self) -> None:
        """Measure clocks and lateness again after a hello. The link was lost; perhaps one end slept and its clock stood.

        Lateness affects only the robot itself, so a robot that says hello all the time gains nothing.
        """
        self._echo = None
        self.clock = ClockSync()
        self._lateness = Lateness()


class Peers(dict[str, Peer]):
    """What is known of each robot, by name.

    A robot that is forgotten may be admitted again. It still knows the numbers that it was sent within this boot of the
    gateway. So a new peer's turns and acts begin above those of all forgotten peers.

    Args:
        boot: The gateway's boot.
    """

    def __init__(self, boot: str) -> None:
        super().__init__()
        self._boot = boot
        self._next_turn = self._next_act = 1

    def add(self, robot: str) -> Peer:
        """Add a robot of which nothing is known."""
        peer = self[robot] = Peer(robot, self._boot)
        peer.next_turn, peer.next_act = self._next_turn, self._next_act
        return peer

    def forget(self, robot: str) -> None:
        """Forget a robot, except how far its turns and acts were counted."""
        peer = self.pop(robot)
        self._next_turn, self._next_act = max(self._next_turn, peer.next_turn), max(self._next_act, peer.next_act)
