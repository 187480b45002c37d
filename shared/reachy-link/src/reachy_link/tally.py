"""Counters by cause, and the first occurrence of each for the log."""

from collections import Counter


class Tally:
    """Counts what was dropped or went wrong, by cause and by peer.

    Bounded: causes are a fixed set of words in our code; beyond ``peers_max`` peers, further ones count as ``"other"``.
    """

    def __init__(self, peers_max: int = 256) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._peers: set[str] = set()
        self._peers_max = peers_max

    def count(self, cause: str, peer: str = "", n: int = 1) -> bool:
        """Count it; true the first time for this cause and peer, when it is worth a line in the log."""
        if peer not in self._peers:
            if len(self._peers) >= self._peers_max:
                peer = "other"
            self._peers.add(peer)
        first = (cause, peer) not in self.counts
        self.counts[cause, peer] += n
        return first

    def total(self, cause: str, peer: str | None = None) -> int:
        """How often that happened, for one peer or for all."""
        return sum(n for (c, p), n in self.counts.items() if c == cause and peer in (None, p))
