"""The robot's standing with a gateway: hello, welcome, liveness, refusal, leaving, and which gateway to dial. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from reachy_link.address import Address, readable
from reachy_link.causes import RobotCause
from reachy_link.clock import ClockSync
from reachy_link.messages import BeatDown, BeatUp, Bye, Echo, Hello, Phase, Welcome
from reachy_link.tally import Tally
from reachy_robot.complaints import Complaints
from reachy_robot.decisions import Log, LookUp, Notice, Out, Profile, Redial, Resubscribe, Say
from reachy_robot.memory import Memory
from reachy_robot.microphone import Microphone
from reachy_robot.route import ADDRESSES_ROUND_S, ROUND_S, Route
from reachy_robot.sender import Sender
from reachy_robot.sound import Moment
from reachy_robot.speaker import Playback
from reachy_robot.trouble import UNREACHABLE, Trouble, silent

HELLO_S: Final = 0.2
HELLO_REFUSED_S: Final = 5.0
BEAT_S: Final = 0.25
ECHO_S: Final = 1.0
"""The robot sends a beat at least this often, however much microphone audio it sends: a beat carries the clock echo."""
RESUBSCRIBE_S: Final = 1.0
LOST_S: Final = 2.0
"""After this long without a message the gateway is lost. The robot dials again and says hello until it is welcomed."""
REDIAL_S: Final = 3.0
SOUND_AFTER_S: Final = 5.0
SOUND_AGAIN_S: Final = 60.0
UNANSWERED_S: Final = 5.0
"""If no hello was answered for this long although the link stands, the log asks for the robot's name."""


@dataclass(slots=True)
class _Newest:
    """When the newest event of each kind happened."""

    down: float
    resubscribe: float
    redial: float
    trouble: float
    hello: float = float("-inf")
    echo: float = float("-inf")
    sound: float = float("-inf")


class Presence:
    """One robot's standing with the gateways of its route."""

    def __init__(
        self,
        profile: Profile,
        now: float,
        addresses: Sequence[Address],
        sender: Sender,
        microphone: Microphone,
        playback: Playback,
        tally: Tally[RobotCause],
        complaints: Complaints,
        remembered: Sequence[Address] = (),
    ) -> None:
        self.route = Route(addresses, now, profile.robot, remembered)
        self._memory = Memory(remembered)
        self.clock = ClockSync()
        self.welcomed = False
        self.has_device = False
        """Whether microphone and speaker are open."""
        self.refused = ""
        """Why the gateway refuses this robot; empty if it does not."""
        self._profile = profile
        self._sender = sender
        self._microphone = microphone
        self._playback = playback
        self._tally = tally
        self._complaints = complaints
        self._astray = False
        """The current gateway has failed, and it is too early to go to the next."""
        self._leaving = False
        """The current gateway asked the robot to leave, and the robot has not left yet."""
        self._to: Address | None = None
        """The gateway that the robot tries first after leaving."""
        self._left = False
        """The robot has left and was not welcomed since. Refusals by the old gateway do not count."""
        self._kept = False
        """As far as is known, the current gateway keeps a conversation with this robot, so the robot must say goodbye."""
        self._losses = 0
        self._echo: Echo | None = None
        self._gateway_boot: str | None = None
        self.phase: Phase | None = None
        """The state of the conversation that the gateway told last."""
        self.reason = ""
        """The gateway's reason for the state, if it gave one. Without a welcome: why the gateway does not know this robot."""
        self._since = now
        """When the link last stood, or when the robot started."""
        self._newest = _Newest(now, now, now, now)
        self._sounded = False

    # --- what the gateway says ----------------------------------------------------------------------------------------

    def heard_from(self, boot: str, now: float) -> list[Out]:
        """A message has come. A gateway that has restarted counts turns from the start and does not know this robot yet."""
        self._newest.down = now
        if boot == self._gateway_boot:
            return []
        known = self._gateway_boot is not None
        self._gateway_boot = boot
        self._left = False
        out: list[Out] = [Log("the gateway has restarted")] if known else []
        out += self.unwelcome(now)
        self.phase = None
        self._playback.forget_gateway()
        return out

    def unwelcome(self, now: float, *, kept: bool = False) -> list[Out]:
        """The gateway no longer serves this robot; ``kept`` if it may still keep the conversation."""
        if self.welcomed:
            self.reason = ""
            self._losses += not self._leaving
            if now - self._since > ROUND_S:
                self.route.served()
            self._since = now
        self._kept = self._kept and kept
        self.welcomed = self._leaving = False
        self._newest.hello = float("-inf")
        self._microphone.window.reset()
        self.clock = ClockSync()
        self._echo = None
        return self._playback.link_lost(now)

    def welcome(self, message: Welcome, now: float) -> list[Out]:
        """The gateway serves this robot."""
        out: list[Out] = []
        if not self.welcomed:
            out.append(Log(f"connected to the gateway{self._at()} ({message.software})"))
            if self.has_device:
                out.append(Notice(Moment.READY))
            if self._sounded and self.has_device:
                out.append(Say("connected"))
            out += self._microphone.tell_mark(now)
        self.welcomed, self._kept, self.refused, self._sounded, self.reason = True, True, "", False, ""
        self._astray = self._left = False
        self._complaints.clear()
        self._since = now
        others = readable(message.gateways)
        self.route.arrived()
        self.route.learn(others)
        if self.route.place and not self.route.unknown:
            gateway, here = self.route.place
            self._memory.welcomed(here, others, given=self.route.given and here == gateway)
        return out

    def refuse(self, reason: str, now: float) -> list[Out]:
        """The gateway refuses this robot."""
        if self._left:
            return []  # the hellos are for the gateway's successor
        out = self.unwelcome(now)
        self._newest.hello = now
        if reason != self.refused:
            self.refused = reason
            if self._complaints.are_news(reason, self.route.here):
                out.append(Log(f"the gateway{self._at()} refused this robot: {reason}", warning=True))
            out += self._elsewhere(now) or self._sound("refused", now)
        return out

    def leave(self, reason: str, to: str | None = None) -> list[Out]:
        """The gateway asks the robot to leave, and may name another gateway to try first."""
        if self._leaving:
            return []
        self._leaving, self._to = True, next(iter(readable([to] if to else [])), None)
        return [Log(f"the gateway{self._at()} asks this robot to leave: {reason}")]

    def state(self, phase: Phase, reason: str, now: float) -> list[Out]:
        """The gateway tells the state of the conversation."""
        known, self.phase, self.reason = (self.phase, self.reason), phase, reason
        warning = phase in ("reconnecting", "refused")
        # The gateway tells a state again when something else in it has changed, such as whether the person speaks.
        told = [Log(f"{phase}: {reason}" if reason else phase, warning=warning)] if (phase, reason) != known else []
        return [*told, *(self._sound("refused", now) if phase == "refused" else [])]

    def beat(self, message: BeatDown, now: float) -> None:
        """Take the gateway's clock and its echo of ours."""
        now_us = int(now * 1e6)
        self._echo = Echo(t_us=message.t_us, received_us=now_us)
        if echo := message.echo:
            self.clock.add(echo.t_us, echo.received_us, message.t_us, now_us)

    # --- what the link says -------------------------------------------------------------------------------------------

    def trouble(self, trouble: Trouble, now: float) -> list[Out]:
        """Dialling has failed."""
        self._newest.trouble = now
        self.reason = trouble.words if trouble.cause == "key" else ""
        if self.refused:
            self.refused, self._since = "", now  # the link stood until now, and the next gateway may accept the robot
        of_name = self.route.name and not self.route.unknown and trouble.cause != "key"  # a key's line ends with a command
        known_as = f" ({self.route.name} has this address here)" if of_name else ""
        known_as += " (another gateway named this address)" if not self.route.given and trouble.cause != "key" else ""
        is_news = self._complaints.are_news(trouble.cause, self.route.here)
        round_s = ADDRESSES_ROUND_S if trouble.cause == UNREACHABLE and self.route.one_gateway else ROUND_S
        out: list[Out] = [Log(trouble.words + known_as, warning=True)] if is_news else []
        return [*out, *self._elsewhere(now, round_s)]

    def looked_up(self, name: str, ips: Sequence[str], trouble: Trouble, now: float) -> list[Out]:
        """A look-up has ended: with the name's addresses, or with what is wrong if there are none."""
        here = self.route.here
        if self.route.looked_up(name, ips, now, stay=self.welcomed):
            told: list[Out] = [Log(f"{name} has another address now{self._at()}")] if here and not here.named else []
            self._complaints.keep(lambda of: of in self.route)
            return told + self._dial(now)
        if ips:
            return []
        self._tally.count("look_up")
        if name != self.route.name or self.welcomed:
            return []
        if self.route.unknown:
            return self.trouble(trouble, now)
        words = f"{trouble.words} (the address that it had before is dialled)"
        return [Log(words, warning=True)] if self._complaints.are_news(trouble.cause, name) else []

    # --- time -----------------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[Out]:
        """Everything that is due by now."""
        return [*self._depart(now), *self._watch_link(now), *self._say_something(now), *self._memory.due(now)]

    def _depart(self, now: float) -> list[Out]:
        """Leave a gateway that asked for it, once the current turn was heard to its end."""
        if not self._leaving or self.phase in ("thinking", "speaking") or self._playback.busy:
            return []
        out = [self._sender.make(Bye, now), *self.unwelcome(now)]
        self._left = True
        sent = self._to is not None and self.route.go(self._to, now)
        return [*out, *(self._dial(now) if sent else self._elsewhere(now))]

    def _watch_link(self, now: float) -> list[Out]:
        """Notice a gateway that is lost or confirms no audio, and dial."""
        out: list[Out] = []
        newest = self._newest
        # A gateway that refuses this robot answers each hello with the refusal, and sends nothing else.
        silent_s = now - newest.down - (HELLO_REFUSED_S if self.refused else 0.0)
        if self.welcomed and silent_s > LOST_S:
            words = f"nothing from the gateway{self._at()} for {silent_s:.1f} s"
            out += [Log(words, warning=True), *self.unwelcome(now, kept=True), *self._elsewhere(now)]
        if self.welcomed and (stalled_s := self._microphone.window.stalled_s(now)) > REDIAL_S:
            newest.redial = now
            words = f"the gateway{self._at()} has confirmed no audio for {stalled_s:.1f} s: dialling again"
            out += [Log(words, warning=True), *self.unwelcome(now, kept=True)]
            out += self._elsewhere(now) or [Redial()]
        if silent_s > RESUBSCRIBE_S and now - newest.resubscribe > RESUBSCRIBE_S:
            newest.resubscribe = now
            out.append(Resubscribe())
        if silent_s > LOST_S and now - max(newest.redial, newest.trouble) > REDIAL_S:
            newest.redial = now
            out.append(Redial())
        out += [LookUp(name) for name in self.route.look_ups(now)]
        out += self.trouble(silent(self.route.name), now) if self.route.overdue(now) else []
        unserved_s = 0.0 if self.route.unknown else min(now - self._since, self.route.here_s(now))
        if self._astray:
            out += self._elsewhere(now, 0.0)
        elif not self.welcomed and not self.refused and unserved_s > LOST_S:
            out += self._elsewhere(now)
        unanswered_s = min(unserved_s, now - newest.trouble)
        if not self.welcomed and not self.refused and unanswered_s > UNANSWERED_S:
            out += self._ask_for_name()
        return out

    def _ask_for_name(self) -> list[Out]:
        """The connections stand, and no hello is answered: a gateway drops hellos under another name than the key's."""
        if not self._complaints.are_news("unanswered", "the robot's name"):
            return []
        words = f"the gateway{self._at()} takes this robot's key, and does not answer: does it admit the key under another name"
        return [Log(f"{words} than {self._profile.robot}? See there: reachy-keys list", warning=True)]

    def _say_something(self, now: float) -> list[Out]:
        """Send a hello to a gateway that does not know the robot, or a beat to a gateway that does."""
        newest = self._newest
        if self.welcomed:
            if now - self._sender.last < BEAT_S and now - newest.echo < ECHO_S:
                return []
            newest.echo = now
            dropped = {"window": self._tally.total("window"), "overflow": self._playback.playout.overflow_chunks}
            beat = self._sender.make(BeatUp, now, echo=self._echo, **dropped, losses=self._losses)
            return [beat, *self._microphone.tell_mark(now, again=True)]
        out: list[Out] = []
        if now - newest.hello >= (HELLO_REFUSED_S if self.refused else HELLO_S):
            newest.hello = now
            profile = self._profile
            fields: dict[str, object] = {
                "mic": profile.mic,
                "speaker": profile.speaker,
                "lead_ms": profile.lead_ms,
                "software": profile.software,
                "shows_recording": True,
            }
            fields |= {"body": profile.body} if profile.body else {}
            out.append(self._sender.make(Hello, now, **fields))
        if not self.refused and now - self._since > SOUND_AFTER_S:
            unknown = self._complaints.last(self.route.here) == "key"
            out += self._sound("refused" if unknown else "no-gateway", now)
        return out

    # --- where to ---------------------------------------------------------------------------------------------------------

    def _elsewhere(self, now: float, round_s: float = ROUND_S) -> list[Out]:
        """The current gateway has failed: go to the next, at once or as soon as allowed. Without another gateway do nothing."""
        self.route.doubt()
        if not self.route.several:
            return []
        out = self.unwelcome(now, kept=True) if self.welcomed else []
        self._astray = not self.route.onward(now, round_s)
        return out if self._astray else out + self._dial(now)

    def _dial(self, now: float) -> list[Out]:
        """Dial the route's current place."""
        out: list[Out] = []
        if self._kept:
            self._kept = False
            out.append(self._sender.make(Bye, now))
        self.refused, self._gateway_boot, self._left = "", None, False
        newest = self._newest
        newest.hello = float("-inf")
        newest.down = newest.resubscribe = newest.redial = newest.trouble = now
        if self.route.several and self._complaints.last(self.route.here) is None:
            out.append(Log(f"trying the gateway{self._at()}"))
        return [*out, Redial(self.route.here)]

    def _at(self) -> str:
        """The current place in words, if there are several or the gateway has a name."""
        return f" at {self.route.place}" if self.route.several or self.route.name else ""

    def _sound(self, name: str, now: float) -> list[Out]:
        """Play a local sound, at most once a minute, and never during a reply."""
        if now - self._newest.sound < SOUND_AGAIN_S or self._playback.playout.active or not self.has_device:
            return []
        self._newest.sound, self._sounded = now, True
        return [Say(name)]
