"""Login to the page: links that work once, and the guests who used them. Pure: time and randomness are passed in."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal

from reachy_link.bucket import Rate, TokenBucket

Role = Literal["operator", "viewer"]
"""A viewer may look, but neither talk nor command."""

LINK_S: Final = 600.0
"""How long an unused link works."""
LINKS_MAX: Final = 16
"""Most unused links. Beyond this the oldest is void."""
IDLE_S: Final = 12 * 3600.0
"""A guest who sends no request for this long is forgotten."""
GUESTS_MAX: Final = 100
"""Most guests. Beyond this the guest with the oldest request is forgotten."""
ATTEMPTS: Final = Rate(0.5, 10)
"""Login attempts of all clients together: per second, and at once."""


@dataclass(slots=True)
class _Kept:
    role: Role
    at: float


class Logins:
    """Links and guests. Codes and tokens are kept as hashes only.

    Args:
        draw: Makes a word that nobody can guess.
    """

    def __init__(self, draw: Callable[[], str]) -> None:
        self._draw = draw
        self._links: dict[str, _Kept] = {}
        self._guests: dict[str, _Kept] = {}
        self._attempts = TokenBucket(ATTEMPTS)

    @property
    def guests(self) -> int:
        """The number of guests."""
        return len(self._guests)

    def make_link(self, role: Role, now: float) -> str:
        """Make a link's code, which signs in the first client that shows it."""
        code = self._draw()
        self._links[_hash(code)] = _Kept(role, now)
        while len(self._links) > LINKS_MAX:
            del self._links[next(iter(self._links))]
        return code

    def redeem(self, code: str, now: float) -> str | None:
        """Exchange a code for a guest's token; None if the code is not valid, or after too many attempts."""
        if not self._attempts.take(1, now):
            return None
        link = self._links.pop(_hash(code), None)
        if link is None or now - link.at > LINK_S:
            return None
        token = self._draw()
        self._guests[_hash(token)] = _Kept(link.role, now)
        while len(self._guests) > GUESTS_MAX:
            del self._guests[min(self._guests, key=lambda it: self._guests[it].at)]
        return token

    def role(self, token: str, now: float) -> Role | None:
        """The role of the guest with this token; None without one."""
        guest = self._guests.get(_hash(token))
        if guest is None or now - guest.at > IDLE_S:
            return None
        guest.at = now
        return guest.role

    def leave(self, token: str) -> None:
        """Sign the guest out."""
        self._guests.pop(_hash(token), None)


def _hash(word: str) -> str:
    return sha256(word.encode(errors="surrogatepass")).hexdigest()
