"""The rim of a gateway: sockets, timers and tasks around the pure parts. Every robot lives in a boundary of its own."""

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Final

from reachy_gateway.link.end import Bind, GatewayEnd
from reachy_gateway.link.limits import Arrival, Limits
from reachy_gateway.link.peer import ACK_S, AWAY_S, CLONE_REMEDY, GONE_S, Peer, Verdict
from reachy_gateway.stats import Ending
from reachy_gateway.talk.conversation import WORDS_MAX, Conversation, Log, Out, Tell, TurnOver
from reachy_gateway.voice import HANG_UP_S, Voice, VoiceEvent
from reachy_link.keys import KeyPair, Keyring
from reachy_link.messages import (
    Activity,
    Bye,
    Down,
    Flush,
    Hello,
    Leave,
    Mic,
    Played,
    Refuse,
    Speaker,
    Stranger,
    Up,
    Welcome,
)
from reachy_link.tally import Strangers, Tally
from reachy_link.wire import WireError, check_payload

log = logging.getLogger(__name__)

STOPPING: Final = "this gateway is being stopped"
LOOK_S: Final = 1.0
DRAIN_LOOK_S: Final = 0.05
HUNG_UP_LOOK_S: Final = 0.05
"""How often a conversation that is to begin looks whether the voice of the one before has hung up."""

MakeVoice = Callable[[str], Voice]
"""Makes a voice for the robot of that name."""


class _Boundary:
    """A block in which a fault is caught, whatever it is: the one broad except outside an entry point.

    A class, as a generator would cost as much as what is done within.
    """

    def __init__(self, on_fault: Callable[[Exception], None]) -> None:
        self._on_fault = on_fault

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        self._on_fault(error)
        return True


class Robot:
    """One robot's conversation and voice, and the boundary that keeps its faults from the others.

    Whatever is raised inside the boundary, in the voice's task or in a call from outside, ends the conversation; it is
    logged with the robot, counted, and begun anew after a pause that grows.
    """

    PAUSE_S: Final = (0.5, 10.0)
    FORGIVEN_S: Final = 60.0
    """A fault after so long without one is the first again."""

    def __init__(self, peer: Peer, hub: "Hub") -> None:
        self.peer = peer
        self.away = False
        self.since = hub.now()
        self._asked_to_leave = False
        self._hub = hub
        self._boundary = _Boundary(self._fault)
        self._loop = asyncio.get_running_loop()
        self._conversation: Conversation | None = None
        self._voice: Voice | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.Handle | None = None
        self._timer_due = 0.0
        self._again: asyncio.TimerHandle | None = None
        self._flush: Tell | None = None
        """A flush that found the robot's queue full, to be sent again."""
        self._faults = 0
        self._last_fault = float("-inf")

    @property
    def conversation(self) -> Conversation | None:
        """Its conversation; None after a fault, until the next one begins."""
        return self._conversation

    def start(self) -> None:
        """Begin a conversation, once the robot's former voice has hung up or has had its time to: one connection a robot."""
        if self._hub.hangs_up(self.peer.robot):
            self._again = self._loop.call_later(HUNG_UP_LOOK_S, self.start)
            return
        self._again = None
        with self._boundary:
            assert self.peer.hello is not None  # noqa: S101 - a robot is made by its hello
            self._conversation = Conversation(self.peer.hello, self.peer.next_turn)
            self._voice = self._hub.make_voice(self.peer.robot)
            self._task = self._loop.create_task(self._run(self._voice), name=f"voice of {self.peer.robot}")
        self._tick()

    def stop(self) -> None:
        """End the conversation; the hub sees to the voice while it hangs up."""
        if self._conversation:
            self.peer.next_turn = self._conversation.turns.next
        self._conversation = self._voice = None
        for timer in (self._timer, self._again):
            if timer:
                timer.cancel()
        task, self._task = self._task, None
        if task:
            task.cancel()
            self._hub.let_go(self.peer.robot, task)

    def welcome(self) -> None:
        """Answer the robot's hello."""
        now = self._hub.now()
        self._hub.publish(self.peer.make(Welcome, now, to_boot=self.peer.boot, software=self._hub.software))
        with self._boundary:
            if self._conversation:
                self._carry_out(self._conversation.introduce(now))

    def leave(self, *, at_once: bool) -> None:
        """Ask the robot to leave, once; while the person speaks only if it must be at once."""
        if self._asked_to_leave or (self._conversation and self._conversation.gate.speaking and not at_once):
            return
        self._asked_to_leave = True
        self._hub.publish(self.peer.make(Leave, self._hub.now(), to_boot=self.peer.boot, reason=STOPPING))

    def on_up(self, message: Up, payload: bytes) -> None:
        """Take a message that the peer let pass."""
        with self._boundary:
            if self._conversation and self._voice:
                if not self._conversation.hears:
                    self._carry_out(self._conversation.heard(self._hub.now()))
                    self._schedule()
                self._handle(self._conversation, self._voice, message, payload)

    def _handle(self, conversation: Conversation, voice: Voice, message: Up, payload: bytes) -> None:
        now = self._hub.now()
        if isinstance(message, Mic):
            pcm, out = conversation.mic(message, payload, now)
            voice.hear(pcm, speaking=conversation.gate.speaking)
            if not out and self._timer and self._timer_due < now + ACK_S:
                return  # as nearly always: nothing but a beat could be due sooner, and none is that soon
            self._carry_out(out)
        elif isinstance(message, Activity):
            voice.activity(message.event)
        elif isinstance(message, Played):
            self._carry_out(conversation.played(message, self.peer.clock.offset_us))
        self._schedule()

    async def _run(self, voice: Voice) -> None:
        with _Boundary(partial(self._voice_fault, voice)):
            await voice.run(partial(self._emit, voice))
            if self._voice is voice:
                raise RuntimeError("the voice has ended by itself")

    def _emit(self, voice: Voice, event: VoiceEvent) -> None:
        with self._boundary:
            if self._conversation and self._voice is voice:  # not one that still hangs up
                self._carry_out(self._conversation.voice(event, self._hub.now()))
                self._schedule()

    def _voice_fault(self, voice: Voice, error: Exception) -> None:
        """A fault of the voice that talks ends its conversation; one of a voice that hangs up is nobody else's."""
        if self._voice is voice:
            self._fault(error)
            return
        log.error("%s: a fault of ours as a voice hung up", self.peer.robot, exc_info=error)
        self._hub.tally.count("fault", self.peer.robot)

    def _tick(self) -> None:
        self._timer = None  # uvloop's fire up to a millisecond early: then what is due has to be waited for once more
        with self._boundary:
            now = self._hub.now()
            if self._flush:
                flush, self._flush = self._flush, None
                self._tell(flush, now)
            if self._conversation:
                self._carry_out(self._conversation.tick(now))
            if beat := self.peer.beat(now):
                self._hub.publish(beat)
        self._schedule()

    def _schedule(self) -> None:
        """Set the timer for what is due next. Moving it at every message would cost more than a tick with nothing to do."""
        now = self._hub.now()
        due = self.peer.next_beat(now)
        if self._conversation and (at := self._conversation.next_due()) is not None:
            due = min(due, at)
        due = max(due, now + 0.001)
        if self._timer and not self._timer.cancelled() and now < self._timer_due <= due:
            return
        if self._timer:
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._loop.call_later(due - now, self._tick)

    def _carry_out(self, out: list[Out]) -> None:
        now = self._hub.now()
        for item in out:
            match item:
                case Tell():
                    self._tell(item, now)
                case Log(words) if self._hub.may_log(self.peer.robot, now):
                    log.info("%s: %s", self.peer.robot, words)
                case TurnOver(times):
                    self.peer.stats.turn(times)
                    if self._hub.may_log(self.peer.robot, now):
                        log.info("%s: %s", self.peer.robot, times.line())

    def _tell(self, tell: Tell, now: float) -> None:
        if self._conversation:
            self.peer.floor = self._conversation.turns.floor
        try:
            sent = self._hub.publish(self.peer.make(tell.kind, now, **tell.fields), tell.payload)
        except ValueError as error:  # what nobody can read costs this message, not the conversation
            self._hub.on_bad("unsendable", self.peer.robot, f"a message of kind {tell.kind.__name__}: {type(error).__name__}")
            return
        if not sent and tell.kind is Flush:
            self._flush = tell
        if sent and tell.kind is Speaker and self._conversation and self._conversation.latency.unpublished(tell.fields["turn"]):
            self._conversation.latency.published(tell.fields["turn"], self._hub.now())

    def _fault(self, error: Exception) -> None:
        log.error("%s: a fault of ours ended its conversation; it begins anew", self.peer.robot, exc_info=error)
        self._hub.tally.count("fault", self.peer.robot)
        self.peer.stats.endings["fault"] += 1
        self.stop()
        least_s, most_s = self.PAUSE_S
        now = self._loop.time()
        self._faults = min(self._faults + 1, 10) if now - self._last_fault < self.FORGIVEN_S else 0
        self._last_fault = now
        pause_s = min(most_s, least_s * 2**self._faults) * random.uniform(0.5, 1.0)  # noqa: S311
        self._again = self._loop.call_later(pause_s, self.start)
        self._schedule()  # the link's beats go on


class Hub:
    """A gateway: the link's end, and a :class:`Robot` for each that said hello.

    Args:
        max_robots: How many are served at a time; the next is refused in words.
        messages_per_s: How many messages a robot may send; what is more is dropped.
        bytes_per_s: The same for their size.
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
    ) -> None:
        self.make_voice = make_voice
        self.software = software
        self.tally = Tally(known=ring.admits)
        self._strangers = Strangers()
        self.now = time.monotonic
        self.robots: dict[str, Robot] = {}
        self.lost: set[str] = set()
        """Admitted robots that were served, fell silent and have not come back."""
        self.max_robots = max_robots
        self._messages_per_s = messages_per_s
        self._bytes_per_s = bytes_per_s
        self._limits: dict[str, Limits] = {}
        self._ring = ring
        self._problems: list[str] = []
        """What was wrong with the key files at the last look."""
        self._boot = secrets.token_hex(8)
        self._peers: dict[str, Peer] = {}
        self._answered: dict[str, float] = {}
        self._leaving: dict[asyncio.Task[None], tuple[str, float]] = {}
        """Voices that hang up: the robot, and by when the voice has had its time to."""
        self.looked_around = self.now()
        self._stop_by: float | None = None
        self._stopping = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self._end = GatewayEnd(keys, ring, bind, self)
        self.bound = self._end.bound

    @property
    def admitted(self) -> Collection[str]:
        """The robots of which a key is admitted."""
        return self._ring.names

    async def run(self) -> None:
        """Serve until cancelled, or until drained."""
        self._say_problems()
        try:
            while not self._drained():
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):  # Python 3.11's wait_for loses a cancellation now and then
                        await (asyncio.sleep(DRAIN_LOOK_S) if self._stop_by is not None else self._stopping.wait())
                if self._stop_by is None or self.now() - self.looked_around >= LOOK_S:
                    self._ring.reload()
                    self._say_problems()
                    self._look_around()
        finally:
            for robot in list(self.robots):
                self._dismiss(robot, "stopped", "the gateway stops")
            if self._leaving:
                await asyncio.wait(list(self._leaving), timeout=HANG_UP_S + 0.5)
            self._end.close()

    def _say_problems(self) -> None:
        """Say what is wrong with the key files, once for as long as it is."""
        for problem in self._ring.problems:
            if problem not in self._problems:
                log.warning("%s", problem)
        self._problems = list(self._ring.problems)

    def connected(self) -> list[tuple[str, str, float]]:
        """Robot, key, and since when (seconds since 1970) of every key that is connected; for any thread."""
        return self._end.connected()

    def let_go(self, robot: str, voice: "asyncio.Task[None]") -> None:
        """A robot's voice was cancelled, and hangs up."""
        self._leaving[voice] = robot, self.loop.time() + HANG_UP_S
        voice.add_done_callback(lambda task: self._leaving.pop(task, None))

    def hangs_up(self, robot: str) -> bool:
        """Whether a voice of the robot still hangs up, and has time for that."""
        now = self.loop.time()
        return any(name == robot and now < by for name, by in self._leaving.values())

    def may_log(self, robot: str, now: float) -> bool:
        """Whether a robot may cause another line in the log."""
        return self._limits_of(robot).may_log(now)

    def drain(self, for_s: float) -> None:
        """Stop: welcome nobody, tell robots to leave, and let turns in progress go on for so long at most."""
        self._stop_by = self.now() + for_s
        self._stopping.set()

    def _drained(self) -> bool:
        """Whether nothing is left to do for a gateway that is being stopped."""
        if self._stop_by is None:
            return False
        over = self.now() >= self._stop_by
        for robot in self.robots.values():
            robot.leave(at_once=over)
        return over or not self.robots

    def publish(self, message: Down, payload: bytes = b"") -> bool:
        """Send to a robot; false, and counted, if its queue is full."""
        sent = self._end.publish(message, payload)
        if not sent and self.tally.count("queue_full", message.robot):
            log.warning("%s: its queue is full, %s dropped: its link is too slow", message.robot, message.kind)
        return sent

    # --- what the link tells ------------------------------------------------------------------------------------------

    def on_arrival(self, robot: str, size: int) -> Arrival:
        """Decide on a message of an admitted robot by its size alone; bounded by the keys that are admitted."""
        arrival = self._limits_of(robot).weigh(size, self.now(), self._end.stalled_s)
        if arrival is not Arrival.TAKE:
            self.on_bad("flood", robot, f"sends beyond {self._messages_per_s} messages or {self._bytes_per_s} bytes a second")
        return arrival

    def on_up(self, message: Up, payload: bytes) -> None:
        """Take a message of an admitted robot, which speaks for itself."""
        now = self.now()
        peer = self._peer(message.robot)
        if not isinstance(message, Mic) and payload:
            self.on_bad("payload", peer.robot, f"{message.kind} has {len(payload)} bytes of payload, expected 0")
            return
        verdict, notes = peer.heard(message, now, self._end.stalled_s)
        for note in notes:
            self.on_bad(note.cause, peer.robot, note.detail)
        match verdict:
            case Verdict.DROPPED:
                return
            case Verdict.STRANGER:
                if self._once_a_second(peer.robot, now):
                    self.publish(peer.make(Stranger, now, to_boot=message.boot))
                return
            case Verdict.CLONE:
                self._refuse(peer, f"another robot with the same key has taken its place: {CLONE_REMEDY}", message.boot)
                return
        try:
            check_payload(message, payload, peer.mic)
        except WireError as error:
            self.on_bad(error.cause, peer.robot, error.detail)
            return
        match message:
            case Hello():
                self._hello(peer, restarted=verdict is Verdict.RESTARTED)
            case Bye():
                self._dismiss(peer.robot, "bye", "said goodbye")
            case _ if robot := self.robots.get(peer.robot):
                robot.on_up(message, payload)

    def on_bad(self, cause: str, peer: str, detail: str, who: str = "") -> None:
        """Count what was dropped or refused, and log it the first time: of each robot, or of each stranger."""
        first = self.tally.count(cause, peer)
        if first if peer else self._strangers.is_new(f"{cause} {who}", self.now()):
            log.warning("%s: %s (%s; further ones are only counted)", peer or "link", detail, cause)
        if cause == "version" and peer:
            self._refuse(self._peer(peer), detail, None)

    def _limits_of(self, robot: str) -> Limits:
        limits = self._limits.get(robot)
        if limits is None:
            limits = self._limits[robot] = Limits(self._messages_per_s, self._bytes_per_s)
        return limits

    def _peer(self, robot: str) -> Peer:
        """What is known of a robot; bounded by the keys that are admitted."""
        peer = self._peers.get(robot)
        if peer is None:
            peer = self._peers[robot] = Peer(robot, self._boot, self.tally)
        return peer

    def _hello(self, peer: Peer, *, restarted: bool) -> None:
        robot = self.robots.get(peer.robot)
        if self._stop_by is not None:
            self._refuse(peer, STOPPING, peer.boot)
            return
        if robot is None and len(self.robots) >= self.max_robots:
            self._refuse(peer, f"this gateway serves {self.max_robots} robots already (GATEWAY_MAX_ROBOTS)", peer.boot)
            return
        if (robot is None or restarted) and not self._limits_of(peer.robot).may_start(self.now()):
            self._dismiss(peer.robot, "restarted", "starts anew again and again")
            self._refuse(peer, "it starts anew again and again; once it stops that, it is served within seconds", peer.boot)
            return
        if robot and restarted:
            self._dismiss(peer.robot, "restarted", "started anew")
            robot = None
        self.lost.discard(peer.robot)
        if robot is None:
            robot = self.robots[peer.robot] = Robot(peer, self)
            log.info("%s: connected (%s)", peer.robot, peer.hello.software if peer.hello else "")
            robot.start()
        robot.welcome()

    def _once_a_second(self, robot: str, now: float) -> bool:
        """Whether a robot that is not served may be told something now."""
        if now - self._answered.get(robot, float("-inf")) < 1.0:
            return False
        self._answered[robot] = now
        return True

    def _refuse(self, peer: Peer, reason: str, boot: str | None) -> None:
        """Say no, at most once a second."""
        now = self.now()
        if not self._once_a_second(peer.robot, now):
            return
        if self.tally.count("refused", peer.robot):
            log.warning("%s: refused: %s", peer.robot, reason)
        self.publish(peer.make(Refuse, now, reason=reason[:WORDS_MAX], to_boot=boot))

    def _dismiss(self, name: str, cause: Ending, why: str) -> None:
        if robot := self.robots.pop(name, None):
            robot.peer.stats.endings[cause] += 1
            log.info("%s: %s", name, why)
            robot.stop()

    def _look_around(self) -> None:
        """Once a second: robots that fell silent, or are no longer admitted."""
        now = self.looked_around = self.now()
        for known in (self._limits, self._peers, self._answered):
            for name in [name for name in known if not self._ring.admits(name) and name not in self.robots]:
                del known[name]
        self.tally.forget()
        self.lost &= self._ring.names
        for name, robot in list(self.robots.items()):
            silent_s = robot.peer.silent_s(now, self._end.stalled_s)
            if not self._ring.admits(name):
                self._dismiss(name, "revoked", "is no longer admitted")
            elif silent_s > GONE_S:
                self._dismiss(name, "gone", f"not heard for {silent_s:.0f} s: its conversation ends")
                self.lost.add(name)
            elif robot.away != (silent_s > AWAY_S):
                robot.away = not robot.away
                log.warning("%s: %s", name, f"not heard for {silent_s:.0f} s" if robot.away else "is heard again")
