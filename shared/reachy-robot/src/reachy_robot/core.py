"""What a robot's end of the link decides: hello, liveness, what is sent, played and hushed. Pure: time is passed in."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import numpy as np

from reachy_link.address import Address
from reachy_link.clock import ClockSync
from reachy_link.messages import (
    Activity,
    BeatDown,
    BeatUp,
    Bye,
    Down,
    Echo,
    Flush,
    Hello,
    Leave,
    Mic,
    Phase,
    Played,
    Refuse,
    Speaker,
    State,
    Stranger,
    Transcript,
    TurnEnd,
    Up,
    Welcome,
)
from reachy_link.pcm import Format, Samples, from_pcm16, to_pcm16
from reachy_link.tally import Tally
from reachy_link.wire import WireError, check_payload
from reachy_robot.playout import Playout, TurnReport
from reachy_robot.route import ADDRESSES_ROUND_S, ROUND_S, Route
from reachy_robot.sound import Moment
from reachy_robot.trouble import UNREACHABLE, Trouble, silent
from reachy_robot.window import AckWindow

HELLO_S: Final = 0.2
HELLO_REFUSED_S: Final = 5.0
BEAT_S: Final = 0.25
ECHO_S: Final = 1.0
"""A beat at least this often, however much mic audio there is: it carries the clock echo."""
RESUBSCRIBE_S: Final = 1.0
LOST_S: Final = 2.0
"""Nothing heard for so long: the gateway is lost. The robot dials anew and says hello until it is welcomed."""
RETELL_S: Final = 4.0
"""The person's last mark is told again for so long, with each beat: a blip that is too short to be a loss may swallow it."""
REDIAL_S: Final = 3.0
SOUND_AFTER_S: Final = 5.0
SOUND_AGAIN_S: Final = 60.0
SILENT_MIC_S: Final = 10.0
"""A microphone that gives nothing but zeros for so long is broken: a real one has noise."""
SUMMARY_MAX: Final = 1000
"""Turns remembered for the summary; the oldest are forgotten."""

U = TypeVar("U", bound=Up)


@dataclass(frozen=True, slots=True)
class Send:
    """Publish a message."""

    message: Up
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Play:
    """Hand samples to the device."""

    samples: Samples


@dataclass(frozen=True, slots=True)
class Hush:
    """Silence the device."""


@dataclass(frozen=True, slots=True)
class Resubscribe:
    """Ask for the downlink again."""


@dataclass(frozen=True, slots=True)
class Redial:
    """Hang up and dial, another gateway if one is given; nothing, if that is a name."""

    address: Address | None = None


@dataclass(frozen=True, slots=True)
class LookUp:
    """Find the addresses of a name."""

    name: str


@dataclass(frozen=True, slots=True)
class Say:
    """A local sound."""

    sound: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Tell the device of a moment."""

    moment: Moment


@dataclass(frozen=True, slots=True)
class Log:
    """A line for the person who watches."""

    words: str
    warning: bool = False


Out = Send | Play | Hush | Resubscribe | Redial | LookUp | Say | Notice | Log


@dataclass(frozen=True)
class TurnSummary:
    """A turn as the person heard it."""

    turn: int
    latency_ms: int | None
    played_ms: int
    underruns: int
    concealed_ms: int
    complete: bool
    arrived_us: int | None = None
    """On the robot's clock, as the next two: when its first chunk came in, when it started, when a flush silenced it."""
    started_us: int | None = None
    cut_us: int | None = None


@dataclass(frozen=True)
class Profile:
    """What the robot says of itself in its hello, and how it behaves.

    Args:
        half_duplex_tail_ms: If set, the gateway hears zeros while the robot speaks and for so long after: for a robot that
            would hear itself.
        show_transcripts: Whether what was said goes to the log.
    """

    robot: str
    boot: str
    mic: Format
    speaker: Format
    lead_ms: int
    software: str
    half_duplex_tail_ms: int | None = None
    show_transcripts: bool = False


class RobotCore:
    """One start of one robot.

    Args:
        addresses: The gateways that it may dial, in its order; it is at the first. With one, or none, it stays there.
    """

    def __init__(self, profile: Profile, now: float, addresses: Sequence[Address] = ()) -> None:
        self._profile = profile
        self.route = Route(addresses, now, profile.robot)
        self._astray = False
        """The gateway here has failed, and the next one's time has not come yet."""
        self._leaving = False
        """The gateway here asked the robot to leave, and it has not yet."""
        self._left = False
        """It has, and nobody has welcomed it since: what the old gateway still says does not matter."""
        self._complaints: dict[Address | str | None, str] = {}
        """What was said of gateways, names and the link since the robot was last welcomed; bounded by where its route leads."""
        self._tally = Tally()
        self._losses = 0
        self._seq = 0
        self._pending = np.zeros((0, profile.mic.channels), np.float32)
        self._playout = Playout(profile.speaker, profile.lead_ms)
        self._window = AckWindow()
        self._clock = ClockSync()
        self._echo: Echo | None = None
        self._gateway_boot: str | None = None
        self.welcomed = False
        self.has_device = False
        """Whether there is a microphone and a speaker."""
        self._kept = False
        """The gateway here keeps a conversation with this robot, as far as is known: to be told goodbye."""
        self.refused = ""
        """Why the gateway will not serve this robot, if it said so."""
        self._phase: Phase | None = None
        self._since = now
        """When the link last stood, or the robot started."""
        self._last_down = now
        self._last_sent = self._last_hello = self._last_echo = float("-inf")
        self._last_resubscribe = self._last_redial = self._last_trouble = now
        self._last_sound = float("-inf")
        self._sounded = False
        self._zeros_since: float | None = None
        self._silent = False
        self._spoke_until = float("-inf")
        self._activity: str | None = None
        """Manual VAD: what the person did last, if anything."""
        self._activity_at = float("-inf")
        self._heard_us: int | None = None
        self._arrived_us: dict[int, int] = {}
        self._started_us: dict[int, int] = {}
        self._cut_us: dict[int, int] = {}
        self._torn = 0
        """The turn that a loss of the link cut; its rest may come once the link has healed."""
        self._ending: list[TurnReport] = []
        self.summary: deque[TurnSummary] = deque(maxlen=SUMMARY_MAX)

    @property
    def counts(self) -> dict[str, int]:
        """What was dropped, by cause. May be asked from another thread, so the counts are copied at one go."""
        counts = {cause: n for (cause, _), n in dict(self._tally.counts).items()}
        return counts | {"late_chunks": self._playout.late_chunks, "overflow_chunks": self._playout.overflow_chunks}

    # --- inputs -------------------------------------------------------------------------------------------------------

    def mic(self, samples: Samples, now: float) -> list[Out]:
        """Samples of the microphone, in any length."""
        out = self._notice_silence(samples, now)
        self._pending = np.concatenate([self._pending, samples]) if len(self._pending) else samples
        n = self._profile.mic.chunk_samples
        while len(self._pending) >= n:
            chunk, self._pending = self._pending[:n], self._pending[n:]
            if self.welcomed:
                out += self._mic_chunk(chunk, now)
        return out

    def device(self, now: float, *, there: bool) -> list[Out]:
        """The device is open, or it is lost: then nothing is played, and what was being played is not resumed.

        A device that is opened after the gateway's welcome is told that moment, which its predecessor was told or nobody was.
        """
        self.has_device = there
        if there:
            return [Notice(Moment.READY)] if self.welcomed else []
        self._pending = self._pending[:0]
        self._zeros_since = None
        self._playout.cut()
        return self._cut(now)

    def activity(self, event: str, now: float) -> list[Out]:
        """Manual VAD: the person's turn starts or ends. A gateway that does not know it yet is told once it listens."""
        self._activity, self._activity_at = event, now
        return [self._send(Activity, now, event=event)] if self.welcomed else []

    def down(self, message: Down, payload: bytes, now: float, queued_ms: float) -> list[Out]:
        """A message of the gateway."""
        if message.to_boot not in (None, self._profile.boot):
            self._tally.count("other_boot")
            return []
        try:
            check_payload(message, payload, self._profile.speaker)
        except WireError as error:
            return self.bad(error)
        self._last_down = now
        out = self._new_gateway(message.boot, now) if message.boot != self._gateway_boot else []
        if isinstance(message, Welcome):
            out += self._welcome(message, now)
        elif isinstance(message, Refuse):
            return out + self._refuse(message.reason, now)
        elif isinstance(message, Stranger):
            return out + self._unwelcome(now)
        elif not self.welcomed:
            return out
        if message.ack is not None:
            self._window.acked(message.ack)
        floor = message.turn if isinstance(message, Flush) else message.floor
        if self._playout.flush(floor):
            self._hushed(now, queued_ms)
            out.append(Hush())
        out += self._heard(message, payload, now)
        return out + self.tick(now, 0.0 if Hush() in out else queued_ms)

    def tick(self, now: float, queued_ms: float) -> list[Out]:
        """What is due by now; ``queued_ms`` is what the device has yet to play."""
        return self._play(now, queued_ms) + self._depart(now) + self._link(now)

    def trouble(self, trouble: Trouble, now: float) -> list[Out]:
        """The link could not be made."""
        self._last_trouble = now
        if self.refused:
            self.refused, self._since = "", now  # the link stood until now, and whoever listens next may think better of it
        of_name = self.route.name and not self.route.unknown and trouble.cause != "key"  # there the line ends with a command
        known_as = f" ({self.route.name} has this address here)" if of_name else ""
        out = [Log(trouble.words + known_as, warning=True)] if self._news(trouble.cause, self.route.here) else []
        round_s = ADDRESSES_ROUND_S if trouble.cause == UNREACHABLE and self.route.one_gateway else ROUND_S
        return [*out, *self._elsewhere(now, round_s)]

    def looked_up(self, name: str, ips: Sequence[str], trouble: Trouble, now: float) -> list[Out]:
        """A name has been looked up: its addresses, or what is wrong if there are none."""
        here = self.route.here
        if self.route.looked_up(name, ips, now, stay=self.welcomed):
            told: list[Out] = [Log(f"{name} has another address now{self._at()}")] if here and not here.named else []
            self._complaints = {of: said for of, said in self._complaints.items() if isinstance(of, str) or of in self.route}
            return told + self._dial(now)
        if ips:
            return []
        self._tally.count("look_up")
        if name != self.route.name or self.welcomed:
            return []
        if self.route.unknown:
            return self.trouble(trouble, now)
        words = f"{trouble.words} (the address that it had before is dialled)"
        return [Log(words, warning=True)] if self._news(trouble.cause, name) else []

    def bad(self, error: WireError) -> list[Out]:
        """A message that is not of this protocol: counted, and logged the first time."""
        self._tally.count(error.cause)
        first = self._news("dropped", f"a message: {error.cause}")
        return (
            [Log(f"dropped a message of the gateway: {error} (further ones are only counted)", warning=True)] if first else []
        )

    def goodbye(self, now: float) -> list[Out]:
        """The robot stops."""
        return [self._send(Bye, now)]

    # --- up -----------------------------------------------------------------------------------------------------------

    def _mic_chunk(self, chunk: Samples, now: float) -> list[Out]:
        if not self._window.admits(now, (self._clock.rtt_us or 0) / 1e6):
            self._tally.count("window")
            if self._news("dropped", "the microphone"):
                return [Log("the link is too slow for live speech: dropping what would come late", warning=True)]
            return []
        tail_ms = self._profile.half_duplex_tail_ms
        pressed = self._activity == "start"  # who holds the button cuts the robot short, and is heard from the first word on
        if tail_ms is not None and now < self._spoke_until + tail_ms / 1000 and not pressed:
            chunk = np.zeros_like(chunk)
        message = self._send(Mic, now, samples=len(chunk))
        self._window.sent(message.message.seq, now)
        return [replace(message, payload=to_pcm16(chunk))]

    def _notice_silence(self, samples: Samples, now: float) -> list[Out]:
        if not len(samples):
            return []
        if np.count_nonzero(samples):
            self._zeros_since = None
            if self._silent:
                self._silent = False
                return [Log("the microphone is heard again")]
        elif self._zeros_since is None:
            self._zeros_since = now
        elif now - self._zeros_since > SILENT_MIC_S and not self._silent:
            self._silent = True
            words = "the microphone gives nothing but zeros: is it muted, or its flat cable loose? (a virtual robot's may be)"
            return [Log(words, warning=True)]
        return []

    def _send(self, kind: type[U], now: float, **fields: Any) -> Send:
        profile = self._profile
        message = kind(robot=profile.robot, boot=profile.boot, seq=self._seq, t_us=int(now * 1e6), **fields)
        self._seq += 1
        self._last_sent = now
        return Send(message)

    # --- down ---------------------------------------------------------------------------------------------------------

    def _new_gateway(self, boot: str, now: float) -> list[Out]:
        """A gateway that started anew counts turns anew, and does not know this robot yet."""
        known = self._gateway_boot is not None
        self._gateway_boot = boot
        self._left = False
        out: list[Out] = [Log("the gateway has started anew")] if known else []
        out += self._unwelcome(now)
        self._phase = self._heard_us = None
        self._torn = 0
        return out

    def _unwelcome(self, now: float, *, kept: bool = False) -> list[Out]:
        """This robot is not served any more; ``kept`` if the gateway may keep the conversation all the same."""
        if self.welcomed:
            self._losses += not self._leaving
            if now - self._since > ROUND_S:
                self.route.served()
            self._since = now
        self._kept = self._kept and kept
        self.welcomed = self._leaving = False
        self._last_hello = float("-inf")
        self._window.reset()
        self._clock = ClockSync()
        self._echo = None
        hush: list[Out] = [Hush()] if self._playout.reset() else []
        self._torn = max((report.turn for report in self._playout.finished), default=self._torn)
        return hush + self._cut(now)

    def _welcome(self, message: Welcome, now: float) -> list[Out]:
        out: list[Out] = []
        if not self.welcomed:
            out.append(Log(f"connected to the gateway{self._at()} ({message.software})"))
            if self.has_device:
                out.append(Notice(Moment.READY))
            if self._sounded and self.has_device:
                out.append(Say("connected"))
            if self._activity:
                out.append(self._send(Activity, now, event=self._activity))  # twice is no harm
        self.welcomed, self._kept, self.refused, self._sounded = True, True, "", False
        self._astray = self._left = False
        self._complaints.clear()
        self._since = now
        return out

    def _refuse(self, reason: str, now: float) -> list[Out]:
        if self._left:
            return []  # hellos are meant for its successor
        out = self._unwelcome(now)
        self._last_hello = now
        if reason != self.refused:
            self.refused = reason
            if self._news(reason, self.route.here):
                out.append(Log(f"the gateway{self._at()} refused this robot: {reason}", warning=True))
            out += self._elsewhere(now) or self._sound("refused", now)
        return out

    def _heard(self, message: Down, payload: bytes, now: float) -> list[Out]:
        match message:
            case Speaker(turn=turn) if not self.has_device:
                self._tally.count("no_device")
                self._playout.cut(turn)
            case Speaker(turn=turn):
                if self._playout.push(turn, from_pcm16(payload, self._profile.speaker.channels)):
                    self._arrived_us.setdefault(turn, int(now * 1e6))
            case TurnEnd(turn=turn, complete=complete):
                self._playout.end(turn, complete=complete)
            case State(state=state, reason=reason):
                if state != "speaking":
                    self._playout.end_all()
                self._heard_us = message.heard_us or self._heard_us
                return self._state(state, reason, now)
            case Leave(reason=reason) if not self._leaving:
                self._leaving = True
                return [Log(f"the gateway{self._at()} asks to leave: {reason}")]
            case Transcript(who=who, text=text) if self._profile.show_transcripts:
                return [Log(f"{'person' if who == 'person' else 'reachy'} said: {text}")]
            case BeatDown(echo=echo):
                now_us = int(now * 1e6)
                self._echo = Echo(t_us=message.t_us, received_us=now_us)
                if echo:
                    self._clock.add(echo.t_us, echo.received_us, message.t_us, now_us)
        return []

    def _state(self, phase: Phase, reason: str, now: float) -> list[Out]:
        if phase == self._phase and not reason:
            return []
        self._phase = phase
        out: list[Out] = [Log(f"{phase}: {reason}" if reason else phase, warning=phase in ("reconnecting", "refused"))]
        return out + (self._sound("refused", now) if phase == "refused" else [])

    # --- playing ------------------------------------------------------------------------------------------------------

    def _play(self, now: float, queued_ms: float) -> list[Out]:
        out: list[Out] = []
        for samples in self._playout.due(queued_ms):
            queued_ms += self._profile.speaker.ms(len(samples))
            out.append(Play(samples))
        self._started_us |= {turn: int((now + before_ms / 1000) * 1e6) for turn, before_ms in self._playout.begun}
        self._playout.begun.clear()
        if queued_ms > 0:
            self._spoke_until = now + queued_ms / 1000
        self._ending += self._playout.finished
        self._playout.finished.clear()
        if self._ending and (queued_ms <= 0 or self._playout.active or not self._ending[-1].complete):
            reports, self._ending = self._ending, []
            for report in reports:
                out += self._ended(report, now)
        return out

    def _cut(self, now: float) -> list[Out]:
        """Every turn is over: the rest of what the device still holds is not heard either."""
        for report in self._ending:
            report.complete = False
        return self._play(now, 0.0)

    def _hushed(self, now: float, queued_ms: float) -> None:
        """The device is silenced: what it still held was not heard, and belongs to the turns that were handed over last."""
        flushed, self._playout.finished = self._playout.finished, []
        self._ending += flushed
        for report in reversed(self._ending):
            unheard_ms = min(queued_ms, report.played_ms)
            if unheard_ms > 0 or (report.played_ms > 0 and report in flushed):
                self._cut_us[report.turn] = int(now * 1e6)
            queued_ms -= unheard_ms
            report.played_ms -= unheard_ms
            report.complete = report.complete and unheard_ms == 0

    def _ended(self, report: TurnReport, now: float) -> list[Out]:
        """A turn is over at the speaker."""
        arrived_us = self._arrived_us.pop(report.turn, None)
        started_us = self._started_us.pop(report.turn, None)
        cut_us = self._cut_us.pop(report.turn, None)
        latency_ms = None
        if started_us is not None and self._heard_us is not None and started_us >= self._heard_us:
            latency_ms = (started_us - self._heard_us) // 1000
            self._heard_us = None
        told = TurnSummary(
            report.turn,
            latency_ms,
            round(report.played_ms),
            report.underruns,
            round(report.concealed_ms),
            report.complete and report.turn != self._torn,
            arrived_us,
            started_us,
            cut_us,
        )
        self.summary.append(told)
        fields = {name: getattr(told, name) for name in Played.model_fields if hasattr(told, name)}
        words = f"turn {told.turn} {'done' if told.complete else 'cut'}"
        words += f", answered after {latency_ms} ms" if latency_ms is not None else ""
        words += f", played {told.played_ms / 1000:.1f} s"
        out: list[Out] = [Log(words), self._send(Played, now, **fields)]
        if not self._playout.active:
            out.append(Notice(Moment.ANSWERED))
        return out

    # --- the link -----------------------------------------------------------------------------------------------------

    def _link(self, now: float) -> list[Out]:
        out: list[Out] = []
        # A gateway that has refused this robot says so at each hello, and nothing else.
        silent_s = now - self._last_down - (HELLO_REFUSED_S if self.refused else 0.0)
        if self.welcomed and silent_s > LOST_S:
            words = f"nothing from the gateway{self._at()} for {silent_s:.1f} s"
            out += [Log(words, warning=True), *self._unwelcome(now, kept=True), *self._elsewhere(now)]
        if self.welcomed and (stalled_s := self._window.stalled_s(now)) > REDIAL_S:
            self._last_redial = now
            words = f"the gateway{self._at()} has confirmed no audio for {stalled_s:.1f} s: dialling anew"
            out += [Log(words, warning=True), *self._unwelcome(now, kept=True)]
            out += self._elsewhere(now) or [Redial()]
        if silent_s > RESUBSCRIBE_S and now - self._last_resubscribe > RESUBSCRIBE_S:
            self._last_resubscribe = now
            out.append(Resubscribe())
        if silent_s > LOST_S and now - max(self._last_redial, self._last_trouble) > REDIAL_S:
            self._last_redial = now
            out.append(Redial())
        out += [LookUp(name) for name in self.route.look_ups(now)]
        out += self.trouble(silent(self.route.name), now) if self.route.overdue(now) else []
        unserved_s = 0.0 if self.route.unknown else min(now - self._since, self.route.here_s(now))
        if self._astray:
            out += self._elsewhere(now, 0.0)
        elif not self.welcomed and not self.refused and unserved_s > LOST_S:
            out += self._elsewhere(now)
        if not self.welcomed:
            if now - self._last_hello >= (HELLO_REFUSED_S if self.refused else HELLO_S):
                self._last_hello = now
                out.append(self._hello(now))
            if not self.refused and now - self._since > SOUND_AFTER_S:
                unknown = self._complaints.get(self.route.here) == "key"
                out += self._sound("refused" if unknown else "no-gateway", now)
        elif now - self._last_sent >= BEAT_S or now - self._last_echo >= ECHO_S:
            self._last_echo = now
            dropped = {"window": self._tally.total("window"), "overflow": self._playout.overflow_chunks}
            out.append(self._send(BeatUp, now, echo=self._echo, **dropped, losses=self._losses))
            if self._activity and now - self._activity_at < RETELL_S:
                out.append(self._send(Activity, now, event=self._activity))
        return out

    def _depart(self, now: float) -> list[Out]:
        """Leave a gateway that asked for it, once the turn in progress was heard to its end."""
        if not self._leaving or self._phase in ("thinking", "speaking") or self._playout.active or self._ending:
            return []
        out = [self._send(Bye, now), *self._unwelcome(now)]
        self._left = True
        return [*out, *self._elsewhere(now)]

    def _elsewhere(self, now: float, round_s: float = ROUND_S) -> list[Out]:
        """This gateway has failed: go on to the next, at once or as soon as it may be. Where there is no other: nothing."""
        self.route.doubt()
        if not self.route.several:
            return []
        out = self._unwelcome(now, kept=True) if self.welcomed else []
        self._astray = not self.route.onward(now, round_s)
        return out if self._astray else out + self._dial(now)

    def _dial(self, now: float) -> list[Out]:
        """Dial where the route is by now."""
        out: list[Out] = []
        if self._kept:
            self._kept = False
            out.append(self._send(Bye, now))
        self.refused, self._gateway_boot, self._left = "", None, False
        self._last_hello = float("-inf")
        self._last_down = self._last_resubscribe = self._last_redial = self._last_trouble = now
        if self.route.several and self.route.here not in self._complaints:
            out.append(Log(f"trying the gateway{self._at()}"))
        return [*out, Redial(self.route.here)]

    def _news(self, complaint: str, of: Address | str | None) -> bool:
        """Whether this is not what was said of that gateway, name or part of the link last."""
        said, self._complaints[of] = self._complaints.get(of), complaint
        return said != complaint

    def _at(self) -> str:
        """Where, if that needs to be said."""
        return f" at {self.route.place}" if self.route.several or self.route.name else ""

    def _hello(self, now: float) -> Send:
        profile = self._profile
        fields = {"mic": profile.mic, "speaker": profile.speaker, "lead_ms": profile.lead_ms, "software": profile.software}
        return self._send(Hello, now, **fields)

    def _sound(self, name: str, now: float) -> list[Out]:
        """A local sound, at most once a minute, and never into a reply."""
        if now - self._last_sound < SOUND_AGAIN_S or self._playout.active or not self.has_device:
            return []
        self._last_sound, self._sounded = now, True
        return [Say(name)]
