"""How a connection behaves: its answers, their delivery, its limits and its faults."""

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from gemini_live_sim.actions import INTERNAL, Step

Mode: TypeAlias = Literal["answers", "echo", "tone"]
Babble: TypeAlias = Literal["none", "input", "resumption", "usage", "voice_activity"]
UsageShape: TypeAlias = Literal["full", "none", "total", "candidates", "negative", "huge"]


class Behaviour(BaseModel):
    """The behaviour of a connection. Frozen: change it with ``behaviour.model_copy(update={...})`` or make a new one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Its answers
    mode: Mode = "answers"
    """``answers``: recordings in turn; ``echo``: the person's own words; ``tone``: a chirp."""
    tone_ms: int = Field(default=2000, gt=0, le=600_000)
    silent: bool = False
    """Hear everything, answer nothing."""
    babble: Babble = "none"
    """A message that repeats after a question, with or without an answer: the input's transcription again, a handle (if the
    setup asks for handles), token counts, or voiceActivity."""
    babble_every_s: float = Field(default=5.0, gt=0)
    replies: int = Field(default=1, ge=1, le=10)
    """The number of turns into which an answer is cut (extended thinking sends several)."""
    interaction_status: bool = False
    """Send IN_PROGRESS or IDLE with every turnComplete."""
    end_turns: Literal["always", "every_other", "never"] = "always"
    """The answers that get a turnComplete with token counts. An answer without a turnComplete ends silently."""
    end_generation: bool = True
    """Whether generationComplete is sent."""
    turn_reason: str = ""
    """Replace every answer by a turnComplete with this turnCompleteReason, such as RESPONSE_REJECTED."""
    mute: Literal["", "text", "faint"] = ""
    """``text``: answer in text parts only; ``faint``: answer in audio with sample values of at most 2."""
    stray_interrupted_ms: float | None = Field(default=None, ge=0)
    """Send ``interrupted`` this long before an answer's audio, while nothing is said. ``thinking_ms`` limits the time."""
    late_input: bool = False
    """Send the input's transcription after the first piece of the output's, not before."""
    split_emoji: bool = False
    """Cut an emoji in two wherever a transcription is cut: a piece ends in one half and the next begins with the other."""
    usage: UsageShape = "full"
    """The token counts in a turnComplete. ``huge`` sends the largest numbers that 32 bits hold."""
    usage_again_ms: float | None = Field(default=None, ge=0)
    """Send a turn's token counts a second time, this much later, in a message of their own."""

    # Its hearing
    vad_threshold_dbfs: float = Field(default=-45.0, ge=-90, le=0)
    voice_activity: bool = False
    """Send voiceActivity messages at the start and end of speech."""
    stream_end: bool | None = None
    """Whether ``audioStreamEnd`` ends an utterance; None: as the model does."""
    unasked_transcripts: bool | None = None
    """Whether to send transcriptions that the setup did not ask for; None: only the input's, if the model does so."""

    # Its tool calls
    calls_by_phrase: bool = True
    """Call a declared tool when a sentence of ``phrases`` is said, and answer with the tool's result."""
    speaks_of_results: bool = True
    """Whether tool results are spoken."""
    mic_cancels_after_s: float | None = Field(default=None, gt=0)
    """Cancel a blocking call that is this old when microphone audio arrives, and call again; None: as the model does."""

    # The delivery of its answers
    answer_hz: int = Field(default=24_000, ge=8_000, le=48_000)
    """The sample rate of the audio, also named in its MIME type."""
    mime: str = "audio/pcm;rate={hz}"
    """The MIME type that is sent, which may be wrong; ``{hz}`` becomes the rate."""
    thinking_ms: float = Field(default=150.0, ge=0)
    """From the end of speech to the first audio."""
    chunk_ms: int = Field(default=40, ge=5, le=2_000)
    speed: float = Field(default=4.0, ge=0)
    """Speed of sending, as a multiple of real time; 0 sends everything at once."""
    burst_ms: int = Field(default=0, ge=0)
    """Send audio in bursts of this length; 0 sends message by message."""
    parts_per_message: int = Field(default=1, ge=1, le=50)
    odd_bytes: bool = False
    """Cut audio in the middle of samples: parts have an odd number of bytes."""
    empty_parts: bool = False
    """Put parts without data into every audio message."""
    thought_parts: bool = False
    """Put a text part marked as a thought before every audio part."""
    hold_turn_complete: bool = True
    """Hold turnComplete back until the answer would have been heard in real time."""
    leftover_ms: int = Field(default=0, ge=0)
    """The audio of the old answer that is still sent after ``interrupted``."""
    settle_ms: float = Field(default=20.0, ge=0)
    """From ``interrupted`` to the turnComplete that follows it."""
    binary: bool = False
    """Send the JSON in binary messages."""
    unknown_fields: bool = False
    """Add unknown fields to every message."""

    # Limits
    max_age_s: float | None = Field(default=600.0, gt=0)
    """How long a connection lives; None: for ever."""
    go_away_left_s: float | None = Field(default=50.0, ge=0)
    """How long before the end goAway announces the end; None: never."""
    close_at_max_age: bool = True
    """Whether the connection is closed at its end. If not, only goAway is sent."""
    session_limit_s: float | None = Field(default=900.0, gt=0)
    """How long a session lives over all its connections if it does not compress its context."""
    resumption_updates: bool = True
    """Hand out handles, if the setup asks for them."""
    poison_handles: bool = False
    """Make every resume with a handle of this session fail."""
    refused_handle_code: int = 1008
    """The code with which a connection with an unknown or old handle is closed."""
    poisoned_handle_code: int = 1011
    poisoned_handle_reason: str = INTERNAL

    # Faults
    handshake_status: int | None = Field(default=None, ge=400, le=599)
    """Refuse the WebSocket handshake with this HTTP status."""
    handshake_delay_ms: float = Field(default=0.0, ge=0)
    setup_reply: bool = True
    """Whether the setup is answered."""
    setup_delay_ms: float = Field(default=0.0, ge=0)
    pong_delay_ms: float = Field(default=0.0, ge=0)
    """The delay of answers to pings."""
    script: tuple[Step, ...] = ()
    """Scripted faults and other actions, each with its trigger."""
