"""Dials an endpoint."""

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
"""That may have come and wait to be handled, each of ``MESSAGE_MAX_BYTES`` at most; beyond it reading pauses. As Gemini sends
speech it is 10 s: an interruption is found behind it."""
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
"""What a conversation makes of the SDK's. It compiles each when it is first made, and all robots wait meanwhile: 70 to 170 ms
at the first dial after a start."""


class Live:
    """Dials one endpoint. One for the whole process: making a client costs 90 ms.

    Args:
        endpoint: Where to.
        shortcut: Whether audio goes past the SDK's layers.
    """

    def __init__(self, endpoint: Endpoint, *, shortcut: bool = True) -> None:
        self._shortcut = shortcut
        self._root = endpoint.root, ""
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
        """An open session, resumed by the handle if there is one; closed with the block.

        Args:
            persona: How the robot talks.
            handle: Of the session to resume.
            seeded: Whether :meth:`Connection.remind` comes first; the server waits for it.
            tools: What the model may call.
            taken: Called when there is a socket, before the server has answered the setup.

        Raises:
            LiveError: If it cannot be opened; also whatever the block raises.
        """
        TAKEN.set(taken)
        config = config_of(persona, handle, seeded=seeded, tools=tools)
        connecting = self._client.aio.live.connect(model=persona.model, config=config)
        try:
            session = await connecting.__aenter__()
        except ssl.SSLCertVerificationError as error:
            if self._root_stamp() != self._root_seen:  # a simulator that was started anew has made itself a new certificate
                self.retarget(self._endpoint)
            words = f"{self._endpoint.name} is not trusted: {error.verify_message}{self._root_trouble}"
            raise LiveError("unreachable", words) from _light(error)
        except (websockets.exceptions.WebSocketException, OSError, errors.APIError) as error:
            raise explained(error, opened=False) from _light(error)  # OSError holds a dial's own timeout, too
        except STRANGE as error:
            words = f"google-genai does not take the setup, or its answer: {unquoted(error)}"
            raise LiveError("declined", words) from _light(error)
        try:
            yield Connection(session, persona.model, shortcut=self._shortcut)
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


def _light(error: Exception) -> Exception:
    """The same error without its traceback, whose frames hold the socket, which holds the error."""
    return error.with_traceback(None)
