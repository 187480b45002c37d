"""What a session wants done: messages to send, notes to log, and the faults the rim has to play."""

from dataclasses import dataclass
from typing import TypeAlias

from gemini_live_sim.actions import Abort, Close, ResumeIo, Stall
from gemini_live_sim.wire import Json


@dataclass(frozen=True, slots=True)
class AudioOut:
    """What an audio message carries."""

    turn: int
    first: bool
    """The first of its turn."""
    pcm: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """A message: an object goes out as JSON, text and bytes as they are."""

    message: Json | str | bytes
    audio: AudioOut | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """Something happened; ``text`` says it to people."""

    name: str
    text: str
    turn: int = 0


Output: TypeAlias = Send | Note | Close | Abort | Stall | ResumeIo
