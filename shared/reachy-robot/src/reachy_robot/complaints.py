"""The last complaint about each gateway, name or part of the link, so that the log has it once. Pure."""

from collections.abc import Callable

from reachy_link.address import Address


class Complaints:
    """Remembers complaints. Bounded by the places of a robot's route."""

    def __init__(self) -> None:
        self._said: dict[Address | str | None, str] = {}

    def are_news(self, complaint: str, of: Address | str | None) -> bool:
        """Whether this differs from the last complaint about the same gateway, name or part."""
        said, self._said[of] = self._said.get(of), complaint
        return said != complaint

    def last(self, of: Address | None) -> str | None:
        """The last complaint about a gateway."""
        return self._said.get(of)

    def keep(self, is_on_the_route: Callable[[Address | None], bool]) -> None:
        """Forget gateways that are no longer on the route."""
        self._said = {of: said for of, said in self._said.items() if isinstance(of, str) or is_on_the_route(of)}

    def clear(self) -> None:
        """Forget all complaints, because all is well: any new one is logged."""
        self._said.clear()
