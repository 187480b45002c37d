"""Gemini Live through google-genai: the one module that knows the SDK. What it raises and sends becomes our own words."""

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import websockets.exceptions
from google import genai
from google.genai import errors, types
from pydantic import SecretStr, ValidationError
from websockets.asyncio.client import ClientConnection
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response

from gemini_gateway import models, refusals
from gemini_gateway.events import Alive, GoAway, LiveError, Reason, Resumable, ServerEvent, ToolCall, Unheard, Unknown, Working
from gemini_gateway.personas import Persona
from gemini_gateway.pieces import Pieces, clean
from gemini_gateway.shortcut import REPLY_HZ, Shortcut, reply_hz
from reachy_gateway.provider.usage import Modality, Tokens
from reachy_gateway.voice import HANG_UP_S, HEARS_HZ, Audio, Interrupted, ReplyGenerated, Said, SpeechNoticed, TurnComplete
from reachy_link.keys import Stamp, stamp
from reachy_service.logs import redacted

MESSAGE_MAX_BYTES: Final = 4 * 2**20
MESSAGES_AHEAD: Final = 256
"""That may have come and wait to be handled, each of ``MESSAGE_MAX_BYTES`` at most; beyond it reading pauses. As Gemini sends
speech it is 10 s: an interruption is found behind it."""
PING_S: Final = 20.0
PONG_S: Final = 60.0
"""Gemini's pongs have been seen 8 to 30 s late."""
AUDIO_TYPE: Final = f"audio/pcm;rate={HEARS_HZ}"
STRANGE: Final = (TypeError, ValueError, AttributeError, LookupError, RecursionError)
"""What the SDK raises on a message of unknown shape, with the connection intact."""

MODELS_IN_USE: Final = (
    *(types.LiveConnectParameters, types.LiveConnectConfig, types.SpeechConfig, types.VoiceConfig, types.PrebuiltVoiceConfig),
    *(types.ThinkingConfig, types.ProactivityConfig, types.AudioTranscriptionConfig, types.RealtimeInputConfig),
    *(types.AutomaticActivityDetection, types.SessionResumptionConfig, types.HistoryConfig, types.SlidingWindow),
    *(types.ContextWindowCompressionConfig, types.Part, types.Content, types.UserContent, types.LiveClientContent),
    *(types.LiveSendRealtimeInputParameters, types.ActivityStart, types.ActivityEnd, types.Blob, types.FunctionResponse),
    *(types.LiveClientToolResponse, types.LiveServerMessage, types.LiveServerSetupComplete, types.LiveServerContent),
    *(types.Transcription, types.UsageMetadata, types.ModalityTokenCount, types.LiveServerSessionResumptionUpdate),
)
"""What a conversation makes of the SDK's. It compiles each when it is first made, and all robots wait meanwhile: 70 to 170 ms
at the first dial after a start."""

REDIRECTS: Final = range(300, 400)
INTERRUPTED: Final = b'"interrupted"'
MESSAGE_BEGINS: Final = (Opcode.TEXT, Opcode.BINARY)

_TAKEN: Final[ContextVar[Callable[[], None]]] = ContextVar("taken")
"""What the task that dials is to be told when the server takes its socket; the SDK tells nobody."""


class _Socket(ClientConnection):
    interruptions = 0
    """Messages that have come, and were not read, which say that a reply was interrupted."""
    on_interruption: Callable[[], None] | None = None

    async def handshake(self, *args: Any, **kwargs: Any) -> None:
        try:
            await super().handshake(*args, **kwargs)
        except websockets.exceptions.InvalidStatus as error:
            status = error.response.status_code
            if status in REDIRECTS:  # websockets would follow, and take the API key along
                raise refusals.of_status(status, "") from error
            raise
        _TAKEN.get()()

    def process_event(self, event: Request | Response | Frame) -> None:
        if isinstance(event, Frame) and event.opcode in MESSAGE_BEGINS and event.fin and interrupts(event.data):
            self.interruptions += 1
            if self.on_interruption:
                self.on_interruption()
        super().process_event(event)

    async def recv(self, decode: bool | None = None) -> Any:  # noqa: FBT001 - as the class above has it
        message = await super().recv(decode)
        if self.interruptions and interrupts(message if isinstance(message, bytes) else message.encode()):
            self.interruptions -= 1
        return message


def interrupts(raw: bytes | bytearray | memoryview) -> bool:
    """Whether a message says that the reply was interrupted; cheap for one that does not."""
    if INTERRUPTED not in (raw := bytes(raw)):
        return False
    try:
        return json.loads(raw)["serverContent"]["interrupted"] is True
    except STRANGE:
        return False


@dataclass(frozen=True)
class Endpoint:
    """Which server speaks the Live wire, and what it is trusted by.

    Args:
        name: For people: "Google", "the simulator", or the address.
        base_url: None is the SDK's own, Google's.
        root: A certificate to trust beside the system's.
        key_file: Where the key came from, if it was a file.
        proxy: The URL of the proxy that it is reached by, if any; with its password.
    """

    name: str
    key: SecretStr = field(repr=False)
    base_url: str | None = None
    root: Path | None = None
    key_file: Path | None = None
    proxy: str | None = field(default=None, repr=False)


class Connection:
    """An open session.

    Args:
        session: The SDK's.
        shortcut: Whether audio goes past the SDK's layers; it does not if the SDK's socket is not where it was.
    """

    def __init__(self, session: Any, *, shortcut: bool = False) -> None:
        self._session = session
        self._socket = getattr(session, "_ws", None)
        self._pieces = Pieces()
        self._shortcut: Shortcut | None = None
        if shortcut and all(callable(getattr(getattr(session, "_ws", None), name, None)) for name in ("send", "recv")):
            self._shortcut = session._ws = Shortcut(session._ws)  # noqa: SLF001 - the SDK has no public way

    @property
    def interrupted(self) -> bool:
        """Whether an interruption has come, and waits behind what came before it."""
        return isinstance(self._socket, _Socket) and self._socket.interruptions > 0

    def watch(self, on_interruption: Callable[[], None] | None) -> None:
        """Tell of an interruption when it comes, before :meth:`receive` gets to it; None tells no more."""
        if isinstance(self._socket, _Socket):
            self._socket.on_interruption = on_interruption

    async def send_audio(self, pcm: bytes) -> None:
        """Send PCM16 mono at 16 kHz.

        Raises:
            LiveError: If the connection is lost.
        """
        if self._shortcut:
            with _told():
                await self._shortcut.send_audio(pcm)
        else:
            await self._send(audio=types.Blob(data=pcm, mime_type=AUDIO_TYPE))

    def offer_audio(self, pcm: bytes) -> bool:
        """Send it without waiting, which is cheaper; false if it has to be sent by :meth:`send_audio`."""
        return self._shortcut is not None and self._shortcut.offer_audio(pcm)

    async def send_activity(self, event: Literal["start", "end"]) -> None:
        """Manual VAD: the person's turn starts or ends here.

        Raises:
            LiveError: If the connection is lost.
        """
        if event == "start":
            await self._send(activity_start=types.ActivityStart())
        else:
            await self._send(activity_end=types.ActivityEnd())

    async def send_stream_end(self) -> None:
        """Tell that the microphone has paused.

        Raises:
            LiveError: If the connection is lost.
        """
        await self._send(audio_stream_end=True)

    async def decline(self, calls: Sequence[tuple[str, str]]) -> None:
        """Answer tool calls that nobody serves, so that the model does not wait for them.

        Raises:
            LiveError: If the connection is lost.
        """
        answer = {"error": "unsupported: this robot has no such tool"}
        responses = [types.FunctionResponse(id=call, name=name, response=answer) for call, name in calls]
        with _told():
            await self._session.send_tool_response(function_responses=responses)

    async def remind(self, said: Sequence[tuple[Literal["person", "robot"], str]]) -> None:
        """Tell a new session, one that was opened as ``seeded``, what was said in one that could not be resumed.

        Raises:
            LiveError: If the connection is lost.
        """
        roles = {"person": "user", "robot": "model"}
        turns = [types.Content(role=roles[who], parts=[types.Part(text=text)]) for who, text in said]
        with _told():
            await self._session.send_client_content(turns=turns, turn_complete=True)  # of the history, not a question

    async def receive(self) -> AsyncIterator[ServerEvent]:
        """What the server sends, until the connection ends; the SDK's own loop ends with every turn.

        Raises:
            LiveError: When the connection is lost, or closed by us.
        """
        while True:
            while self._shortcut and (pieces := await self._audio(self._shortcut)):
                for piece in pieces:
                    yield piece
            try:
                async with aclosing(self._session.receive()) as messages:
                    async for message in messages:
                        event: ServerEvent | None = None
                        for event in translated(message, self._pieces):
                            yield event
                        if event is None:
                            yield Alive()
                        if self._shortcut:
                            break
            except errors.APIError as error:
                if isinstance(error.details, str):  # a close's reason; a message of the same name comes as an object
                    raise explained(error, opened=True) from error
                yield Unknown(unquoted(error))
            except STRANGE as error:
                yield Unknown(unquoted(error))

    @staticmethod
    async def _audio(shortcut: Shortcut) -> list[Audio]:
        try:
            return await shortcut.audio()
        except websockets.exceptions.ConnectionClosed:
            return []  # the SDK finds the same, and says why

    async def _send(self, **what: Any) -> None:
        with _told():
            await self._session.send_realtime_input(**what)


@contextmanager
def _told() -> Iterator[None]:
    """Whatever a send raises, in our own words: the SDK passes on the socket's exceptions."""
    try:
        yield
    except (websockets.exceptions.WebSocketException, OSError, errors.APIError) as error:
        raise explained(error, opened=True) from error


class Live:
    """Dials one endpoint. One for the whole process: making a client costs 90 ms.

    Args:
        endpoint: Where to.
        shortcut: Whether audio goes past the SDK's layers.
    """

    def __init__(self, endpoint: Endpoint, *, shortcut: bool = True) -> None:
        self._shortcut = shortcut
        self._root: tuple[Path | None, str] = None, ""
        """The newest root certificate that could be read, and where."""
        for model in MODELS_IN_USE:
            model.model_rebuild()
        self.retarget(endpoint)

    def retarget(self, endpoint: Endpoint) -> None:
        """Dial this endpoint from now on; what is open stays.

        Raises:
            OSError, ValueError: If the SDK cannot; then nothing has changed.
        """
        trust = ssl.create_default_context()  # a new one: what was trusted for the last endpoint is trusted no more
        client = genai.Client(
            vertexai=False,
            api_key=endpoint.key.get_secret_value(),
            http_options=types.HttpOptions(
                base_url=endpoint.base_url,
                api_version=models.API_VERSION,
                client_args={"trust_env": False},  # else a proxy that httpx cannot use ends the program; it has nothing to do
                async_client_args={
                    "trust_env": False,
                    "proxy": endpoint.proxy,
                    "ssl": trust,
                    "open_timeout": 5,
                    "close_timeout": 1,  # the default of 10 s is how long a dead peer would hold us
                    "ping_interval": PING_S,
                    "ping_timeout": PONG_S,
                    "max_size": MESSAGE_MAX_BYTES,
                    "max_queue": MESSAGES_AHEAD,
                    "compression": None,
                    "create_connection": _Socket,
                },
            ),
        )
        self._client, self._endpoint, self._trust = client, endpoint, trust
        self._root_trouble = self._load_root()

    @asynccontextmanager
    async def connect(
        self, persona: Persona, handle: str | None = None, *, seeded: bool = False, taken: Callable[[], None] = lambda: None
    ) -> AsyncIterator[Connection]:
        """An open session, resumed by the handle if there is one; closed with the block.

        Args:
            persona: How the robot talks.
            handle: Of the session to resume.
            seeded: Whether :meth:`Connection.remind` comes first; the server waits for it.
            taken: Called when there is a socket, before the server has answered the setup.

        Raises:
            LiveError: If it cannot be opened; also whatever the block raises.
        """
        _TAKEN.set(taken)
        connecting = self._client.aio.live.connect(model=persona.model, config=config_of(persona, handle, seeded=seeded))
        try:
            session = await connecting.__aenter__()
        except ssl.SSLCertVerificationError as error:
            if self._root_stamp() != self._root_seen:  # a simulator that was started anew has made itself a new certificate
                self.retarget(self._endpoint)
            words = f"{self._endpoint.name} is not trusted: {error.verify_message}{self._root_trouble}"
            raise LiveError("unreachable", words) from error
        except (websockets.exceptions.WebSocketException, OSError, errors.APIError) as error:
            raise explained(error, opened=False) from error  # OSError holds a dial's own timeout, too
        except STRANGE as error:
            raise LiveError("declined", f"google-genai does not take the setup, or its answer: {unquoted(error)}") from error
        try:
            yield Connection(session, shortcut=self._shortcut)
        finally:
            try:
                async with asyncio.timeout(HANG_UP_S):  # close_timeout begins when the peer has taken what was sent before
                    await connecting.__aexit__(None, None, None)
            except TimeoutError:
                pass
            finally:
                session._ws.transport.abort()  # noqa: SLF001 - nothing to one that is closed; the SDK has no public way

    def _root_stamp(self) -> Stamp | None:
        return stamp(self._endpoint.root) if self._endpoint.root else None

    def _load_root(self) -> str:
        """Trust the endpoint's root certificate, too: as it was read last where the file is half written, or gone.

        Returns:
            "", or a clause for the log if the file cannot be read; it is read again once it changes.
        """
        root, self._root_seen, trouble = self._endpoint.root, self._root_stamp(), ""
        if self._root[0] != root:
            self._root = root, ""
        try:
            if root and root.exists():
                text = root.read_text(encoding="ascii")
                ssl.create_default_context().load_verify_locations(cadata=text)
                self._root = root, text
        except (OSError, ValueError) as error:
            trouble = f"; {root} cannot be read ({error})"
        if self._root[1]:
            self._trust.load_verify_locations(cadata=self._root[1])
        return trouble


def translated(message: types.LiveServerMessage, pieces: Pieces) -> Iterator[ServerEvent]:
    """A message of the server as events: an interruption first, then every part, then usage, the turn's end last.

    Args:
        message: As the SDK has parsed it.
        pieces: Joins the transcripts of one connection.
    """
    content = message.server_content
    if content and content.interrupted:
        yield Interrupted()
    if message.voice_activity and message.voice_activity.voice_activity_type == types.VoiceActivityType.ACTIVITY_START:
        yield SpeechNoticed()
    if content:
        yield from _parts(content)
        yield from _words(content, pieces)
    if message.usage_metadata:
        yield tokens_of(message.usage_metadata)
    if content:
        if content.generation_complete:
            yield ReplyGenerated()
        if content.turn_complete:
            yield from _reasons(content)
            yield TurnComplete()
        if content.interaction_status in WORKING:
            yield Working(WORKING[content.interaction_status])
    if message.tool_call:
        yield from _calls(message.tool_call.function_calls or [])
    if update := message.session_resumption_update:
        yield Resumable(update.new_handle if update.resumable else None)
    if message.go_away:
        yield GoAway(seconds(message.go_away.time_left))


NO_REASON: Final = (None, types.TurnCompleteReason.TURN_COMPLETE_REASON_UNSPECIFIED)
WORKING: Final = {
    types.InteractionStatus.IN_PROGRESS: True,
    types.InteractionStatus.IDLE: False,
    types.InteractionStatus.REQUIRES_ACTION: False,  # an older word for it
}
PIECE_MAX: Final = 4000
"""Characters of a piece of transcript; minutes of speech in one message are none."""
WORD_MAX: Final = 60
"""Characters of a name that the server chose, where it is told to people."""


def _reasons(content: types.LiveServerContent) -> Iterator[Reason]:
    """Why a turn is over without an answer, where the server says so."""
    if (reason := content.turn_complete_reason) not in NO_REASON:
        yield Reason(clean(str(reason.value))[:WORD_MAX], expected=reason is types.TurnCompleteReason.NEED_MORE_INPUT)
    elif content.interaction_status is types.InteractionStatus.IN_PROGRESS:
        yield Reason("", expected=True)


def _parts(content: types.LiveServerContent) -> Iterator[Audio | Unheard | Unknown]:
    """The parts of a reply: sound that can be played, sound that cannot, and what is none."""
    turn = content.model_turn
    for part in (turn.parts if turn else None) or ():
        blob = part.inline_data
        if not (blob and blob.data):
            if part.text:
                yield Unheard()
            continue
        rate_hz = reply_hz(blob.mime_type or "")
        if rate_hz is None:
            yield Unknown(f"a part of type {clean(blob.mime_type or '')[:WORD_MAX]!r}, which cannot be played")
        elif rate_hz in REPLY_HZ:
            yield Audio(blob.data, rate_hz)
        else:
            yield Unknown(f"audio at {rate_hz} Hz")


def _words(content: types.LiveServerContent, pieces: Pieces) -> Iterator[Said]:
    if (said := content.input_transcription) and said.text and (text := pieces.join("person", said.text[:PIECE_MAX])):
        yield Said("person", text)
    if (said := content.output_transcription) and said.text and (text := pieces.join("robot", said.text[:PIECE_MAX])):
        yield Said("robot", text)
    if content.turn_complete or content.interrupted:
        yield from (Said(who, text) for who, text in pieces.rest())


def _calls(calls: Sequence[types.FunctionCall]) -> Iterator[ToolCall | Unknown]:
    if known := tuple((call.id, clean(call.name or "")) for call in calls if call.id):
        yield ToolCall(known)
    if len(known) < len(calls):
        yield Unknown("a tool call without an id, which nobody can answer")


MODALITIES: Final[dict[str, Modality]] = {"TEXT": "text", "AUDIO": "audio", "IMAGE": "image", "VIDEO": "image"}


def tokens_of(usage: types.UsageMetadata) -> Tokens:
    """Counts by modality. What the details leave out is counted as audio, the dearest; thoughts are text that is replied.

    A count below 0 is none. What the total has beyond all of them is told, too.
    """
    prompt = _by_modality(usage.prompt_tokens_details, usage.prompt_token_count)
    prompt["text"] = prompt.get("text", 0) + _count(usage.tool_use_prompt_token_count)
    reply = _by_modality(usage.response_tokens_details, usage.response_token_count)
    reply["text"] = reply.get("text", 0) + _count(usage.thoughts_token_count)
    rest = max(0, _count(usage.total_token_count) - sum(prompt.values()) - sum(reply.values()))
    return Tokens({kind: n for kind, n in prompt.items() if n}, {kind: n for kind, n in reply.items() if n}, rest)


def _by_modality(details: Sequence[types.ModalityTokenCount] | None, total: int | None) -> dict[Modality, int]:
    counts: dict[Modality, int] = {}
    for detail in details or ():
        kind = MODALITIES.get(detail.modality.value if detail.modality else "", "audio")
        counts[kind] = counts.get(kind, 0) + _count(detail.token_count)
    if (rest := _count(total) - sum(counts.values())) > 0:
        counts["audio"] = counts.get("audio", 0) + rest
    return counts


def _count(told: int | None) -> int:
    return max(0, told or 0)


def config_of(persona: Persona, handle: str | None, *, seeded: bool = False) -> types.LiveConnectConfig:
    """A persona as the SDK wants it. Compression and resumption are always on: without them a session ends after 15 min.

    A session that is told what was said before has to announce that: gemini-3.1 closes with 1007 else, and others would take
    it for an unfinished question.
    """
    vad = persona.vad
    detection = types.AutomaticActivityDetection(
        disabled=True if vad.mode == "manual" else None,
        start_of_speech_sensitivity=vad.start_sensitivity
        and types.StartSensitivity(f"START_SENSITIVITY_{vad.start_sensitivity.upper()}"),
        end_of_speech_sensitivity=vad.end_sensitivity
        and types.EndSensitivity(f"END_SENSITIVITY_{vad.end_sensitivity.upper()}"),
        prefix_padding_ms=vad.prefix_padding_ms,
        silence_duration_ms=vad.silence_duration_ms,
    )
    transcription = types.AudioTranscriptionConfig() if persona.transcripts else None
    thinking = persona.thinking_level or models.of(persona.model).thinking_default
    proactive = persona.proactive_audio if models.takes(persona.model, "proactive_audio") else None
    return types.LiveConnectConfig(
        response_modalities=[types.Modality.AUDIO],
        system_instruction=persona.instruction,
        temperature=persona.temperature,
        speech_config=types.SpeechConfig(
            voice_config=types.VoiceConfig(prebuilt_voice_config=types.PrebuiltVoiceConfig(voice_name=persona.voice)),
            language_code=persona.language,
        ),
        thinking_config=thinking and types.ThinkingConfig(thinking_level=types.ThinkingLevel(thinking.upper())),
        proactivity=None if proactive is None else types.ProactivityConfig(proactive_audio=proactive),
        enable_affective_dialog=persona.affective_dialog if models.takes(persona.model, "affective_dialog") else None,
        input_audio_transcription=transcription,
        output_audio_transcription=transcription,
        realtime_input_config=types.RealtimeInputConfig(
            automatic_activity_detection=detection,
            activity_handling=None if vad.interrupts else types.ActivityHandling.NO_INTERRUPTION,
            turn_coverage=vad.turn_coverage and types.TurnCoverage(f"TURN_INCLUDES_{vad.turn_coverage.upper()}"),
        ),
        session_resumption=types.SessionResumptionConfig(handle=handle),
        history_config=types.HistoryConfig(initial_history_in_client_content=True) if seeded else None,
        context_window_compression=types.ContextWindowCompressionConfig(sliding_window=types.SlidingWindow()),
    )


def seconds(text: str | None) -> float:
    """A duration as Google writes it, ``"50s"`` or ``"0.5s"``; 0 for what is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)s", text or "")
    return float(found[1]) if found else 0.0


def unquoted(error: Exception) -> str:
    """What is wrong with a message, without what it holds: that may be what somebody said."""
    match error:
        case ValidationError():
            found = error.errors(include_url=False, include_context=False, include_input=False)
            words = ", ".join(f"{'.'.join(map(str, it['loc']))}: {it['type']}" for it in found)
        case errors.APIError():
            words = f"{error.code} {error.status}. {error.message}"
        case _:
            words = type(error).__name__
    return redacted(clean(words))[:300]


def explained(error: Exception, *, opened: bool) -> LiveError:
    """What the SDK or the socket raised, in words, and whether trying again can help.

    The words go to the robot, too, so a key that a server echoes is struck out here.

    Args:
        error: What was raised.
        opened: Whether the server had answered the setup.
    """
    match error:
        case errors.APIError():
            return refusals.of_close(error.code, _told_of(error.details), opened=opened)
        case websockets.exceptions.ConnectionClosed():
            close = error.rcvd or error.sent
            return refusals.of_close(close.code if close else None, _told_of(close.reason if close else LOST), opened=opened)
        case websockets.exceptions.InvalidStatus():
            body = (error.response.body or b"").decode(errors="replace")
            return refusals.of_status(error.response.status_code, redacted(clean(body)))
        case websockets.exceptions.ProxyError() | websockets.exceptions.InvalidProxy():
            status = error.response.status_code if isinstance(error, websockets.exceptions.InvalidProxyStatus) else None
            return refusals.of_proxy(status, _told_of(error))
    reached = "lost" if opened else "cannot be reached"
    return LiveError("lost" if opened else "unreachable", f"Gemini {reached} ({type(error).__name__}: {_told_of(error)})")


LOST: Final = "connection lost"


def _told_of(words: object) -> str:
    """The words of a server or a library, on one line, short, and without secrets."""
    return redacted(clean(" ".join(str(words).split())))[:300]
