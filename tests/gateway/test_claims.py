"""Which gateway has a robot's conversation: by example, and over random histories of gateways that hang and copied robots."""

import random
from collections import deque
from collections.abc import Generator

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from reachy_gateway.fleet.claims import (
    FORMER_MAX,
    PACE_US,
    PROOF_S,
    PROOFS_MAX,
    Claim,
    Start,
    Verdict,
    granted,
    judge,
    lets_go,
    lives,
)

A5, A9, B7 = Start("a", 5), Start("a", 9), Start("b", 7)
HERE, THERE = "inbox-here", "inbox-there"


def claim(start: Start, *former: str, owner: str = THERE) -> Claim:
    return Claim(owner, "token", start, former)


@pytest.mark.parametrize(
    ("known", "start", "at_first", "alive"),
    [
        (None, A5, Verdict.GRANTED, Verdict.GRANTED),
        (claim(A5), A9, Verdict.GRANTED, Verdict.GRANTED),
        (claim(A5), A5, Verdict.GRANTED, Verdict.GRANTED),
        (claim(A9), A5, Verdict.LATE, Verdict.LATE),
        (claim(A9, owner=""), A5, Verdict.LATE, Verdict.LATE),
        (claim(A5), B7, Verdict.DOUBTFUL, Verdict.GRANTED),
        (claim(A9), B7, Verdict.DOUBTFUL, Verdict.GRANTED),
        (claim(B7, "a"), A9, Verdict.DOUBTFUL, Verdict.CLONE),
        (claim(B7, "a"), A5, Verdict.DOUBTFUL, Verdict.CLONE),
        (claim(B7, "a", owner=""), A9, Verdict.DOUBTFUL, Verdict.GRANTED),
    ],
)
def test_what_comes_of_a_hello(known, start, at_first, alive):
    assert judge(known, start) is at_first
    assert judge(known, start, alive=True) is alive


def test_a_claim_remembers_the_starts_that_others_followed_and_each_once():
    one = granted(None, A5, HERE, "t1")
    assert one == Claim(HERE, "t1", A5, ())
    assert granted(one, A9, THERE, "t2").former == ()
    two = granted(one, B7, THERE, "t2")
    assert two == Claim(THERE, "t2", B7, ("a",))
    assert granted(two, A9, HERE, "t3").former == ("b",), "a start that is present cannot have been followed by others"


@given(st.lists(st.integers(0, 40), max_size=80))
def test_the_starts_that_are_remembered_are_the_newest_and_not_many(boots):
    known = None
    for n, boot in enumerate(boots):
        known = granted(known, Start(f"{boot}", n), HERE, f"t{n}")
        assert known.start.boot not in known.former
        assert len(set(known.former)) == len(known.former) <= FORMER_MAX
    if len(boots) > 1 and boots[-1] != boots[-2]:
        assert known.former[-1] == f"{boots[-2]}"


@pytest.mark.parametrize(
    ("passed_us", "proven"),
    [
        (0, False),
        (PACE_US - 1, False),
        (PACE_US, True),
        (round(PROOF_S * 1e6) + PACE_US, True),
        (round(PROOF_S * 1e6) + PACE_US + 1, False),
        (-250_000, False),
    ],
)
def test_a_robot_lives_if_its_clock_goes_on_at_the_pace_of_ours(passed_us, proven):
    assert lives(Start("a", 10**9), Start("a", 10**9 + passed_us), PROOF_S) is proven
    assert not lives(Start("a", 10**9), Start("b", 10**9 + passed_us), PROOF_S)


def test_a_robot_is_let_go_unless_it_has_spoken_here_since():
    assert lets_go(A5, A9)
    assert lets_go(A5, A5)
    assert not lets_go(A9, A5)
    assert lets_go(A9, B7), "another start has its own time order"
    assert lets_go(B7, A9)


# --- histories --------------------------------------------------------------------------------------------------------

STEP_US = 50_000
SECOND = 1_000_000 // STEP_US
PROOF_STEPS = round(PROOF_S * SECOND)
HELLO_STEPS, LOST_STEPS, REFUSED_STEPS, WRITE_STEPS = 4, 44, 20, 10


class Store:
    """One claim. A writer must know the claim that it replaces."""

    def __init__(self, world: "World") -> None:
        self.claim: Claim | None = None
        self.world = world

    def swap(self, known: Claim | None, new: Claim) -> bool:
        """Replace the claim as ``swap.lua`` does, and check the one invariant whenever the claim changes hands."""
        if (self.claim.token if self.claim else "") != (known.token if known else ""):
            return False
        if known and new.owner not in ("", known.owner) and new.start.boot != known.start.boot:
            self.world.changes_hands(known, new)  # within one start a late claim is detected when it asks for the robot
        self.claim = new
        return True


class Robot:
    """One machine. It speaks to one gateway at a time, and sends hellos until that gateway serves it."""

    def __init__(self, world: "World", name: str, clock: int) -> None:
        self.world, self.name, self.clock = world, name, clock
        self.starts, self.boot = 0, ""
        self.at: Gateway | None = None
        self.calm = 0
        """For how many steps nothing happened that could cost the robot its place."""
        self.refused = 0
        self.hello_in = 0
        self.new_here = False
        """Whether the robot must still send a hello at its gateway."""
        self.taken_until = 0
        """When the robot notices at the latest that another one took its place."""

    def start(self) -> None:
        self.starts += 1
        self.boot = f"{self.name}{self.starts}"
        self.calm = self.hello_in = self.refused = 0

    @property
    def served(self) -> bool:
        return self.at is not None and self.at.held is not None and self.at.peer.boot == self.boot

    def step(self) -> None:
        self.clock += 1
        if self.at is None:
            return
        self.calm = 0 if self.at.hung or self.refused else self.calm + 1
        self.hello_in -= 1
        hello = self.new_here or (not self.served and self.hello_in <= 0)
        if hello:
            self.new_here = False
            self.hello_in, self.refused = HELLO_STEPS, 0
        if hello or self.clock % self.world.pace == 0:
            self.world.send(self.at, "hello" if hello else "word", Start(self.boot, self.clock * STEP_US))


class Gateway:
    """A gateway as a member of a fleet. Each question to the store takes one step."""

    def __init__(self, world: "World", name: str) -> None:
        self.world, self.name, self.store = world, name, world.store
        self.hung = False
        self.queue: deque[tuple[str, Start]] = deque()
        self.letters: deque[tuple[str, Start]] = deque()
        self.peer = Start("", -1)
        self.held: Claim | None = None
        self.work: Generator[None, None, None] | None = None

    def step(self) -> None:
        if self.hung:
            return
        for lot in self.world.draw.sample((self.read_words, self.read_letters), 2):
            lot()
        if self.work is None and self.held and self.world.now % WRITE_STEPS == 0:
            self.work = self.write()
        if self.work:
            self.work = self.work if next(self.work, self) is None else None

    def read_words(self) -> None:
        while self.queue:
            kind, start = self.queue.popleft()
            if kind == "hello" and start.boot != self.peer.boot:
                self.let_go()
            elif start.boot != self.peer.boot:
                continue
            self.peer = start
            if kind == "hello":
                self.world.welcome(self, start)
            if kind == "bye":
                self.let_go()
            elif kind == "hello" and self.held is None and self.work is None:
                self.work = self.take()

    def read_letters(self) -> None:
        while self.letters:
            token, there = self.letters.popleft()
            if self.held is None or self.held.token != token:
                continue
            if lets_go(self.peer, there):
                self.held = self.work = None
                self.world.released(self, self.peer)
            elif self.work is None:
                self.work = self.take_back()

    def let_go(self) -> None:
        self.work = None
        held, self.held = self.held, None
        if held and self.store.claim and self.store.claim.token == held.token:
            self.store.swap(held, Claim("", held.token, self.peer, held.former))

    def proven(self) -> Generator[None, None, bool]:
        silent = 0
        for _ in range(2 * PROOFS_MAX):
            before, began = self.peer, self.world.now
            for _ in range(PROOF_STEPS):
                yield
            if self.world.now - began == PROOF_STEPS and lives(before, self.peer, PROOF_S):
                return True
            silent += self.peer == before
            if silent == PROOFS_MAX:
                break
        return False

    def take(self) -> Generator[None, None, None]:
        """Claim a robot, as ``Member.claim`` does."""
        alive = False
        while True:
            known = self.store.claim
            yield
            start = self.peer
            verdict = judge(known, start, alive=alive)
            if verdict is Verdict.DOUBTFUL:
                alive = yield from self.proven()
                if alive:
                    continue
                return
            if verdict is not Verdict.GRANTED:
                self.world.denied(self, start, verdict)
                return
            if self.swap(known, granted(known, start, self.name, self.world.token())):
                return

    def write(self) -> Generator[None, None, None]:
        """Write at a beat."""
        yield
        assert self.held
        new = Claim(self.name, self.held.token, self.peer, self.held.former)
        if self.store.claim is None or self.store.claim.token == new.token:
            self.store.claim = self.held = new
        else:
            yield from self.take_back()

    def take_back(self) -> Generator[None, None, None]:
        """Claim a returned robot, as ``Member`` does."""
        alive = False
        while True:
            known = self.store.claim
            yield
            assert self.held
            if known and known.token == self.held.token:
                return
            verdict = judge(known, self.peer, alive=alive)
            if verdict is Verdict.DOUBTFUL and (alive := (yield from self.proven())):
                continue
            if verdict is not Verdict.GRANTED:
                self.world.denied(self, self.peer, verdict)
                self.held = None
                return
            if self.swap(known, granted(known, self.peer, self.name, self.held.token)):
                return

    def swap(self, known: Claim | None, new: Claim) -> bool:
        if not self.store.swap(known, new):
            return False
        self.held = new
        if known and known.owner not in ("", self.name):
            self.world.gateways[known.owner].letters.append((known.token, new.start))
        return True


class World:
    def __init__(self, seed: int, pace: int) -> None:
        self.draw, self.pace, self.now, self.tokens = random.Random(seed), pace, 0, 0  # noqa: S311
        self.store = Store(self)
        self.gateways = {name: Gateway(self, name) for name in "pqrxy"}
        self.robots = {"robot": Robot(self, "a", 5000), "clone": Robot(self, "b", self.draw.choice((100, 9000)))}
        self.places = {"robot": "pqr", "clone": "xy"}
        self.clone_left = -SECOND
        self.spoke_at: dict[tuple[str, str], int] = {}
        """When a start last spoke at a gateway, by gateway and start."""
        self.on_its_way: list[tuple[int, Gateway, str, Start]] = []
        self.robots["robot"].start()
        self.go("robot", 0)

    def token(self) -> str:
        self.tokens += 1
        return f"t{self.tokens}"

    @property
    def here(self) -> list[Robot]:
        """The robots that run."""
        return [robot for robot in self.robots.values() if robot.at]

    def go(self, who: str, where: int) -> None:
        robot, places = self.robots[who], self.places[who]
        if not robot.boot:
            robot.start()
        robot.at = self.gateways[places[where % len(places)]]
        robot.calm = robot.hello_in = 0
        robot.new_here = True

    def send(self, to: Gateway, kind: str, start: Start) -> None:
        """Send a message. Messages of one sender keep their order."""
        self.spoke_at[to.name, start.boot] = self.now
        due = max([self.now + self.draw.choice((0, 0, 0, 1)), *(it[0] for it in self.on_its_way if it[1] is to)])
        self.on_its_way.append((due, to, kind, start))

    def do(self, what: str, where: int) -> None:
        robot = self.robots["robot"]
        match what:
            case "move" | "clone":
                self.go("robot" if what == "move" else "clone", where)
            case "restart":
                robot.start()
            case "reboot":
                robot.clock = where
                robot.start()
            case "off":
                clone = self.robots["clone"]
                if clone.at:
                    self.send(clone.at, "bye", Start(clone.boot, clone.clock * STEP_US))
                clone.at, clone.boot = None, ""
                robot.calm, self.clone_left = 0, self.now
            case "forget":
                self.store.claim = None
            case "hang" | "wake":
                list(self.gateways.values())[where % 5].hung = what == "hang"

    def step(self) -> None:
        self.now += 1
        before = [robot for robot in self.here if robot.served]
        for robot in self.here:
            robot.step()
        for due in [it for it in self.on_its_way if it[0] <= self.now]:
            self.on_its_way.remove(due)
            due[1].queue.append(due[2:])
        for gateway in self.draw.sample(list(self.gateways.values()), 5):
            gateway.step()
        if self.clone_is_remembered():
            self.clone_left = self.now
        self.look(before)

    def look(self, before: list[Robot]) -> None:
        if len(self.here) != 1 or self.clone_is_remembered():
            return
        [robot] = self.here
        if robot in before and robot.calm > HELLO_STEPS:
            assert robot.served, f"{self.now}: its conversation was dropped"
        if robot.calm >= SECOND and self.now > robot.taken_until:
            assert robot.served, f"{self.now}: it is not let in"

    def clone_is_remembered(self) -> bool:
        """Whether the store still gives the place to the clone: the clone is gone, but its gateway has not released it yet."""
        return self.store.claim is not None and self.store.claim.owner in ("x", "y") and self.store.claim.start.boot[0] == "b"

    def changes_hands(self, known: Claim, new: Claim) -> None:
        lives_there = any(robot.at and robot.at.name == known.owner and robot.boot == known.start.boot for robot in self.here)
        lives_here = self.now - self.spoke_at[new.owner, new.start.boot] <= 2 * PROOF_STEPS
        event(f"changes hands: {'alive' if lives_there else 'left'} -> {'alive' if lives_here else 'late'}")
        assert lives_here or not lives_there, f"{self.now}: a late message has taken {known} by {new}"

    def denied(self, at: Gateway, start: Start, verdict: Verdict) -> None:
        event(f"denied: {verdict.name}")
        for robot in self.here:
            if robot.at is at and robot.boot == start.boot and verdict is Verdict.CLONE:
                robot.refused, robot.hello_in = self.now, REFUSED_STEPS
                recently = self.now - self.clone_left < SECOND
                assert len(self.here) > 1 or recently or self.clone_is_remembered(), "there is no clone"

    def released(self, at: Gateway, start: Start) -> None:
        """Disconnect the robots that are still there. They hear nothing any more, and say hello once they notice."""
        for robot in self.here:
            if robot.at is at and robot.boot == start.boot:
                robot.taken_until = self.now + LOST_STEPS + SECOND

    def welcome(self, at: Gateway, start: Start) -> None:
        """Welcome a robot. It says hello again only after a long silence."""
        for robot in self.here:
            if robot.at is at and robot.boot == start.boot and not robot.refused:
                robot.hello_in = LOST_STEPS

    def settle(self) -> None:
        """Let all gateways run, and all robots stay where they are."""
        for gateway in self.gateways.values():
            gateway.hung = False
        for _ in range(4 * SECOND):
            self.step()
        served = [robot for robot in self.here if robot.served]
        if len(self.here) == 1 and self.clone_is_remembered():
            return  # its gateway releases it after a minute of silence
        assert len(served) == 1, f"served: {[robot.name for robot in served]}"
        if len(self.here) > 1:
            [other] = [robot for robot in self.here if robot not in served]
            assert other.refused or other.hello_in > 0, "a clone that is not served is told why"


DO = st.tuples(
    st.sampled_from(("move", "move", "restart", "reboot", "hang", "wake", "clone", "off", "forget")),
    st.integers(0, 9),
    st.integers(0, 3 * SECOND),
)


@settings(max_examples=300)
@given(st.lists(DO, max_size=16), st.integers(0, 99), st.sampled_from((1, 1, 5)))
@example([("clone", 4, 1), ("move", 2, 13), ("move", 0, 1), ("off", 1, 21), ("off", 3, 3)], 698, 5)
@example([("forget", 6, 1), ("move", 7, 1), ("move", 0, 2), ("forget", 2, 34)], 295, 1)
@example([("clone", 4, 55), ("hang", 0, 21), ("move", 8, 5), ("off", 5, 0), ("clone", 7, 8)], 739, 1)
@example([("hang", 1, 0), ("move", 1, 20), ("move", 0, 10), ("reboot", 3, 30), ("wake", 1, 10)], 0, 1)
def test_a_late_message_takes_nothing_and_whoever_lives_is_let_in(history, seed, pace):
    world = World(seed, pace)
    for what, where, steps in history:
        world.do(what, where)
        for _ in range(steps):
            world.step()
    world.settle()


@settings(max_examples=60)
@given(st.lists(DO.filter(lambda it: it[0] != "off"), max_size=6), st.integers(0, 99), st.integers(0, 9))
def test_of_two_that_use_one_key_one_is_served_and_the_other_follows_once_it_has_gone(history, seed, where):
    world = World(seed, 1)
    for what, at, steps in [*history, ("clone", where, 3 * SECOND)]:
        world.do(what, at)
        for _ in range(steps):
            world.step()
    world.settle()
    world.do("off", 0)
    world.settle()
    assert world.robots["robot"].served
