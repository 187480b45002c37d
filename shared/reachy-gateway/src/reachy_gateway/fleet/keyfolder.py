"""The folder of admitted keys of a gateway in a fleet. The fleet is told of its changes, and the fleet's are written to it.

Beside the key files is ``versions.json``. It says which decisions the key files hold, and for which keys (``behind``) they may
still hold an older one. It is written before the key files, and again after them. So if a gateway is killed in between, or its
disk fails, old key files are not mistaken for a person's new decision.
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
    """The content of ``versions.json``."""

    words: dict[str, Word]
    behind: frozenset[str]
    """Keys for which the key files may still hold an older decision."""


class KeyFolder:
    """Keeps the folder and the fleet's shelf in step.

    Args:
        directory: The gateway's keys directory.
        now_ms: Returns the time, in ms since 1970.
        seeded: Whether the first keys came with the gateway's own. Then they are not all that the fleet admits.
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
        """Whether it is known who is admitted, from the folder or from the fleet."""

    async def follow(self, shelf: Shelf) -> None:
        """Keep folder and shelf in step, until cancelled."""
        while True:
            told = True
            try:
                known = _read(await shelf.newest())
            except StoreError:
                known, told = {}, False  # people's changes meanwhile are noted, and told later
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
        """Merge the folder's and the fleet's decisions, and write files. Blocks, so not for the event loop.

        Args:
            known: The fleet's decisions.

        Returns:
            All decisions, as they should be told.

        Raises:
            OSError: If the folder cannot be read or written.
            KeysError: If the folder is not safe.
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
            late = {key for key in words if _robots(key, known_before, words) & unread}  # their files cannot be replaced now
            late = {key for key in late if key in behind or words[key] != known_before.get(key)}
            wanted = admitted(words)
            stays = {key for keys in wanted.values() for key in keys}
            for robot, keys in have.items():  # leave out keys that belong to another robot; the keyring reports them
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
        """The files' keys by robot, and the robots whose file cannot be read."""
        found: dict[str, list[str]] = {}
        unread: set[str] = set()
        for path in sorted(self._folder.glob("*.pub")):
            try:
                found[checked_robot_id(path.stem, str(path))] = keys_in(path)
            except KeysError:
                unread.add(path.stem)  # the keyring reports what is wrong with it
        return found, unread

    def _kept(self) -> _Kept | None:
        """The content of ``versions.json``; None if it does not exist or cannot be read."""
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
    """The fleet's decisions. Invalid ones are left out."""
    words: dict[str, Word] = {}
    for key, thing in things.items():
        try:
            admits, robot = json.loads(thing.text)
            words[checked_public(key, ADMITTED_NAME).decode()] = Word(
                thing.version, bool(admits), checked_robot_id(robot, ADMITTED_NAME)
            )
        except (ValueError, TypeError, AttributeError, KeysError):
            log.debug("a decision about a key was ignored: it cannot be understood")
    return words


def _robots(key: str, *said: Words) -> set[str]:
    """The robots that a key was said to belong to."""
    return {words[key].robot for words in said if key in words}
