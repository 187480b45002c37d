"""Entries that a fleet keeps for all of its gateways, over a real store."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
from stores import running_store

from reachy_gateway.fleet.member import Member
from reachy_gateway.fleet.place import parse
from reachy_gateway.fleet.port import StoreError
from reachy_gateway.fleet.present import Present
from reachy_gateway.fleet.seal import Seal
from reachy_gateway.fleet.shelf import LOOK_S, Shelf, Thing
from reachy_gateway.fleet.valkey import Valkey

SECRET = b"the gateways' secret key"


@pytest.fixture
def store(tmp_path):
    with running_store(tmp_path / "store") as store:
        yield store


@asynccontextmanager
async def gateway(store, secret: bytes = SECRET):
    valkey, seal = Valkey(parse(store.url), "fleet"), Seal(secret)
    member = Member(valkey, seal, lambda: Present(inbox=member.inbox, name="g", robots=0, robots_max=1))
    shelf = Shelf("keys", valkey, seal, member)
    task = asyncio.create_task(member.run())
    async with asyncio.timeout(LOOK_S / 2):
        await shelf.news()  # now letters are heard
    try:
        yield shelf
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await valkey.close()


def raw(store, name: str, text: bytes | None = None) -> bytes:
    with store.client() as client:
        if text is not None:
            client.hset("rl:fleet:shelf:keys", name, text)
        return client.hget("rl:fleet:shelf:keys", name)


async def test_what_one_puts_there_another_is_told_of_at_once_and_finds(store):
    async with gateway(store) as one, gateway(store) as two:
        assert await two.newest() == {}
        await one.put({"k": Thing(5, "text \u20ac"), "l": Thing(1, "")})
        async with asyncio.timeout(LOOK_S / 2):
            await two.news()
        assert await two.newest() == await one.newest() == {"k": Thing(5, "text \u20ac"), "l": Thing(1, "")}
        await one.put({"k": Thing(4, "older"), "l": Thing(2, "newer")})
        assert await two.newest() == {"k": Thing(5, "text \u20ac"), "l": Thing(2, "newer")}
        await one.put({})


async def test_what_is_told_between_two_looks_is_not_missed(store):
    async with gateway(store) as one, gateway(store) as two:
        await one.put({"k": Thing(1, "x")})
        async with asyncio.timeout(LOOK_S / 2):
            while not two._changed.is_set():
                await asyncio.sleep(0.01)
            await two.news()
        assert not two._changed.is_set()


async def test_what_this_fleet_did_not_put_there_is_nothing_and_spoils_no_other(store):
    async with gateway(store) as one, gateway(store, b"another fleet's") as stranger:
        await one.put({"k": Thing(5, "x"), "l": Thing(6, "y"), "m": Thing(7, "z")})
        sealed = raw(store, "k").partition(b":")[2]
        raw(store, "moved", b"5:" + sealed)
        raw(store, "k", b"6:" + sealed)
        raw(store, "damaged", b"no version")
        await stranger.put({"theirs": Thing(1, "t")})
        assert await one.newest() == {"l": Thing(6, "y"), "m": Thing(7, "z")}
        assert raw(store, "theirs") is None, "the foreign entry must be removed, as it would block ours"
        await one.put({"k": Thing(2, "again")})
        assert (await one.newest())["k"] == Thing(2, "again")
        raw(store, "l", b"9999999999999999:" + sealed)
        await one.newest()
        await one.put({"l": Thing(7, "newer")})
        assert (await one.newest())["l"] == Thing(7, "newer")


async def test_a_text_that_was_changed_is_read_anew(store):
    async with gateway(store) as one:
        await one.put({"k": Thing(5, "x")})
        assert await one.newest() == await one.newest() == {"k": Thing(5, "x")}
        good = raw(store, "k")
        raw(store, "k", good[:-1])
        assert await one.newest() == {}
        raw(store, "k", good)
        assert await one.newest() == {"k": Thing(5, "x")}
        with store.client() as client:
            client.flushall()
        assert await one.newest() == {}
        assert one._read == {}


async def test_a_store_that_is_away_is_told(store):
    async with gateway(store) as one:
        store.kill()
        with pytest.raises(StoreError):
            await one.newest()
        with pytest.raises(StoreError):
            await one.put({"k": Thing(1, "x")})
        store.start()
        async with asyncio.timeout(LOOK_S):
            await one.news()
        await one.put({"k": Thing(1, "x")})
