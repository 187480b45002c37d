"""An open connection to Gemini Live."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any, Final, Literal

import websockets.exceptions
from google.genai import errors, types

from gemini_gateway import models
from gemini_gateway.events import Alive, ServerEvent, Unknown
from gemini_gateway.sdk.errors import STRANGE, explained, unquoted
from gemini_gateway.sdk.pieces import Pieces
from gemini_gateway.sdk.shortcut import Shortcut
from gemini_gateway.sdk.socket import Socket
from gemini_gateway.sdk.translate import translated
from gemini_gateway.session.decisions import Response
from reachy_gateway.voice import HEARS_HZ, Audio

AUDIO_TYPE: Final = f"audio/pcm;rate={HEARS_HZ}"


class Connection:
    """An open connection to Gemini Live.

    Args:
        session: The SDK's session.
        model: The model with which the session was opened.
        shortcut: Whether audio bypasses the SDK's layers. It does not if the SDK keeps its socket in another attribute.
    """

    def __init__(self, session: Any, model: str = "", *, shortcut: bool = False) -> None:
        self._session = session
        self._model = model
        self._socket = getattr(session, "_ws", None)
        self._pieces = Pieces()
        self._shortcut: Shortcut | None = None
        if shortcut and all(callable(getattr(getattr(session, "_ws", None), name, None)) for name in ("send", "recv")):
            self._shortcut = session._ws = Shortcut(session._ws)  # noqa: SLF001 - the SDK has no public way

    @property
    def interrupted(self) -> bool:
        """Whether an interruption has come, but waits behind earlier messages."""
        return isinstance(self._socket, Socket) and self._socket.interruptions > 0

    @property
    def waits(self) -> bool:
        """Whether another message waits to be read; also true if this is not known."""
        return not isinstance(self._socket, Socket) or self._socket.unread > 0

    def watch(self, on_interruption: Callable[[], None] | None) -> None:
        """Call this function when an interruption comes, before :meth:`receive` gets to it; None: call nothing."""
        if isinstance(self._socket, Socket):
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
        """Send audio without waiting, which is cheaper. False: send it by :meth:`send_audio` instead."""
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
        """Tell the server that the microphone has paused.

        Raises:
            LiveError: If the connection is lost.
        """
        await self._send(audio_stream_end=True)

    async def prompt(self, text: str, *, marked: bool = False) -> None:
        """Send a written prompt, which interrupts the current answer. ``marked``: as a turn, for manual VAD.

        Raises:
            LiveError: If the connection is lost.
        """
        if models.of(self._model).content == "history":
            if marked:
                await self.send_activity("start")
            await self._send(text=text)
            if marked:
                await self.send_activity("end")
            return
        with _told():
            turns = [types.Content(role="user", parts=[types.Part(text=text)])]
            await self._session.send_client_content(turns=turns, turn_complete=True)

    async def answer(self, responses: Sequence[Response]) -> None:
        """Answer calls of tools.

        Raises:
            LiveError: If the connection is lost.
        """
        with _told():
            await self._session.send_tool_response(function_responses=[self._response(one) for one in responses])

    def _response(self, one: Response) -> types.FunctionResponse:
        when = models.scheduling(self._model, background=one.background, speaks=one.speaks)
        return types.FunctionResponse(
            id=one.id,
            name=one.name,
            response=dict(one.response),
            scheduling=when and types.FunctionResponseScheduling(when),
        )

    async def remind(self, said: Sequence[tuple[Literal["person", "robot"], str]]) -> None:
        """Tell a new session, opened as ``seeded``, what was said in the session that could not be resumed.

        Raises:
            LiveError: If the connection is lost.
        """
        roles = {"person": "user", "robot": "model"}
        turns = [types.Content(role=roles[who], parts=[types.Part(text=text)]) for who, text in said]
        with _told():
            await self._session.send_client_content(turns=turns, turn_complete=True)  # ends the history; it is no question

    async def receive(self) -> AsyncIterator[ServerEvent]:
        """The server's events, until the connection ends. The SDK's own loop ends with every turn.

        Raises:
            LiveError: When the connection is lost, or closed by the gateway.
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
                if isinstance(error.details, str):  # the reason of a close; an error message has an object here
                    raise explained(error, opened=True) from error
                yield Unknown(unquoted(error))
            except STRANGE as error:
                yield Unknown(unquoted(error))

    @staticmethod
    async def _audio(shortcut: Shortcut) -> list[Audio]:
        try:
            return await shortcut.audio()
        except websockets.exceptions.ConnectionClosed:
            return []  # the SDK's next read fails as well, and says why

    async def _send(self, **what: Any) -> None:
        with _told():
            await self._session.send_realtime_input(**what)


@contextmanager
def _told() -> Iterator[None]:
    """Raise whatever a send raises as a ``LiveError``: the SDK passes on the socket's exceptions."""
    try:
        yield
    except (websockets.exceptions.WebSocketException, OSError, errors.APIError) as error:
        # From Python 3.13 on, the traceback's frames hold the error: the connection would wait for the garbage collector.
        raise explained(error, opened=True) from error.with_traceback(None)
