"""A gateway's membership in a fleet: what it tells the store, and what it learns from the store.

Changes are written soon after, many robots at a time. Once a second the gateway says that it is there, and asks how all
gateways stand.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Final

from reachy_gateway.fleet.claiming import RELEASE_S, Robots
from reachy_gateway.fleet.claims import Claim
from reachy_gateway.fleet.level import Leveller
from reachy_gateway.fleet.port import Accounts, Beat, Entry, Pulse, Store, StoreError
from reachy_gateway.fleet.present import Neighbours, Present
from reachy_gateway.fleet.scribe import Scribe
from reachy_gateway.fleet.seal import Seal
from reachy_link.bucket import Rate, TokenBucket

log = logging.getLogger(__name__)

BEAT_S: Final = 1.0
"""How often a gateway says that it is there, if it has nothing else to say."""
SOON_S: Final = 0.1
"""How soon a change is written, together with everything else that has changed by then."""
GONE_S: Final = 5.0
"""A gateway that has been silent for so long is gone. Its claims no longer make a robot count as a clone."""
FORGOTTEN_S: Final = 7200.0
KEEP_MAX: Final = 100
"""How many robots are written at a time. The others follow."""
LINES: Final = Rate(1 / 60, 4)
"""Log lines about a store that comes and goes."""
WITHOUT: Final = (
    "it goes on without: a robot that changes its gateway begins a new conversation, and each gateway counts money for itself"
)


class Member(Robots):
    """A gateway's membership in a fleet.

    Args:
        seal: Seals everything that goes into the store.
        presence: Returns how this gateway stands.
        accounts: What this gateway spends; None if it spends nothing.
    """

    def __init__(self, store: Store, seal: Seal, presence: Callable[[], Present], accounts: Accounts | None = None) -> None:
        super().__init__(store, Scribe(seal))
        self._presence = presence
        self._accounts = accounts
        self.trouble = ""
        """What is wrong with the store, in words; empty if nothing is."""
        self.neighbours = Neighbours()
        """The gateways that were there at the last beat, this one among them."""
        self.on_shelf: dict[str, Callable[[], None]] = {}
        """By shelf: called when something was put on it."""
        self._seen: dict[str, float] = {}
        """When each gateway was last there, for the last hours."""
        self._since = float("inf")
        """When this gateway first learnt who is there."""
        self._leveller = Leveller()
        self._lines = TokenBucket(LINES)
        self._asked_at = float("-inf")
        """When this gateway last told and asked everything."""

    def changed(self, shelf: str) -> None:
        """Note that this gateway's things of a shelf may have changed."""
        if told := self.on_shelf.get(shelf):
            told()

    def is_gone(self, inbox: str) -> bool:
        """Whether a gateway has been silent for some seconds."""
        now = asyncio.get_running_loop().time()
        return bool(self.up) and now - self._seen.get(inbox, self._since) > GONE_S

    def to_move(self, idle_s: Mapping[str, float]) -> tuple[str, str] | None:
        """A robot that should move to an added gateway, and that gateway's address. ``idle_s``: how long each was silent."""
        now = asyncio.get_running_loop().time()
        return self._leveller.move(now, self.neighbours, idle_s) if self.up else None

    def words(self) -> str:
        """How the fleet stands, in words."""
        return f"the fleet cannot be seen: {self.trouble}" if self.trouble else self.neighbours.words()

    async def run(self) -> None:
        """Take part in the fleet, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read_letters(), name="letters")
            await self._beats()

    async def _beats(self) -> None:
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

    async def _beat(self, *, last: bool = False) -> None:
        now = asyncio.get_running_loop().time()
        full = last or not self.up or now - self._asked_at >= BEAT_S - SOON_S
        waiting = (robot for robot, held in self._held.items() if held.dirty and held.claim and not held.released)
        keep = {robot: self._kept(robot) for robot in islice(waiting, KEEP_MAX)}
        book = self._accounts.to_tell(news_only=not full) if self._accounts else None
        day = self._accounts.day() if self._accounts and full else ""
        presence = self._scribe.presence(self._presence()) if full else b""
        try:
            pulse = await self._store.beat(Beat(self.inbox, presence, keep, book, day))
        except StoreError as error:
            for robot in keep.keys() & self._held.keys():
                self._held[robot].dirty = True
            self._tell(str(error))
            return
        self._tell("")
        if self._accounts and book and pulse.booked is not None:
            self._accounts.told(book, pulse.booked)
        if full:
            self._asked_at = now
            self._take_in(pulse, day)
        for robot in (robot for robot, kept in pulse.kept.items() if not kept):
            self._claim_again(robot)
        if len(keep) == KEEP_MAX or (self._accounts and book and self._accounts.to_tell(news_only=True)):
            self._more.set()

    def _kept(self, robot: str) -> Entry:
        """The entry to write for a robot now. Later changes are written again."""
        held = self._held[robot]
        assert held.claim is not None  # noqa: S101 - only claimed robots are written
        held.dirty = False
        held.claim = Claim(self.inbox, held.token, held.start(), held.claim.former)
        return self._scribe.entry(robot, held.claim, held.body(robot))

    def _take_in(self, pulse: Pulse, day: str) -> None:
        """Take in how all gateways stand."""
        for robot, held in self._held.items():
            if held.claim is None:
                self._claim_again(robot)
        self.neighbours = Neighbours(self.inbox, filter(None, map(self._scribe.present, pulse.present)))
        now = asyncio.get_running_loop().time()
        self._since = min(self._since, now)
        self._seen |= dict.fromkeys((it.inbox for it in self.neighbours), now)
        self._seen = {inbox: at for inbox, at in self._seen.items() if now - at < FORGOTTEN_S}
        if self._accounts:
            self._accounts.spent(day, pulse.spent_nano_usd)

    def _tell(self, trouble: str) -> None:
        """Log that the store is away or back, once each."""
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

    async def _read_letters(self) -> None:
        while True:
            try:
                async for shelf, sealed in self._store.letters(self.inbox):
                    if sealed:
                        self.letter_came(self._scribe.read(self.inbox, sealed))
                    else:  # with no shelf named: all may have changed while nothing was heard
                        for name in (shelf,) if shelf else self.on_shelf:
                            self.changed(name)
            except StoreError as error:
                log.debug("no letters: %s", error)
            await asyncio.sleep(BEAT_S / 2)

    async def close(self) -> None:
        """Finish writing, and leave the fleet."""
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=RELEASE_S)
        try:
            if self.up:
                await self._beat(last=True)
                await self._store.leave(self.inbox)
        except StoreError as error:
            log.debug("the fleet could not be told that this gateway leaves: %s", error)
        await self._store.close()
