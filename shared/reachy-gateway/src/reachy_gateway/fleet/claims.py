"""Decides which gateway has a robot's conversation. Pure.

A robot is at the gateway where it says hello. Within one boot of the robot, its own clock (``t_us``) orders its hellos. Another
boot must be proven: the robot must keep speaking. A boot that another one followed never comes back. So an old hello, which was
delayed or lay in the queue of a gateway that hung, takes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

FORMER_MAX: Final = 16
"""How many former boots of a robot are remembered."""
PROOF_S: Final = 0.2
"""How long one check of a doubtful hello takes. A live robot keeps speaking at the pace of its clock. A silent robot
sends beats a little farther apart than this, so most checks see one beat, and hardly any sees two."""
PROOFS_MAX: Final = 3
"""After so many checks in which nothing came the claim fails. Twice as many are the limit: the robot may just have come."""
PACE_US: Final = 100_000
"""In a check the robot's clock must advance by at least this, and by at most this much more than our clock."""


@dataclass(frozen=True, slots=True)
class Start:
    """One message of a robot: its boot, and its clock then."""

    boot: str
    t_us: int


Newest = Callable[[], Start]
"""Returns the newest message of a robot at this gateway."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A gateway's claim on a robot's conversation, as the store has it."""

    owner: str
    """The gateway's inbox; empty after the gateway let go."""
    token: str
    """Drawn for each claim. A write with another token is refused."""
    start: Start
    """The robot's newest message there."""
    former: tuple[str, ...] = ()
    """Boots of the robot that others followed, the newest last."""


class Verdict(Enum):
    """The result of a claim."""

    GRANTED = "the conversation is here"
    DOUBTFUL = "the hello may be late: check that the robot is alive"
    LATE = "the hello is late: the robot is at another gateway"
    CLONE = "two robots use one key"


def judge(known: Claim | None, start: Start, *, alive: bool = False) -> Verdict:
    """Judge a robot's hello.

    Args:
        known: The robot's claim; None if no gateway is known to have the robot.
        start: The hello.
        alive: Whether a check has shown that the robot speaks at this moment.
    """
    if known is None:
        return Verdict.GRANTED
    if start.boot == known.start.boot:
        return Verdict.GRANTED if start.t_us >= known.start.t_us else Verdict.LATE
    if not alive:
        # The clocks of two boots cannot be compared, because a restarted machine's clock begins again. A boot that is unknown
        # here, with a later time, may still be an old hello from the queue of a gateway that hung.
        return Verdict.DOUBTFUL
    return Verdict.CLONE if start.boot in known.former and known.owner else Verdict.GRANTED


def granted(known: Claim | None, start: Start, owner: str, token: str) -> Claim:
    """The claim that replaces the known one."""
    if known is None:
        return Claim(owner, token, start)
    former = known.former if known.start.boot == start.boot else (*known.former, known.start.boot)
    return Claim(owner, token, start, tuple(boot for boot in former if boot != start.boot)[-FORMER_MAX:])


def lives(before: Start, after: Start, waited_s: float) -> bool:
    """Whether a robot kept speaking. Messages from the queue of a gateway that hung come all at once, or not at all."""
    passed_us = after.t_us - before.t_us
    return after.boot == before.boot and PACE_US <= passed_us <= waited_s * 1e6 + PACE_US


def lets_go(here: Start, there: Start) -> bool:
    """Whether a gateway lets go of a robot that said hello at another one. It does not if the robot has spoken here since."""
    return here.boot != there.boot or here.t_us <= there.t_us
