"""Opens connections to an endpoint."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import websockets.exceptions
from google import genai
from google.genai import errors, types

from gemini_gateway import models
from gemini_gateway.endpoint import Endpoint
from gemini_gateway.events import LiveError
from gemini_gateway.personas import Persona
from gemini_gateway.sdk.connection import Connection
from gemini_gateway.sdk.errors import STRANGE, explained, unquoted
from gemini_gateway.sdk.setup import config_of
from gemini_gateway.sdk.socket import TAKEN, Socket
from reachy_gateway.tools.port import Tool
from reachy_gateway.voice import HANG_UP_S
from reachy_link.keys import Stamp, stamp

MESSAGE_MAX_BYTES: Final = 4 * 2**20
MESSAGES_AHEAD: Final = 256
"""How many received messages may wait to be handled, each of ``MESSAGE_MAX_BYTES`` at most; beyond it reading pauses. They hold
10 s of speech as Gemini sends it: an interruption behind so much speech is still noticed."""
PING_S: Final = 20.0
PONG_S: Final = 60.0
"""Gemini's pongs have been seen 8 to 30 s late."""

MODELS_IN_USE: Final = (
    *(types.LiveConnectParameters, types.LiveConnectConfig, types.SpeechConfig, types.VoiceConfig, types.PrebuiltVoiceConfig),
    *(types.ThinkingConfig, types.ProactivityConfig, types.AudioTranscriptionConfig, types.RealtimeInputConfig),
    *(types.AutomaticActivityDetection, types.SessionResumptionConfig, types.HistoryConfig, types.SlidingWindow),
    *(types.ContextWindowCompressionConfig, types.Part, types.Content, types.UserContent, types.LiveClientContent),
    *(types.LiveSendRealtimeInputParameters, types.ActivityStart, types.ActivityEnd, types.Blob, types.FunctionResponse),
    *(types.Tool, types.FunctionDeclaration, types.Schema, types.LiveServerToolCall, types.FunctionCall),
    *(types.LiveClientToolResponse, types.LiveServerMessage, types.LiveServerSetupComplete, types.LiveServerContent),
    *(types.Transcription, types.UsageMetadata, types.ModalityTokenCount, types.LiveServerSessionResumptionUpdate),
)
"""The SDK's models that a conversation uses. They are compiled at start. Otherwise the SDK compiles each at its first use, and
all robots wait: 70 to 170 ms at the first dial."""


class Live:
    """Dials one endpoint. The process has only one such object, because making a client costs 90 ms.

    Args:
        endpoint: The server to dial.
        shortcut: Whether audio bypasses the SDK's layers.
    """

    def __init__(self, endpoint: Endpoint, *, shortcut: bool = True) -> None:
        self._shortcut = shortcut
        self._root = endpoint.root, ""
        """The path and the text of the newest root certificate that could be read."""
        for model in MODELS_IN_USE:
            model.model_rebuild()
        self.retarget(endpoint)

    def retarget(self, endpoint: Endpoint) -> None:
        """Dial this endpoint from now on; open connections stay.

        Raises:
            OSError, ValueError: If the SDK cannot use the endpoint; then nothing has changed.
        """
        trust = ssl.create_default_context()  # a new one, so that the last endpoint's root is no longer trusted
        client = genai.Client(
            vertexai=False,
            api_key=endpoint.key.get_secret_value(),
            http_options=types.HttpOptions(
                base_url=endpoint.base_url,
                api_version=models.API_VERSION,
                # httpx raises on a proxy that it cannot use. Live needs no httpx; with a context given, the SDK makes none.
                client_args={"trust_env": False, "verify": trust},
                async_client_args={
                    "trust_env": False,
                    "proxy": endpoint.proxy,
                    "ssl": trust,
                    "open_timeout": 5,
                    "close_timeout": 1,  # with the default a dead peer would delay the hang-up by 10 s
                    "ping_interval": PING_S,
                    "ping_timeout": PONG_S,
                    "max_size": MESSAGE_MAX_BYTES,
                    "max_queue": MESSAGES_AHEAD,
                    "compression": None,
                    "create_connection": Socket,
                },
            ),
        )
        self._client, self._endpoint, self._trust = client, endpoint, trust
        self._root_trouble = self._load_root()

    @asynccontextmanager
    async def connect(
        self,
        persona: Persona,
        handle: str | None = None,
        *,
        seeded: bool = False,
        tools: Sequence[Tool[Any]] = (),
        taken: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[Connection]:
        """Open a connection, which resumes the session of the handle if there is one. It is closed at the end of the block.

        Args:
            persona: How the robot talks.
            handle: The handle of the session to resume.
            seeded: Whether :meth:`Connection.remind` comes first; the server waits for it.
            tools: The tools that the model may call.
            taken: Called when the server has accepted the socket, before it has answered the setup.

        Raises:
            LiveError: If the connection cannot be opened; also whatever the block raises.
        """
        TAKEN.set(taken)
        config = config_of(persona, handle, seeded=seeded, tools=tools)
        connecting = self._client.aio.live.connect(model=persona.model, config=config)
        try:
            session = await connecting.__aenter__()
        except ssl.SSLCertVerificationError as error:
            if self._root_stamp() != self._root_seen:  # a simulator that was restarted has a new certificate
                self.retarget(self._endpoint)
            words = f"{self._endpoint.name} is not trusted: {error.verify_message}{self._root_trouble}"
            raise LiveError("unreachable", words) from _light(error)
        except (websockets.exceptions.WebSocketException, OSError, errors.APIError) as error:
            raise explained(error, opened=False) from _light(error)  # a dial's own TimeoutError is an OSError
        except STRANGE as error:
            words = f"google-genai rejects the setup, or the server's answer to it: {unquoted(error)}"
            raise LiveError("declined", words) from _light(error)
        try:
            yield Connection(session, persona.model, shortcut=self._shortcut)
        finally:
            try:
                async with asyncio.timeout(HANG_UP_S):  # close_timeout begins only when the peer has taken all data
                    await connecting.__aexit__(None, None, None)
            except TimeoutError:
                pass
            finally:
                session._ws.transport.abort()  # noqa: SLF001 - no effect if it is closed; the SDK has no public way

    def _root_stamp(self) -> Stamp | None:
        return stamp(self._endpoint.root) if self._endpoint.root else None

    def _load_root(self) -> str:
        """Trust the endpoint's root certificate, too. If its file is half written or gone, the last one read is used.

        Returns:
            "", or a clause for the log if the file cannot be read. The file is read again once it changes.
        """
        root, self._root_seen, trouble = self._endpoint.root, self._root_stamp(), ""
        if self._root[0] != root:
            self._root = root, ""
        try:
            if root and root.exists():
                text = root.read_text(encoding="ascii")
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)  # raises if it is none
                self._root = root, text
        except (OSError, ValueError) as error:
            trouble = f"; {root} cannot be read ({error})"
        if self._root[1]:
            self._trust.load_verify_locations(cadata=self._root[1])
        return trouble


def _light(error: Exception) -> Exception:
    """The same error without its traceback. The traceback's frames hold the socket, and the socket holds the error."""
    return error.with_traceback(None)
