"""The port to a voice: Gemini, or a stand-in. A new voice is one new file that implements it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from reachy_link.messages import BodyOffer

HEARS_HZ = 16000
"""The sample rate of the audio that a voice hears: PCM16, mono."""
HANG_UP_S: Final = 2.0
"""How long a voice may take to end after it is cancelled."""


@dataclass(frozen=True, slots=True)
class Audio:
    """A piece of the reply: PCM16 mono, of any length. It may come faster than real time."""

    pcm: bytes
    rate_hz: int


@dataclass(frozen=True, slots=True)
class ReplyGenerated:
    """All audio of the reply has come. It may play for a long time yet."""


@dataclass(frozen=True, slots=True)
class TurnComplete:
    """The voice's turn is over. The voice waits for the person."""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """The person's question was lost: no answer to it will come."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The person interrupted the reply. The part that has not been heard must not be heard."""


@dataclass(frozen=True, slots=True)
class SpeechNoticed:
    """The voice's own VAD heard the person begin to speak, and speech interrupts replies."""


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of transcript."""

    who: Literal["person", "robot"]
    text: str


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """The state of the voice's connection. The ``reason`` is for people, and says what to do."""

    state: Literal["live", "reconnecting", "refused"]
    reason: str = ""


CallOutcome = Literal["done", "error", "fault", "invalid", "unknown", "limit", "timeout", "cancelled", "lost"]
"""How a call of a tool ended. ``done``, ``error``: as the tool itself said. ``fault``: the tool raised another exception.
``invalid``: its arguments were wrong. ``unknown``: the robot has no such tool. ``limit``: one call too many. ``timeout``: its
deadline passed. ``cancelled``: nobody wants the result any more. ``lost``: the connection was lost."""


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """A call of a tool has ended."""

    name: str
    """The name of a tool that the gateway has, or ``unknown``."""
    outcome: CallOutcome
    seconds: float


VoiceEvent = (
    Audio | ReplyGenerated | TurnComplete | Unanswered | Interrupted | SpeechNoticed | Said | ConnectionState | ToolEnded
)


@dataclass(frozen=True, slots=True)
class Vitals:
    """How a robot fares, as far as known."""

    connected_s: float
    rtt_ms: float | None = None
    """The link's round-trip time."""
    last_turn_ms: float | None = None
    """From the end of the person's speech to the first sample of the last answer."""
    person_deg: float | None = None
    """Where the person was last heard, in degrees to the robot's left."""


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a fleet remembers of a conversation that goes on here."""

    text: str
    """The text that a voice at another gateway gave to ``keep``."""
    age_s: float
    """How long ago the text was written."""
    held: Literal["released", "gone", "silent"] = "released"
    """The gateway that had the conversation: it hung up; it is gone; or it does not answer, and may keep its connection."""


class ActError(Exception):
    """The robot's body does not do what it was asked for. The message says why, for the person."""


class RobotView(Protocol):
    """What a voice may ask about its robot, on the event loop."""

    @property
    def body(self) -> BodyOffer | None:
        """What the robot's body can do; None without a body."""

    async def act(self, name: str, args: Mapping[str, str | float]) -> None:
        """Have the robot's body do something, and wait until the body has begun.

        Raises:
            ActError: If the body does not do it.
        """

    def manner(self, manner: Mapping[str, bool]) -> None:
        """Set what the body does by itself: ``breathing``, ``posture``, ``wobble``, ``turn``. It is sent until it is heard."""

    def vitals(self) -> Vitals | None:
        """How the robot fares; None if nobody knows."""

    @property
    def inherited(self) -> Inherited | None:
        """What a fleet remembers of the conversation; None if the conversation begins. Known before the voice runs."""

    def keep(self, make: Callable[[], str]) -> None:
        """Note that the text to remember has changed. ``make`` is called when the text is written, if it is written at all."""


class Unseen:
    """The view of a robot that does not exist."""

    body: BodyOffer | None = None
    inherited: Inherited | None = None

    async def act(self, name: str, args: Mapping[str, str | float]) -> None:
        """Raise an error: there is no body."""
        raise ActError(f"there is no body that could {name} {args}")

    def manner(self, manner: Mapping[str, bool]) -> None:
        """Do nothing: there is no body."""

    def vitals(self) -> Vitals | None:
        """None: nothing is known."""
        return None

    def keep(self, make: Callable[[], str]) -> None:
        """Keep nothing."""


class Voice(Protocol):
    """One robot's conversation partner."""

    async def run(self, emit: Callable[[VoiceEvent], None]) -> None:
        """Talk until cancelled, reconnecting as needed. Then end within HANG_UP_S. To end without being cancelled is a fault.

        The voice sends :class:`ConnectionState` as soon as it is known; until then the robot is told no state. An answer is
        ``Audio`` any number of times, ``ReplyGenerated``, ``TurnComplete``. A cut answer ends in ``Interrupted``,
        ``TurnComplete``. Events are handed over by a plain call, so none waits in a queue. ``emit`` never blocks or raises.
        """

    def hear(self, pcm: bytes, *, speaking: bool) -> None:
        """Take PCM16 mono at 16 kHz from the microphone. Never blocks. A voice has a bounded buffer of its own for it.

        Args:
            pcm: The next samples.
            speaking: Whether the speech gate hears the person speak.
        """

    def say(self, text: str) -> str:
        """Say this text, or its meaning, without being asked. Returns why it cannot, or an empty text. Never blocks."""

    def activity(self, event: Literal["start", "end"]) -> None:
        """Manual VAD: the person's turn starts or ends here. If a start cuts an answer, the voice emits ``SpeechNoticed``."""
