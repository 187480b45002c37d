"""Counts what is left behind, for tests that look for leaks."""

import gc

from websockets.asyncio.client import ClientConnection
from websockets.protocol import State


def sockets_of_ours() -> int:
    """How many connections of the SDK are not closed."""
    return sum(issubclass(type(it), ClientConnection) and it.state is not State.CLOSED for it in gc.get_objects())
