"""The interface to a robot's body: head, trunk and antennas. A new kind of body is one new file that implements it."""

from typing import Protocol

from reachy_robot.motion.pose import Pose


class BodyError(Exception):
    """The body cannot go on; the message says what is wrong and what to do. The robot talks on without a body.

    Args:
        words: The message.
        final: Whether opening the body again cannot help.
    """

    def __init__(self, words: str, *, final: bool = False) -> None:
        super().__init__(words)
        self.final = final


class Body(Protocol):
    """A body's motors. Nothing else moves the body while this object holds it.

    All methods are called from one event loop, and none of them may block it. A body is opened once; after :class:`BodyError`
    or :meth:`close` a new body is made.
    """

    async def open(self) -> Pose:
        """Take hold of the body as it stands or lies; returns its pose.

        Raises:
            BodyError: If there is no body; the message says what to do.
        """

    def target(self, pose: Pose) -> None:
        """Move to this pose next. Called 50 times a second.

        Raises:
            BodyError: If the body is lost.
        """

    def heard_deg(self) -> float | None:
        """The direction of a voice now, in degrees to the left of where the head looks; None if there is no voice."""

    async def close(self) -> None:
        """Let go of the body. Safe to call at any time, more than once."""
