"""Counters by cause, and which occurrence of each cause is the first, for the log. Pure: time is passed in."""

from collections import Counter
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from reachy_link.bucket import Rate, TokenBucket

OTHER: Final = "other"
STRANGER_LINES: Final = Rate(1 / 60, 20)
"""Log lines about peers that are no known robots: the rate per second, and the number at once."""
STRANGER_AGAIN_S: Final = 86400.0

C = TypeVar("C", bound=str)


class Tally(Generic[C]):
    """Counts what was dropped or went wrong, by cause and by peer.

    Bounded: causes are a fixed set of words, ``C``. A known peer always counts under its own name; :meth:`forget` drops it once
    it is no longer known. Of all other peers, ``peers_max`` have a name; the rest count as ``"other"``.

    Args:
        known: Whether a peer is in a set that is bounded elsewhere, such as the admitted robots.
    """

    def __init__(self, peers_max: int = 256, known: Callable[[str], bool] = lambda _: False) -> None:
        self.counts: Counter[tuple[C, str]] = Counter()
        self.strangers: set[str] = set()
        """Peers that were counted while they were unknown."""
        self._peers_max = peers_max
        self._known = known

    def count(self, cause: C, peer: str = "", n: int = 1) -> bool:
        """Count ``n`` occurrences; true the first time for this cause and peer, when a log line is worth writing."""
        if peer and peer not in self.strangers and not self._known(peer):
            if len(self.strangers) >= self._peers_max:
                peer = OTHER
            self.strangers.add(peer)
        first = (cause, peer) not in self.counts
        self.counts[cause, peer] += n
        return first

    def forget(self) -> None:
        """Drop the counts of peers that were known and no longer are."""
        gone = {peer for _, peer in self.counts if peer and peer not in self.strangers and not self._known(peer)}
        for key in [key for key in self.counts if key[1] in gone]:
            del self.counts[key]

    def total(self, cause: C, peer: str | None = None) -> int:
        """How often a cause was counted, for one peer or for all."""
        return sum(n for (c, p), n in self.counts.items() if c == cause and peer in (None, p))


class Strangers:
    """Decides which peers that are no robots get a log line: each once a day, and not too many in a row.

    Bounded: beyond ``most`` peers, the peer that was logged first is forgotten. Only logged peers are remembered, so that no
    peer that comes in a crowd is left out for good.
    """

    def __init__(self, most: int = 256) -> None:
        self._most = most
        self._told: dict[str, float] = {}
        self._lines = TokenBucket(STRANGER_LINES)

    def is_new(self, who: str, now: float) -> bool:
        """Whether to log this peer now."""
        if now - self._told.get(who, float("-inf")) < STRANGER_AGAIN_S or not self._lines.take(1, now):
            return False
        self._told.pop(who, None)
        if len(self._told) >= self._most:
            del self._told[next(iter(self._told))]
        self._told[who] = now
        return True
