"""The setup message's fields, checked and with defaults."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel, to_snake

from gemini_live_sim.wire import Json, WireError


class _Part(BaseModel):
    """A part of the setup. Names arrive in camelCase. Unknown names are ignored: the API has more than a stand-in needs."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


class _Voice(_Part):
    voice_name: str = ""


class _VoiceConfig(_Part):
    prebuilt_voice_config: _Voice = _Voice()


class _SpeechConfig(_Part):
    voice_config: _VoiceConfig = _VoiceConfig()
    language_code: str = ""


class _Thinking(_Part):
    thinking_level: str = ""


class _GenerationConfig(_Part):
    response_modalities: tuple[str, ...] = ("AUDIO",)
    speech_config: _SpeechConfig = _SpeechConfig()
    thinking_config: _Thinking = _Thinking()
    enable_affective_dialog: bool | None = None


class Vad(_Part):
    """The settings of automatic speech detection."""

    disabled: bool = False
    start_of_speech_sensitivity: str = "START_SENSITIVITY_HIGH"
    prefix_padding_ms: int = Field(default=100, ge=0, le=10_000)
    """Speech counts after this much sound. This much audio before the speech belongs to the utterance."""
    silence_duration_ms: int = Field(default=500, ge=0, le=60_000)
    """Speech ends after this much silence."""


class _RealtimeInput(_Part):
    automatic_activity_detection: Vad = Vad()
    activity_handling: Literal["ACTIVITY_HANDLING_UNSPECIFIED", "START_OF_ACTIVITY_INTERRUPTS", "NO_INTERRUPTION"] = (
        "START_OF_ACTIVITY_INTERRUPTS"
    )
    turn_coverage: str = "TURN_COVERAGE_UNSPECIFIED"


class _Resumption(_Part):
    handle: str | None = None


class _SlidingWindow(_Part):
    target_tokens: int | None = None


class Compression(_Part):
    """The size at which the context is shortened, and its size afterwards."""

    trigger_tokens: int = 104_857
    sliding_window: _SlidingWindow = _SlidingWindow()

    @property
    def target_tokens(self) -> int:
        """The size after shortening: half the trigger unless the client says otherwise."""
        return self.sliding_window.target_tokens or self.trigger_tokens // 2


class _TextPart(_Part):
    text: str = ""


class _Instruction(_Part):
    parts: tuple[_TextPart, ...] = ()


class SessionSetup(_Part):
    """The setup message. Unknown names at its top level are refused, as Google does."""

    model_config = ConfigDict(extra="forbid")

    model: str
    generation_config: _GenerationConfig = _GenerationConfig()
    system_instruction: _Instruction | None = None
    realtime_input_config: _RealtimeInput = _RealtimeInput()
    session_resumption: _Resumption | None = None
    context_window_compression: Compression | None = None
    input_audio_transcription: Json | None = None
    output_audio_transcription: Json | None = None
    tools: list[Any] = []
    proactivity: Json | None = None
    history_config: Json | None = None
    avatar_config: Json | None = None
    safety_settings: list[Any] = []
    labels: Json | None = None

    @property
    def voice(self) -> str:
        """The name of the voice, or an empty text."""
        return self.generation_config.speech_config.voice_config.prebuilt_voice_config.voice_name

    @property
    def instruction(self) -> str:
        """The system instruction as text."""
        return "".join(part.text for part in self.system_instruction.parts) if self.system_instruction else ""

    @property
    def vad(self) -> Vad:
        """The settings of automatic speech detection."""
        return self.realtime_input_config.automatic_activity_detection

    @property
    def interrupts(self) -> bool:
        """Whether speech cuts an answer short."""
        return self.realtime_input_config.activity_handling != "NO_INTERRUPTION"

    @property
    def bills_silence(self) -> bool:
        """Whether audio without speech counts as input."""
        return self.realtime_input_config.turn_coverage == "TURN_INCLUDES_ALL_INPUT"


def read_setup(fields: Json) -> SessionSetup:
    """Check a setup object.

    Raises:
        WireError: If the setup is wrong; the reason names the first fault in Google's words.
    """
    try:
        return SessionSetup.model_validate(fields)
    except ValidationError as error:
        raise WireError(_in_words(error)) from None


def _in_words(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    *path, name = [to_snake(str(step)) for step in first["loc"]] or ["setup"]  # a name of invalid Unicode has no location
    where = ".".join(["setup", *path])
    if first["type"] == "extra_forbidden":
        return f"Invalid JSON payload received. Unknown name \"{name[:40]}\" at '{where}': Cannot find field."
    return f"Invalid value at '{where}.{name}': {first['msg']}."
