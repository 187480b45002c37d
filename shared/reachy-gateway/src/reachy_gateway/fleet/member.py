"""A gateway as one of a fleet: it claims robots, keeps what is to be remembered of them, and lets them go when it is asked to.

Nothing here is waited for but a claim, for less than a second, while what the robot says is kept. What is to be remembered is
written soon after it changed, of all robots at a time.
"""

import asyncio
import json
import logging
import secrets
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Literal, Protocol

from reachy_gateway.fleet.claims import (
    PACE_US,
    PROOF_S,
    PROOFS_MAX,
    Claim,
    Newest,
    Start,
    Verdict,
    granted,
    judge,
    lets_go,
    lives,
)
from reachy_gateway.fleet.port import Beat, Booking, Entry, Letter, Pulse, Store, StoreError
from reachy_gateway.fleet.present import Present
from reachy_gateway.fleet.seal import Seal
from reachy_gateway.voice import Inherited
from reachy_link.bucket import Rate, TokenBucket

log = logging.getLogger(__name__)

BEAT_S: Final = 1.0
"""So often a gateway says that it is there, if it has nothing else to say."""
SOON_S: Final = 0.1
"""What changed is written so soon, with whatever else has changed by then."""
CLAIM_TRIES: Final = 2
RACES_MAX: Final = 5
"""So often another gateway may be quicker, before a claim is given up."""
RELEASE_S: Final = 0.25
"""A gateway that had the robot is given so long to hang up, and to tell what it knows."""
KEEP_MAX: Final = 100
"""Robots of whom something is written at a time; the others follow."""
LINES: Final = Rate(1 / 60, 4)
"""Of a store that comes and goes."""
WITHOUT: Final = (
    "it goes on without: a robot that changes its gateway begins a new conversation, and each gateway counts money for itself"
)


class Accounts(Protocol):
    """What a gateway spends, and is told that all spend."""

    def day(self) -> str:
        """Today."""

    def to_tell(self) -> Booking | None:
        """What the store does not know yet."""

    def told(self, booking: Booking, upto: int) -> None:
        """The store has this ledger up to that row."""

    def spent(self, day: str, nano_usd: Mapping[str, int]) -> None:
        """What all gateways spent that day, by robot."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a claim."""

    verdict: Verdict
    token: str = ""
    inherited: Inherited | None = None
    """What is remembered of the conversation, if it goes on."""


@dataclass(slots=True)
class _Held:
    """A robot whose conversation is here."""

    token: str
    newest: Newest
    claim: Claim | None = None
    """As the store has it; None while the store was away."""
    make: Callable[[], str] = str
    """What is to be remembered of it now."""
    dirty: bool = False
    released: bool = False
    """Whether it is another gateway's, and its voice hangs up here."""
    asked_by: str = ""
    """The inbox of that gateway, if it waits."""
    claiming: "asyncio.Task[None] | None" = field(default=None)


class Member:
    """See the module.

    Args:
        seal: By which everything is sealed.
        presence: How this gateway stands.
        accounts: What it spends; None where nothing is spent.
    """

    def __init__(self, store: Store, seal: Seal, presence: Callable[[], Present], accounts: Accounts | None = None) -> None:
        self._store = store
        self._seal = seal
        self._presence = presence
        self._accounts = accounts
        self.inbox = secrets.token_hex(8)
        self.up: bool | None = None
        """Whether the store does what it is asked for; None before that is known."""
        self.trouble = ""
        """What is wrong, in words."""
        self.counts: Counter[str] = Counter()
        """Claims, by what came of them."""
        self.present: tuple[Present, ...] = ()
        """The fleet's gateways that were there at the last beat, this one among them."""
        self.on_lost: Callable[[str, str], None] = lambda _robot, _why: None
        """Told of a robot whose conversation is elsewhere."""
        self.on_shelf: dict[str, Callable[[], None]] = {}
        """Told that something was put on a shelf."""
        self._held: dict[str, _Held] = {}
        self._replies: dict[tuple[str, str], asyncio.Future[str]] = {}
        self._asked: deque[str] = deque(maxlen=64)
        """Tokens of robots that were asked for when they were not here: their claims may not have been noticed yet."""
        self._more = asyncio.Event()
        self._lines = TokenBucket(LINES)
        self._tasks: set[asyncio.Task[None]] = set()

    # --- robots -------------------------------------------------------------------------------------------------------

    async def claim(self, robot: str, newest: Newest, *, anew: bool = False) -> Taken:
        """A robot has said hello: take its conversation, wherever it is.

        Args:
            robot: Which.
            newest: Its newest word here.
            anew: Begin a new conversation, whatever is remembered.
        """
        if self.up is False:
            return self._without(robot, newest)
        try:
            return await self._take(robot, newest, anew=anew)
        except asyncio.CancelledError:
            if (held := self._held.get(robot)) and held.newest is newest:
                self.let_go(robot, held.token)
            raise
        except StoreError as error:
            log.warning("%s begins without what is remembered of it: %s", robot, error)
            return self._without(robot, newest)

    def _without(self, robot: str, newest: Newest) -> Taken:
        """Serve a robot while the store is away; it is claimed once that is back."""
        self.counts["without"] += 1
        self._held[robot] = held = _Held(secrets.token_hex(8), newest)
        return Taken(Verdict.GRANTED, held.token)

    async def _take(self, robot: str, newest: Newest, *, anew: bool = False) -> Taken:
        alive, failures = False, 0
        for _ in range(RACES_MAX):
            try:
                entry = await self._store.read(robot)
                known, body = self._opened(robot, entry)
                start = newest()  # it may have come back only just
                verdict = judge(known, start, alive=alive)
                if verdict is Verdict.DOUBTFUL:
                    alive = await _proven(newest)
                    if alive:
                        continue
                    verdict = Verdict.LATE
                if verdict is not Verdict.GRANTED:
                    self.counts[verdict.name.lower()] += 1
                    return Taken(verdict)
                taken = await self._swap(robot, newest, start, known, entry, None if anew else body)
            except StoreError:
                failures += 1
                if failures >= CLAIM_TRIES:
                    raise
                continue
            if taken:
                return taken
        raise StoreError("other gateways claim the robot, too")

    async def _swap(
        self, robot: str, newest: Newest, start: Start, known: Claim | None, entry: Entry | None, known_body: str | None
    ) -> Taken | None:
        """Put our claim in the place of another, and go on from what is known, if anything is to be; None if too late."""
        claim = granted(known, start, self.inbox, secrets.token_hex(8))
        goes_on = known is not None and known.start.boot == start.boot and known_body is not None
        body = known_body or "" if goes_on else ""
        former = known.owner if known and known.owner not in ("", self.inbox) else ""
        was = known.token if known else ""
        ask = {"release": robot, "token": was, "boot": start.boot, "t_us": start.t_us, "to": self.inbox}
        letter = self._letter(former, ask) if former else None
        reply = self._replies[robot, was] = asyncio.get_running_loop().create_future()
        try:
            new = self._entry(robot, claim, body)
            receivers = await self._store.swap(robot, entry.token if entry else "", new, letter)
            if receivers is None:
                return None
            held = self._held[robot] = _Held(claim.token, newest, claim, make=lambda: body)
            self.counts["granted"] += 1
            age_s = entry.age_s if entry else 0.0
            how: Literal["released", "gone", "silent"] = "gone" if former else "released"
            if receivers:
                how = "silent"
                try:
                    async with asyncio.timeout(RELEASE_S):
                        newer = await reply
                    how = "released"
                    body, age_s = (newer, 0.0) if newer and goes_on else (body, age_s)
                except TimeoutError:
                    pass
            held.dirty = claim.token in self._asked  # which is refused, if it was asked for before it was noticed here
            return Taken(Verdict.GRANTED, claim.token, Inherited(body, age_s, how) if body else None)
        finally:
            self._replies.pop((robot, was), None)

    def changed(self, shelf: str) -> None:
        """What this gateway has of a shelf may have changed."""
        if told := self.on_shelf.get(shelf):
            told()

    def again(self, robot: str) -> None:
        """A robot that is here has said hello once more."""
        if held := self._held.get(robot):
            held.dirty = True
            self._more.set()

    def keep(self, robot: str, token: str, make: Callable[[], str]) -> None:
        """What is to be remembered of a robot has changed; what that is, is asked for when it is written."""
        if (held := self._held.get(robot)) and held.token == token:
            held.make, held.dirty = make, True
            self._more.set()

    def let_go(self, robot: str, token: str, *, forget: bool = False) -> None:
        """A robot's conversation has ended here, and its voice has hung up."""
        held = self._held.get(robot)
        if held is None or held.token != token:
            return
        del self._held[robot]
        if held.claiming:
            held.claiming.cancel()
        body = "" if forget else held.make()
        if held.asked_by:
            self._later(self._post(held.asked_by, {"released": robot, "token": held.token, "body": body}))
        elif held.claim and not held.released:
            self._later(self._last(robot, held, body))

    async def _last(self, robot: str, held: _Held, body: str) -> None:
        """Write the last of what is remembered, and that the robot is nobody's."""
        assert held.claim is not None  # noqa: S101 - of a claimed one alone
        claim = Claim("", held.token, held.newest(), held.claim.former)
        try:
            await self._store.swap(robot, held.token, self._entry(robot, claim, body), None)
        except StoreError as error:
            log.warning("%s may not be remembered: %s", robot, error)

    # --- time ---------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Be one of the fleet, until cancelled."""
        box = asyncio.create_task(self._read_letters(), name="letters")
        try:
            while True:
                await self._beat()
                await asyncio.sleep(SOON_S if self.up else BEAT_S / 2)
                if self.up:
                    try:
                        async with asyncio.timeout(BEAT_S - SOON_S):
                            await self._more.wait()
                            await asyncio.sleep(SOON_S)
                    except TimeoutError:
                        pass
                self._more.clear()
        finally:
            box.cancel()

    async def _beat(self) -> None:
        dirty = list(
            islice(
                ((robot, held) for robot, held in self._held.items() if held.dirty and held.claim and not held.released),
                KEEP_MAX,
            )
        )
        keep = {robot: self._kept(robot, held) for robot, held in dirty}
        book = self._accounts.to_tell() if self._accounts else None
        day = self._accounts.day() if self._accounts else ""
        presence = self._seal.close(self._presence().text(), "gateway")
        try:
            pulse = await self._store.beat(Beat(self.inbox, presence, keep, book, day))
        except StoreError as error:
            for _, held in dirty:
                held.dirty = True
            self._tell(str(error))
            return
        self._tell("")
        self._take_in(pulse, book, day)
        rest = self._accounts.to_tell() if self._accounts and book else None
        if len(dirty) == KEEP_MAX or (rest and rest.upto > rest.after):
            self._more.set()

    def _kept(self, robot: str, held: _Held) -> Entry:
        """What is written of a robot now; what changes from here on is written again."""
        assert held.claim is not None  # noqa: S101 - of a claimed one alone
        held.dirty = False
        held.claim = Claim(self.inbox, held.token, held.newest(), held.claim.former)
        return self._entry(robot, held.claim, held.make())

    def _take_in(self, pulse: Pulse, book: Booking | None, day: str) -> None:
        for robot, kept in pulse.kept.items():
            if not kept:
                self._claim_again(robot)
        for robot, held in self._held.items():
            if held.claim is None:
                self._claim_again(robot)
        found = (Present.read(self._seal.open(it, "gateway")) for it in pulse.present)
        self.present = tuple(sorted(filter(None, found), key=lambda it: it.name))
        if self._accounts:
            if book and pulse.booked is not None:
                self._accounts.told(book, pulse.booked)
            self._accounts.spent(day, pulse.spent_nano_usd)

    def _claim_again(self, robot: str) -> None:
        """What was written of a robot was refused, or it was never claimed: is it here, by its newest word?"""
        held = self._held.get(robot)
        if held and held.claiming is None and not held.released:
            held.claiming = self._later(self._claimed_again(robot, held))

    async def _claimed_again(self, robot: str, held: _Held) -> None:
        try:
            taken = await self._retake(robot, held)
        except StoreError as error:
            log.debug("%s is not claimed yet: %s", robot, error)
        else:
            if not taken and self._held.get(robot) is held and not held.released:
                held.released = True
                self.counts["lost"] += 1
                self.on_lost(robot, "its conversation is at another gateway")
        held.claiming = None

    async def _retake(self, robot: str, held: _Held) -> bool:
        """Claim a robot that is here by its newest word, with what is known of it here."""
        alive = False
        for _ in range(RACES_MAX):
            entry = await self._store.read(robot)
            known, _ = self._opened(robot, entry)
            start = held.newest()
            if known and known.token == held.token:
                return True
            verdict = judge(known, start, alive=alive)
            if verdict is Verdict.DOUBTFUL and (alive := await _proven(held.newest)):
                continue
            if verdict is not Verdict.GRANTED:
                return False
            claim = granted(known, start, self.inbox, held.token)
            former = known.owner if known and known.owner not in ("", self.inbox) else ""
            ask = {"release": robot, "token": known.token if known else "", "boot": start.boot, "t_us": start.t_us, "to": ""}
            letter = self._letter(former, ask) if former else None
            new = self._entry(robot, claim, held.make())
            if await self._store.swap(robot, entry.token if entry else "", new, letter) is not None:
                held.claim = claim
                return True
        return False

    def _tell(self, trouble: str) -> None:
        """Say that the store is away, or back, once each."""
        up = not trouble
        self.trouble = trouble
        if up == self.up:
            return
        was, self.up = self.up, up
        if not self._lines.take(1, asyncio.get_running_loop().time()):
            return
        if up:
            log.info("the store is there%s: conversations outlive their gateway", "" if was is None else " again")
        else:
            log.warning("%s: %s", trouble, WITHOUT)

    # --- letters ------------------------------------------------------------------------------------------------------

    async def _read_letters(self) -> None:
        while True:
            try:
                async for shelf, sealed in self._store.letters(self.inbox):
                    if shelf or not sealed:  # at the beginning of all shelves, as what was told meanwhile is not known
                        for name in self.on_shelf if not shelf else (shelf,):
                            self.changed(name)
                    elif text := self._seal.open(sealed, f"letter {self.inbox}"):
                        try:
                            self._letter_came(json.loads(text))
                        except (ValueError, LookupError, TypeError, AttributeError):
                            log.debug("a letter that nobody understands")
            except StoreError as error:
                log.debug("no letters: %s", error)
            await asyncio.sleep(BEAT_S / 2)

    def _letter_came(self, letter: Mapping[str, Any]) -> None:
        if robot := letter.get("release"):
            self._release(robot, letter["token"], Start(letter["boot"], letter["t_us"]), letter["to"])
        elif robot := letter.get("released"):
            reply = self._replies.get((robot, letter["token"]))
            if reply and not reply.done():
                reply.set_result(letter["body"])

    def _release(self, robot: str, token: str, there: Start, to: str) -> None:
        """Another gateway has claimed a robot that was here by that token."""
        held = self._held.get(robot)
        if held is None or held.token != token:
            self._asked.append(token)
            if to:
                self._later(self._post(to, {"released": robot, "token": token, "body": ""}))
        elif lets_go(held.newest(), there):
            held.asked_by, held.released = to, True
            self.counts["released"] += 1
            self.on_lost(robot, "has gone to another gateway")
        else:
            self._claim_again(robot)

    async def _post(self, inbox: str, letter: Mapping[str, Any]) -> None:
        try:
            await self._store.post(self._letter(inbox, letter))
        except StoreError as error:
            log.debug("a letter is lost: %s", error)

    def _letter(self, inbox: str, letter: Mapping[str, Any]) -> Letter:
        return Letter(inbox, self._seal.close(json.dumps(letter), f"letter {inbox}"))

    # --- what is written ----------------------------------------------------------------------------------------------

    def _entry(self, robot: str, claim: Claim, body: str) -> Entry:
        text = json.dumps([claim.start.boot, claim.start.t_us, claim.former, body])
        return Entry(claim.token, claim.owner, self._seal.close(text, f"robot {robot} {claim.token} {claim.owner}"))

    def _opened(self, robot: str, entry: Entry | None) -> tuple[Claim | None, str]:
        """The claim and the document of an entry; None and nothing for one that is not this fleet's, or not of this version."""
        text = self._seal.open(entry.sealed, f"robot {robot} {entry.token} {entry.owner}") if entry else None
        if entry is None or text is None:
            return None, ""
        try:
            boot, t_us, former, body = json.loads(text)
            return Claim(entry.owner, entry.token, Start(boot, t_us), tuple(former)), body
        except (ValueError, TypeError):
            return None, ""

    # --- the fleet ----------------------------------------------------------------------------------------------------

    def others(self) -> tuple[str, ...]:
        """Where the other gateways listen that serve robots, as far as they say so."""
        return tuple(it.where for it in self.present if it.where and it.inbox != self.inbox and not it.draining)

    def elsewhere(self, rank: Callable[[Sequence[str]], Sequence[str]]) -> str | None:
        """Where a robot that is sent away should go: to the first of those with room, in the robot's own order."""
        room = {it.where for it in self.present if it.robots < it.robots_max}
        return next(iter(rank([where for where in self.others() if where in room])), None)

    def _later(self, work: Any) -> "asyncio.Task[None]":
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Finish what is being written, and leave."""
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=RELEASE_S)
        try:
            if self.up:
                await self._beat()
                await self._store.leave(self.inbox)
        except StoreError as error:
            log.debug("the fleet is left without a word: %s", error)
        await self._store.close()


async def _proven(newest: Newest) -> bool:
    """Whether a robot lives: it speaks on here."""
    silent, loop = 0, asyncio.get_running_loop()
    for _ in range(2 * PROOFS_MAX):
        before, began = newest(), loop.time()
        await asyncio.sleep(PROOF_S)
        after = newest()
        stood_still = loop.time() - began > PROOF_S + PACE_US / 1e6  # what lay there meanwhile proves nothing
        if not stood_still and lives(before, after, PROOF_S):
            return True
        silent += after == before
        if silent == PROOFS_MAX:
            break
    return False
