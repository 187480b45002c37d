"""The scripts that run in the store, each in a real store."""

import time
from importlib.resources import files

import pytest
import redis
from stores import running_store

ALL_BYTES = bytes(range(256)) + b"\r\n$5\r\n:1"
TTL_MS = 60_000


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with running_store(tmp_path_factory.mktemp("store")) as store, store.client() as client:
        yield client


@pytest.fixture
def client(running):
    running.flushall()
    return running


def script(name: str) -> str:
    return (files("reachy_gateway.fleet") / "scripts" / f"{name}.lua").read_text(encoding="ascii")


def run(client, name: str, key: str, *args):
    return client.eval(script(name), 1, key, *args)


def swap(client, was: str, token: str, sealed: bytes = b"s", inbox: str = "", letter: bytes = b"") -> int:
    return run(client, "swap", "robot", was, token, "me", sealed, TTL_MS, inbox, letter)


def keep(client, token: str, owner: str = "me", sealed: bytes = b"s") -> int:
    return run(client, "keep", "robot", token, owner, sealed, TTL_MS)


def book(client, ledger: str, after: int, upto: int, *sums) -> int:
    return run(client, "book", "day", ledger, after, upto, TTL_MS, *sums)


def put(client, *things) -> int:
    return run(client, "newer", "shelf", "told", "keys", *things)


def lives_for(client, key: str) -> bool:
    return 0 < client.pttl(key) <= TTL_MS


# --- swap -------------------------------------------------------------------------------------------------------------


def test_swap_takes_the_place_of_nothing_and_of_the_token_that_was_read(client):
    assert swap(client, "", "t1", ALL_BYTES) == 0
    entry = client.hgetall("robot")
    assert float(entry.pop(b"at")) == pytest.approx(time.time(), abs=5)
    assert entry == {b"token": b"t1", b"owner": b"me", b"sealed": ALL_BYTES}
    assert lives_for(client, "robot")
    assert swap(client, "t1", "t2") == 0
    assert client.hget("robot", "token") == b"t2"


@pytest.mark.parametrize("was", ["", "t0", "t11", "T1"])
def test_swap_leaves_what_it_did_not_expect_and_tells_nobody(client, was):
    swap(client, "", "t1", b"mine")
    with client.pubsub() as box:
        box.subscribe("inbox")
        box.get_message(timeout=2)
        before = client.hgetall("robot")
        assert swap(client, was, "t2", b"other", "inbox", b"hello") == -1
        assert client.hgetall("robot") == before
        assert swap(client, "t1", "t2", b"other", "inbox", b"once") == 1
        assert box.get_message(timeout=2)["data"] == b"once", "and nothing before it"


def test_swap_of_a_robot_that_the_store_forgot_fails_and_leaves_none(client):
    assert swap(client, "t1", "t2") == -1
    assert client.keys() == []


def test_swap_tells_how_many_read_the_letter(client):
    assert swap(client, "", "t1", inbox="inbox", letter=b"x") == 0, "nobody is there"
    with client.pubsub() as one, client.pubsub() as two:
        for box in (one, two):
            box.subscribe("inbox")
            box.get_message(timeout=2)
        assert swap(client, "t1", "t2", inbox="inbox", letter=ALL_BYTES) == 2
        assert one.get_message(timeout=2)["data"] == two.get_message(timeout=2)["data"] == ALL_BYTES


# --- keep -------------------------------------------------------------------------------------------------------------


def test_keep_writes_by_the_token_that_stands_there_and_by_no_other(client):
    swap(client, "", "t1", b"old")
    client.pexpire("robot", 5)
    assert keep(client, "t1", "you", ALL_BYTES) == 1
    entry = client.hgetall("robot")
    assert (entry[b"token"], entry[b"owner"], entry[b"sealed"]) == (b"t1", b"you", ALL_BYTES)
    assert client.pttl("robot") > 1000, "it counts from the last write"
    before = client.hgetall("robot")
    assert keep(client, "t0", "thief", b"stolen") == 0
    assert client.hgetall("robot") == before


def test_keep_has_a_store_that_forgot_the_robot_learn_it_again(client):
    assert keep(client, "t1") == 1
    assert lives_for(client, "robot")
    assert swap(client, "t1", "t2") == 0


# --- book -------------------------------------------------------------------------------------------------------------


def test_book_adds_rows_once_and_in_their_order_alone(client):
    assert book(client, "L", 0, 3, "a", 5, "b", 7) == 3
    assert book(client, "L", 0, 3, "a", 5, "b", 7) == 3, "told once more"
    assert book(client, "L", 2, 4, "a", 100) == 3, "a row that is in, and one that is not"
    assert book(client, "L", 4, 5, "a", 100) == 3, "rows are missing in between"
    assert book(client, "L", 3, 9, "a", 1) == 9
    assert client.hgetall("day") == {b"upto:L": b"9", b"robot:a": b"6", b"robot:b": b"7"}
    assert lives_for(client, "day")


def test_book_asked_without_rows_tells_what_there_is_and_adds_nothing(client):
    assert book(client, "L", 7, 7) == 0, "the store knows nothing of this ledger"
    assert client.keys() == []
    book(client, "L", 0, 7, "a", 1)
    assert book(client, "L", 7, 7) == 7
    assert client.hget("day", "robot:a") == b"1"


def test_book_keeps_ledgers_apart_and_adds_up_what_they_spent(client):
    assert book(client, "L", 0, 2, "a", 5) == 2
    assert book(client, "M", 0, 4, "a", 6) == 4
    assert book(client, "L", 2, 3, "a", 1) == 3
    assert client.hgetall("day") == {b"upto:L": b"3", b"upto:M": b"4", b"robot:a": b"12"}


def test_book_is_exact_beyond_what_a_double_holds(client):
    big = 2**53
    for n, nano_usd in enumerate((big, 1, 1)):
        assert book(client, "L", n, n + 1, "a", nano_usd) == n + 1
    assert client.hget("day", "robot:a") == b"%d" % (big + 2)


def test_book_of_a_store_that_forgot_the_day_is_told_again_from_the_beginning(client):
    book(client, "L", 0, 3, "a", 5)
    client.delete("day")
    assert book(client, "L", 3, 4, "a", 1) == 0
    assert client.keys() == []


# --- present ----------------------------------------------------------------------------------------------------------


def present(client, inbox: str, said: bytes, here: int = 1) -> list[bytes]:
    return sorted(run(client, "present", "gateways", inbox, said, here))


def ago(client, inbox: str, seconds: int) -> None:
    """Act as if the gateway was last heard so long ago."""
    at, _, said = client.hget("gateways", inbox).partition(b":")
    client.hset("gateways", inbox, b"%d:%s" % (int(at) - seconds, said))


def test_present_tells_who_was_there_in_the_last_seconds(client):
    assert present(client, "one", ALL_BYTES) == [ALL_BYTES]
    assert present(client, "two", b"2:2") == sorted([ALL_BYTES, b"2:2"])
    ago(client, "one", 10)
    assert present(client, "two", b"2") == [b"2"]
    assert client.hexists("gateways", "one"), "it may have hung"
    assert present(client, "one", b"1 again") == [b"1 again", b"2"]


def test_present_forgets_who_was_not_there_for_long_and_what_nobody_wrote(client):
    present(client, "one", b"1")
    ago(client, "one", 100)
    client.hset("gateways", mapping={"bad": "no time", "": "", "empty": ":"})
    assert present(client, "two", b"2") == [b"2"]
    assert client.hkeys("gateways") == [b"two"]


def test_present_forgets_at_once_who_leaves(client):
    present(client, "one", b"1")
    present(client, "two", b"2")
    assert present(client, "one", b"", 0) == [b"2"]
    assert present(client, "one", b"", 0) == [b"2"], "twice does no harm"
    assert present(client, "two", b"", 0) == []
    assert client.keys() == []


@pytest.mark.parametrize("seconds", [-4, -100])
def test_present_does_not_believe_in_what_will_be_said(client, seconds):
    present(client, "one", b"1")
    ago(client, "one", seconds)
    assert present(client, "two", b"2") == [b"2"]


def test_present_forgets_more_than_any_fleet_has(client):
    present(client, "one", b"1")
    client.hset("gateways", mapping={f"n{n}": "1:x" for n in range(1000)})
    assert present(client, "two", b"2") == [b"2"]
    assert client.hkeys("gateways") == [b"two"]


# --- fields -----------------------------------------------------------------------------------------------------------


def test_fields_tells_all_unless_there_are_more_than_any_fleet_has(client):
    client.hset("day", mapping={"a": b"1", "b": ALL_BYTES})
    assert run(client, "fields", "day", 2) == [b"a", b"1", b"b", ALL_BYTES]
    assert run(client, "fields", "day", 1) == []
    assert client.keys() == []


# --- newer ------------------------------------------------------------------------------------------------------------


def test_newer_puts_what_is_newer_and_tells_of_it_once(client):
    with client.pubsub() as box:
        box.subscribe("told")
        box.get_message(timeout=2)
        assert put(client, "a", 5, ALL_BYTES, "b", 7, b"") == 2
        assert put(client, "a", 5, b"other", "b", 6, b"older") == 0, "of equal ones the first stays"
        assert put(client, "a", 6, b"new", "b", 1, b"older") == 1
        assert put(client) == 0
        assert client.hgetall("shelf") == {b"a": b"6:new", b"b": b"7:"}
        client.publish("told", "the end")
        assert [box.get_message(timeout=2)["data"] for _ in range(3)] == [b"keys", b"keys", b"the end"]


def test_newer_compares_numbers_and_not_texts(client):
    put(client, "a", 9, b"x")
    assert put(client, "a", 10, b"y") == 1
    assert put(client, "a", 1_796_000_000_000, b"z") == 1
    assert put(client, "a", 1_796_000_000_001, b"a millisecond later") == 1
    assert client.hget("shelf", "a") == b"1796000000001:a millisecond later"


@pytest.mark.parametrize("damaged", [b"", b"x", b":", b"-5:x", b"no number:x"])
def test_newer_takes_the_place_of_what_has_no_version(client, damaged):
    client.hset("shelf", "a", damaged)
    assert put(client, "a", 1, b"x") == 1


def test_newer_keeps_a_shelf_for_ever(client):
    put(client, "a", 1, b"x")
    assert client.ttl("shelf") == -1


# --- all --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["swap", "keep", "book", "newer", "present"])
def test_a_script_touches_no_key_but_its_own(client, name):
    """So that an access list can name the keys, and other users of the store are not disturbed."""
    for wrong in ("robot", "day", "gateways", "shelf"):
        client.set(wrong, "somebody's")
    args = {
        "swap": ("", "t", "me", b"s", TTL_MS, "", ""),
        "keep": ("t", "me", b"s", TTL_MS),
        "book": ("L", 0, 1, TTL_MS, "a", 1),
    }
    args |= {"newer": ("told", "x", "a", 1, b"s"), "present": ("me", b"s", 3)}
    run(client, name, "my own", *args[name])
    assert all(client.get(wrong) == b"somebody's" for wrong in ("robot", "day", "gateways", "shelf"))
    assert len(client.keys()) == 5
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        run(client, name, "day", *args[name])
    assert client.get("day") == b"somebody's"
