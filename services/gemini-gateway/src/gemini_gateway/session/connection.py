"""The state of the open connection, or of the last one. Pure."""

from dataclasses import dataclass


@dataclass(slots=True)
class OpenConnection:
    """The state of one connection to Gemini. Each connection gets a new one."""

    opened_at: float
    deadline: float = float("inf")
    """By when the connection must be renewed."""
    wanted: bool = False
    """Whether to renew the connection at the next quiet moment."""
    held: bool = False
    """Whether mic audio is kept for the next connection."""
    caught_up: bool = False
    """Whether all audio that had waited for the connection was sent."""
    behind_since: float | None = None
    """Since when too much audio has waited again."""
    sending_since: float | None = None
    """Since when the socket has kept a send waiting."""
    spoke: bool = False
    """Whether the server has sent anything that belongs to the conversation."""
