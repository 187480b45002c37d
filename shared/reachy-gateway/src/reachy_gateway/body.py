"""A robot's body as the gateway reaches it: acts that it is asked for, its own manner, and its pose."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, Protocol

from reachy_gateway.talk.acts import Answered
from reachy_gateway.talk.conversation import Out
from reachy_gateway.voice import ActError
from reachy_link.messages import BodyOffer, Sense

MANNER_S: Final = 5.0
"""If the robot has not heard its manner, it is told again after so long."""


class Link(Protocol):
    """How requests reach the robot."""

    @property
    def body(self) -> BodyOffer | None:
        """What the robot's body can do; None without a body."""

    def ask(self, name: str, args: Mapping[str, str | float]) -> tuple[int, list[Out]] | None:
        """The id of a new act, and the messages that ask for it; None if there is no conversation."""

    def take_back(self, key: int) -> list[Out]:
        """The messages that cancel an act."""

    def carry_out(self, out: list[Out]) -> None:
        """Send messages, and handle their consequences."""


class Body:
    """One robot's body.

    Args:
        robot: The robot's name.
        link: How requests reach the robot.
    """

    def __init__(self, robot: str, link: Link) -> None:
        self._robot = robot
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, asyncio.Future[Answered]] = {}
        """Who waits for the robot's first answer to an act, by the act's id."""
        self._manner: dict[str, float] = {}
        self._telling: asyncio.Task[None] | None = None
        self.person_deg: float | None = None
        """Where the robot last heard the person, in degrees."""
        self.pose: tuple[float, ...] | None = None
        """Where the body was last told to be, as the robot reports while somebody watches; None if nobody knows."""
        self._watched = False

    async def act(self, name: str, args: Mapping[str, str | float]) -> None:
        """Have the body do something, and wait until the body has begun. If this call is cancelled, the act is cancelled, too.

        Raises:
            ActError: If the body does not do it.
        """
        asked = self._link.ask(name, args) if self._link.body else None
        if asked is None:
            raise ActError("the robot's body cannot be reached")
        key, out = asked
        waits = self._waiting[key] = self._loop.create_future()
        self._link.carry_out(out)
        try:
            answered = await waits
        except asyncio.CancelledError:
            self._link.carry_out(self._link.take_back(key))
            raise
        finally:
            self._waiting.pop(key, None)
        if answered.outcome == "refused":
            raise ActError(answered.reason or "the robot did not say why")
        if answered.outcome is None:
            raise ActError("the robot's body did not answer")

    def answered(self, answered: Answered) -> None:
        """Take the robot's first answer to an act, or the news that there was none."""
        if (waits := self._waiting.get(answered.id)) and not waits.done():
            waits.set_result(answered)

    def manner(self, manner: Mapping[str, bool]) -> None:
        """Set what the body does by itself from now on. It is sent again until the robot has heard it."""
        self._manner = {name: float(value) for name, value in manner.items()} | {"sense": 1.0}
        self._tell_manner()

    def watch(self, *, on: bool) -> None:
        """Set whether somebody watches the pose."""
        if on != self._watched:
            self._watched, self.pose = on, None
            self._tell_manner()

    def sensed(self, message: Sense) -> None:
        """Take what the robot senses: where the person is, and the pose."""
        self.person_deg = message.person_deg
        if message.pose and self._watched:
            self.pose = message.pose

    def close(self) -> None:
        """End all waiting: the conversation is over, so no answer will come."""
        if self._telling:
            self._telling.cancel()
            self._telling = None
        for waits in self._waiting.values():
            if not waits.done():
                waits.set_result(Answered(0, None))
        self._watched, self.pose = False, None

    def _tell_manner(self) -> None:
        if self._link.body is None or not self._link.body.manner:
            return
        if self._telling:
            self._telling.cancel()
        args = self._manner | ({"watch": 1.0} if self._watched else {})
        self._telling = self._loop.create_task(self._tell(args), name=f"manner of {self._robot}")

    async def _tell(self, args: Mapping[str, float]) -> None:
        while True:
            with suppress(ActError):  # the link is lost, or the robot has not heard its welcome yet
                return await self.act("manner", args)
            await asyncio.sleep(MANNER_S)
