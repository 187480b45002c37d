"""The folder of admitted keys of a gateway in a fleet: what people change in it is told, and what others tell is written there.

Beside the key files stands ``versions.json``: which word on which key they hold. It is written first, as what is to be done,
and once more when it is done: so a gateway that was killed in between takes nothing of it for the word of a person.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from reachy_gateway.fleet.admissions import Word, Words, admitted, merged, newer, noticed
from reachy_gateway.fleet.port import StoreError
from reachy_gateway.fleet.shelf import Shelf, Thing
from reachy_link.keys import ADMITTED_NAME, Keyring, KeysError, checked_public, checked_robot_id, keys_in, write

log = logging.getLogger(__name__)

VERSIONS_NAME: Final = "versions.json"


class _Kept(NamedTuple):
    """What stood in the file of versions."""

    words: dict[str, Word]
    done: bool
    """Whether the key files say so, too."""


class KeyFolder:
    """Follows both, the folder and the shelf of the fleet.

    Args:
        directory: The gateway's keys directory.
        now_ms: The time, since 1970.
    """

    def __init__(self, directory: Path, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._directory = directory
        self._folder = directory / ADMITTED_NAME
        self._now_ms = now_ms
        self._trouble = ""

    async def follow(self, shelf: Shelf) -> None:
        """Keep them alike, until cancelled."""
        while True:
            try:
                known = _read(await shelf.newest())
            except StoreError:
                known = {}  # what people change meanwhile is noted, to be told later
            try:
                words = await asyncio.to_thread(self.sync, known)
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
            files, unread = self._files()
            words = kept.words if kept else {}
            if kept is None or kept.done:
                words = merged(words, noticed(words, files, self._now_ms(), first=kept is None, unread=unread))
            words = merged(words, known)
            wanted = admitted(words)
            have: dict[str, list[str]] = {}
            for key, robot in files.items():
                have.setdefault(robot, []).append(key)
            changed = {robot for robot in {*wanted, *have} if sorted(wanted.get(robot, [])) != sorted(have.get(robot, []))}
            changed -= unread
            if changed:
                self._write(words, done=False)
                for robot in changed:
                    ring.put(robot, wanted.get(robot, []))
            if changed or kept is None or not kept.done or kept.words != words:
                self._write(words, done=True)
        return words

    def _files(self) -> tuple[dict[str, str], set[str]]:
        """Robots by key, as the files say; and the robots whose file cannot be read."""
        found: dict[str, str] = {}
        unread: set[str] = set()
        for path in sorted(self._folder.glob("*.pub")):
            try:
                robot = checked_robot_id(path.stem, str(path))
                for key in keys_in(path):
                    found.setdefault(key, robot)
            except KeysError:
                unread.add(path.stem)  # the keyring says what is wrong with it
        return found, unread

    def _kept(self) -> _Kept | None:
        """What the last look has left; None if there was none, or nobody can read it."""
        try:
            text = json.loads((self._folder / VERSIONS_NAME).read_text(encoding="utf-8"))
            return _Kept({key: Word(*word) for key, word in text["words"].items()}, text["done"])
        except FileNotFoundError:
            return None
        except (ValueError, LookupError, TypeError):
            path = self._folder / VERSIONS_NAME
            log.exception("%s cannot be read: who is admitted is taken from the key files and the fleet", path)
            return None

    def _write(self, words: Words, *, done: bool) -> None:
        write(self._folder / VERSIONS_NAME, json.dumps({"done": done, "words": dict(words)}), 0o600)

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
        except (ValueError, TypeError, KeysError):
            log.debug("a word on a key that nobody understands")
    return words
