"""Why a link does not stand, in words."""

from typing import NamedTuple


class Trouble(NamedTuple):
    """Why the link does not stand."""

    cause: str
    """A short word, the same for the same cause."""
    words: str
    """What is wrong and what to do."""
