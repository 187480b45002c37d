"""Which gateway has a robot's conversation. Pure.

A robot is where it says hello. Its hellos are ordered: within one start of the robot by its own clock, ``t_us``; another start
has to be proven, as the robot speaks on, and one that another followed never comes back. So a hello that was on its way for
long, or lay before a gateway that hung, takes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

FORMER_MAX: Final = 16
"""So many starts of a robot that others followed are remembered."""
PROOF_S: Final = 0.2
"""What may be late is watched for so long: a robot that lives speaks on at the pace of the clock. One that has nothing to say
beats, at times that are a little farther apart: so there is one beat in most of these, and hardly ever two."""
PROOFS_MAX: Final = 3
"""It is given up after so many in which nothing came; as it may have come back only just, after twice as many in all."""
PACE_US: Final = 100_000
"""At least so much of its clock passes meanwhile, and at most so much more than of ours."""


@dataclass(frozen=True, slots=True)
class Start:
    """A word of a robot: which start of it spoke, and its clock then."""

    boot: str
    t_us: int


Newest = Callable[[], Start]
"""The newest word of a robot at this gateway."""


@dataclass(frozen=True, slots=True)
class Claim:
    """That a gateway has a robot's conversation, as it stands in the store."""

    owner: str
    """The gateway's inbox; empty once it let go."""
    token: str
    """Drawn for each claim: what is written with another one is refused."""
    start: Start
    """The robot's newest word there."""
    former: tuple[str, ...] = ()
    """Starts of the robot that others followed, the newest last."""


class Verdict(Enum):
    """What comes of a claim."""

    GRANTED = "the conversation is here"
    DOUBTFUL = "it may be late: prove that the robot lives"
    LATE = "it is late: the robot is elsewhere"
    CLONE = "two robots use one key"


def judge(known: Claim | None, start: Start, *, alive: bool = False) -> Verdict:
    """What comes of a robot's hello.

    Args:
        known: Who has the robot; None if nobody is known to have.
        start: The hello.
        alive: Whether it is proven that the robot speaks at this moment.
    """
    if known is None:
        return Verdict.GRANTED
    if start.boot == known.start.boot:
        return Verdict.GRANTED if start.t_us >= known.start.t_us else Verdict.LATE
    if not alive:
        # Of two starts the clocks say nothing, as a machine that is started again begins its clock anew: one that nobody here
        # heard of yet, of a later time, may still be what lay before a gateway that hung.
        return Verdict.DOUBTFUL
    return Verdict.CLONE if start.boot in known.former and known.owner else Verdict.GRANTED


def granted(known: Claim | None, start: Start, owner: str, token: str) -> Claim:
    """The claim that takes the place of what was known."""
    if known is None:
        return Claim(owner, token, start)
    former = known.former if known.start.boot == start.boot else (*known.former, known.start.boot)
    return Claim(owner, token, start, tuple(boot for boot in former if boot != start.boot)[-FORMER_MAX:])


def lives(before: Start, after: Start, waited_s: float) -> bool:
    """Whether a robot has spoken on for so long: all that lay before a gateway that hung comes at once, or not at all."""
    passed_us = after.t_us - before.t_us
    return after.boot == before.boot and PACE_US <= passed_us <= waited_s * 1e6 + PACE_US


def lets_go(here: Start, there: Start) -> bool:
    """Whether a gateway is to let a robot go that said hello at another one: not if it has spoken here since."""
    return here.boot != there.boot or here.t_us <= there.t_us
