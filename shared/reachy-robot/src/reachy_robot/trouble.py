"""Words for the reasons why the link does not stand."""

from typing import Final, NamedTuple

UNREACHABLE: Final = "unreachable"
CHECK: Final = "check ROBOT_GATEWAY (for a page: CONSOLE_GATEWAY)"


class Trouble(NamedTuple):
    """Why the link does not stand."""

    cause: str
    """A short word, the same for the same cause."""
    words: str
    """What is wrong and what to do."""


def silent(name: str) -> Trouble:
    """The trouble that no name server answers."""
    words = f"no name server answers for {name}: check the network, and /etc/resolv.conf"
    return Trouble("silent", words)
