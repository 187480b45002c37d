"""The log of a gateway. It reads the feed, picks the events that are worth a line, and limits each robot's lines."""

import logging
import time
from collections.abc import Callable
from typing import Final

from reachy_gateway.feed import (
    Away,
    Billed,
    BudgetNews,
    Connected,
    ConversationEnded,
    Dropped,
    Faulted,
    Feed,
    KeysChanged,
    Noticed,
    SessionNews,
    ToolCalled,
    TurnPlayed,
)
from reachy_link.bucket import Rate, TokenBucket

log = logging.getLogger(__name__)

LINES: Final = Rate(2, 40)
"""Lines that one robot's conversations may cause, and as many for its voice. The first of each cause is always logged."""


class Journal:
    """Writes the log from the feed.

    Args:
        now: A clock, in seconds.
    """

    def __init__(self, feed: Feed, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._of_talk: dict[str, TokenBucket] = {}
        self._of_voice: dict[str, TokenBucket] = {}
        feed.read(Dropped, self._dropped)
        feed.read(KeysChanged, self._keys_changed)
        feed.read(Connected, lambda it: log.info("%s: connected (%s)", it.robot, it.software))
        feed.read(ConversationEnded, lambda it: log.info("%s: %s", it.robot, it.words))
        feed.read(Faulted, self._faulted)
        feed.read(Away, self._away)
        feed.read(Noticed, self._noticed)
        feed.read(TurnPlayed, self._turn_played)
        feed.read(ToolCalled, self._tool_called)
        feed.read(SessionNews, self._session_news)
        feed.read(Billed, self._billed)
        feed.read(BudgetNews, lambda it: log.warning("%s: %s", it.robot, it.words))

    def _may_tell(self, buckets: dict[str, TokenBucket], robot: str) -> bool:
        bucket = buckets.get(robot)
        if bucket is None:
            bucket = buckets[robot] = TokenBucket(LINES)
        return bucket.take(1, self._now())

    def _dropped(self, it: Dropped) -> None:
        if it.is_news and it.words:
            log.warning("%s: %s (%s; further ones are only counted)", it.robot or "link", it.words, it.cause)

    def _keys_changed(self, it: KeysChanged) -> None:
        for buckets in (self._of_talk, self._of_voice):
            for robot in buckets.keys() - it.admitted:
                del buckets[robot]

    def _faulted(self, it: Faulted) -> None:
        what = "a bug in the gateway ended its conversation; a new one begins"
        log.error("%s: %s", it.robot, what if it.ends_conversation else "a bug as a voice hung up", exc_info=it.error)

    def _away(self, it: Away) -> None:
        words = "is heard again" if it.silent_s is None else f"not heard for {it.silent_s:.0f} s"
        log.warning("%s: %s", it.robot, words)

    def _noticed(self, it: Noticed) -> None:
        if self._may_tell(self._of_talk, it.robot):
            log.info("%s: %s", it.robot, it.words)

    def _turn_played(self, it: TurnPlayed) -> None:
        if self._may_tell(self._of_talk, it.robot):
            log.info("%s: %s", it.robot, it.times.line())

    def _tool_called(self, it: ToolCalled) -> None:
        if self._may_tell(self._of_voice, it.robot):
            log.info("%s: called %s: %s in %.0f ms", it.robot, it.name, it.outcome, it.seconds * 1000)

    def _session_news(self, it: SessionNews) -> None:
        """Log news of the session. The first of each cause is a warning, and so is each refusal."""
        if it.is_news or self._may_tell(self._of_voice, it.robot):
            level = logging.WARNING if it.is_news or it.cause == "refused" else logging.INFO
            log.log(level, "%s: %s (%s)", it.robot, it.words, it.cause)

    def _billed(self, it: Billed) -> None:
        if self._may_tell(self._of_voice, it.robot):
            whole, today = it.whole, it.today
            words = "%s: the turn cost $%.4f; its session %s $%.4f in %d turns, today $%.4f in %d"
            log.info(words, it.robot, it.cost, it.session, whole.cost, whole.turns, today.cost, today.turns)


def logged() -> Feed:
    """A feed that the log reads. Exceptions of its readers are logged."""
    lines = TokenBucket(LINES)

    def failed(error: Exception) -> None:
        if lines.take(1, time.monotonic()):
            log.error("a bug in a reader of the feed", exc_info=error)

    feed = Feed(failed)
    Journal(feed)
    return feed
