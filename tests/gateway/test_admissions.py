"""Which keys a fleet admits, in whatever order its gateways tell each other."""

import random

from hypothesis import given
from hypothesis import strategies as st

from reachy_gateway.fleet.admissions import FIRST, Word, admitted, merged, newer, noticed

WORDS = st.dictionaries(
    st.sampled_from("KLMN"),
    st.builds(Word, st.integers(FIRST, 5), st.booleans(), st.sampled_from(["reachy-1", "reachy-2"])),
)
NOW = 1_796_000_000_000


def yes(version: int, robot: str = "reachy-1") -> Word:
    return Word(version, admitted=True, robot=robot)


def no(version: int, robot: str = "reachy-1") -> Word:
    return Word(version, admitted=False, robot=robot)


# --- merging ----------------------------------------------------------------------------------------------------------


@given(WORDS, WORDS, WORDS)
def test_in_whatever_order_and_however_often_words_are_merged_they_come_to_the_same(one, two, three):
    assert merged(one, two) == merged(two, one)
    assert merged(merged(one, two), three) == merged(one, merged(two, three))
    assert merged(one, one) == one
    assert merged(merged(one, two), two) == merged(one, two)


@given(WORDS, WORDS)
def test_whoever_is_told_what_is_newer_knows_all(one, two):
    assert merged(two, newer(one, two)) == merged(one, two)
    assert newer(two, merged(one, two)) == {}
    assert not newer(one, one)


def test_of_one_moment_the_word_that_shuts_out_counts():
    assert merged({"K": yes(5)}, {"K": no(5)}) == merged({"K": no(5)}, {"K": yes(5)}) == {"K": no(5)}
    assert merged({"K": no(4)}, {"K": yes(5)}) == {"K": yes(5)}


# --- noticing ---------------------------------------------------------------------------------------------------------


def test_what_stood_in_files_before_anybody_looked_is_older_than_any_word():
    assert noticed({}, {"K": "reachy-1"}, NOW, first=True) == {"K": yes(FIRST)}
    assert merged({"K": yes(FIRST)}, {"K": no(FIRST + 1)}) == {"K": no(FIRST + 1)}


def test_a_key_that_came_went_or_moved_is_the_word_of_a_person():
    words = {"K": yes(5), "L": no(5), "M": yes(5)}
    files = {"L": "reachy-1", "M": "reachy-2", "N": "reachy-3"}
    news = noticed(words, files, NOW, first=False)
    assert news == {"K": no(NOW), "L": yes(NOW), "M": yes(NOW, "reachy-2"), "N": yes(NOW, "reachy-3")}
    assert noticed(merged(words, news), files, NOW + 1, first=False) == {}, "must be news once only"


def test_a_file_that_cannot_be_read_says_nothing():
    words = {"K": yes(5), "L": yes(5, "reachy-2")}
    assert noticed(words, {}, NOW, first=False, unread={"reachy-1"}) == {"L": no(NOW, "reachy-2")}


@given(WORDS, st.dictionaries(st.sampled_from("KLMN"), st.sampled_from(["reachy-1", "reachy-2"])), st.integers(0, 9))
def test_a_word_of_now_counts_also_where_the_clock_is_behind(words, files, now_ms):
    after = merged(words, noticed(words, files, now_ms, first=False))
    assert {key: word.robot for key, word in after.items() if word.admitted} == files


def test_the_files_are_to_say_who_is_admitted():
    words = {"L": yes(1), "K": yes(2), "M": no(3), "N": yes(1, "reachy-2")}
    assert admitted(words) == {"reachy-1": ["K", "L"], "reachy-2": ["N"]}


# --- a fleet ----------------------------------------------------------------------------------------------------------


class Gateway:
    def __init__(self) -> None:
        self.words: dict[str, Word] = {}
        self.files: dict[str, str] = {}
        self.first = True

    def look(self, shelf: dict[str, Word] | None, now_ms: int) -> dict[str, Word] | None:
        """One step of following the folder. Returns the shelf's content afterwards; None while the store is away."""
        self.words = merged(self.words, noticed(self.words, self.files, now_ms, first=self.first))
        self.first = False
        self.words = merged(self.words, shelf or {})
        self.files = {key: word.robot for key, word in self.words.items() if word.admitted}
        return None if shelf is None else merged(shelf, newer(self.words, shelf))


STEPS = st.lists(
    st.tuples(st.sampled_from(["look", "look", "admit", "revoke", "away", "empty"]), st.integers(0, 2), st.sampled_from("KL")),
    max_size=40,
)


@given(STEPS, st.integers(0, 9))
def test_what_a_person_said_last_holds_everywhere_in_the_end(steps, seed):
    """Whichever gateways were away and whatever the store forgot. So a revoked key stays revoked until a person admits it."""
    fleet, shelf = [Gateway() for _ in range(3)], {}
    for gateway in fleet:
        shelf = gateway.look(shelf, 0)
    last: dict[str, bool] = {}
    for now, (what, who, key) in enumerate(steps, NOW):
        gateway = fleet[who]
        match what:
            case "admit" | "revoke":
                changes = (key in gateway.files) != (what == "admit")
                gateway.files.pop(key, None)
                if what == "admit":
                    gateway.files[key] = "reachy-1"
                if changes:
                    last[key] = what == "admit"
                gateway.look(None, now)
            case "look":
                shelf = gateway.look(shelf, now)
            case "away":
                gateway.look(None, now)
            case "empty":
                shelf = {}
    order = [gateway for gateway in fleet for _ in range(2)]
    random.Random(seed).shuffle(order)  # noqa: S311
    for gateway in [*order, *fleet]:
        shelf = gateway.look(shelf, NOW + 1000)
    assert [gateway.files for gateway in fleet] == [{key: "reachy-1" for key, said in last.items() if said}] * 3
    assert {word.admitted for key, word in shelf.items() if not last.get(key)} <= {False}
