"""Who may use the page: links that let in once, and who was let in. Pure: time and chance are passed in."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal

from reachy_link.bucket import Rate, TokenBucket

Role = Literal["operator", "viewer"]
"""A viewer sees, and neither talks nor commands."""

LINK_S: Final = 600.0
"""A link lets in for so long, once."""
LINKS_MAX: Final = 16
"""Links that wait to be used; of more the oldest is void."""
IDLE_S: Final = 12 * 3600.0
"""Who was let in is forgotten after so long without a question."""
GUESTS_MAX: Final = 100
"""Who was let in; of more whoever was away longest is forgotten."""
ATTEMPTS: Final = Rate(0.5, 10)
"""Links that may be tried, a second and at once, by all together."""


@dataclass(slots=True)
class _Kept:
    role: Role
    at: float


class Logins:
    """Links and guests. What lets in is kept as its hash.

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
        """How many were let in, and are not forgotten."""
        return len(self._guests)

    def make_link(self, role: Role, now: float) -> str:
        """A code that lets in whoever shows it first."""
        code = self._draw()
        self._links[_hash(code)] = _Kept(role, now)
        while len(self._links) > LINKS_MAX:
            del self._links[next(iter(self._links))]
        return code

    def redeem(self, code: str, now: float) -> str | None:
        """What a guest shows from now on; None if the code lets nobody in, or too many were tried."""
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
        """What whoever shows this may do; None for nothing."""
        guest = self._guests.get(_hash(token))
        if guest is None or now - guest.at > IDLE_S:
            return None
        guest.at = now
        return guest.role

    def leave(self, token: str) -> None:
        """Let in no more."""
        self._guests.pop(_hash(token), None)


def _hash(word: str) -> str:
    return sha256(word.encode(errors="surrogatepass")).hexdigest()
