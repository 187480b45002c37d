"""How the gateways of a fleet stand, as each tells the others. Pure."""

from collections.abc import Iterable, Iterator

from pydantic import BaseModel, ConfigDict, ValidationError

from reachy_link.address import readable, spread


class Present(BaseModel):
    """How one gateway stands."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    inbox: str
    name: str
    where: str = ""
    """The address that robots dial; empty if the gateway does not tell it."""
    robots: int
    robots_max: int
    draining: bool = False
    software: str = ""

    def text(self) -> str:
        """The form in which it is told."""
        return self.model_dump_json()

    @classmethod
    def read(cls, text: str | None) -> "Present | None":
        """What a gateway told; None if it cannot be understood, for example from a newer version."""
        try:
            return cls.model_validate_json(text) if text else None
        except ValidationError:
            return None


class Neighbours:
    """The gateways of a fleet that were there in the last seconds, this one among them.

    Args:
        inbox: This gateway's inbox.
        present: All of them.
    """

    def __init__(self, inbox: str = "", present: Iterable[Present] = ()) -> None:
        self._inbox = inbox
        self._all = sorted(present, key=lambda it: (it.name, it.inbox))

    def __iter__(self) -> Iterator[Present]:
        return iter(self._all)

    @property
    def own(self) -> Present | None:
        """This gateway, as the others see it."""
        return next((it for it in self._all if it.inbox == self._inbox), None)

    def others(self) -> tuple[str, ...]:
        """The addresses of the other gateways that serve robots, if they tell an address."""
        return tuple(it.where for it in self._others())

    def elsewhere(self, robot: str) -> str | None:
        """Where a robot that is sent away should go: the first gateway with room, in the robot's own order."""
        room = readable([it.where for it in self._others() if it.robots < it.robots_max])
        return next(map(str, spread(robot, room)), None)

    def words(self) -> str:
        """All gateways, in words."""
        rows = (f"{it.name} {it.robots} of {it.robots_max}{', being stopped' if it.draining else ''}" for it in self._all)
        return "fleet: " + "; ".join(rows)

    def _others(self) -> Iterator[Present]:
        return (it for it in self._all if it.where and it.inbox != self._inbox and not it.draining)
