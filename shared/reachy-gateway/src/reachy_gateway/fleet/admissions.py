"""Who is admitted in a fleet: for each key a person's newest decision, to admit or to revoke. Pure.

Decisions are merged, never replaced. In whatever order and however often gateways exchange them, all gateways reach the same
state. A revocation is kept, so that a gateway which was away cannot bring the key back.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Word(NamedTuple):
    """The newest decision about one key."""

    version: int
    """When it was made, in ms since 1970. It is higher if an earlier decision came from a clock that is ahead."""
    admitted: bool
    robot: str

    @property
    def rank(self) -> tuple[int, bool, str]:
        """Of two decisions the one with the higher rank counts. At the same time, a revocation wins."""
        return self.version, not self.admitted, self.robot


Words = Mapping[str, Word]
"""Decisions by public key, in Z85."""
FIRST: int = 1
"""The version of decisions from before a gateway joined the fleet. Any decision of the fleet is newer."""


def noticed(
    words: Words, files: Mapping[str, str], now_ms: int, *, first: bool, unread: Iterable[str] = (), above: int = 0
) -> dict[str, Word]:
    """The decisions that people have made since ``words`` by changing the key files.

    Args:
        words: The known decisions.
        files: The keys in the files: robots by key.
        now_ms: The time, in ms since 1970.
        first: Whether these files are read for the first time: then their decisions are older than any other.
        above: The newest version that the fleet is known to have.
        unread: Robots whose file cannot be read, so that its keys are unknown.
    """
    version = FIRST if first else max([now_ms, above + 1, *(word.version + 1 for word in words.values())])
    news = {
        key: Word(version, admitted=True, robot=robot)
        for key, robot in files.items()
        if key not in words or not words[key].admitted or words[key].robot != robot
    }
    if not first:
        gone = {key: word for key, word in words.items() if word.admitted and key not in files and word.robot not in unread}
        news |= {key: word._replace(version=version, admitted=False) for key, word in gone.items()}
    return news


def merged(words: Words, others: Words) -> dict[str, Word]:
    """The newest decision about each key."""
    both = dict(words)
    for key, word in others.items():
        if key not in both or word.rank > both[key].rank:
            both[key] = word
    return both


def newer(words: Words, than: Words) -> dict[str, Word]:
    """The decisions that the others do not know yet."""
    return {key: word for key, word in words.items() if key not in than or word.rank > than[key].rank}


def admitted(words: Words) -> dict[str, list[str]]:
    """The admitted keys by robot, as the files should hold them."""
    robots: dict[str, list[str]] = {}
    for key, word in sorted(words.items()):
        if word.admitted:
            robots.setdefault(word.robot, []).append(key)
    return robots
