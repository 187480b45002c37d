"""Actions on a session, from a script or at run time. Plain data, so that a TOML file can hold them."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

QUOTA = "You exceeded your current quota, please check your plan and billing details."
BAD_KEY = "API key not valid. Please pass a valid API key."
DEADLINE = "Deadline expired before operation could complete."
CREDITS = "Your prepayment credits are depleted. Please go to AI Studio to manage your project and billing."
LOCATION = "User location is not supported for the API use."
INTERNAL = "Internal error encountered."


class _Action(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GoAway(_Action):
    """Announce the end of the connection. The connection stays open."""

    do: Literal["go_away"] = "go_away"
    time_left_s: float = 50.0


class Close(_Action):
    """Close with a code and a reason. At most 123 bytes of the reason are sent."""

    do: Literal["close"] = "close"
    code: int = 1011
    reason: str = INTERNAL


class Abort(_Action):
    """Drop the TCP connection without a close message."""

    do: Literal["abort"] = "abort"


class Stall(_Action):
    """Leave the socket open but stop reading it, writing to it, or both."""

    do: Literal["stall"] = "stall"
    reading: bool = True
    sending: bool = True
    for_s: float | None = None
    """End the stall after this long; None: it does not end by itself."""


class ResumeIo(_Action):
    """End a stall."""

    do: Literal["resume_io"] = "resume_io"


class SendRaw(_Action):
    """Send any message: an object as JSON, text and bytes unchanged."""

    do: Literal["send_raw"] = "send_raw"
    message: dict[str, Any] | str | bytes


class SendBig(_Action):
    """Send a message of at least this size: a text part that the client may ignore."""

    do: Literal["send_big"] = "send_big"
    n_bytes: int = 1_100_000


class SendError(_Action):
    """Send an ``{"error": ...}`` message and keep the connection."""

    do: Literal["send_error"] = "send_error"
    code: int = 500
    message: str = INTERNAL
    status: str = "INTERNAL"


class Interrupt(_Action):
    """Cut the answer short, as if speech had been heard."""

    do: Literal["interrupt"] = "interrupt"


class Say(_Action):
    """Answer without a question: with a tone of this length, or with this PCM16 at 24 kHz."""

    do: Literal["say"] = "say"
    n_ms: int = 2000
    pcm: bytes | None = None


class Silent(_Action):
    """From now on hear everything and answer nothing (``on``), or answer again."""

    do: Literal["silent"] = "silent"
    on: bool = True


class ToolCall(_Action):
    """Call a tool. Answers wait for the response if the function is blocking."""

    do: Literal["tool_call"] = "tool_call"
    name: str = "look_around"
    args: dict[str, Any] = {}


class WantedCall(_Action):
    """One call of :class:`CallTools`."""

    name: str
    args: dict[str, Any] = {}
    id: str | None = None
    """None: the simulator makes an id; empty: the call has no id."""


class CallTools(_Action):
    """Call several tools in one message."""

    do: Literal["call_tools"] = "call_tools"
    calls: tuple[WantedCall, ...]


class CancelTools(_Action):
    """Cancel the tool calls that have no response yet."""

    do: Literal["cancel_tools"] = "cancel_tools"


Action: TypeAlias = Annotated[
    GoAway
    | Close
    | Abort
    | Stall
    | ResumeIo
    | SendRaw
    | SendBig
    | SendError
    | Interrupt
    | Say
    | Silent
    | ToolCall
    | CallTools
    | CancelTools,
    Field(discriminator="do"),
]

Trigger: TypeAlias = Literal[
    "open", "setup", "ready", "audio_in", "speech_start", "speech_end", "audio_out", "interrupted", "turn_complete"
]


class Step(_Action):
    """One step of a script: when the event ``on`` happens for the ``count``-th time (0: every time), do ``action``.

    ``open`` is the accepted handshake, ``setup`` the setup message before its reply, ``ready`` the reply. ``audio_in``
    and ``audio_out`` count messages. ``after_s`` delays the action; ``every_s`` repeats it from then on.
    """

    on: Trigger = "ready"
    count: int = Field(default=1, ge=0)
    after_s: float = Field(default=0.0, ge=0)
    every_s: float | None = Field(default=None, gt=0)
    action: Action
