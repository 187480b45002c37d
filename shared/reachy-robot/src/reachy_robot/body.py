"""The port to a robot's body: head, trunk and antennas. A new kind of body is one new file that implements it."""

from typing import Protocol

from reachy_robot.motion.pose import Pose


class BodyError(Exception):
    """The body cannot go on; the message says what is wrong and what to do. The voice goes on without it.

    Args:
        words: That message.
        final: Whether opening it anew cannot help.
    """

    def __init__(self, words: str, *, final: bool = False) -> None:
        super().__init__(words)
        self.final = final


class Body(Protocol):
    """Motors. Whoever holds the body is the only one that moves it.

    All methods are called from one event loop, and none of them may block it. A body is opened once; after
    :class:`BodyError` or :meth:`close` a new one is made.
    """

    async def open(self) -> Pose:
        """Take hold of it, as it stands or lies; which pose that is.

        Raises:
            BodyError: If there is none, with what to do about it.
        """

    def target(self, pose: Pose) -> None:
        """Be there next; called 50 times a second.

        Raises:
            BodyError: If it is lost.
        """

    def heard_deg(self) -> float | None:
        """From where a voice comes at this moment, in degrees to the left of where the head looks; None for none."""

    async def close(self) -> None:
        """Let go of it. Safe to call at any time, more than once."""
