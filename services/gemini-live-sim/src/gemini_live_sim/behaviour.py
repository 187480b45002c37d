"""How a connection behaves: its answers, their delivery, its limits and its faults."""

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from gemini_live_sim.actions import INTERNAL, Step

Mode: TypeAlias = Literal["answers", "echo", "tone"]
Babble: TypeAlias = Literal["none", "input", "resumption", "usage", "voice_activity"]
UsageShape: TypeAlias = Literal["full", "none", "total", "candidates", "negative", "huge"]


class Behaviour(BaseModel):
    """Frozen; change one with ``behaviour.model_copy(update={...})`` or make a new one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # What it says
    mode: Mode = "answers"
    """Recordings in turn, what was heard, or a chirp."""
    tone_ms: int = Field(default=2000, gt=0, le=600_000)
    silent: bool = False
    """Hear everything, answer nothing."""
    babble: Babble = "none"
    """After a question this keeps coming, beside the answer or without one: the input's transcription again, a handle (if the
    setup asks for them), token counts, voiceActivity."""
    babble_every_s: float = Field(default=5.0, gt=0)
    replies: int = Field(default=1, ge=1, le=10)
    """Into how many turns an answer is cut (extended thinking sends several)."""
    interaction_status: bool = False
    """Say IN_PROGRESS or IDLE with every turnComplete."""
    end_turns: Literal["always", "every_other", "never"] = "always"
    """Which answers have their turnComplete, with its bill; an answer without one is over all the same."""
    end_generation: bool = True
    """Or leave generationComplete out."""
    turn_reason: str = ""
    """Replace every answer by a turnComplete with this turnCompleteReason, such as RESPONSE_REJECTED."""
    mute: Literal["", "text", "faint"] = ""
    """Answer in text parts alone, or in audio whose samples are at most 2."""
    stray_interrupted_ms: float | None = Field(default=None, ge=0)
    """So long before an answer's audio, as far as ``thinking_ms`` lets it, ``interrupted`` comes: nothing was being said."""
    late_input: bool = False
    """Send the input's transcription after the first piece of the output's, not before."""
    split_emoji: bool = False
    """Cut an emoji in two wherever a transcription is cut: a piece ends in one half and the next begins with the other."""
    usage: UsageShape = "full"
    """Which counts a turnComplete has; those of ``huge`` are the largest that 32 bits hold."""
    usage_again_ms: float | None = Field(default=None, ge=0)
    """A turn's counts come once more, so much later, in a message of their own."""

    # How it hears
    vad_threshold_dbfs: float = Field(default=-45.0, ge=-90, le=0)
    voice_activity: bool = False
    """Send voiceActivity messages at the start and end of speech."""
    stream_end: bool | None = None
    """Whether ``audioStreamEnd`` ends an utterance; nothing: as the model has it."""
    unasked_transcripts: bool | None = None
    """Whether transcripts come although the setup did not ask; nothing: the input's, if the model does so."""

    # Its calls of tools
    calls_by_phrase: bool = True
    """Call a declared tool on a sentence of ``phrases``, and answer by its result."""
    speaks_of_results: bool = True
    """Or never say a word once a tool has answered."""
    mic_cancels_after_s: float | None = Field(default=None, gt=0)
    """A call for which the model waits is taken back after so long with a microphone, and called anew; nothing: as the model
    has it."""

    # How it is delivered
    answer_hz: int = Field(default=24_000, ge=8_000, le=48_000)
    """The rate of the audio, also in its MIME type."""
    mime: str = "audio/pcm;rate={hz}"
    """The MIME type of the audio, whatever it is; ``{hz}`` becomes the rate."""
    thinking_ms: float = Field(default=150.0, ge=0)
    """From the end of speech to the first audio."""
    chunk_ms: int = Field(default=40, ge=5, le=2_000)
    speed: float = Field(default=4.0, ge=0)
    """Times real time; 0 is all at once."""
    burst_ms: int = Field(default=0, ge=0)
    """Audio leaves in bursts of this much; 0 is message by message."""
    parts_per_message: int = Field(default=1, ge=1, le=50)
    odd_bytes: bool = False
    """Cut in the middle of samples: parts have an odd number of bytes."""
    empty_parts: bool = False
    """Put parts without data into every audio message."""
    thought_parts: bool = False
    """Put a text part marked as a thought before every audio part."""
    hold_turn_complete: bool = True
    """Keep turnComplete until the answer would have been heard."""
    leftover_ms: int = Field(default=0, ge=0)
    """How much of the old answer still comes after ``interrupted``."""
    settle_ms: float = Field(default=20.0, ge=0)
    """From ``interrupted`` to the turnComplete that follows it."""
    binary: bool = False
    """Send the JSON in binary messages."""
    unknown_fields: bool = False
    """Add names nobody knows to every message."""

    # Limits
    max_age_s: float | None = Field(default=600.0, gt=0)
    """How long a connection lives; nothing: for ever."""
    go_away_left_s: float | None = Field(default=50.0, ge=0)
    """How long before the end goAway announces it; nothing: never."""
    close_at_max_age: bool = True
    """Or goAway alone, and the connection stays."""
    session_limit_s: float | None = Field(default=900.0, gt=0)
    """How long a session lives over all its connections if it does not compress its context."""
    resumption_updates: bool = True
    """Hand out handles, if the setup asks for them."""
    poison_handles: bool = False
    """Every resume with a handle of this session fails."""
    refused_handle_code: int = 1008
    """How a connection with an unknown or old handle closes."""
    poisoned_handle_code: int = 1011
    poisoned_handle_reason: str = INTERNAL

    # Faults
    handshake_status: int | None = Field(default=None, ge=400, le=599)
    """Refuse the WebSocket handshake with this HTTP status."""
    handshake_delay_ms: float = Field(default=0.0, ge=0)
    setup_reply: bool = True
    """Or never answer the setup."""
    setup_delay_ms: float = Field(default=0.0, ge=0)
    pong_delay_ms: float = Field(default=0.0, ge=0)
    """How late pings are answered."""
    script: tuple[Step, ...] = ()
    """What goes wrong when."""
