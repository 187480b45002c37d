"""The folder of admitted keys of a gateway in a fleet: what people change in it is told, and what others tell is written there.

Beside the key files stands ``versions.json``: which word on which key they hold, and of which keys they may hold an older one.
It is written before the key files, and once more behind them: so a gateway that was killed in between, or whose disk failed,
takes nothing that they still say for the word of a person.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from reachy_gateway.fleet.admissions import FIRST, Word, Words, admitted, merged, newer, noticed
from reachy_gateway.fleet.port import StoreError
from reachy_gateway.fleet.shelf import Shelf, Thing
from reachy_link.keys import ADMITTED_NAME, Keyring, KeysError, checked_public, checked_robot_id, keys_in, write

log = logging.getLogger(__name__)

VERSIONS_NAME: Final = "versions.json"


class _Kept(NamedTuple):
    """What stood in the file of versions."""

    words: dict[str, Word]
    behind: frozenset[str]
    """Keys of which the key files may still say what was so before."""


class KeyFolder:
    """Follows both, the folder and the shelf of the fleet.

    Args:
        directory: The gateway's keys directory.
        now_ms: The time, since 1970.
        seeded: Its first keys came with the gateway's own, so they are not all that the fleet admits.
    """

    def __init__(
        self, directory: Path, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000, *, seeded: bool = False
    ) -> None:
        self._directory = directory
        self._known_from = FIRST + 1 if seeded else FIRST
        self._folder = directory / ADMITTED_NAME
        self._now_ms = now_ms
        self._trouble = ""
        self.has_list = False
        """Whether it is known who is admitted: by the folder, or by the fleet."""

    async def follow(self, shelf: Shelf) -> None:
        """Keep them alike, until cancelled."""
        while True:
            told = True
            try:
                known = _read(await shelf.newest())
            except StoreError:
                known, told = {}, False  # what people change meanwhile is noted, to be told later
            try:
                words = await asyncio.to_thread(self.sync, known)
                self.has_list = self.has_list or told or any(word.version >= self._known_from for word in words.values())
                self._tell("")
            except (OSError, KeysError) as error:
                self._tell(str(error))
                words = {}
            try:
                await shelf.put({key: Thing(word.version, json.dumps(word[1:])) for key, word in newer(words, known).items()})
            except StoreError as error:
                log.debug("the fleet is not told of keys yet: %s", error)
            await shelf.news()

    def sync(self, known: Words) -> dict[str, Word]:
        """Bring folder and words together, by files: not for the event loop.

        Args:
            known: What the fleet says.

        Returns:
            What is to be said now.

        Raises:
            OSError: If the folder cannot be read or written.
            KeysError: If it is not safe.
        """
        ring = Keyring(self._directory)
        with ring.alone():
            kept = self._kept()
            known_before, behind = kept or _Kept({}, frozenset())
            have, unread = self._files()
            files = {key: robot for robot in sorted(have, reverse=True) for key in have[robot]}
            above = max((word.version for word in known.values()), default=0)
            news = noticed(known_before, files, self._now_ms(), first=kept is None, unread=unread, above=above)
            words = merged(known_before, {key: word for key, word in news.items() if key not in behind})
            words = merged(words, known)
            late = {key for key in words if _robots(key, known_before, words) & unread}  # their files cannot be written now
            late = {key for key in late if key in behind or words[key] != known_before.get(key)}
            wanted = admitted(words)
            stays = {key for keys in wanted.values() for key in keys}
            for robot, keys in have.items():  # but for a key that is another robot's, which the keyring complains of
                have[robot] = [key for key in keys if files[key] == robot or key not in stays]
            changed = {robot for robot in {*wanted, *have} if sorted(wanted.get(robot, [])) != sorted(have.get(robot, []))}
            changed -= unread
            if changed:
                self._write(words, late | {key for robot in changed for key in (*wanted.get(robot, []), *have.get(robot, []))})
                for robot in sorted(changed):
                    ring.put(robot, wanted.get(robot, []))
            if changed or kept is None or kept != _Kept(words, frozenset(late)):
                self._write(words, late)
        return words

    def _files(self) -> tuple[dict[str, list[str]], set[str]]:
        """Keys by robot, as the files say; and the robots whose file cannot be read."""
        found: dict[str, list[str]] = {}
        unread: set[str] = set()
        for path in sorted(self._folder.glob("*.pub")):
            try:
                found[checked_robot_id(path.stem, str(path))] = keys_in(path)
            except KeysError:
                unread.add(path.stem)  # the keyring says what is wrong with it
        return found, unread

    def _kept(self) -> _Kept | None:
        """What the last look has left; None if there was none, or nobody can read it."""
        try:
            text = json.loads((self._folder / VERSIONS_NAME).read_text(encoding="utf-8"))
            words = {
                key: Word(int(version), bool(admits), str(robot)) for key, (version, admits, robot) in text["words"].items()
            }
            return _Kept(words, frozenset(text["behind"]))
        except FileNotFoundError:
            return None
        except (ValueError, LookupError, TypeError, AttributeError):
            path = self._folder / VERSIONS_NAME
            log.exception("%s cannot be read: who is admitted is taken from the key files and the fleet", path)
            return None

    def _write(self, words: Words, behind: Iterable[str]) -> None:
        write(self._folder / VERSIONS_NAME, json.dumps({"behind": sorted(behind), "words": dict(words)}), 0o600)

    def _tell(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            log.error("who is admitted is not shared with the fleet: %s", trouble)
        self._trouble = trouble


def _read(things: Mapping[str, Thing]) -> dict[str, Word]:
    """The fleet's words, but for what is none."""
    words: dict[str, Word] = {}
    for key, thing in things.items():
        try:
            admits, robot = json.loads(thing.text)
            words[checked_public(key, ADMITTED_NAME).decode()] = Word(
                thing.version, bool(admits), checked_robot_id(robot, ADMITTED_NAME)
            )
        except (ValueError, TypeError, AttributeError, KeysError):
            log.debug("a word on a key that nobody understands")
    return words


def _robots(key: str, *said: Words) -> set[str]:
    """Whose a key was said to be."""
    return {words[key].robot for words in said if key in words}
