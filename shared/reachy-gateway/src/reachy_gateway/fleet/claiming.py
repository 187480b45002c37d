"""The robots of a gateway in a fleet: it claims them, keeps what is to be remembered of them, and lets them go.

A claim is all that anybody waits for: as a rule for milliseconds, for about a second at most. What the robot says is kept.
"""

import asyncio
import logging
import secrets
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from reachy_gateway.boundary import Boundary
from reachy_gateway.fleet import claims
from reachy_gateway.fleet.claims import Claim, Newest, Start, Verdict, granted, judge, lets_go, lives
from reachy_gateway.fleet.port import Entry, Store, StoreError
from reachy_gateway.fleet.scribe import Scribe
from reachy_gateway.voice import Inherited

log = logging.getLogger(__name__)

CLAIM_TRIES: Final = 2
CLAIM_S: Final = 0.5
"""A store that takes longer than this to fail is not asked again."""
RACES_MAX: Final = 5
"""So often another gateway may be quicker, before a claim is given up."""
RELEASE_S: Final = 0.25
"""A gateway that had the robot is given so long to hang up, and to tell what it knows."""
ASKED_MAX: Final = 64
OUTCOMES: Final = ("granted", "without", "late", "clone", "released", "lost")
"""What comes of a claim: the robot is here; it is here, and the store is away; its hello was late; two robots use its key. And
of a robot that was here: another gateway has asked for it; it was found to be another one's."""


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
    claiming: "asyncio.Task[None] | None" = None

    def start(self) -> Start:
        """The robot's newest word, of the start that was claimed: another one is another conversation."""
        newest = self.newest()
        return newest if self.claim is None or newest.boot == self.claim.start.boot else self.claim.start

    def body(self, robot: str) -> str:
        """What is to be remembered of it now; nothing if that is at fault, which is this robot's alone."""
        with Boundary(lambda error: log.error("%s is not remembered: a fault of ours", robot, exc_info=error)):
            return self.make()
        return ""


class Robots:
    """See the module.

    Args:
        scribe: By whom everything is sealed.
    """

    def __init__(self, store: Store, scribe: Scribe) -> None:
        self._store = store
        self._scribe = scribe
        self.inbox = secrets.token_hex(8)
        self.up: bool | None = None
        """Whether the store does what it is asked for; None before that is known."""
        self.counts: Counter[str] = Counter()
        """Claims, by what came of them."""
        self.on_lost: Callable[[str, str], None] = lambda _robot, _why: None
        """Told of a robot whose conversation is elsewhere."""
        self._held: dict[str, _Held] = {}
        self._replies: dict[tuple[str, str], asyncio.Future[str]] = {}
        self._asked: deque[str] = deque(maxlen=ASKED_MAX)
        """Tokens of robots that were asked for when they were not here: their claims may not have been noticed yet."""
        self._more = asyncio.Event()
        """Something is to be written soon."""
        self._tasks: set[asyncio.Task[None]] = set()

    def is_gone(self, inbox: str) -> bool:
        """Whether a gateway is known not to be there any more."""
        del inbox
        return False

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
            log.debug("%s begins without what is remembered of it: %s", robot, error)
            return self._without(robot, newest)

    def _without(self, robot: str, newest: Newest) -> Taken:
        """Serve a robot while the store is away; it is claimed once that is back."""
        self.counts["without"] += 1
        self._held[robot] = held = _Held(secrets.token_hex(8), newest)
        return Taken(Verdict.GRANTED, held.token)

    async def _take(self, robot: str, newest: Newest, *, anew: bool = False) -> Taken:
        alive, failures, loop = False, 0, asyncio.get_running_loop()
        began = loop.time()
        for _ in range(RACES_MAX):
            try:
                entry = await self._store.read(robot)
                known, body = self._scribe.opened(robot, entry)
                start = newest()  # it may have come back only just
                verdict = judge(known, start, alive=alive)
                if verdict is Verdict.DOUBTFUL:
                    alive = await _proven(newest)
                    if alive:
                        continue
                    verdict = Verdict.LATE
                if verdict is Verdict.CLONE and known and self.is_gone(known.owner):
                    verdict = Verdict.GRANTED
                if verdict is not Verdict.GRANTED:
                    self.counts[verdict.name.lower()] += 1
                    return Taken(verdict)
                taken = await self._swap(robot, newest, start, known, entry, None if anew else body)
            except StoreError:
                failures += 1
                if failures >= CLAIM_TRIES or loop.time() - began > CLAIM_S:
                    raise
                continue
            if taken:
                return taken
        raise StoreError("other gateways claim the robot, too")

    async def _swap(
        self, robot: str, newest: Newest, start: Start, known: Claim | None, entry: Entry | None, known_body: str | None
    ) -> Taken | None:
        """Put our claim in the place of another, and go on from what is known, if that is wanted; None if we are too late."""
        claim = granted(known, start, self.inbox, secrets.token_hex(8))
        goes_on = known is not None and known.start.boot == start.boot and known_body is not None
        body = known_body or "" if goes_on else ""
        former = known.owner if known and known.owner not in ("", self.inbox) else ""
        was = known.token if known else ""
        ask = {"release": robot, "token": was, "boot": start.boot, "t_us": start.t_us, "to": self.inbox}
        letter = self._scribe.letter(former, ask) if former else None
        reply = self._replies[robot, was] = asyncio.get_running_loop().create_future()
        try:
            new = self._scribe.entry(robot, claim, body)
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
        body = "" if forget else held.body(robot)
        if held.asked_by:
            self._later(self._post(held.asked_by, {"released": robot, "token": held.token, "body": body}))
        elif held.claim and not held.released:
            self._later(self._last(robot, held, body))

    async def _last(self, robot: str, held: _Held, body: str) -> None:
        """Write the last of what is remembered, and that the robot is nobody's."""
        assert held.claim is not None  # noqa: S101 - of a claimed one alone
        claim = Claim("", held.token, held.start(), held.claim.former)
        try:
            await self._store.swap(robot, held.token, self._scribe.entry(robot, claim, body), None)
        except StoreError as error:
            log.warning("%s may not be remembered: %s", robot, error)

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
            return
        finally:
            held.claiming = None
        if not taken and self._held.get(robot) is held and not held.released:
            held.released = True
            self.counts["lost"] += 1
            self.on_lost(robot, "its conversation is at another gateway")

    async def _retake(self, robot: str, held: _Held) -> bool:
        """Claim a robot that is here by its newest word, with what is known of it here."""
        alive = False
        for _ in range(RACES_MAX):
            entry = await self._store.read(robot)
            known, _ = self._scribe.opened(robot, entry)
            start = held.newest()
            if known and known.token == held.token:
                held.claim = held.claim or known  # ours, by a swap of which no answer came
                return True
            verdict = judge(known, start, alive=alive)
            if verdict is Verdict.DOUBTFUL and (alive := await _proven(held.newest)):
                continue
            if verdict is not Verdict.GRANTED:
                return False
            claim = granted(known, start, self.inbox, held.token)
            former = known.owner if known and known.owner not in ("", self.inbox) else ""
            ask = {"release": robot, "token": known.token if known else "", "boot": start.boot, "t_us": start.t_us, "to": ""}
            letter = self._scribe.letter(former, ask) if former else None
            new = self._scribe.entry(robot, claim, held.body(robot))
            if await self._store.swap(robot, entry.token if entry else "", new, letter) is not None:
                held.claim = claim
                return True
        return False

    def letter_came(self, letter: Mapping[str, Any]) -> None:
        """Another gateway asks for a robot, or has let one go. What nobody understands is left lying."""
        try:
            if robot := letter.get("release"):
                self._release(robot, letter["token"], Start(letter["boot"], letter["t_us"]), letter["to"])
            elif robot := letter.get("released"):
                reply = self._replies.get((robot, letter["token"]))
                if reply and not reply.done():
                    reply.set_result(letter["body"])
        except (LookupError, TypeError):
            log.debug("a letter that nobody understands")

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
            await self._store.post(self._scribe.letter(inbox, letter))
        except StoreError as error:
            log.debug("a letter is lost: %s", error)

    def _later(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _proven(newest: Newest) -> bool:
    """Whether a robot lives: it speaks on here."""
    silent, loop = 0, asyncio.get_running_loop()
    for _ in range(2 * claims.PROOFS_MAX):
        before, began = newest(), loop.time()
        await asyncio.sleep(claims.PROOF_S)
        after = newest()
        stood_still = loop.time() - began > claims.PROOF_S + claims.PACE_US / 1e6  # what lay there meanwhile proves nothing
        if not stood_still and lives(before, after, claims.PROOF_S):
            return True
        silent += after == before
        if silent == claims.PROOFS_MAX:
            break
    return False
