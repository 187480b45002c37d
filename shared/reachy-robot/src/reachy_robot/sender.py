"""Makes a robot's messages: each has the robot, its boot, a number and the time. Pure."""

from typing import Any, TypeVar

from reachy_link.messages import Up, make
from reachy_robot.decisions import Send

U = TypeVar("U", bound=Up)


class Sender:
    """Makes and numbers the messages of one boot."""

    def __init__(self, robot: str, boot: str) -> None:
        self._robot = robot
        self._boot = boot
        self._seq = 0
        self.last = float("-inf")
        """When the newest message was made."""

    def make(self, kind: type[U], now: float, **fields: Any) -> Send:
        """Make the next message."""
        message = make(kind, robot=self._robot, boot=self._boot, seq=self._seq, t_us=int(now * 1e6), **fields)
        self._seq += 1
        self.last = now
        return Send(message)
