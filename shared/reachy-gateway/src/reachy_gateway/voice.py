"""The port to what talks: Gemini, or a stand-in. A new voice is one new file that implements it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from reachy_link.messages import BodyOffer

HEARS_HZ = 16000
"""The rate of what a voice hears: PCM16, mono."""
HANG_UP_S: Final = 2.0
"""How long a voice may take to end once it is cancelled."""


@dataclass(frozen=True, slots=True)
class Audio:
    """A piece of the reply: PCM16 mono, of any length, faster than real time."""

    pcm: bytes
    rate_hz: int


@dataclass(frozen=True, slots=True)
class ReplyGenerated:
    """All audio of the reply has come; it may play for a long time yet."""


@dataclass(frozen=True, slots=True)
class TurnComplete:
    """The voice's turn is over, and it waits for the person."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The person spoke into the reply: what has not been heard of it must not be."""


@dataclass(frozen=True, slots=True)
class SpeechNoticed:
    """The voice's own VAD heard the person start to speak, and speech is to interrupt."""


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of transcript."""

    who: Literal["person", "robot"]
    text: str


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """How the voice's connection stands; a ``reason`` is for people, and says what to do."""

    state: Literal["live", "reconnecting", "refused"]
    reason: str = ""


CallOutcome = Literal["done", "error", "fault", "invalid", "unknown", "limit", "timeout", "cancelled", "lost"]
"""How a call of a tool ended. ``done``, ``error``: the tool's own word. ``fault``: it raised something else. ``invalid``: its
arguments were wrong. ``unknown``: the robot has no such tool. ``limit``: one call too many. ``timeout``: its deadline passed.
``cancelled``: nobody wants it any more. ``lost``: the connection was lost."""


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """A call of a tool has ended."""

    name: str
    """Of a tool that the gateway has, or ``unknown``."""
    outcome: CallOutcome
    seconds: float


VoiceEvent = Audio | ReplyGenerated | TurnComplete | Interrupted | SpeechNoticed | Said | ConnectionState | ToolEnded


@dataclass(frozen=True, slots=True)
class Vitals:
    """How a robot fares, as far as it is known."""

    connected_s: float
    rtt_ms: float | None = None
    """Of the link."""
    last_turn_ms: float | None = None
    """From the end of the person's speech to the first sample of the last answer."""
    person_deg: float | None = None
    """Where the person was heard last, to the robot's left."""


@dataclass(frozen=True, slots=True)
class Inherited:
    """What is remembered of a conversation that goes on here."""

    text: str
    """As a voice of another gateway gave it to be kept."""
    age_s: float
    """How long ago it was written."""
    held: Literal["released", "gone", "silent"] = "released"
    """How the gateway stands that had it: has hung up; is not there any more; does not answer, and may hold its connection."""


class ActError(Exception):
    """The robot's body does not do what it was asked for; the message says why, for the person."""


class RobotView(Protocol):
    """What a voice may ask of the robot that it speaks for, from the event loop."""

    @property
    def body(self) -> BodyOffer | None:
        """What its body can do; None without a body."""

    async def act(self, name: str, args: Mapping[str, str | float]) -> None:
        """Have its body do something, and wait until it has begun.

        Raises:
            ActError: If it does not.
        """

    def manner(self, manner: Mapping[str, bool]) -> None:
        """What its body does by itself from now on: ``breathing``, ``posture``, ``wobble``, ``turn``. It learns it in time."""

    def vitals(self) -> Vitals | None:
        """How it fares; None where nobody knows."""

    @property
    def inherited(self) -> Inherited | None:
        """What is remembered of the conversation; None if it begins. Known before the voice runs."""

    def keep(self, make: Callable[[], str]) -> None:
        """What is to be remembered has changed; it is asked for when it is written, if it is anywhere."""


class Unseen:
    """The view of a robot that is not there."""

    body: BodyOffer | None = None
    inherited: Inherited | None = None

    async def act(self, name: str, args: Mapping[str, str | float]) -> None:
        """Nothing moves."""
        raise ActError(f"there is no body that could {name} {args}")

    def manner(self, manner: Mapping[str, bool]) -> None:
        """Nothing moves."""

    def vitals(self) -> Vitals | None:
        """Nothing is known."""
        return None

    def keep(self, make: Callable[[], str]) -> None:
        """Nothing is kept."""


class Voice(Protocol):
    """One robot's conversation partner."""

    async def run(self, emit: Callable[[VoiceEvent], None]) -> None:
        """Talk until cancelled, reconnecting as needed; then end within HANG_UP_S. To end without that is a fault.

        :class:`ConnectionState` comes as soon as it is known: before that the robot is told no state. An answer is ``Audio``,
        any number of times, ``ReplyGenerated``, ``TurnComplete``; one that was cut is ``Interrupted``, then ``TurnComplete``.

        Events are handed over by a plain call, so that none waits in a queue; ``emit`` never blocks and never raises.
        """

    def hear(self, pcm: bytes, *, speaking: bool) -> None:
        """Take PCM16 mono at 16 kHz from the microphone; never blocks. Has a bounded buffer of its own.

        Args:
            pcm: The next samples.
            speaking: Whether the speech gate hears the person speak.
        """

    def say(self, text: str) -> str:
        """Speak of one's own accord: this, or what it means. Why not, if that cannot be; never blocks."""

    def activity(self, event: Literal["start", "end"]) -> None:
        """Manual VAD: the person's turn starts or ends here. A start that is to cut an answer is told by ``SpeechNoticed``."""
