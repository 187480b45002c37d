"""Who is admitted at a fleet: of each key the newest word of a person, whether it may come in or not. Pure.

Words are merged, never replaced: in whatever order and however often gateways tell each other, all come to know the same. That
a key was revoked is kept, so that no gateway which was away brings it back.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Word(NamedTuple):
    """What was last said of one key."""

    version: int
    """When, in milliseconds since 1970; more, if an earlier word was from a clock that is ahead."""
    admitted: bool
    robot: str

    @property
    def rank(self) -> tuple[int, bool, str]:
        """Of two words the greater counts; of one moment, that which shuts out."""
        return self.version, not self.admitted, self.robot


Words = Mapping[str, Word]
"""By public key, in Z85."""
FIRST: int = 1
"""The version of what a gateway has of before it was one of a fleet: any word of the fleet is newer."""


def noticed(
    words: Words, files: Mapping[str, str], now_ms: int, *, first: bool, unread: Iterable[str] = (), above: int = 0
) -> dict[str, Word]:
    """What people said by changing the key files since these words.

    Args:
        words: What is known.
        files: Who stands in the files: robots by key.
        now_ms: The time, since 1970.
        first: Whether nobody has looked at these files before: what they say is older than anything.
        above: The newest version that the fleet is known to have.
        unread: Robots whose file cannot be read: what it says is not known.
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
    """The newest of each key."""
    both = dict(words)
    for key, word in others.items():
        if key not in both or word.rank > both[key].rank:
            both[key] = word
    return both


def newer(words: Words, than: Words) -> dict[str, Word]:
    """What others do not know yet."""
    return {key: word for key, word in words.items() if key not in than or word.rank > than[key].rank}


def admitted(words: Words) -> dict[str, list[str]]:
    """Keys by robot, as the files are to say."""
    robots: dict[str, list[str]] = {}
    for key, word in sorted(words.items()):
        if word.admitted:
            robots.setdefault(word.robot, []).append(key)
    return robots
