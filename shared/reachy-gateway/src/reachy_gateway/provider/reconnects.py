"""Measures how long a robot was without a connection to its cloud, and counts why. Pure."""

from typing import Final

from reachy_gateway.provider.causes import LOSSES, SessionCause
from reachy_gateway.stats import Buckets

CAUSES: Final = ("renewal", *LOSSES)
GAP_S: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0)


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

    def opened(self, now: float) -> None:
        """Note that a connection is open."""
        if self._since is not None:
            self.counts[self._loss or "renewal"] += 1
            self.seconds["no" if self._loss else "yes"].observe(now - self._since)
        self._since = self._loss = None
