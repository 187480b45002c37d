"""Looks names up, off the event loop.

``getaddrinfo`` cannot be cancelled, and blocks for a minute if name servers are silent. libzmq calls it in the one thread that
moves the whole link.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from reachy_link.address import bracketed
from reachy_robot.trouble import CHECK, Trouble, silent

THREADS_MAX: Final = 16
ADDRESSES_MAX: Final = 16
"""Addresses of one name; further ones are dropped."""

LookUp = Callable[[str], Sequence[str]]
"""Returns the IP addresses of a name, in the order in which they should be tried. Blocks; raises OSError."""
OnAnswer = Callable[[str, Sequence[str], Trouble], None]
"""Called with a name, its addresses in the form of ``Address.host``, and the trouble to report if there are none."""


def system_look_up(name: str) -> list[str]:
    """Look a name up as the system does: ``/etc/hosts``, name servers, mDNS, in the order of ``/etc/nsswitch.conf``."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    # A link-local address means nothing without its interface.
    return [f"{where[0]}%{where[3]}" if len(where) > 3 and where[3] else str(where[0]) for *_, where in found]  # noqa: PLR2004


class Resolver:
    """Looks each name up in a thread of its own. Neither the robot nor the end of the program waits for these threads.

    Args:
        on_answer: Called from the event loop.
        look_up: Called from those threads.
    """

    def __init__(self, on_answer: OnAnswer, look_up: LookUp = system_look_up) -> None:
        self._on_answer = on_answer
        self._look_up = look_up
        self._loop = asyncio.get_running_loop()
        self._asking: set[str] = set()
        self._closed = False

    def ask(self, name: str) -> None:
        """Look a name up, unless its look-up is running."""
        if name in self._asking:
            return
        self._asking.add(name)
        try:
            if len(self._asking) > THREADS_MAX:
                raise RuntimeError(f"{THREADS_MAX} look-ups of other names have not ended")  # noqa: TRY301 - as below
            threading.Thread(target=self._work, args=(name,), name=f"look-up of {name}", daemon=True).start()
        except RuntimeError as error:  # the system has no room for another thread
            self._loop.call_soon(self._answered, name, (), Trouble("no-room", f"{name} is not looked up: {error}"))

    def close(self) -> None:
        """Make no further calls of ``on_answer``."""
        self._closed = True

    def _work(self, name: str) -> None:
        hosts, trouble = self._answer(name)
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._answered, name, hosts, trouble)

    def _answer(self, name: str) -> tuple[Sequence[str], Trouble]:
        try:
            hosts = dict.fromkeys(bracketed(ip) for ip in self._look_up(name))
        except socket.gaierror as error:
            return (), _explained(name, error)
        except (OSError, ValueError) as error:
            return (), Trouble("look-up", f"{name} cannot be looked up: {error}")
        return list(hosts)[:ADDRESSES_MAX], Trouble("no-address", f"{name} has no address: {CHECK}")

    def _answered(self, name: str, hosts: Sequence[str], trouble: Trouble) -> None:
        self._asking.discard(name)
        if not self._closed:
            self._on_answer(name, hosts, trouble)


def _explained(name: str, error: socket.gaierror) -> Trouble:
    if error.errno == socket.EAI_AGAIN:
        return silent(name)
    if error.errno == socket.EAI_NONAME:
        words = f"{name} is not known here: {CHECK}, and what getent ahosts {name} says"
        return Trouble("unknown-name", words)
    return Trouble("look-up", f"{name} cannot be looked up: {error.strerror}; what does getent ahosts {name} say?")
