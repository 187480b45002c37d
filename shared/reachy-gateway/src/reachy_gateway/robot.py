"""One robot at a gateway: its conversation and its voice, inside a boundary that catches faults."""

import asyncio
import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from reachy_gateway.body import Body
from reachy_gateway.boundary import Boundary
from reachy_gateway.feed import Faulted, Noticed, ToolCalled, Transcribed, TurnPlayed
from reachy_gateway.fleet.claims import Verdict
from reachy_gateway.fleet.member import Member
from reachy_gateway.host import Host, Tap
from reachy_gateway.link.peer import ACK_S, Peer
from reachy_gateway.talk.acts import Answered
from reachy_gateway.talk.conversation import Conversation, Log, Out, TurnOver
from reachy_gateway.talk.tell import Tell
from reachy_gateway.voice import Inherited, ToolEnded, Vitals, Voice, VoiceEvent
from reachy_link.messages import (
    Acted,
    Activity,
    BodyOffer,
    Flush,
    Leave,
    Mic,
    Played,
    Sense,
    Speaker,
    Transcript,
    Up,
    Welcome,
)
from reachy_link.pcm import CHUNK_MS

STOPPING: Final = "this gateway is being stopped"
FULLER: Final = "another gateway of the fleet has more room"
HUNG_UP_LOOK_S: Final = 0.05
"""A new conversation waits until the former voice has hung up. It looks this often."""


class Robot:
    """One robot's conversation and voice, and the boundary that keeps its faults from the others.

    An exception inside the boundary, in the voice's task or in a call from outside, ends the conversation. It is logged with
    the robot's name and counted. A new conversation begins after a pause that grows with each fault.
    """

    PAUSE_S: Final = (0.5, 10.0)
    FORGIVEN_S: Final = 60.0
    """After so long without a fault, the next fault counts as the first again."""

    def __init__(self, peer: Peer, host: Host) -> None:
        self.peer = peer
        self.away = False
        self.since = host.now()
        self._asked_to_leave = False
        self._host = host
        self._boundary = Boundary(self._fault)
        self._loop = asyncio.get_running_loop()
        self._conversation: Conversation | None = None
        self._voice: Voice | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.Handle | None = None
        self._timer_due = 0.0
        self._again: asyncio.TimerHandle | None = None
        self._flush: Tell | None = None
        """A flush that found the robot's queue full. It is sent again."""
        self.limbs = Body(peer.robot, self)
        self.inherited: Inherited | None = None
        """What a fleet remembers of this robot's conversation, if the conversation goes on here."""
        self._token = ""
        """The token of this gateway's claim on the conversation, in a fleet."""
        self._tap: Tap | None = None
        """The recording that gets the conversation's sound and messages; None if nothing is recorded."""
        self.heard_pcm = self.sound_pcm = b""
        """The newest chunk that the voice heard (PCM16, mono), and the newest chunk sent to the speaker (speaker format)."""
        self._faults = 0
        self._last_fault = float("-inf")

    @property
    def conversation(self) -> Conversation | None:
        """The conversation; None after a fault, until the next one begins."""
        return self._conversation

    @property
    def body(self) -> BodyOffer | None:
        """What the robot's body can do; None without a body."""
        return self.peer.hello.body if self.peer.hello else None

    async def act(self, name: str, args: Mapping[str, str | float]) -> None:
        """Have the body do something, and wait until the body has begun. If this call is cancelled, the act is cancelled, too.

        Raises:
            ActError: If the body does not do it.
        """
        await self.limbs.act(name, args)

    def manner(self, manner: Mapping[str, bool]) -> None:
        """Set what the body does by itself from now on. It is sent again until the robot has heard it."""
        self.limbs.manner(manner)

    def ask(self, name: str, args: Mapping[str, str | float]) -> tuple[int, list[Out]] | None:
        """The id of a new act, and the messages that ask the body for it; None if there is no conversation."""
        return self._conversation.act(name, args, self._host.now()) if self._conversation else None

    def take_back(self, key: int) -> list[Out]:
        """The messages that cancel an act."""
        return [*self._conversation.acts.cancel(key, self._host.now())] if self._conversation else []

    def carry_out(self, out: list[Out]) -> None:
        """Send messages, handle their consequences, and set the timer."""
        self._carry_out(out)
        self._schedule()

    def say(self, text: str) -> str:
        """Have the robot say something. Returns why it cannot, or an empty text."""
        if self._voice is None:
            return "it has no conversation at the moment"
        return self._voice.say(text)

    def record(self, tap: Tap | None) -> None:
        """Give all sound and messages to a recording from now on, or to none. The robot shows that it is recorded."""
        self._tap = tap
        if self._conversation:
            self._conversation.recorded = tap is not None
            self._schedule()

    def vitals(self) -> Vitals:
        """How the robot fares."""
        sample, last_s = self.peer.clock.best, self._host.stats.of(self.peer.robot).last_total_s
        connected_s = self._host.now() - self.since
        rtt_ms = sample and sample.rtt_us / 1000
        return Vitals(connected_s, rtt_ms, None if last_s is None else last_s * 1000, self.limbs.person_deg)

    def chunks_of(self, ms: int) -> None:
        """Set how much audio a message holds from now on, up and down."""
        self.peer.mic_ms = ms if ms > CHUNK_MS else None

    def start(self) -> None:
        """Begin a conversation once the former voice has hung up or had ``HANG_UP_S``: one connection a robot."""
        if self._host.hangs_up(self.peer.robot):
            self._again = self._loop.call_later(HUNG_UP_LOOK_S, self.start)
            return
        self._again = None
        with self._boundary:
            assert self.peer.hello is not None  # noqa: S101 - a robot is made by its hello
            self._conversation = Conversation(self.peer.hello, self.peer.next_turn, self.peer.next_act)
            self._conversation.recorded = self._tap is not None
            self._voice = self._host.make_voice(self.peer.robot, self)
            self._task = self._loop.create_task(self._run(self._voice), name=f"voice of {self.peer.robot}")
        self._tick()

    def stop(self, *, forget: bool = False) -> None:
        """End the conversation, and forget it in the fleet if ``forget``. The hub waits for the voice while it hangs up."""
        if self._conversation:
            self.peer.next_turn = self._conversation.turns.next
            self.peer.next_act = self._conversation.acts.next_id
        self.limbs.close()
        self._conversation = self._voice = None
        for timer in (self._timer, self._again):
            if timer:
                timer.cancel()
        task, self._task = self._task, None
        if task:
            task.cancel()
            self._host.let_go(self.peer.robot, task)
            if fleet := self._host.fleet:
                name, token = self.peer.robot, self._token
                task.add_done_callback(lambda _: fleet.let_go(name, token, forget=forget))

    def welcome(self) -> None:
        """Answer the robot's hello, and tell the robot the state of the conversation."""
        now = self._host.now()
        others = {"gateways": self._host.fleet.neighbours.others()} if self._host.fleet else {}
        self._host.publish(self.peer.make(Welcome, now, to_boot=self.peer.boot, software=self._host.software, **others))
        with self._boundary:
            if self._conversation:
                self._carry_out(self._conversation.introduce(now))

    def leave(self, *, at_once: bool) -> None:
        """Ask the robot to leave, once. While the person speaks this waits, unless ``at_once``."""
        if self._asked_to_leave or (self._conversation and self._conversation.gate.speaking and not at_once):
            return
        self._asked_to_leave = True
        self.send_to(self._host.fleet.neighbours.elsewhere(self.peer.robot) if self._host.fleet else None, STOPPING)

    def send_to(self, where: str | None, reason: str) -> None:
        """Ask the robot to leave, and to dial ``where`` first. The robot leaves once nobody speaks."""
        self._host.publish(self.peer.make(Leave, self._host.now(), to_boot=self.peer.boot, reason=reason, to=where))

    @property
    def idle_s(self) -> float:
        """How long nobody has spoken; 0 without a conversation."""
        return self._conversation.idle_s(self._host.now()) if self._conversation else 0.0

    def on_up(self, message: Up, payload: bytes) -> None:
        """Take a message that the peer let pass."""
        with self._boundary:
            if self._conversation and self._voice:
                if not self._conversation.hears:
                    self._carry_out(self._conversation.heard(self._host.now()))
                    self._schedule()
                self._handle(self._conversation, self._voice, message, payload)

    def _handle(self, conversation: Conversation, voice: Voice, message: Up, payload: bytes) -> None:
        now = self._host.now()
        if self._tap and not isinstance(message, Mic):
            self._tap.up(message)
        if isinstance(message, Mic):
            pcm, out = conversation.mic(message, payload, now)
            self.heard_pcm = pcm
            if self._tap:
                self._tap.heard(pcm)
            voice.hear(pcm, speaking=conversation.gate.speaking)
            if not out and self._timer and self._timer_due < now + ACK_S:
                return  # the usual case: only a beat could be due before the timer fires, and no beat is due that soon
            self._carry_out(out)
        elif isinstance(message, Activity):
            voice.activity(message.event)
        elif isinstance(message, Acted):
            if message.id >= conversation.acts.next_id:
                self._host.on_bad("unasked", self.peer.robot, "reports an act that was never asked for")
            self._carry_out(conversation.acted(message))
        elif isinstance(message, Sense):
            self.limbs.sensed(message)
        elif isinstance(message, Played):
            self._carry_out(conversation.played(message, self.peer.clock.offset_us))
        self._schedule()

    async def _run(self, voice: Voice) -> None:
        with Boundary(partial(self._voice_fault, voice)):
            if self._host.fleet and not await self._claim(self._host.fleet):
                return
            await voice.run(partial(self._emit, voice))
            if self._voice is voice:
                raise RuntimeError("the voice has ended by itself")

    async def _claim(self, fleet: Member) -> bool:
        """Claim the conversation, wherever it is. Returns whether it is here now. The voice buffers speech meanwhile."""
        faulted = self._last_fault > float("-inf")  # the remembered conversation may have caused the fault
        taken = await fleet.claim(self.peer.robot, self.peer.newest, anew=faulted)
        self._token, self.inherited = taken.token, taken.inherited
        if taken.verdict is not Verdict.GRANTED:
            self._host.denied(self.peer.robot, taken.verdict)
        return taken.verdict is Verdict.GRANTED

    def keep(self, make: Callable[[], str]) -> None:
        """Note that the remembered part of the conversation has changed."""
        if self._host.fleet:
            self._host.fleet.keep(self.peer.robot, self._token, make)

    def _emit(self, voice: Voice, event: VoiceEvent) -> None:
        with self._boundary:
            if self._conversation and self._voice is voice:  # a voice that is still hanging up is ignored
                self._carry_out(self._conversation.voice(event, self._host.now()))
                self._schedule()

    def _voice_fault(self, voice: Voice, error: Exception) -> None:
        """A fault of the current voice ends its conversation. A fault of a voice that is hanging up is only reported."""
        if self._voice is voice:
            self._fault(error)
            return
        self._tell_fault(error, ends_conversation=False)

    def _tick(self) -> None:
        self._timer = None  # uvloop's timers fire up to 1 ms early: then nothing is due yet, and the timer is set once more
        with self._boundary:
            now = self._host.now()
            if self._flush:
                flush, self._flush = self._flush, None
                self._tell(flush, now)
            if self._conversation:
                self._carry_out(self._conversation.tick(now))
            if beat := self.peer.beat(now):
                self._host.publish(beat)
        self._schedule()

    def _schedule(self) -> None:
        """Set the timer for whatever is due next. Moving it at every message would cost more than an idle tick."""
        now = self._host.now()
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
        now = self._host.now()
        for item in out:
            match item:
                case Tell():
                    self._tell(item, now)
                case Log(words):
                    self._host.feed.tell(Noticed(self.peer.robot, words))
                case ToolEnded(name, outcome, seconds):
                    self._host.feed.tell(ToolCalled(self.peer.robot, name, outcome, seconds))
                case Answered():
                    self.limbs.answered(item)
                case TurnOver(times):
                    self._host.feed.tell(TurnPlayed(self.peer.robot, times))

    def _tell(self, tell: Tell, now: float) -> None:
        if self._conversation:
            self.peer.floor = self._conversation.turns.floor
        try:
            sent = self._host.publish(self.peer.make(tell.kind, now, **tell.fields), tell.payload)
        except ValueError as error:  # a message that cannot be encoded costs this message, not the conversation
            self._host.on_bad("unsendable", self.peer.robot, f"a message of kind {tell.kind.__name__}: {type(error).__name__}")
            return
        if not sent and tell.kind is Flush:
            self._flush = tell
        self._notice(tell)
        if sent and tell.kind is Speaker and self._conversation and self._conversation.latency.unpublished(tell.fields["turn"]):
            self._conversation.latency.published(tell.fields["turn"], self._host.now())

    def _notice(self, tell: Tell) -> None:
        """Pass a sent message on to those who watch, and to the recording."""
        if tell.kind is Speaker:
            self.sound_pcm = tell.payload
        elif tell.kind is Transcript and self._host.feed.is_read(Transcribed):
            self._host.feed.tell(Transcribed(self.peer.robot, tell.fields["who"], tell.fields["text"], tell.fields["turn"]))
        if self._tap:
            self._tap.down(tell)

    def _fault(self, error: Exception) -> None:
        self.stop()
        self._tell_fault(error, ends_conversation=True)
        least_s, most_s = self.PAUSE_S
        now = self._loop.time()
        self._faults = min(self._faults + 1, 10) if now - self._last_fault < self.FORGIVEN_S else 0
        self._last_fault = now
        pause_s = min(most_s, least_s * 2**self._faults) * random.uniform(0.5, 1.0)  # noqa: S311
        self._again = self._loop.call_later(pause_s, self.start)
        self._schedule()  # the link's beats continue

    def _tell_fault(self, error: Exception, *, ends_conversation: bool) -> None:
        self._host.feed.tell(Faulted(self.peer.robot, error, ends_conversation))
        self._host.on_bad("fault", self.peer.robot, "")
