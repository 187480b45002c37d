"""The robots of a gateway in a fleet: claims them, keeps what should be remembered, and lets them go.

Only a claim makes anyone wait: usually for milliseconds, at most for about a second. The person's speech is buffered meanwhile.
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
"""If a failing store took longer than this, it is not asked again."""
RACES_MAX: Final = 5
"""How often another gateway may be quicker before a claim fails."""
RELEASE_S: Final = 0.25
"""How long the gateway that had the robot has to hang up and to send what it knows."""
ASKED_MAX: Final = 64
OUTCOMES: Final = ("granted", "without", "late", "clone", "released", "lost")
"""The outcomes of a claim. ``granted``: the robot is here. ``without``: it is here, and the store is away. ``late``: its hello
was late. ``clone``: two robots use its key. And the ends of a robot that was here. ``released``: another gateway has asked for
it. ``lost``: the store says that another gateway has it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The result of a claim."""

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
    """The claim in the store; None while the store was away."""
    make: Callable[[], str] = str
    """Returns the text to remember."""
    dirty: bool = False
    released: bool = False
    """Whether another gateway has the robot, and the voice here is hanging up."""
    asked_by: str = ""
    """The inbox of that gateway, if it waits for an answer."""
    claiming: "asyncio.Task[None] | None" = None

    def start(self) -> Start:
        """The robot's newest message in the claimed boot. Another boot is another conversation."""
        newest = self.newest()
        return newest if self.claim is None or newest.boot == self.claim.start.boot else self.claim.start

    def body(self, robot: str) -> str:
        """The text to remember; empty if making it fails, which affects only this robot."""
        with Boundary(lambda error: log.error("%s is not remembered: a bug in the gateway", robot, exc_info=error)):
            return self.make()
        return ""


class Robots:
    """The robots of a gateway in a fleet.

    Args:
        scribe: Seals and opens everything.
    """

    def __init__(self, store: Store, scribe: Scribe) -> None:
        self._store = store
        self._scribe = scribe
        self.inbox = secrets.token_hex(8)
        self.up: bool | None = None
        """Whether the store works; None before this is known."""
        self.counts: Counter[str] = Counter()
        """How many claims had each outcome."""
        self.on_lost: Callable[[str, str], None] = lambda _robot, _why: None
        """Called with a robot whose conversation is elsewhere, and why."""
        self._held: dict[str, _Held] = {}
        self._replies: dict[tuple[str, str], asyncio.Future[str]] = {}
        self._asked: deque[str] = deque(maxlen=ASKED_MAX)
        """Tokens of robots that were asked for while they were not here: the claim may not have been noted here yet."""
        self._more = asyncio.Event()
        """Set when something should be written soon."""
        self._tasks: set[asyncio.Task[None]] = set()

    def is_gone(self, inbox: str) -> bool:
        """Whether a gateway is known to be gone."""
        del inbox
        return False

    async def claim(self, robot: str, newest: Newest, *, anew: bool = False) -> Taken:
        """Take the conversation of a robot that said hello, wherever it is.

        Args:
            robot: The robot.
            newest: Returns the robot's newest message here.
            anew: Begin a new conversation, and use nothing of what is remembered.
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
        """Serve a robot while the store is away. It is claimed once the store is back."""
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
                start = newest()  # read again, because the robot may only just have come back
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
        """Replace the known claim by ours, and go on from ``known_body`` unless it is None. Returns None if we are too late."""
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
            held.dirty = claim.token in self._asked  # asked for before it was noted: the write fails, and it claims again
            return Taken(Verdict.GRANTED, claim.token, Inherited(body, age_s, how) if body else None)
        finally:
            self._replies.pop((robot, was), None)

    def again(self, robot: str) -> None:
        """Note that a robot which is here has said hello again."""
        if held := self._held.get(robot):
            held.dirty = True
            self._more.set()

    def keep(self, robot: str, token: str, make: Callable[[], str]) -> None:
        """Note that the text to remember of a robot has changed. ``make`` is called when the text is written."""
        if (held := self._held.get(robot)) and held.token == token:
            held.make, held.dirty = make, True
            self._more.set()

    def let_go(self, robot: str, token: str, *, forget: bool = False) -> None:
        """Note that a robot's conversation has ended here, and that its voice has hung up."""
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
        """Write the last text to remember, and that no gateway has the robot."""
        assert held.claim is not None  # noqa: S101 - the caller has checked that it is claimed
        claim = Claim("", held.token, held.start(), held.claim.former)
        try:
            await self._store.swap(robot, held.token, self._scribe.entry(robot, claim, body), None)
        except StoreError as error:
            log.warning("%s may not be remembered: %s", robot, error)

    def _claim_again(self, robot: str) -> None:
        """Claim a robot again: writing it was refused, or it was never claimed. Its newest message decides if it is here."""
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
        """Claim a robot that is here by its newest message, with the text that is known here."""
        alive = False
        for _ in range(RACES_MAX):
            entry = await self._store.read(robot)
            known, _ = self._scribe.opened(robot, entry)
            start = held.newest()
            if known and known.token == held.token:
                held.claim = held.claim or known  # ours, by a swap whose answer was lost
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
        """Take a letter: another gateway asks for a robot, or has let one go. An unknown letter is ignored."""
        try:
            if robot := letter.get("release"):
                self._release(robot, letter["token"], Start(letter["boot"], letter["t_us"]), letter["to"])
            elif robot := letter.get("released"):
                reply = self._replies.get((robot, letter["token"]))
                if reply and not reply.done():
                    reply.set_result(letter["body"])
        except (LookupError, TypeError):
            log.debug("a letter was ignored: it cannot be understood")

    def _release(self, robot: str, token: str, there: Start, to: str) -> None:
        """Take note that another gateway has claimed a robot that had this token here."""
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
    """Whether a robot is alive: whether it keeps speaking here."""
    silent, loop = 0, asyncio.get_running_loop()
    for _ in range(2 * claims.PROOFS_MAX):
        before, began = newest(), loop.time()
        await asyncio.sleep(claims.PROOF_S)
        after = newest()
        stood_still = loop.time() - began > claims.PROOF_S + claims.PACE_US / 1e6  # a queue that built up here proves nothing
        if not stood_still and lives(before, after, claims.PROOF_S):
            return True
        silent += after == before
        if silent == claims.PROOFS_MAX:
            break
    return False
