"""The decisions of a robot's end of the link, made by its parts: presence, microphone, speaker. Pure: time is passed in."""

from collections import deque
from collections.abc import Sequence

from reachy_link.address import Address
from reachy_link.causes import RobotCause
from reachy_link.messages import (
    Act,
    BeatDown,
    BeatUp,
    Bye,
    Cancel,
    Down,
    Flush,
    Leave,
    Refuse,
    Speaker,
    State,
    Stranger,
    Transcript,
    TurnEnd,
    Welcome,
)
from reachy_link.pcm import Samples
from reachy_link.tally import Tally
from reachy_link.wire import WireError, check_audio
from reachy_robot.acts import Acts
from reachy_robot.complaints import Complaints
from reachy_robot.decisions import Hush, Log, Notice, Out, Profile, Said, Say, Send, TurnSummary
from reachy_robot.microphone import Microphone
from reachy_robot.motion.composer import MOOD_OF, Mood
from reachy_robot.motion.pose import Pose
from reachy_robot.presence import Presence
from reachy_robot.route import Route
from reachy_robot.sender import Sender
from reachy_robot.sound import Moment
from reachy_robot.speaker import Playback
from reachy_robot.trouble import Trouble


class RobotCore:
    """One robot, from its start to its end.

    Args:
        addresses: The gateways that the robot may dial, in its order. It starts at the first; with one gateway or none it stays
            there.
        remembered: The gateways remembered at an earlier start, for when none of ``addresses`` serves.
    """

    def __init__(
        self, profile: Profile, now: float, addresses: Sequence[Address] = (), remembered: Sequence[Address] = ()
    ) -> None:
        self._profile = profile
        self._tally = Tally[RobotCause]()
        self._complaints = Complaints()
        self._sender = Sender(profile.robot, profile.boot)
        self._microphone = Microphone(profile, self._sender, self._tally, self._complaints)
        self._playback = Playback(profile, self._sender)
        self._acts = Acts(self._sender, profile.moves)
        parts = self._sender, self._microphone, self._playback, self._tally, self._complaints
        self._presence = Presence(profile, now, addresses, *parts, remembered)

    @property
    def route(self) -> Route:
        """The gateways, and which of them is dialled."""
        return self._presence.route

    @property
    def welcomed(self) -> bool:
        """Whether a gateway serves this robot."""
        return self._presence.welcomed

    @property
    def refused(self) -> str:
        """Why the gateway refuses this robot; empty if it does not."""
        return self._presence.refused

    @property
    def standing(self) -> tuple[Mood, str]:
        """The robot's mood, and the reason for it if the gateway or the service behind it gave one."""
        if not self.welcomed:
            return "alone", self.refused or self._presence.reason
        return MOOD_OF.get(self._presence.phase or "listening", "listening"), self._presence.reason

    @property
    def has_device(self) -> bool:
        """Whether microphone and speaker are open."""
        return self._presence.has_device

    @property
    def person_speaks(self) -> bool:
        """Whether the gateway hears the person speak."""
        return self._acts.person_speaks

    @property
    def recorded(self) -> bool:
        """Whether the gateway records the conversation."""
        return self.welcomed and self._acts.recorded

    @property
    def summary(self) -> deque[TurnSummary]:
        """The newest turns as the person heard them."""
        return self._playback.summary

    @property
    def counts(self) -> dict[str, int]:
        """Counts of drops by cause. This may be called from another thread, so the counts are copied in one step."""
        counts: dict[str, int] = {cause: n for (cause, _), n in dict(self._tally.counts).items()}
        playout = self._playback.playout
        return counts | {"late_chunks": playout.late_chunks, "overflow_chunks": playout.overflow_chunks}

    def mic(self, samples: Samples, now: float) -> list[Out]:
        """Take samples from the microphone, in any length."""
        out = self._microphone.notice_silence(samples, now)
        for chunk in self._microphone.regroup(samples):
            if self.welcomed:
                rtt_s = (self._presence.clock.rtt_us or 0) / 1e6
                out += self._microphone.send(chunk, now, rtt_s, self._playback.spoke_until)
        return out

    def device(self, now: float, *, there: bool) -> list[Out]:
        """The device is open, or it is lost. When it is lost, nothing is played, and the current turn does not go on later.

        A device that opens after the gateway's welcome is told ``READY`` now: until now only an earlier device was told, or
        none.
        """
        self._presence.has_device = there
        if there:
            return [Notice(Moment.READY)] if self.welcomed else []
        self._microphone.device_lost()
        self._playback.playout.cut()
        return self._playback.cut(now)

    def body(self, now: float, present: Pose | None, why: str = "") -> list[Out]:
        """The body is there, in this pose; or it is not, for this reason. Speech does not depend on the body."""
        if present is None:
            return self._told(self._acts.lost(why, now))
        self._acts.found(present, now)
        return []

    def pose(self, now: float, heard_deg: float | None = None) -> tuple[Pose | None, list[Out]]:
        """The body's pose for now, if there is a body, and the decisions that follow.

        Args:
            now: In seconds.
            heard_deg: The direction of a voice now, to the left of where the head looks; None if there is no voice.
        """
        self._acts.mood, _ = self.standing
        pose, out = self._acts.pose(now, self._playback.level(now), heard_deg)
        return pose, self._told(out)

    def _told(self, out: list[Out]) -> list[Out]:
        """Drop messages while no gateway serves the robot."""
        return [item for item in out if self.welcomed or not isinstance(item, Send)]

    def activity(self, event: str, now: float) -> list[Out]:
        """Manual VAD: the person's turn starts or ends. A gateway that does not serve the robot yet is told once it does."""
        self._microphone.mark(event, now)
        return self._microphone.tell_mark(now) if self.welcomed else []

    def down(self, message: Down, payload: bytes, now: float, queued_ms: float) -> list[Out]:
        """A message of the gateway."""
        if message.to_boot not in (None, self._profile.boot):
            self._tally.count("other_boot")
            return []
        try:
            check_audio(message, payload, self._profile.speaker)
        except WireError as error:
            return self.bad(error)
        out = self._presence.heard_from(message.boot, now)
        self._acts.gateway_changed(message.boot, now)
        if isinstance(message, Welcome):
            out += self._presence.welcome(message, now)
        elif isinstance(message, Refuse):
            return out + self._presence.refuse(message.reason, now)
        elif isinstance(message, Stranger):
            return out + self._presence.unwelcome(now)
        elif not self.welcomed:
            return out
        if message.ack is not None:
            self._microphone.window.acked(message.ack)
        self._microphone.wanted(message.mic_ms)
        floor = message.turn if isinstance(message, Flush) else message.floor
        out += self._playback.flush(floor, now, queued_ms)
        self._acts.flush(floor, now)
        out += self._heard(message, payload, now)
        return out + self.tick(now, 0.0 if Hush() in out else queued_ms)

    def _heard(self, message: Down, payload: bytes, now: float) -> list[Out]:
        playout = self._playback.playout
        match message:
            case Speaker(turn=turn) if not self.has_device:
                self._tally.count("no_device")
                playout.cut(turn)
            case Speaker(turn=turn):
                self._playback.push(turn, payload, now)
            case TurnEnd(turn=turn, complete=complete):
                playout.end(turn, complete=complete)
            case State(state=state, reason=reason):
                if state != "speaking":
                    playout.end_all()
                self._playback.heard_us = message.heard_us or self._playback.heard_us
                self._acts.person_speaks = bool(message.person_speaks)
                return [*self._presence.state(state, reason, now), *self._record(begins=bool(message.recorded))]
            case Act():
                out = self._acts.act(message, now)
                self._playback.gain.percent = self._acts.volume_percent
                return out
            case Cancel():
                return self._acts.cancel(message, now)
            case Leave(reason=reason, to=to):
                return self._presence.leave(reason, to)
            case Transcript(who=who, text=text) if self._profile.show_transcripts:
                return [Said(who, text)]
            case BeatDown():
                self._presence.beat(message, now)
        return []

    def _record(self, *, begins: bool) -> list[Out]:
        """The gateway begins or ends to record the conversation: the people in the room must know."""
        if begins == self._acts.recorded:
            return []
        self._acts.recorded = begins
        words = "the gateway records this conversation" if begins else "the gateway has ended its recording"
        return [*([Say("recorded")] if begins else []), Log(words)]

    def tick(self, now: float, queued_ms: float) -> list[Out]:
        """Everything that is due by now; ``queued_ms`` is the audio that the device has yet to play."""
        out = self._playback.play(now, queued_ms) + self._presence.tick(now)
        beats = any(isinstance(item, Send) and isinstance(item.message, BeatUp) for item in out)
        return out + self._acts.retell(now) if beats else out

    def trouble(self, trouble: Trouble, now: float) -> list[Out]:
        """Dialling has failed."""
        return self._presence.trouble(trouble, now)

    def looked_up(self, name: str, ips: Sequence[str], trouble: Trouble, now: float) -> list[Out]:
        """A look-up has ended: with the name's addresses, or with what is wrong if there are none."""
        return self._presence.looked_up(name, ips, trouble, now)

    def bad(self, error: WireError) -> list[Out]:
        """Count a message that is not of this protocol, and log the first."""
        self._tally.count(error.cause)
        if not self._complaints.are_news("dropped", f"a message: {error.cause}"):
            return []
        return [Log(f"dropped a message of the gateway: {error} (further ones are only counted)", warning=True)]

    def goodbye(self, now: float) -> list[Out]:
        """The robot stops."""
        return [self._sender.make(Bye, now)]
