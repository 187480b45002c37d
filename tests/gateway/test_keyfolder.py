"""The folder of admitted keys, with real files, and the fleet's entries for it."""

import asyncio
import json
import logging
import threading
from contextlib import asynccontextmanager, suppress

import pytest
import zmq

from reachy_gateway.fleet import keyfolder
from reachy_gateway.fleet.admissions import FIRST, Word
from reachy_gateway.fleet.keyfolder import VERSIONS_NAME, KeyFolder
from reachy_gateway.fleet.port import StoreError
from reachy_gateway.fleet.shelf import Thing
from reachy_link.keys import Keyring, KeysError

K, L, M = sorted(zmq.curve_keypair()[0].decode() for _ in range(3))


class Place:
    """A gateway's keys directory, and its clock."""

    def __init__(self, directory) -> None:
        self.directory = directory
        self.now_ms = 1000
        self.folder = directory / "admitted"
        self.folder.mkdir(mode=0o700, parents=True)
        self.keys = KeyFolder(directory, lambda: self.now_ms)

    def sync(self, known=None) -> dict[str, Word]:
        self.now_ms += 1
        return self.keys.sync(known or {})

    def write(self, robot: str, *keys: str) -> None:
        (self.folder / f"{robot}.pub").write_text("".join(f"{key}\n" for key in keys))

    def remove(self, robot: str) -> None:
        (self.folder / f"{robot}.pub").unlink()

    @property
    def admitted(self) -> dict[str, list[str]]:
        return {robot: sorted(keys) for robot, keys in Keyring(self.directory).robots.items()}

    @property
    def kept(self) -> dict:
        return json.loads((self.folder / VERSIONS_NAME).read_text())


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "keys")


def yes(version: int, robot: str = "reachy-1") -> Word:
    return Word(version, admitted=True, robot=robot)


def no(version: int, robot: str = "reachy-1") -> Word:
    return Word(version, admitted=False, robot=robot)


# --- what people do here ----------------------------------------------------------------------------------------------


def test_what_is_found_at_first_is_older_than_any_word(place):
    place.write("reachy-1", K, L)
    place.write("reachy-2", M)
    words = place.sync()
    assert words == {K: yes(FIRST), L: yes(FIRST), M: yes(FIRST, "reachy-2")}
    assert place.sync() == words, "and stays what it is"


def test_at_first_contact_what_the_fleet_has_revoked_goes_and_what_both_have_stays(place):
    place.write("reachy-1", K, L)
    place.sync({K: no(5), M: yes(6, "reachy-2")})
    assert place.admitted == {"reachy-1": [L], "reachy-2": [M]}


def test_a_key_that_is_admitted_or_revoked_here_is_told(place):
    place.sync()
    place.write("reachy-1", K, L)
    assert place.sync() == {K: yes(1002), L: yes(1002)}
    place.write("reachy-1", L)
    assert place.sync() == {K: no(1003), L: yes(1002)}
    place.remove("reachy-1")
    assert place.sync() == {K: no(1003), L: no(1004)}
    Keyring(place.directory).admit("reachy-2", K)
    assert place.sync() == {K: yes(1005, "reachy-2"), L: no(1004)}


def test_what_the_fleet_says_is_written_and_not_taken_for_the_word_of_a_person(place):
    place.write("reachy-1", K)
    words = place.sync()
    words = place.sync({K: no(2000), L: yes(2000)})
    assert place.admitted == {"reachy-1": [L]}
    assert place.sync() == words
    place.sync({L: no(2001)})
    assert place.admitted == {}
    assert place.sync({K: yes(1999), L: yes(2000)}) == {K: no(2000), L: no(2001)}, "older words bring nobody back"
    assert place.admitted == {}


def test_a_word_of_a_person_counts_also_where_the_clock_is_behind(place):
    place.sync({K: yes(10**13)})
    place.remove("reachy-1")
    assert place.sync() == {K: no(10**13 + 1)}


def test_of_a_file_with_two_keys_one_can_be_revoked(place):
    place.write("reachy-1", K, L)
    place.sync()
    place.sync({K: no(2000)})
    assert (place.folder / "reachy-1.pub").read_text() == f"{L}\n"


def test_a_key_that_another_file_holds_as_well_is_revoked_in_both(place):
    place.write("reachy-1", K)
    place.sync()
    place.write("reachy-2", K, L)
    place.sync()
    assert place.admitted == {"reachy-1": [K], "reachy-2": [L]}
    assert K in (place.folder / "reachy-2.pub").read_text(), "a person may be about to rename the robot"
    for _ in range(3):
        assert place.sync({K: no(2000)})[K] == no(2000)
    assert place.admitted == {"reachy-2": [L]}
    assert K not in (place.folder / "reachy-2.pub").read_text()


def test_a_robot_that_is_given_another_name_keeps_its_key(place):
    place.write("reachy-1", K)
    place.sync()
    place.write("reachy-2", K)
    place.sync()
    place.remove("reachy-1")
    assert place.sync()[K] == yes(1003, "reachy-2")
    assert place.admitted == {"reachy-2": [K]}


# --- damage -----------------------------------------------------------------------------------------------------------


def test_a_damaged_file_says_nothing_and_is_left_as_it_is(place):
    place.write("reachy-1", K)
    place.write("reachy-2", L)
    words = place.sync()
    place.write("reachy-1", K, "no key")
    assert place.sync() == words
    assert "no key" in (place.folder / "reachy-1.pub").read_text()
    place.write("reachy-1", K)
    assert place.sync() == words


@pytest.mark.parametrize("first", [True, False], ids=["at first contact", "later"])
@pytest.mark.parametrize("again", [1, 3])
def test_a_key_that_was_revoked_while_its_file_could_not_be_read_does_not_come_back_with_the_file(place, first, again):
    place.write("reachy-1", K, L)
    if not first:
        place.sync()
    place.write("reachy-1", K, L, "no key")
    for _ in range(again):
        place.sync({K: no(2000)})
    place.write("reachy-1", K, L)
    for _ in range(2):
        assert place.sync({K: no(2000)})[K] == no(2000)
    assert place.admitted == {"reachy-1": [L]}


def test_a_key_that_was_admitted_while_the_file_could_not_be_read_is_written_once_it_can_be(place):
    place.write("reachy-1", K)
    place.sync()
    place.write("reachy-1", K, "no key")
    place.sync({L: yes(2000)})
    place.write("reachy-1", K, M)
    words = place.sync()
    assert (words[L], words[M]) == (yes(2000), yes(2001))
    assert place.admitted == {"reachy-1": sorted([K, L, M])}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "17",
        "{}",
        '{"words": []}',
        '{"words": {"x": 1}, "behind": []}',
        '{"words": {"x": ["y", true, "z"]}, "behind": []}',
        '{"words": {"x": [null, true, "z"]}, "behind": []}',
        '{"words": {"x": [1, true]}, "behind": []}',
        '{"words": {}, "behind": [[]]}',
        '{"words": {}, "behind": null}',
        "\udcff",
    ],
)
def test_of_damaged_versions_the_files_and_the_fleet_take_the_place(place, text, caplog):
    place.write("reachy-1", K, L)
    place.sync()
    (place.folder / VERSIONS_NAME).write_bytes(text.encode(errors="surrogateescape"))
    assert place.sync({K: no(5)}) == {K: no(5), L: yes(FIRST)}
    assert place.admitted == {"reachy-1": [L]}
    assert f"{VERSIONS_NAME} cannot be read" in caplog.text
    caplog.clear()
    place.sync()
    assert not caplog.text


class Killed(BaseException):
    pass


@pytest.mark.parametrize("writes", range(4))
def test_a_gateway_that_is_killed_between_two_writes_takes_nothing_of_it_for_the_word_of_a_person(place, writes, monkeypatch):
    """Killed after so many of the four writes: the plan, two key files, the record of what was done."""
    place.write("reachy-1", K, L)
    place.write("reachy-2", M)
    place.sync()
    real, done = keyfolder.write, [0]

    def write(path, text: str, mode: int = 0o644) -> None:
        if done[0] == writes:
            raise Killed
        done[0] += 1
        real(path, text, mode)

    with monkeypatch.context() as patched:
        patched.setattr(keyfolder, "write", write)
        patched.setattr("reachy_link.keys.write", write)
        fleet = {K: no(2000), M: no(2000, "reachy-2"), "N" * 40: yes(2000, "reachy-2")}
        with suppress(Killed):
            place.sync(fleet)
    words = place.sync()
    assert words in ({K: yes(FIRST), L: yes(FIRST), M: yes(FIRST, "reachy-2")}, {L: yes(FIRST), **fleet}), "all or nothing"
    assert place.sync(fleet) == {L: yes(FIRST), **fleet}
    place.write("reachy-3", K)
    assert place.sync(fleet)[K] == yes(2001, "reachy-3"), "a person's change after the restart is news"


def test_what_a_person_changed_after_a_kill_in_another_file_is_news(place):
    place.write("reachy-1", K)
    place.write("reachy-2", M)
    place.sync()
    (place.folder / VERSIONS_NAME).write_text(json.dumps(place.kept | {"behind": [K]}))
    place.remove("reachy-2")
    assert place.sync()[M] == no(1002, "reachy-2")


def test_two_gateways_with_one_folder_say_the_same(place):
    other = KeyFolder(place.directory, lambda: place.now_ms)
    place.write("reachy-1", K)
    assert place.sync() == other.sync({})
    place.write("reachy-1", K, L)
    assert place.sync() == other.sync({})
    other.sync({K: no(3000)})
    assert place.sync() == {K: no(3000), L: yes(1002)}


def test_two_gateways_with_one_folder_at_a_time_lose_no_word(place):
    place.sync()
    fleet = [{}, {}]

    def follow(n: int) -> None:
        mine = KeyFolder(place.directory, lambda: place.now_ms)
        for version in range(30):
            fleet[n] = mine.sync({(K, L)[n]: Word(2000 + version, version % 2 == 0, f"reachy-{n}")})

    threads = [threading.Thread(target=follow, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert place.sync() == {K: no(2029, "reachy-0"), L: no(2029, "reachy-1")}
    assert place.admitted == {}


# --- followed ---------------------------------------------------------------------------------------------------------


class Shelf:
    """A fleet's shelf, with a test in place of the store."""

    def __init__(self) -> None:
        self.things: dict[str, Thing] = {}
        self.away = False
        self.looks = asyncio.Semaphore(0)
        self.rounds = 0

    async def newest(self) -> dict[str, Thing]:
        if self.away:
            raise StoreError("it is away")
        return dict(self.things)

    async def put(self, things) -> None:
        if self.away:
            raise StoreError("it is away")
        self.things |= things

    async def news(self) -> None:
        self.rounds += 1
        await self.looks.acquire()

    async def look(self) -> None:
        was = self.rounds
        self.looks.release()
        async with asyncio.timeout(5):
            while self.rounds == was:
                await asyncio.sleep(0.001)


@asynccontextmanager
async def followed(place: Place):
    shelf = Shelf()
    task = asyncio.create_task(place.keys.follow(shelf))
    async with asyncio.timeout(5):
        while not shelf.rounds:
            await asyncio.sleep(0.001)
    try:
        yield shelf
        assert not task.done(), "the folder must still be followed"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_both_are_kept_alike_also_over_a_time_without_the_store(place):
    place.write("reachy-1", K)
    async with followed(place) as shelf:
        assert shelf.things == {K: Thing(FIRST, '[true, "reachy-1"]')}
        shelf.away = True
        place.write("reachy-1", K, L)
        await shelf.look()
        place.write("reachy-1", L)
        await shelf.look()
        shelf.away = False
        shelf.things[M] = Thing(2000, '[true, "reachy-2"]')
        await shelf.look()
        assert shelf.things.keys() == {K, L, M}
        assert [json.loads(shelf.things[key].text)[0] for key in (K, L)] == [False, True]
        assert place.admitted == {"reachy-1": [L], "reachy-2": [M]}
        shelf.things.clear()
        await shelf.look()
        assert shelf.things.keys() == {K, L, M}, "a store that was emptied is filled again"
        assert place.admitted == {"reachy-1": [L], "reachy-2": [M]}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "17", "null", "[true]", "[true, 5]", '[true, "../x"]', '[true, "a", 1]', "[[], {}]"]
)
async def test_a_word_that_nobody_understands_changes_nothing(place, text):
    place.write("reachy-1", K)
    async with followed(place) as shelf:
        shelf.things |= {
            K: Thing(5000, text),
            "no key": Thing(5000, '[true, "reachy-1"]'),
            "\u20ac" * 40: Thing(1, "[true, 'x']"),
        }
        for _ in range(2):
            await shelf.look()
        assert place.admitted == {"reachy-1": [K]}


async def test_a_folder_that_cannot_be_read_is_said_once_and_shuts_nobody_out(place, caplog):
    place.write("reachy-1", K)
    async with followed(place) as shelf:
        place.folder.rename(place.folder.with_name("moved"))
        place.folder.write_text("no folder")
        for _ in range(3):
            await shelf.look()
        assert shelf.things == {K: Thing(FIRST, '[true, "reachy-1"]')}
        said = [it for it in caplog.records if it.levelno >= logging.ERROR]
        assert [it.message.partition(":")[0] for it in said] == ["who is admitted is not shared with the fleet"]
        place.folder.unlink()
        place.folder.with_name("moved").rename(place.folder)
        place.write("reachy-1", K, L)
        await shelf.look()
        assert shelf.things.keys() == {K, L}


def test_a_folder_that_was_removed_revokes_only_what_it_held(place):
    place.write("reachy-1", K)
    place.sync()
    for file in place.folder.iterdir():
        file.unlink()
    place.folder.rmdir()
    assert place.sync({K: yes(FIRST)}) == {K: yes(FIRST)}, "its versions are lost, too: it counts as new"
    assert place.admitted == {"reachy-1": [K]}


def test_what_is_kept_is_for_its_own_eyes(place):
    place.write("reachy-1", K)
    place.sync()
    assert (place.folder / VERSIONS_NAME).stat().st_mode & 0o777 == 0o600
    with pytest.raises((OSError, KeysError)):
        KeyFolder(place.folder / VERSIONS_NAME).sync({})


@pytest.mark.parametrize(("seeded", "known"), [(False, True), (True, False)])
async def test_keys_that_came_with_the_gateways_own_are_not_all_that_a_fleet_admits(place, seeded, known):
    class Away:
        """The shelf of a store that is away."""

        async def newest(self):
            raise StoreError("away")

        async def put(self, _):
            raise StoreError("away")

        async def news(self):
            looked.set()
            await asyncio.Event().wait()

    place.write("browser-1", K)
    looked, keys = asyncio.Event(), KeyFolder(place.directory, seeded=seeded)
    task = asyncio.create_task(keys.follow(Away()))
    await asyncio.wait_for(looked.wait(), 5)
    assert keys.has_list is known
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    place.write("reachy-1", L)  # a person admits a key
    looked.clear()
    task = asyncio.create_task(keys.follow(Away()))
    await asyncio.wait_for(looked.wait(), 5)
    assert keys.has_list
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
