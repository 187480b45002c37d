"""The rim of a gateway: its end of the link, and a robot object for each robot that said hello."""

import asyncio
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Collection
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from reachy_gateway.feed import Away, Connected, ConversationEnded, Dropped, Ending, Feed, KeysChanged, Noticed
from reachy_gateway.fleet.claims import Verdict
from reachy_gateway.host import MakeVoice
from reachy_gateway.journal import logged
from reachy_gateway.link.end import Bind, GatewayEnd
from reachy_gateway.link.limits import Arrival, Limits
from reachy_gateway.link.peer import AWAY_S, CLONE_REMEDY, GONE_S, Handling, Peer, Peers
from reachy_gateway.pace import Pace
from reachy_gateway.provider.load import Load
from reachy_gateway.robot import FULLER, STOPPING, Robot
from reachy_gateway.stats import Stats
from reachy_gateway.talk.conversation import WORDS_MAX
from reachy_gateway.voice import HANG_UP_S
from reachy_link.causes import LinkCause
from reachy_link.keys import ADMITTED_NAME, KeyPair, Keyring
from reachy_link.messages import (
    BeatUp,
    Bye,
    Down,
    Hello,
    Refuse,
    Stranger,
    Up,
)
from reachy_link.tally import Strangers, Tally
from reachy_link.wire import WireError, check_audio

if TYPE_CHECKING:
    from reachy_gateway.fleet.member import Member

log = logging.getLogger(__name__)


LOOK_S: Final = 1.0
DRAIN_LOOK_S: Final = 0.05


class Hub:
    """A gateway: its end of the link, and a :class:`Robot` for each robot that said hello.

    Args:
        max_robots: How many robots are served at a time. A further robot is refused with a reason.
        messages_per_s: How many messages a second a robot may send. Further messages are dropped.
        bytes_per_s: The same limit for bytes.
        feed: Where events are told. The default is a feed of its own, which only the log reads.
        load: How busy the gateway is. The default is a load of its own.
    """

    def __init__(
        self,
        keys: KeyPair,
        ring: Keyring,
        bind: Bind,
        make_voice: MakeVoice,
        *,
        max_robots: int,
        software: str,
        messages_per_s: int = 200,
        bytes_per_s: int = 500_000,
        feed: Feed | None = None,
        load: Load | None = None,
    ) -> None:
        self.feed = feed or logged()
        self.stats = Stats(self.feed)
        self.make_voice = make_voice
        self.software = software
        self.fleet: Member | None = None
        """This gateway's membership in a fleet; None for a gateway that is alone."""
        self.tally = Tally[LinkCause](known=ring.admits)
        self._strangers = Strangers()
        self.now = time.monotonic
        self.robots: dict[str, Robot] = {}
        self.lost: set[str] = set()
        """Admitted robots that were served, fell silent and have not come back."""
        self.max_robots = max_robots
        self._limits = defaultdict[str, Limits](partial(Limits, messages_per_s, bytes_per_s))
        """Limits by robot. Bounded by the number of admitted robots."""
        self._ring = ring
        self._admitted: frozenset[str] | None = None
        """The robots that were admitted at the last look."""
        self._problems: list[str] = []
        """The problems of the key files at the last look."""
        self._peers = Peers(secrets.token_hex(8))
        self._answered: dict[str, float] = {}
        self._leaving: dict[asyncio.Task[None], tuple[str, float]] = {}
        """Voices that are hanging up: the robot, and the loop time at which the voice has had ``HANG_UP_S``."""
        self.looked_around = self.now()
        self._stop_by: float | None = None
        self._stopping = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self._pace = Pace(load or Load())
        self._end = GatewayEnd(keys, ring, bind, self)
        self.bound = self._end.bound

    @property
    def draining(self) -> bool:
        """Whether the gateway is being stopped."""
        return self._stop_by is not None

    @property
    def admitted(self) -> Collection[str]:
        """The robots that have an admitted key."""
        return self._ring.names

    async def run(self) -> None:
        """Serve until cancelled, or until drained."""
        self._say_problems()
        self._follow_keys()
        try:
            while not self._drained():
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):  # Python 3.11's wait_for loses a cancellation now and then
                        await (asyncio.sleep(DRAIN_LOOK_S) if self._stop_by is not None else self._stopping.wait())
                if self._stop_by is None or self.now() - self.looked_around >= LOOK_S:
                    self._look_around()
        finally:
            for robot in list(self.robots):
                self._dismiss(robot, "stopped", "the gateway stops")
            try:
                if self._leaving:
                    await asyncio.wait(list(self._leaving), timeout=HANG_UP_S + 0.5)
            finally:  # also if who stops the gateway does not wait for the voices
                self._pace.close()
                self._end.close()

    def _say_problems(self) -> None:
        """Log each problem of the key files once, for as long as the problem lasts."""
        for problem in self._ring.problems:
            if problem not in self._problems:
                log.warning("%s", problem)
        self._problems = list(self._ring.problems)

    @property
    def stalled_s(self) -> float:
        """The sum of all stalls of the event loop. No robot could be heard during them."""
        return self._end.stalled_s

    def connected(self) -> list[tuple[str, str, float]]:
        """Robot, key and connection time (seconds since 1970) of every connected key. Safe to call from any thread."""
        return self._end.connected()

    def let_go(self, robot: str, voice: "asyncio.Task[None]") -> None:
        """Note that a robot's voice was cancelled and is hanging up."""
        self._leaving[voice] = robot, self.loop.time() + HANG_UP_S
        voice.add_done_callback(lambda task: self._leaving.pop(task, None))

    def hangs_up(self, robot: str) -> bool:
        """Whether a voice of the robot is still hanging up, within its ``HANG_UP_S``."""
        now = self.loop.time()
        return any(name == robot and now < by for name, by in self._leaving.values())

    def drain(self, for_s: float) -> None:
        """Stop: welcome no robot, ask the robots to leave, and let turns in progress go on for ``for_s`` at most."""
        self._stop_by = self.now() + for_s
        self._stopping.set()

    def _drained(self) -> bool:
        """Whether a gateway that is being stopped has nothing left to do. Also asks each robot to leave."""
        if self._stop_by is None:
            return False
        over = self.now() >= self._stop_by
        for robot in self.robots.values():
            robot.leave(at_once=over)
        return over or not self.robots

    def publish(self, message: Down, payload: bytes = b"") -> bool:
        """Send a message to a robot. Returns false, and counts the loss, if the robot's queue is full."""
        sent = self._end.publish(message, payload)
        if not sent:
            self.on_bad("queue_full", message.robot, f"its queue is full, {message.kind} dropped: its link is slow or broken")
        return sent

    # --- called by the link -------------------------------------------------------------------------------------------

    def on_keys_changed(self) -> None:
        """Log problems of the key files. A robot whose key is gone is dismissed at the next look: the file may come back."""
        self._say_problems()
        if self.fleet:
            self.fleet.changed(ADMITTED_NAME)

    def _follow_keys(self) -> None:
        """Dismiss and forget the robots that are no longer admitted."""
        if (admitted := self._ring.names) == self._admitted and self.robots.keys() <= admitted:
            return
        for name in self.robots.keys() - admitted:
            self._dismiss(name, "revoked", "is no longer admitted")
        for name in self._peers.keys() - admitted:
            self._peers.forget(name)
        for known in (self._limits, self._answered):
            for name in known.keys() - admitted:
                del known[name]
        self.tally.forget()
        self.lost &= admitted
        self.feed.tell(KeysChanged(admitted))
        self._admitted = admitted

    def on_arrival(self, robot: str, size: int) -> Arrival:
        """Decide on a message of an admitted robot by the message's size alone."""
        limits = self._limits[robot]
        arrival = limits.weigh(size, self.now(), self._end.stalled_s)
        if arrival is not Arrival.TAKE:
            self.on_bad("flood", robot, f"sends beyond {limits.words}")
        return arrival

    def on_up(self, message: Up, payload: bytes) -> None:
        """Take a message of an admitted robot. The link has checked that the message is the robot's own."""
        now = self.now()
        peer = self._peer(message.robot)
        handling, notes = peer.heard(message, now, self._end.stalled_s)
        for note in notes:
            self.on_bad(note.cause, peer.robot, note.detail, n=note.n)
        match handling:
            case Handling.DROPPED:
                return
            case Handling.STRANGER:
                if self._once_a_second(peer.robot, now):
                    self.publish(peer.make(Stranger, now, to_boot=message.boot))
                return
            case Handling.CLONE:
                self._refuse(peer, f"another robot with the same key has taken its place: {CLONE_REMEDY}", message.boot)
                return
        try:
            check_audio(message, payload, peer.mic)
        except WireError as error:
            self.on_bad(error.cause, peer.robot, error.detail)
            return
        match message:
            case Hello():
                self._hello(peer, restarted=handling is Handling.RESTARTED)
            case Bye():
                self._dismiss(peer.robot, "bye", "said goodbye")
            case BeatUp():
                self.stats.of(peer.robot).beat(message)
                self._pass_on(peer.robot, message, payload)
            case _:
                self._pass_on(peer.robot, message, payload)

    def _pass_on(self, name: str, message: Up, payload: bytes) -> None:
        if robot := self.robots.get(name):
            robot.on_up(message, payload)

    def on_bad(self, cause: LinkCause, robot: str, words: str, who: str = "", address: str = "", *, n: int = 1) -> None:
        """Count a drop or refusal and tell the feed. It is news if it is the first of its cause for this robot or stranger."""
        first = self.tally.count(cause, robot, n)
        is_news = first if robot else self._strangers.is_new(f"{cause} {who}", self.now())
        self.feed.tell(Dropped(cause, robot, words, is_news, who if cause == "key" else "", address))
        if cause == "version" and robot:
            self._refuse(self._peer(robot), words, None)

    def _peer(self, robot: str) -> Peer:
        """The robot's peer, made if it is new. Bounded by the number of admitted robots."""
        return self._peers.get(robot) or self._peers.add(robot)

    def _hello(self, peer: Peer, *, restarted: bool) -> None:
        robot = self.robots.get(peer.robot)
        if self._stop_by is not None:
            self._refuse(peer, STOPPING, peer.boot)
            return
        if robot is None and len(self.robots) >= self.max_robots:
            self._refuse(peer, f"this gateway serves {self.max_robots} robots already (GATEWAY_MAX_ROBOTS)", peer.boot)
            return
        if robot is None and not self._pace.load.lets_in():
            self._refuse(peer, f"the {len(self.robots)} robots of this gateway leave it no time for another", peer.boot)
            return
        if (robot is None or restarted) and not self._limits[peer.robot].may_start(self.now()):
            self._dismiss(peer.robot, "restarted", "restarts again and again")
            self._refuse(peer, "the robot restarts again and again; once that stops, it is served within seconds", peer.boot)
            return
        if robot and restarted:
            self._dismiss(peer.robot, "restarted", "has restarted")
            robot = None
        self.lost.discard(peer.robot)
        if robot and self.fleet:
            self.fleet.again(peer.robot)
        if robot is None:
            robot = self.robots[peer.robot] = Robot(peer, self)
            robot.chunks_of(self._pace.load.chunk_ms)
            self.feed.tell(Connected(peer.robot, peer.hello.software if peer.hello else ""))
            robot.start()
        robot.welcome()

    def _once_a_second(self, robot: str, now: float) -> bool:
        """Whether a robot that is not served may be sent an answer now: at most one a second."""
        if now - self._answered.get(robot, float("-inf")) < 1.0:
            return False
        self._answered[robot] = now
        return True

    def _refuse(self, peer: Peer, reason: str, boot: str | None) -> None:
        """Refuse a robot with a reason, at most once a second."""
        now = self.now()
        if not self._once_a_second(peer.robot, now):
            return
        self.on_bad("refused", peer.robot, f"refused: {reason}")
        self.publish(peer.make(Refuse, now, reason=reason[:WORDS_MAX], to_boot=boot))

    def _dismiss(self, name: str, cause: Ending, why: str) -> None:
        if robot := self.robots.pop(name, None):
            robot.stop(forget=cause == "revoked")
            self.feed.tell(ConversationEnded(name, cause, why))

    def moved(self, name: str, why: str) -> None:
        """Drop a robot that another gateway has. The robot is sent nothing: the other gateway tells it what it needs."""
        self._dismiss(name, "moved", why)

    def denied(self, name: str, verdict: Verdict) -> None:
        """Drop a robot whose conversation is at another gateway. Refuse the robot if it is a clone."""
        peer = self._peer(name)
        self._dismiss(name, "moved", verdict.value)
        if verdict is Verdict.CLONE:
            self.on_bad("clone", name, f"two robots use the key of {name}: {CLONE_REMEDY}")
            self._refuse(peer, f"another robot with the same key has taken its place: {CLONE_REMEDY}", peer.boot)

    def _look_around(self) -> None:
        """Once a second: dismiss revoked and silent robots, adapt to the load, and level the fleet."""
        now = self.looked_around = self.now()
        self._follow_keys()
        if self._pace.look(now, len(self.robots)):
            load = self._pace.load
            words = "%d robots, which take %.0f %% of the event loop's time: messages of %d ms from now on"
            log.info(words, len(self.robots), load.busy * 100, load.message_ms)
            for robot in self.robots.values():
                robot.chunks_of(load.chunk_ms)
        for name, robot in list(self.robots.items()):
            silent_s = robot.peer.silent_s(now, self._end.stalled_s)
            if silent_s > GONE_S:
                self._dismiss(name, "gone", f"not heard for {silent_s:.0f} s: its conversation ends")
                self.lost.add(name)
            elif robot.away != (silent_s > AWAY_S):
                robot.away = not robot.away
                self.feed.tell(Away(name, silent_s if robot.away else None))
        if self.fleet and self._stop_by is None:
            idle_s = {name: robot.idle_s for name, robot in self.robots.items()}
            if move := self.fleet.to_move(idle_s):
                name, where = move
                self.feed.tell(Noticed(name, f"asked to go to {where}: {FULLER}"))
                self.robots[name].send_to(where, FULLER)
