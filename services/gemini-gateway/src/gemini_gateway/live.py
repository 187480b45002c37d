"""Gemini Live through google-genai: the one module that knows the SDK. What it raises and sends becomes our own words."""

import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import websockets.exceptions
from google import genai
from google.genai import errors, types
from pydantic import SecretStr

from reachy_gateway.voice import (
    HEARS_HZ,
    Audio,
    Interrupted,
    ReplyGenerated,
    Said,
    SpeechNoticed,
    TurnComplete,
    VoiceEvent,
)

API_VERSION: Final = "v1beta"
"""google-genai 3 asks for v1 by default; every page on Live shows v1beta."""
MESSAGE_MAX_BYTES: Final = 4 * 2**20
AUDIO_TYPE: Final = f"audio/pcm;rate={HEARS_HZ}"
DEFAULT_REPLY_HZ: Final = 24000


@dataclass(frozen=True)
class Endpoint:
    """Which server speaks the Live wire, and what it is trusted by.

    Args:
        name: For people: "Google", "the simulator", or the address.
        base_url: None is the SDK's own, Google's.
        root: A certificate to trust beside the system's.
    """

    name: str
    key: SecretStr = field(repr=False)
    base_url: str | None = None
    root: Path | None = None


@dataclass(frozen=True, slots=True)
class GoAway:
    """The server will close the connection."""

    time_left_s: float


@dataclass(frozen=True, slots=True)
class Resumable:
    """The newest handle to resume the session with; None while it cannot be resumed."""

    handle: str | None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model wants functions called."""

    calls: tuple[tuple[str, str], ...]
    """``(id, name)`` of each."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message that the SDK cannot read; the connection goes on."""

    detail: str


ServerEvent = VoiceEvent | GoAway | Resumable | ToolCall | Unknown | types.UsageMetadata


class LiveError(Exception):
    """A connection that could not be made, or was lost.

    Args:
        kind: ``refused`` is what trying again cannot mend, ``quota`` what only time can, ``lost`` everything else.
        words: What happened and what to do.
    """

    def __init__(self, kind: Literal["lost", "quota", "refused"], words: str) -> None:
        super().__init__(words)
        self.kind = kind
        self.words = words


class Connection:
    """An open session."""

    def __init__(self, session: Any) -> None:
        self._session = session

    async def send_audio(self, pcm: bytes) -> None:
        """Send PCM16 mono at 16 kHz.

        Raises:
            LiveError: If the connection is lost.
        """
        await self._send(audio=types.Blob(data=pcm, mime_type=AUDIO_TYPE))

    async def send_activity(self, event: Literal["start", "end"]) -> None:
        """Manual VAD: the person's turn starts or ends here.

        Raises:
            LiveError: If the connection is lost.
        """
        if event == "start":
            await self._send(activity_start=types.ActivityStart())
        else:
            await self._send(activity_end=types.ActivityEnd())

    async def receive(self) -> AsyncIterator[ServerEvent]:
        """What the server sends, until the connection ends; the SDK's own loop ends with every turn.

        Raises:
            LiveError: When the connection is lost, or closed by us.
        """
        while True:
            try:
                async for message in self._session.receive():
                    for event in translated(message):
                        yield event
            except errors.APIError as error:
                raise explained(error) from error
            except (TypeError, ValueError) as error:
                # The SDK raises these on a message of unknown shape or an {"error": ...}, with the connection intact.
                yield Unknown(f"{type(error).__name__}: {error}"[:300])

    async def close(self) -> None:
        """Hang up."""
        await self._session.close()

    async def _send(self, **what: Any) -> None:
        try:
            await self._session.send_realtime_input(**what)
        except (websockets.exceptions.WebSocketException, OSError, errors.APIError) as error:
            raise explained(error) from error


class Live:
    """Dials one endpoint. One for the whole process: making a client costs 90 ms."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._trust = ssl.create_default_context()
        self._load_root()
        self._client = genai.Client(
            vertexai=False,
            api_key=endpoint.key.get_secret_value(),
            http_options=types.HttpOptions(
                base_url=endpoint.base_url,
                api_version=API_VERSION,
                async_client_args={
                    "ssl": self._trust,
                    "open_timeout": 5,
                    "close_timeout": 1,  # the default of 10 s is how long a dead peer would hold us
                    "ping_interval": 20,
                    "ping_timeout": 60,  # Gemini's pongs have been seen 8 to 30 s late
                    "max_size": MESSAGE_MAX_BYTES,
                    "max_queue": 64,
                    "compression": None,
                },
            ),
        )

    @asynccontextmanager
    async def connect(self, model: str, config: types.LiveConnectConfig) -> AsyncIterator[Connection]:
        """An open session; closed with the block.

        Raises:
            LiveError: If it cannot be opened; also whatever the block raises.
        """
        connecting = self._client.aio.live.connect(model=model, config=config)
        try:
            session = await connecting.__aenter__()
        except ssl.SSLCertVerificationError as error:
            self._load_root()  # a simulator that was started anew has made itself a new certificate
            raise LiveError("lost", f"{self._endpoint.name} is not trusted: {error.verify_message}") from error
        except (websockets.exceptions.WebSocketException, OSError, errors.APIError, ValueError) as error:
            raise explained(error) from error
        try:
            yield Connection(session)
        finally:
            await connecting.__aexit__(None, None, None)

    def _load_root(self) -> None:
        if self._endpoint.root and self._endpoint.root.exists():
            self._trust.load_verify_locations(self._endpoint.root)


def translated(message: types.LiveServerMessage) -> Iterator[ServerEvent]:
    """A message of the server as events: an interruption first, the turn's end last, every part in between."""
    content = message.server_content
    if content and content.interrupted:
        yield Interrupted()
    if message.voice_activity and message.voice_activity.voice_activity_type == types.VoiceActivityType.ACTIVITY_START:
        yield SpeechNoticed()
    if content:
        yield from _audio(content)
        for who, said in (("person", content.input_transcription), ("robot", content.output_transcription)):
            if said and said.text:
                yield Said("person" if who == "person" else "robot", said.text)
        if content.generation_complete:
            yield ReplyGenerated()
        if content.turn_complete:
            yield TurnComplete()
    if message.usage_metadata:
        yield message.usage_metadata
    if message.tool_call:
        yield ToolCall(tuple((call.id or "", call.name or "") for call in message.tool_call.function_calls or ()))
    if update := message.session_resumption_update:
        yield Resumable(update.new_handle if update.resumable else None)
    if message.go_away:
        yield GoAway(seconds(message.go_away.time_left))


def _audio(content: types.LiveServerContent) -> Iterator[Audio]:
    turn = content.model_turn
    for part in (turn.parts if turn else None) or ():
        blob = part.inline_data
        if blob and blob.data and (blob.mime_type or "").startswith("audio/pcm"):
            rate = re.search(r"rate=(\d+)", blob.mime_type or "")
            yield Audio(blob.data, int(rate[1]) if rate else DEFAULT_REPLY_HZ)


def seconds(text: str | None) -> float:
    """A duration as Google writes it, ``"50s"`` or ``"0.5s"``; 0 for what is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)s", text or "")
    return float(found[1]) if found else 0.0


REFUSALS: Final = (
    (r"api key|api_key|unauthenticated|HTTP 401", "Gemini refused the API key: check GEMINI_API_KEY"),
    (r"permission|HTTP 403", "this API key may not use Gemini Live: check the key's project and restrictions"),
    (r"not found|not supported|unsupported|HTTP 404", "Gemini does not know the model, or not for Live: check GEMINI_MODEL"),
    (r"invalid argument|HTTP 400", "Gemini refused the session's setup"),
)
QUOTAS: Final = r"quota|rate limit|resource.?exhausted|HTTP 429"


def explained(error: Exception) -> LiveError:
    """What the SDK or the socket raised, in words, and whether trying again can help."""
    if isinstance(error, errors.APIError):
        text = f"{error.code} {error.details}"
    elif isinstance(error, websockets.exceptions.ConnectionClosed):
        close = error.rcvd or error.sent
        text = f"{close.code} {close.reason}" if close else "connection lost"
    else:
        text = f"{type(error).__name__}: {error}"
    text = " ".join(text.split())[:300]
    if re.search(QUOTAS, text, re.IGNORECASE):
        return LiveError("quota", f"Gemini's quota or rate limit is reached ({text})")
    for pattern, words in REFUSALS:
        if re.search(pattern, text, re.IGNORECASE):
            return LiveError("refused", f"{words} ({text})")
    return LiveError("lost", text)
