"""What is true of the connection that is open, or was last. Pure."""

from dataclasses import dataclass


@dataclass(slots=True)
class OpenConnection:
    """Made anew for each connection."""

    opened_at: float
    deadline: float = float("inf")
    """By when it must be renewed."""
    wanted: bool = False
    """Whether it is to be renewed at the next quiet moment."""
    held: bool = False
    """Whether mic audio is kept for the next connection."""
    caught_up: bool = False
    """Whether all that had waited for the connection was sent."""
    behind_since: float | None = None
    """Since when too much waits all the same."""
    sending_since: float | None = None
    """Since when a send has been waiting to be taken."""
    spoke: bool = False
    """Whether the server has said anything of the conversation."""
