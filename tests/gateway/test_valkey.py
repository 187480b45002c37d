"""The store, against a real Valkey that is killed, hung, full, or configured differently."""

import asyncio
import time
from contextlib import asynccontextmanager, suppress

import pytest
from redis.asyncio import Redis
from relay import Relay
from stores import PASSWORD, RunningStore, running_store

from reachy_gateway.fleet.place import parse
from reachy_gateway.fleet.port import Beat, Booking, Entry, Letter, Pulse, StoreError, Versioned
from reachy_gateway.fleet.valkey import PING_S, Valkey

BOUND_S = 0.8
"""A call has ended by then, whatever happened to the store."""
ENTRY = Entry("t1", "inbox-1", bytes(range(256)))
FLEET = "fleet-1"


@pytest.fixture
def store(tmp_path):
    with running_store(tmp_path / "store") as running:
        yield running


@asynccontextmanager
async def dialled(url: str, fleet: str = FLEET):
    valkey = Valkey(parse(url), fleet)
    try:
        yield valkey
    finally:
        await valkey.close()


def beat(**more) -> Beat:
    return Beat("inbox-1", b"here", **more)


OPERATIONS = {
    "read": lambda it: it.read("a"),
    "swap": lambda it: it.swap("a", "", ENTRY, None),
    "beat": lambda it: it.beat(beat(keep={"b": ENTRY})),
    "leave": lambda it: it.leave("inbox-1"),
    "post": lambda it: it.post(Letter("inbox-1", b"x")),
    "newest": lambda it: it.newest("keys"),
    "put": lambda it: it.put("keys", {"k": Versioned(1, b"s")}),
}
WRITES = {
    "take": lambda it: it.swap("a", "t1", ENTRY, None),
    "put more": lambda it: it.put("keys", {"k": Versioned(2, b"s")}),
}


async def trouble(valkey: Valkey, name: str) -> str:
    """The error message of an operation that must fail, in time."""
    began = time.monotonic()
    with pytest.raises(StoreError) as caught:
        await (OPERATIONS | WRITES)[name](valkey)
    assert time.monotonic() - began < BOUND_S
    words = str(caught.value)
    assert PASSWORD not in words
    assert "EVALSHA" not in words, "for a person"
    return words


async def works(valkey: Valkey) -> None:
    for operation in OPERATIONS.values():
        await operation(valkey)


async def until(valkey: Valkey) -> None:
    """Wait until the store works again, which must be soon."""
    deadline = time.monotonic() + 3
    while True:
        try:
            await works(valkey)
        except StoreError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        else:
            return


# --- what it does -----------------------------------------------------------------------------------------------------


async def test_a_robot_is_read_as_it_was_written_with_its_age(store):
    async with dialled(store.url) as valkey:
        assert await valkey.read("a") is None
        assert await valkey.swap("a", "", ENTRY, None) == 0
        found = await valkey.read("a")
        assert (found.token, found.owner, found.sealed) == (ENTRY.token, ENTRY.owner, ENTRY.sealed)
        first = found.age_s
        assert 0 <= first < 5
        assert await valkey.swap("a", "t0", Entry("t2", "inbox-2", b""), None) is None
        deadline = time.monotonic() + 3
        while (await valkey.read("a")).age_s <= first:
            assert time.monotonic() < deadline
        assert await valkey.swap("a", "t1", Entry("t2", "", b""), None) == 0
        assert (await valkey.read("a")).owner == ""


async def test_a_beat_tells_and_asks_all_at_once(store):
    async with dialled(store.url) as valkey:
        assert await valkey.beat(beat()) == Pulse({}, None, {}, [b"here"])
        await valkey.swap("b", "", Entry("other", "inbox-2", b""), None)
        book = Booking("2026-11-23", "L", 0, 3, {"a": 5, "b": 2**53 + 1})
        pulse = await valkey.beat(beat(keep={"a": ENTRY, "b": ENTRY}, book=book, day="2026-11-23"))
        assert pulse == Pulse({"a": True, "b": False}, 3, {"a": 5, "b": 2**53 + 1}, [b"here"])
        assert (await valkey.read("a")).token == ENTRY.token
        again = await valkey.beat(beat(book=book, day="2026-11-24"))
        assert (again.booked, again.spent_nano_usd) == (3, {})


async def test_a_gateway_that_leaves_is_there_no_more(store):
    async with dialled(store.url) as valkey:
        await valkey.beat(beat())
        await valkey.leave("inbox-1")
        assert (await valkey.beat(Beat("inbox-2", b"2"))).present == [b"2"]


async def test_a_shelf_has_the_newest_of_each(store):
    async with dialled(store.url) as valkey:
        assert await valkey.newest("keys") == {}
        await valkey.put("keys", {"k": Versioned(5, ENTRY.sealed), "l": Versioned(1, b"")})
        await valkey.put("keys", {"k": Versioned(4, b"older"), "l": Versioned(2, b":")})
        await valkey.put("keys", {})
        assert await valkey.newest("keys") == {"k": Versioned(5, ENTRY.sealed), "l": Versioned(2, b":")}
        assert await valkey.newest("documents") == {}


async def test_what_somebody_else_wrote_on_a_shelf_is_nothing(store):
    async with dialled(store.url) as valkey:
        with store.client() as client:
            client.hset(f"rl:{FLEET}:shelf:keys", mapping={b"\xff": b"1:x", b"a": b"no version", b"b": b"-1:x", b"c": b"3:ok"})
        found = await valkey.newest("keys")
        assert found.pop("c") == Versioned(3, b"ok")
        assert found.keys() == {"\ufffd"}


async def test_two_fleets_share_a_store_and_see_nothing_of_each_other(store):
    async with dialled(store.url, "one") as one, dialled(store.url, "two") as two, letter_box(two) as heard:
        await one.swap("a", "", ENTRY, Letter("inbox-1", b"x"))
        await one.beat(beat(book=Booking("2026-11-23", "L", 0, 1, {"a": 5})))
        await one.put("keys", {"k": Versioned(1, b"s")})
        assert await two.read("a") is None
        assert await two.newest("keys") == {}
        assert await two.beat(Beat("inbox-1", b"2", day="2026-11-23")) == Pulse({}, None, {}, [b"2"])
        await two.post(Letter("inbox-1", b"the first"))
        assert await heard.get() == ("", b"the first")
        assert {key.split(":")[1] for key in store.names()} == {"one", "two"}


# --- letters ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def letter_box(valkey: Valkey, inbox: str = "inbox-1"):
    """Collects letters, once they are heard, and at their end the reason."""
    heard: asyncio.Queue = asyncio.Queue()

    async def read() -> None:
        try:
            async for letter in valkey.letters(inbox):
                heard.put_nowait(letter)
        except StoreError as error:
            heard.put_nowait(error)

    task = asyncio.create_task(read())
    try:
        assert await heard.get() == ("", b"")
        yield heard
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_letters_are_those_of_the_inbox_and_of_every_shelf_in_their_order(store):
    async with dialled(store.url) as one, dialled(store.url) as two, letter_box(two) as heard:
        await one.post(Letter("inbox-2", b"for somebody else"))
        await one.post(Letter("inbox-1", ENTRY.sealed))
        assert await one.swap("a", "", ENTRY, Letter("inbox-1", b"release it")) == 1
        await one.put("keys", {"k": Versioned(1, b"s")})
        await one.put("keys", {"k": Versioned(1, b"as new as that")})
        await one.post(Letter("inbox-1", b"the end"))
        came = [await heard.get() for _ in range(4)]
        assert came == [("", ENTRY.sealed), ("", b"release it"), ("keys", b""), ("", b"the end")]


async def test_letters_end_with_words_when_the_store_is_killed_and_are_heard_again_later(store):
    async with dialled(store.url) as valkey:
        async with letter_box(valkey) as heard:
            store.kill()
            assert f"127.0.0.1:{store.port}" in str(await heard.get())
        store.start()
        async with letter_box(valkey) as heard:
            await valkey.post(Letter("inbox-1", b"x"))
            assert await heard.get() == ("", b"x")


async def test_letters_of_a_store_that_hangs_end_within_seconds(store):
    async with dialled(store.url) as valkey, letter_box(valkey) as heard:
        store.hang()
        async with asyncio.timeout(6):
            assert "does not answer" in str(await heard.get())
        store.wake()


async def test_a_letter_box_that_nobody_reads_any_more_can_be_opened_again_at_once(store):
    async with dialled(store.url) as valkey:
        for _ in range(5):
            async with letter_box(valkey):
                pass


# --- trouble ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dial_first", [True, False])
async def test_a_store_that_was_killed_is_told_and_works_when_it_is_back(store, dial_first):
    async with dialled(store.url) as valkey:
        if dial_first:
            await works(valkey)
        store.kill()
        for name in OPERATIONS:
            assert f"127.0.0.1:{store.port}" in await trouble(valkey, name)
        store.start()
        await until(valkey)


@pytest.mark.parametrize("dial_first", [True, False])
async def test_a_store_that_hangs_is_told_in_time_and_works_when_it_wakes(store, dial_first):
    async with dialled(store.url) as valkey:
        if dial_first:
            await works(valkey)
        store.hang()
        for name in OPERATIONS:
            assert "does not answer" in await trouble(valkey, name)
        store.wake()
        await until(valkey)


async def test_robots_that_come_at_once_while_it_hangs_are_all_told_in_time(store):
    async with dialled(store.url) as valkey:
        await works(valkey)
        store.hang()
        began = time.monotonic()
        told = await asyncio.gather(*(valkey.read(f"robot-{n}") for n in range(40)), return_exceptions=True)
        assert time.monotonic() - began < 2 * BOUND_S
        assert {type(each) for each in told} == {StoreError}
        store.wake()
        await until(valkey)
        assert await asyncio.gather(*(valkey.read(f"robot-{n}") for n in range(40))) == [None] * 40


async def test_calls_that_are_cancelled_leave_no_answer_for_the_next(store):
    async with dialled(store.url) as valkey:
        await works(valkey)
        for n in range(20):
            store.hang()
            tasks = [asyncio.create_task(valkey.swap(f"robot-{k}", "", ENTRY, None)) for k in range(12)]
            await asyncio.sleep(0)
            for _ in range(n):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            store.wake()
            assert await valkey.newest("nothing") == {}
            assert await valkey.read("nobody") is None


@pytest.mark.parametrize("name", OPERATIONS)
async def test_a_call_that_is_cancelled_at_any_step_is_cancelled(store, name):
    """Else an unwanted claim would be made, and a voice would talk to no robot."""
    async with dialled(store.url) as valkey:
        await works(valkey)
        for steps in range(12):
            task = asyncio.create_task(OPERATIONS[name](valkey))
            for _ in range(steps):
                await asyncio.sleep(0)
            if task.cancel():
                await asyncio.wait([task])
                assert task.cancelled(), steps


async def test_letters_that_are_cancelled_at_any_step_are_read_no_more(store):
    async with dialled(store.url) as valkey:
        for steps in range(30):
            heard = asyncio.create_task(anext(valkey.letters("inbox-1")))
            for _ in range(steps):
                await asyncio.sleep(0)
            if heard.cancel():
                await asyncio.wait([heard])
                assert heard.cancelled(), steps


async def test_a_full_store_is_told_and_works_when_there_is_room(store):
    async with dialled(store.url) as valkey:
        await works(valkey)
        with store.client() as client:
            client.config_set("maxmemory", 1)
            for name in ("take", "beat", "put more"):
                assert "maxmemory" in await trouble(valkey, name)
            assert await valkey.read("a") is not None, "what is there can be read"
            client.config_set("maxmemory", 0)
        await until(valkey)


async def test_a_store_with_too_many_clients_is_told_and_works_when_they_are_gone(store):
    async with dialled(store.url) as valkey, dialled(store.url) as known:
        await works(known)
        with store.client() as client:
            client.config_set("maxclients", 1)
            for name in OPERATIONS:
                assert "max number of clients" in await trouble(valkey, name)
            await OPERATIONS["read"](known)
            client.config_set("maxclients", 100)
        await until(valkey)


async def test_another_password_is_told_without_either(store):
    other = "a-password-that-is-wrong"
    async with dialled(store.url.replace(PASSWORD, other)) as valkey:
        for name in OPERATIONS:
            words = await trouble(valkey, name)
            assert "refuses the password" in words
            assert other not in words


async def test_an_access_list_that_forbids_is_told_and_the_same_object_works_once_it_permits(store):
    with store.client() as client:
        client.acl_setuser("link", enabled=True, passwords=["+pass"], keys=["rl:*"], channels=["rl:*"], commands=["+@all"])
        async with dialled(store.url.replace(f":{PASSWORD}", "link:pass")) as valkey:
            await works(valkey)
            client.execute_command("ACL", "SETUSER", "link", "-evalsha", "-hgetall", "-publish", "-subscribe")
            for name in OPERATIONS:
                assert "permission" in (await trouble(valkey, name)).lower()
            with pytest.raises(StoreError, match="permission"):
                await anext(valkey.letters("inbox-1"))
            client.execute_command("ACL", "SETUSER", "link", "+@all", "resetkeys", "~somebody:*")
            for name in OPERATIONS:
                if name != "post":
                    assert "permission" in (await trouble(valkey, name)).lower()
            client.execute_command("ACL", "SETUSER", "link", "~rl:*")
            await until(valkey)


async def test_a_line_that_stands_still_is_told_in_time_and_is_used_again_when_it_passes(store):
    relay = Relay("127.0.0.1", [store.port], [0])
    [port] = await relay.start()
    async with dialled(store.url.replace(str(store.port), str(port))) as valkey:
        await works(valkey)
        relay.open.clear()
        for name in OPERATIONS:
            assert "does not answer" in await trouble(valkey, name)
        relay.open.set()
        await until(valkey)
        relay.cut()
        await until(valkey)
    relay.stop()


class Slow(Relay):
    """A relay that forwards everything with a delay."""

    delay_s = 0.0

    async def _pass_on(self, reader, writer) -> None:
        self._writers.add(writer)
        with suppress(OSError):
            while data := await reader.read(65536):
                await asyncio.sleep(self.delay_s)
                writer.write(data)
        writer.transport.abort()


async def test_a_line_that_is_slow_keeps_nobody_for_longer_and_is_used_again_when_it_is_fast(store):
    relay = Slow("127.0.0.1", [store.port], [0])
    [port] = await relay.start()
    async with dialled(store.url.replace(str(store.port), str(port))) as valkey:
        await works(valkey)
        relay.cut()
        relay.delay_s = 0.14  # one answer comes in time, but a dial needs several
        for operation in OPERATIONS.values():
            began = time.monotonic()
            with suppress(StoreError):
                await operation(valkey)
            assert time.monotonic() - began < BOUND_S
            relay.cut()
        relay.delay_s = 0.05
        await until(valkey)
    relay.stop()


async def test_a_name_that_nobody_knows_is_told_in_time():
    async with dialled(f"rediss://:{PASSWORD}@no-such-store.invalid:6379") as valkey:
        words = await trouble(valkey, "beat")
        assert "no-such-store.invalid" in words


@pytest.mark.parametrize("how", ["restarted", "flushed"])
async def test_a_store_that_began_anew_has_its_scripts_again(store: RunningStore, how):
    async with dialled(store.url) as valkey:
        await works(valkey)
        if how == "restarted":
            store.kill()
            store.start()
            await until(valkey)
        else:
            with store.client() as client:
                client.script_flush()
            await works(valkey)
        assert await valkey.read("a") is not None, "its append-only file has it"


async def test_a_connection_that_was_let_go_answers_nobody_else(store):
    """More calls at a time than there are connections: each call must get its own answer."""
    async with dialled(store.url) as valkey:
        entries = {f"robot-{n}": Entry(f"t{n}", "me", b"%d" % n) for n in range(60)}
        await asyncio.gather(*(valkey.swap(robot, "", entry, None) for robot, entry in entries.items()))
        found = await asyncio.gather(*(valkey.read(robot) for robot in entries))
        assert [it.token for it in found] == [it.token for it in entries.values()]
        async with Redis.from_url(store.url) as client:
            assert len(await client.client_list()) <= 10


# --- as others have met it --------------------------------------------------------------------------------------------


async def test_a_store_that_only_reads_any_more_is_hung_up_on_as_its_name_may_mean_another(store, tmp_path):
    """READONLY, from a connection that is well: StackExchange.Redis 2264, redis-py 460, go-redis 790."""
    with running_store(tmp_path / "another") as another:
        relay = Relay("127.0.0.1", [store.port], [0])
        [port] = await relay.start()
        async with dialled(store.url.replace(f":{store.port}", f":{port}")) as valkey:
            await works(valkey)
            with store.client() as client:
                client.replicaof("127.0.0.1", "1")
            relay._servers.pop().close()  # the name now leads elsewhere; existing connections stay
            relay._ports[:] = [(another.port, port)]
            await relay.start()
            try:
                with pytest.raises(StoreError, match="read only"):
                    await valkey.put("admitted", {"k": Versioned(1, b"w")})
                await until(valkey)
                assert another.names()
            finally:
                with store.client() as client:
                    client.replicaof("NO", "ONE")
        relay.stop()
        await asyncio.sleep(0.01)  # the event loop closes the cut connection in its next turn


async def test_whoever_asks_after_the_goodbye_leaves_no_connection(store):
    async with dialled(store.url) as valkey:
        await valkey.put("admitted", {"k": Versioned(1, b"w")})
    assert await valkey.newest("admitted") == {"k": Versioned(1, b"w")}
    await asyncio.wait([valkey._asking])
    with store.client() as client:
        assert [it["id"] for it in client.client_list()] == [str(client.client_id())]


@pytest.mark.parametrize("how", ["killed by the store", "silent"])
async def test_letters_are_heard_again_after_their_connection_was_lost_without_a_word(store, how):
    """aioredis 354: CLIENT KILL was not noticed. redis-py 1137: nor was a machine that is gone."""
    relay = Relay("127.0.0.1", [store.port], [0])
    [port] = await relay.start()
    async with dialled(store.url.replace(f":{store.port}", f":{port}")) as valkey:
        letters = valkey.letters("inbox")
        assert await anext(letters) == ("", b"")
        if how == "silent":
            relay.open.clear()
        else:
            with store.client() as client:
                client.client_kill_filter(_type="pubsub")
        with pytest.raises(StoreError):
            async with asyncio.timeout(2.5 * PING_S):
                await anext(letters)
        relay.open.set()
        again = valkey.letters("inbox")
        assert await anext(again) == ("", b"")
        await again.aclose()
    relay.stop()
    await asyncio.sleep(0.01)  # the event loop closes the cut connection in its next turn
