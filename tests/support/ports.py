"""Ports for programs that the tests start."""

import os
import socket
from itertools import count
from typing import Final

FIRST: Final = 12000
EACH: Final = 1000
"""Ports of each process of pytest-xdist; there are at most 12 processes."""

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 12
_tried = count(os.getpid())


def free_ports(n: int) -> tuple[int, ...]:
    """So many TCP ports that are free on 127.0.0.1 and that no other test is given.

    They are below the system's ephemeral ports (32768 and up), which any connection may take before the program listens.
    """
    ports: list[int] = []
    while len(ports) < n:
        port = FIRST + _worker * EACH + next(_tried) % EACH
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
    return tuple(ports)
