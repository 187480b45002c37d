"""What was said last of each gateway, name or part of the link, so that the log says it once. Pure."""

from collections.abc import Callable

from reachy_link.address import Address


class Complaints:
    """Bounded by where a robot's route leads."""

    def __init__(self) -> None:
        self._said: dict[Address | str | None, str] = {}

    def are_news(self, complaint: str, of: Address | str | None) -> bool:
        """Whether this is not what was said of that gateway, name or part of the link last."""
        said, self._said[of] = self._said.get(of), complaint
        return said != complaint

    def last(self, of: Address | None) -> str | None:
        """What was said of a gateway last."""
        return self._said.get(of)

    def keep(self, is_on_the_route: Callable[[Address | None], bool]) -> None:
        """Forget gateways that the route leads to no more."""
        self._said = {of: said for of, said in self._said.items() if isinstance(of, str) or is_on_the_route(of)}

    def clear(self) -> None:
        """All is well: whatever comes is said."""
        self._said.clear()
