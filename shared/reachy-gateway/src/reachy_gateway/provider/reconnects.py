"""Measures how long a robot was without a connection to its cloud, and counts why. Pure."""

from typing import Final, NamedTuple

from reachy_gateway.provider.causes import LOSSES, SessionCause
from reachy_gateway.stats import Buckets

RENEWAL: Final = "renewal"
CAUSES: Final = (RENEWAL, *LOSSES)
GAP_S: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0)


class Gap(NamedTuple):
    """A time without a connection."""

    cause: str
    """One of ``CAUSES``."""
    seconds: float


class Reconnects:
    """One robot's reconnects. A gap has the cause of the first loss in it; a gap without a loss is a renewal."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(CAUSES, 0)
        self.seconds = {"yes": Buckets(GAP_S), "no": Buckets(GAP_S)}
        """Histograms of planned (``yes``) and unplanned (``no``) gaps. One for each cause would double a robot's metrics."""
        self._since: float | None = None
        self._loss: SessionCause | None = None

    def counted(self, cause: SessionCause) -> None:
        """Note a cause that the session has counted."""
        if cause in LOSSES and self._loss is None:
            self._loss = cause

    def closed(self, now: float, *, idle: bool) -> None:
        """Note that a connection has ended. ``idle``: none is wanted for now, as the session is parked or over budget."""
        self._since = None if idle else now

    def opened(self, now: float) -> Gap | None:
        """Note that a connection is open. Returns the gap that it ends, if any."""
        since, loss = self._since, self._loss
        self._since = self._loss = None
        if since is None:
            return None
        gap = Gap(loss or RENEWAL, now - since)
        self.counts[gap.cause] += 1
        self.seconds["no" if loss else "yes"].observe(gap.seconds)
        return gap
