"""A robot's body, as its gateway reaches it: what it is asked for, what it does by itself, where it is."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, Protocol

from reachy_gateway.talk.acts import Answered
from reachy_gateway.talk.conversation import Out
from reachy_gateway.voice import ActError
from reachy_link.messages import BodyOffer, Sense

MANNER_S: Final = 5.0
"""A robot that has not heard how to behave is told again after so long."""


class Link(Protocol):
    """How what is asked gets to the robot."""

    @property
    def body(self) -> BodyOffer | None:
        """What its body can do; None without a body."""

    def ask(self, name: str, args: Mapping[str, str | float]) -> tuple[int, list[Out]] | None:
        """What asks for something, and the id of that; None if there is nobody to ask."""

    def take_back(self, key: int) -> list[Out]:
        """What tells that it is not wanted any more."""

    def carry_out(self, out: list[Out]) -> None:
        """Send it."""


class Body:
    """The body of one robot.

    Args:
        robot: Its name.
        link: How it is reached.
    """

    def __init__(self, robot: str, link: Link) -> None:
        self._robot = robot
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, asyncio.Future[Answered]] = {}
        """Who waits for the robot's first word on an act."""
        self._manner: dict[str, float] = {}
        self._telling: asyncio.Task[None] | None = None
        self.person_deg: float | None = None
        """Where the robot heard the person last."""
        self.pose: tuple[float, ...] | None = None
        """Where it is told to be, while somebody watches; None: nobody knows."""
        self._watched = False

    async def act(self, name: str, args: Mapping[str, str | float]) -> None:
        """Have it do something, and wait until it has begun; cancelled, it is cancelled there, too.

        Raises:
            ActError: If it does not.
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
        """The robot has told what became of an act."""
        if (waits := self._waiting.get(answered.id)) and not waits.done():
            waits.set_result(answered)

    def manner(self, manner: Mapping[str, bool]) -> None:
        """What it does by itself from now on; told again until the robot has heard it."""
        self._manner = {name: float(value) for name, value in manner.items()} | {"sense": 1.0}
        self._tell_manner()

    def watch(self, *, on: bool) -> None:
        """Whether somebody watches where it is."""
        if on != self._watched:
            self._watched, self.pose = on, None
            self._tell_manner()

    def sensed(self, message: Sense) -> None:
        """What the robot tells of it."""
        self.person_deg = message.person_deg
        if message.pose and self._watched:
            self.pose = message.pose

    def close(self) -> None:
        """The conversation is over: nobody will answer."""
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
            with suppress(ActError):  # a lost link, or a robot that is slow to hear its welcome
                return await self.act("manner", args)
            await asyncio.sleep(MANNER_S)
