"""Gateways of a fleet that claim robots from one another, over a real store."""

import asyncio
import json
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
from stores import running_store

from reachy_gateway.fleet.claims import Start, Verdict
from reachy_gateway.fleet.member import BEAT_S, GONE_S, KEEP_MAX, RELEASE_S, Member
from reachy_gateway.fleet.place import parse
from reachy_gateway.fleet.port import Beat, Booking, Entry, Letter, Pulse, StoreError, Versioned
from reachy_gateway.fleet.present import Present
from reachy_gateway.fleet.scribe import Scribe
from reachy_gateway.fleet.seal import Seal
from reachy_gateway.fleet.valkey import Valkey

SECRET = b"the gateways' secret key"
ROBOT = "reachy-1"
KEY = "rl:fleet:robot:reachy-1"
BOUND_S = 2.0
"""A claim takes no longer than this, whatever happens to the store."""


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with running_store(tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture
def store(running):
    running.empty()
    return running


@pytest.fixture
def own_store(tmp_path):
    """A store that a test may kill or hang."""
    with running_store(tmp_path / "store") as store:
        yield store


async def until(true) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.01)


class Robot:
    """A robot whose clock runs while it lives."""

    def __init__(self, boot: str = "boot-1", clock_s: float = 1000.0) -> None:
        self.boot, self._ahead_s = boot, clock_s - time.monotonic()
        self.last: Start | None = None
        """The robot's last start, if it has fallen silent."""

    def newest(self) -> Start:
        return self.last or Start(self.boot, int((time.monotonic() + self._ahead_s) * 1e6))

    def hello(self):
        """What a gateway that has just heard the robot's hello knows of it; the gateway learns more while the robot stays."""
        return self.newest

    def left(self):
        """What a gateway that the robot has just left knows of it."""
        start = self.newest()
        return lambda: start


class Gateway:
    """A member, and the hub's part: it hangs up on a robot that is elsewhere."""

    def __init__(self, store, name: str, secret: bytes = SECRET, accounts=None) -> None:
        self.store = store
        self.name = name
        self.member = Member(store, Seal(secret), self.present, accounts)
        self.member.on_lost = self.lost
        self.why: list[str] = []
        self.hangs_up = True
        self.token = ""
        self.task: asyncio.Task | None = None

    def present(self) -> Present:
        return Present(inbox=self.member.inbox, name=self.name, where=f"{self.name}:1+2", robots=1, robots_max=2)

    def lost(self, robot: str, why: str) -> None:
        self.why.append(why)
        if self.hangs_up:
            asyncio.get_running_loop().call_soon(self.member.let_go, robot, self.token)

    async def claim(self, newest, robot: str = ROBOT, **more):
        taken = await self.member.claim(robot, newest, **more)
        self.token = taken.token
        return taken

    def keep(self, text: str) -> None:
        self.member.keep(ROBOT, self.token, lambda: text)

    async def start(self) -> "Gateway":
        self.task = asyncio.create_task(self.member.run())
        await until(lambda: self.member.up and self.member.inbox in [it.inbox for it in self.member.neighbours])
        return self

    async def die(self) -> None:
        """Act as if killed."""
        if self.task:
            self.task.cancel()
            with suppress(asyncio.CancelledError):
                await self.task
            await asyncio.sleep(0)
            await self.store.close()


def heard(store, gateway: Gateway) -> int:
    """How many subscribers read the gateway's letters."""
    with store.client() as client:
        return client.pubsub_numsub(f"rl:fleet:{gateway.member.inbox}")[0][1]


@asynccontextmanager
async def gateways(store, n: int = 2, **more):
    async with AsyncExitStack() as stack:
        made = []
        for number in range(n):
            gateway = Gateway(Valkey(parse(store.url), "fleet"), f"g{number}", **more)
            await gateway.start()
            await until(lambda gateway=gateway: heard(store, gateway) == 1)
            made.append(gateway)
            stack.push_async_callback(gateway.member.close)
            stack.push_async_callback(gateway.die)
        yield made


def entry(store) -> dict[bytes, bytes]:
    with store.client() as client:
        return client.hgetall(KEY)


def stored(store, robot: str = ROBOT) -> str:
    """The document that is remembered of a robot; empty if there is none."""
    with store.client() as client:
        it = client.hgetall(KEY.replace(ROBOT, robot))
    entry = Entry(it[b"token"].decode(), it[b"owner"].decode(), it[b"sealed"]) if it else None
    return Scribe(Seal(SECRET)).opened(robot, entry)[1]


async def written(store, gateway: Gateway) -> None:
    await until(lambda: stored(store) == gateway.member._held[ROBOT].make())


# --- claims -----------------------------------------------------------------------------------------------------------


async def test_a_robot_that_nobody_has_is_granted_with_nothing_to_remember(store):
    async with gateways(store, 1) as [one]:
        taken = await one.claim(Robot().newest)
        assert (taken.verdict, taken.inherited) == (Verdict.GRANTED, None)
        assert entry(store)[b"token"] == taken.token.encode()


async def test_the_gateway_that_has_the_robot_hangs_up_and_tells_the_newest_of_what_it_knows(store):
    robot = Robot()
    async with gateways(store) as [one, two]:
        await one.claim(robot.left())
        one.keep("what is written")
        await written(store, one)
        one.keep("what it knows by now")
        taken = await two.claim(robot.hello())
        assert taken.verdict is Verdict.GRANTED
        assert (taken.inherited.text, taken.inherited.held, taken.inherited.age_s) == ("what it knows by now", "released", 0.0)
        assert one.why == ["has gone to another gateway"]
        assert one.member._held == one.member._replies == two.member._replies == {}
        assert entry(store)[b"owner"] == two.member.inbox.encode()


async def test_a_gateway_that_is_there_no_more_is_not_waited_for_and_what_it_wrote_is_known(store):
    robot = Robot()
    async with gateways(store) as [one, two]:
        await one.claim(robot.left())
        one.keep("written before it was killed")
        await written(store, one)
        await one.die()
        await until(lambda: heard(store, one) == 0)
        began = time.monotonic()
        taken = await two.claim(robot.hello())
        assert time.monotonic() - began < RELEASE_S
        assert (taken.inherited.text, taken.inherited.held) == ("written before it was killed", "gone")


async def test_a_gateway_that_does_not_answer_costs_a_moment_and_is_doubted(store):
    robot = Robot()
    async with gateways(store) as [one, two]:
        one.hangs_up = False
        await one.claim(robot.left())
        one.keep("written")
        await written(store, one)
        began = time.monotonic()
        taken = await two.claim(robot.hello())
        assert RELEASE_S * 0.9 < time.monotonic() - began < RELEASE_S + 0.5
        assert (taken.inherited.text, taken.inherited.held) == ("written", "silent")


async def test_an_answer_that_comes_too_late_does_no_harm(store):
    robot = Robot()
    async with gateways(store) as [one, two]:
        one.hangs_up = False
        await one.claim(robot.left())
        await two.claim(robot.hello())
        one.member.let_go(ROBOT, one.token)
        await until(lambda: not one.member._tasks)
        two.keep("goes on")
        await written(store, two)
        assert two.why == []


async def test_a_new_start_of_the_robot_has_nothing_of_the_one_before_once_it_has_shown_that_it_lives(store):
    async with gateways(store) as [one, two]:
        await one.claim(Robot("boot-1").left())
        one.keep("of the start before")
        await written(store, one)
        taken = await two.claim(Robot("boot-2", clock_s=3).hello())
        assert (taken.verdict, taken.inherited) == (Verdict.GRANTED, None)
        await until(lambda: one.why == ["has gone to another gateway"])


async def test_a_new_start_at_the_same_gateway_has_nothing_of_the_one_before_either(store):
    robot = Robot("boot-1")
    async with gateways(store) as [one, two]:
        words = [robot.newest()]
        await one.claim(lambda: words[-1])
        one.keep("of the start before")
        await written(store, one)
        robot.boot = "boot-2"
        words.append(robot.newest())
        one.keep("its last words, after the robot has said hello anew")
        one.member.again(ROBOT)
        await written(store, one)
        taken = await two.claim(robot.hello())
        assert (taken.verdict, taken.inherited) == (Verdict.GRANTED, None)
        await until(lambda: one.why == ["has gone to another gateway"])
        assert (await one.claim(Robot("boot-1", clock_s=2000).hello())).verdict is not Verdict.GRANTED


@pytest.mark.parametrize("boot", ["boot-1", "boot-2"])
async def test_what_lay_for_long_takes_nothing(store, boot):
    robot, late = Robot(clock_s=1000), Robot(boot, clock_s=900 if boot == "boot-1" else 5000)
    async with gateways(store) as [one, two]:
        await one.claim(robot.newest)
        assert (await two.claim(late.left())).verdict is Verdict.LATE
        assert two.member._held == {}
        assert one.why == []


async def test_of_two_that_use_one_key_one_is_served_until_it_has_gone(store):
    one_robot, other = Robot("boot-1"), Robot("boot-2", clock_s=5)
    async with gateways(store) as [one, two]:
        await one.claim(one_robot.newest)
        assert (await two.claim(other.newest)).verdict is Verdict.GRANTED
        await until(lambda: one.why)
        assert (await one.claim(one_robot.newest)).verdict is Verdict.CLONE
        two.member.let_go(ROBOT, two.token)
        await until(lambda: entry(store)[b"owner"] == b"")
        assert (await one.claim(one_robot.newest)).verdict is Verdict.GRANTED
        assert (await two.claim(other.newest)).verdict is Verdict.CLONE


async def test_a_robot_whose_place_another_has_taken_is_served_once_the_others_gateway_is_gone(store):
    one_robot, other = Robot("boot-1"), Robot("boot-2", clock_s=5)
    async with gateways(store) as [one, two]:
        await one.claim(one_robot.newest)
        await two.claim(other.newest)
        await until(lambda: two.member.inbox in one.member._seen)
        await two.die()
        assert (await one.claim(one_robot.newest)).verdict is Verdict.CLONE, "the robot may be there in a moment"
        one.member._seen[two.member.inbox] -= 2 * GONE_S
        assert (await one.claim(one_robot.newest)).verdict is Verdict.GRANTED


async def test_a_robot_that_was_let_go_goes_on_elsewhere_unless_it_is_to_be_forgotten(store):
    robot = Robot()
    async with gateways(store) as [one, two]:
        await one.claim(robot.newest)
        one.keep("the last of it")
        one.member.let_go(ROBOT, one.token)
        await until(lambda: entry(store)[b"owner"] == b"")
        taken = await two.claim(robot.newest)
        assert (taken.inherited.text, taken.inherited.held) == ("the last of it", "released")
        assert 0 < taken.inherited.age_s < 5
        two.keep("more")
        two.member.let_go(ROBOT, two.token, forget=True)
        await until(lambda: entry(store)[b"owner"] == b"")
        assert (await one.claim(robot.newest)).inherited is None
        one.member.let_go(ROBOT, "another token")
        assert ROBOT in one.member._held


async def test_a_conversation_that_is_to_begin_anew_inherits_nothing(store):
    robot = Robot()
    async with gateways(store) as [one, two]:
        await one.claim(robot.left())
        one.keep("what made it fail")
        assert (await two.claim(robot.hello(), anew=True)).inherited is None


# --- what is written --------------------------------------------------------------------------------------------------


async def moved_unheard(store, one: Gateway, two: Gateway, robot: Robot) -> None:
    """The robot is claimed from a gateway that does not hear of it."""
    await one.die()
    await until(lambda: heard(store, one) == 0)
    assert (await two.claim(robot.hello())).verdict is Verdict.GRANTED


async def test_a_fault_in_what_is_to_be_remembered_of_a_robot_is_that_robots_alone(store, caplog):
    def fault() -> str:
        raise ValueError("a fault")

    async with gateways(store, 1) as [one]:
        await one.claim(Robot().newest)
        await one.claim(Robot().newest, "reachy-2")
        token = one.token
        one.member.keep(ROBOT, one.member._held[ROBOT].token, fault)
        one.member.keep("reachy-2", token, lambda: "goes on")
        await until(lambda: stored(store, "reachy-2") == "goes on")
        one.member.let_go(ROBOT, one.member._held[ROBOT].token)
        await until(lambda: entry(store)[b"owner"] == b"")
        assert caplog.text.count("reachy-1 is not remembered: a bug in the gateway") == 2


async def test_who_writes_by_an_old_token_is_refused_and_told(store):
    robot = Robot()
    async with gateways(store) as [one, two]:
        await one.claim(robot.left())
        await moved_unheard(store, one, two, robot)
        before = entry(store)[b"token"]
        one.keep("it does not know yet")
        one.hangs_up = False
        await one.start()
        await until(lambda: one.why == ["its conversation is at another gateway"])
        assert entry(store)[b"token"] == before
        assert two.why == []


async def test_a_robot_that_has_spoken_here_since_is_claimed_back(store):
    robot = Robot()
    async with gateways(store) as [one, two]:
        await one.claim(robot.newest)
        late = robot.left()
        await one.die()
        await until(lambda: heard(store, one) == 0)
        assert (await two.claim(late)).verdict is Verdict.GRANTED
        one.keep("it is here")
        await one.start()
        await until(lambda: two.why == ["has gone to another gateway"])
        assert one.why == []
        assert entry(store)[b"owner"] == one.member.inbox.encode()


async def test_a_gateway_that_is_asked_for_a_robot_that_speaks_there_keeps_it(store):
    robot = Robot()
    async with gateways(store) as [one, two]:
        late = robot.left()
        await one.claim(robot.newest)
        with store.client() as client:
            client.delete(KEY)
        assert (await two.claim(late)).verdict is Verdict.GRANTED
        one.member.again(ROBOT)
        await until(lambda: two.why)
        assert one.why == []


async def test_a_hundred_robots_and_more_are_all_written(store):
    async with gateways(store, 1) as [one]:
        names = [f"robot-{n}" for n in range(KEEP_MAX + 20)]
        taken = await asyncio.gather(*(one.member.claim(name, Robot().newest) for name in names))
        before = {name: it.token for name, it in zip(names, taken, strict=True)}
        store.empty()
        for name, token in before.items():
            one.member.keep(name, token, lambda name=name: name)
        await until(lambda: len([key for key in store.names() if ":robot:" in key]) == len(names))


async def test_a_store_that_was_emptied_learns_a_robot_again_as_it_goes_on(store):
    robot = Robot()
    async with gateways(store) as [one, two]:
        await one.claim(robot.left())
        store.empty()
        one.keep("it goes on")
        await written(store, one)
        assert one.why == []
        assert (await two.claim(robot.hello())).inherited.text == "it goes on"


# --- a store that is away ---------------------------------------------------------------------------------------------


async def test_a_robot_that_comes_while_the_store_is_away_is_served_and_claimed_once_it_is_back(own_store):
    robot = Robot()
    async with gateways(own_store) as [one, two]:
        own_store.kill()
        began = time.monotonic()
        taken = await one.claim(robot.left())
        assert time.monotonic() - began < BOUND_S
        assert (taken.verdict, taken.inherited) == (Verdict.GRANTED, None)
        assert taken.token
        await until(lambda: one.member.up is False and two.member.up is False)
        assert (await two.claim(Robot().newest, "reachy-2")).verdict is Verdict.GRANTED, (
            "the outage is known, so this must be granted at once"
        )
        one.keep("of meanwhile")
        own_store.start()
        await until(lambda: entry(own_store).get(b"token") == taken.token.encode())
        await until(lambda: two.member.up)
        assert one.why == two.why == []
        assert (await two.claim(robot.newest)).inherited.text == "of meanwhile"


async def test_a_robot_whose_machine_was_started_again_while_the_store_was_away_keeps_its_new_conversation(own_store):
    async with gateways(own_store) as [one, two]:
        await two.claim(Robot("boot-1", clock_s=5000).left())
        await written(own_store, two)
        own_store.hang()
        taken = await one.claim(Robot("boot-2", clock_s=3).newest)
        own_store.wake()
        await until(lambda: entry(own_store)[b"token"] == taken.token.encode())
        assert one.why == []


async def test_a_robot_that_went_elsewhere_while_the_store_was_away_is_not_taken_back(own_store):
    robot = Robot()
    async with gateways(own_store) as [one, two]:
        own_store.kill()
        await one.claim(robot.left())
        await two.claim(robot.hello())
        own_store.start()
        await until(lambda: one.why)
        await until(lambda: entry(own_store).get(b"owner") == two.member.inbox.encode())
        assert two.why == []


async def test_the_store_is_said_to_be_away_and_back_once_each(own_store, caplog):
    caplog.set_level("INFO")
    async with gateways(own_store, 1) as [one]:
        own_store.kill()
        await until(lambda: one.member.up is False)
        assert f"127.0.0.1:{own_store.port}" in one.member.trouble
        await one.claim(Robot().newest)
        own_store.start()
        await until(lambda: one.member.up)
        assert one.member.trouble == ""
    said = [
        it.message for it in caplog.records if it.name.startswith("reachy_gateway.fleet.member") and it.levelname != "DEBUG"
    ]
    assert [words.partition(":")[0] for words in said] == [
        "the store is there",
        said[1].partition(":")[0],
        said[2].partition(":")[0],
    ]
    assert "it goes on without" in said[1]
    assert said[2].startswith("the store is there again")


async def test_a_claim_ends_in_time_when_the_store_hangs_in_the_middle(own_store):
    robot = Robot()
    async with gateways(own_store, 1) as [one]:
        own_store.hang()
        began = time.monotonic()
        taken = await one.claim(robot.newest)
        assert time.monotonic() - began < BOUND_S
        assert taken.verdict is Verdict.GRANTED
        own_store.wake()
        await until(lambda: entry(own_store).get(b"token") == taken.token.encode())
        assert one.why == []


async def test_a_gateway_is_closed_in_time_while_the_store_hangs(own_store):
    one = await Gateway(Valkey(parse(own_store.url), "fleet"), "g").start()
    await one.claim(Robot().newest)
    own_store.hang()
    one.member.let_go(ROBOT, one.token)
    assert one.task
    one.task.cancel()
    began = time.monotonic()
    await one.member.close()
    assert time.monotonic() - began < BOUND_S
    own_store.wake()


async def test_a_gateway_that_is_closed_has_written_the_last_and_is_not_there_any_more(store):
    async with gateways(store, 1) as [two]:
        one = await Gateway(Valkey(parse(store.url), "fleet"), "g").start()
        await one.claim(Robot().newest)
        one.keep("the last")
        one.member.let_go(ROBOT, one.token)
        assert one.task
        one.task.cancel()
        await one.member.close()
        assert entry(store)[b"owner"] == b""
        await until(lambda: [it.name for it in two.member.neighbours] == ["g0"])


# --- cancelled --------------------------------------------------------------------------------------------------------


async def test_a_claim_that_is_cancelled_anywhere_leaves_nothing_behind(store):
    robot = Robot()
    async with gateways(store) as [one, two]:
        one.hangs_up = False
        for steps in range(60):
            await one.claim(robot.hello())
            task = asyncio.create_task(two.claim(robot.hello()))
            for _ in range(steps):
                await asyncio.sleep(0)
            if steps % 3 == 0:
                await asyncio.sleep(steps / 1000)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
                two.member.let_go(ROBOT, two.token)
            assert two.member._held == two.member._replies == {}
            one.member.let_go(ROBOT, one.token)
        await until(lambda: not one.member._tasks and not two.member._tasks)
        assert (await one.claim(robot.hello())).verdict is Verdict.GRANTED


# --- what nobody understands ------------------------------------------------------------------------------------------


def _moved(store) -> None:
    with store.client() as client:
        client.hset(KEY, mapping=client.hgetall(KEY.replace("1", "2")))


def _damaged(store) -> None:
    with store.client() as client:
        sealed = bytearray(client.hget(KEY, "sealed"))
        sealed[-1] ^= 1
        client.hset(KEY, "sealed", bytes(sealed))


def _owned(store) -> None:
    with store.client() as client:
        client.hset(KEY, "owner", "somebody")


def _of_another_fleet(store) -> None:
    _sealed(store, Seal(b"another"), json.dumps(["boot-1", 10**12, [], "stolen"]))


def _of_a_newer_version(store) -> None:
    _sealed(store, Seal(SECRET), json.dumps(["boot-1", 10**12, [], "body", "more"]))


def _no_claim(store) -> None:
    _sealed(store, Seal(SECRET), "17")


def _no_json(store) -> None:
    _sealed(store, Seal(SECRET), "{")


def _sealed(store, seal: Seal, text: str) -> None:
    with store.client() as client:
        client.hset(KEY, mapping={"token": "t", "owner": "o", "sealed": seal.close(text, f"robot {ROBOT} t o")})


@pytest.mark.parametrize(
    "spoil", [_moved, _damaged, _owned, _of_another_fleet, _of_a_newer_version, _no_claim, _no_json], ids=lambda it: it.__name__
)
async def test_what_this_fleet_did_not_write_for_that_place_is_nothing(store, spoil):
    robot = Robot()
    async with gateways(store) as [one, two]:
        for name in (ROBOT, "reachy-2"):
            taken = await one.member.claim(name, robot.left())
            one.member.keep(name, taken.token, lambda name=name: f"of {name}")
        await until(lambda: [stored(store, name) for name in (ROBOT, "reachy-2")] == [f"of {ROBOT}", "of reachy-2"])
        spoil(store)
        taken = await two.claim(robot.hello())
        assert (taken.verdict, taken.inherited) == (Verdict.GRANTED, None)
        await until(lambda: entry(store)[b"owner"] == two.member.inbox.encode())


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "17", "null", "{}", '{"release": "reachy-1"}', '{"released": "reachy-1"}', '{"released": ["x"]}']
)
async def test_a_letter_that_nobody_understands_is_not_the_last_that_is_read(store, text):
    robot = Robot()
    async with gateways(store) as [one, two]:
        inbox = one.member.inbox
        await two.store.post(Letter(inbox, Seal(SECRET).close(text, f"letter {inbox}")))
        await two.store.post(Letter(inbox, b"no seal"))
        await two.store.post(Letter(inbox, Seal(SECRET).close('{"release": "x"}', "letter another")))
        await one.claim(robot.left())
        one.keep("asked for")
        assert (await two.claim(robot.hello())).inherited.held == "released"


# --- the fleet --------------------------------------------------------------------------------------------------------


async def test_gateways_know_one_another_and_where_there_is_room(store):
    async with gateways(store, 3) as [one, two, three]:
        await until(lambda: len(list(one.member.neighbours)) == 3)
        assert one.member.neighbours.others() == ("g1:1+2", "g2:1+2")
        assert {one.member.neighbours.elsewhere(f"reachy-{n}") for n in range(20)} == {"g1:1+2", "g2:1+2"}
        await three.die()
        await three.store.leave(three.member.inbox)
        await until(lambda: one.member.neighbours.others() == ("g1:1+2",))
        await two.die()
        await two.store.leave(two.member.inbox)
        await until(lambda: one.member.neighbours.elsewhere(ROBOT) is None)


async def test_whoever_follows_a_shelf_is_told_when_something_is_put_there_and_when_letters_are_heard_again(own_store):
    async with gateways(own_store) as [one, two]:
        told: list[str] = []
        for name in ("keys", "documents"):
            one.member.on_shelf[name] = lambda name=name: told.append(name)
        await two.store.put("keys", {"k": Versioned(1, b"s")})
        await until(lambda: told == ["keys"])
        own_store.kill()
        own_store.start()
        await until(lambda: sorted(told) == ["documents", "keys", "keys"])
        one.member.changed("nothing of ours")


class Accounts:
    """Rows that are reported once; after that the last row is asked for again and again."""

    def __init__(self, upto: int) -> None:
        self.mark, self.upto, self.day_said = 0, upto, ""
        self.sums: dict[str, int] = {}

    def day(self) -> str:
        return "2026-11-23"

    def to_tell(self, *, news_only: bool = False) -> Booking | None:
        upto = min(self.mark + 1, self.upto)
        if news_only and upto == self.mark:
            return None
        return Booking(self.day(), "L", self.mark, upto, {"a": 7} if upto > self.mark else {})

    def told(self, _booking: Booking, upto: int) -> None:
        self.mark = upto

    def spent(self, _day: str, nano_usd) -> None:
        self.sums = dict(nano_usd)


class Counted:
    """A store that only counts beats."""

    def __init__(self) -> None:
        self.beats: list[float] = []

    async def beat(self, beat: Beat) -> Pulse:
        self.beats.append(time.monotonic())
        return Pulse({}, beat.book.upto if beat.book else None, {}, [])

    async def letters(self, _inbox: str):
        raise StoreError("there are none")
        yield


async def test_what_is_spent_is_told_row_by_row_without_waiting_and_then_once_a_second(store):
    accounts, counted = Accounts(4), Counted()
    task = asyncio.create_task(Gateway(counted, "g", accounts=accounts).member.run())
    await until(lambda: len(counted.beats) == 7)
    task.cancel()
    assert accounts.mark == 4
    at = counted.beats
    assert at[3] - at[0] < BEAT_S, "it has more to tell"
    assert at[6] - at[4] > 1.5 * BEAT_S, "it has nothing to tell"


async def test_what_all_spend_is_known_to_each(store):
    async with AsyncExitStack() as stack:
        both = [Accounts(1), Accounts(2)]
        for n, accounts in enumerate(both):
            accounts.to_tell = lambda n=n, it=accounts, **_: Booking(
                it.day(), f"L{n}", it.mark, it.upto, {"a": 7} if not it.mark else {}
            )
            gateway = await Gateway(Valkey(parse(store.url), "fleet"), f"g{n}", accounts=accounts).start()
            stack.push_async_callback(gateway.die)
        await until(lambda: all(it.sums == {"a": 14} for it in both))
