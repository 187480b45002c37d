"""Why a link does not stand, in words."""

from typing import Final, NamedTuple

UNREACHABLE: Final = "unreachable"


class Trouble(NamedTuple):
    """Why the link does not stand."""

    cause: str
    """A short word, the same for the same cause."""
    words: str
    """What is wrong and what to do."""


def silent(name: str) -> Trouble:
    """No name server answers."""
    words = f"no name server answers what the address of {name} is: check the network, and /etc/resolv.conf"
    return Trouble("silent", words)
