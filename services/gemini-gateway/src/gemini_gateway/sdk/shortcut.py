"""Lets audio bypass the SDK's layers: writes and reads by hand the two messages of Live that come fifty times a second.

google-genai validates and converts every message several times, which is most of what a robot costs a gateway. Only messages
that hold audio and nothing else are handled here. All other messages go through the SDK, and so does audio if the SDK keeps
its socket in another attribute, or if ``GATEWAY_SHORTCUT`` is off.
"""

import binascii
import os
import struct
from functools import lru_cache
from typing import Annotated, Any, Final, NotRequired, Protocol

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict
from websockets.asyncio.client import ClientConnection
from websockets.frames import apply_mask  # type: ignore[attr-defined] # in C if the extension was built, else in Python
from websockets.protocol import State

from reachy_gateway.voice import HEARS_HZ, Audio

URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
HEAD: Final = b'{"realtime_input": {"audio": {"data": "'
FRAME: Final = struct.Struct("!BBH4s")
FRAMED: Final = range(126, 65536)
TAIL: Final = b'", "mime_type": "audio/pcm;rate=%d"}}}' % HEARS_HZ
DEFAULT_REPLY_HZ: Final = 24000
RATE_DIGITS_MAX: Final = 15
TYPE_MAX: Final = 200
"""Longer MIME types are not read."""
_ONE, _SIXTEEN = ("1", "mono"), ("16",)
_CODING = ("pcm", "pcm16", "pcms16le", "pcm_s16le", "s16le", "s16", "linear16", "lpcm", "l16", "int16")
MEANS_PCM16: Final = {
    **dict.fromkeys(("channels", "channel", "ch", "layout"), _ONE),
    **dict.fromkeys(("bits", "bitdepth", "depth", "samplesize", "bitspersample"), _SIXTEEN),
    **dict.fromkeys(("codec", "codecs", "encoding", "format"), _CODING),
    **dict.fromkeys(("endian", "byteorder"), ("little", "le")),
}
"""MIME parameters that describe the format of samples, and their values for PCM16 with one channel. Others are ignored."""
PCM16_TYPES: Final = ("audio/pcm", "audio/l16", "audio/raw", "audio/x-raw")
REPLY_HZ: Final = range(8000, 48001)
"""The sample rates that are accepted."""


def mic_message(pcm: bytes) -> bytes:
    """The message that google-genai makes of PCM16 mono at 16 kHz, byte for byte."""
    return HEAD + binascii.b2a_base64(pcm, newline=False).translate(URL_SAFE) + TAIL


class Masks:
    """Keys that mask frames. They come from the system's source of random numbers, 256 at a time."""

    def __init__(self) -> None:
        self._keys = b""
        self._at = 0

    def next(self) -> bytes:
        """Four bytes that were not used before."""
        if self._at == len(self._keys):
            self._keys, self._at = os.urandom(1024), 0
        self._at += 4
        return self._keys[self._at - 4 : self._at]


def text_frame(payload: bytes, mask: bytes) -> bytes:
    """A client's frame that holds a text message of 126 to 65535 bytes (RFC 6455, section 5.2)."""
    return FRAME.pack(0x81, 0x80 | 126, len(payload), mask) + apply_mask(payload, mask)


def reply_hz(mime_type: str) -> int | None:
    """The sample rate in a MIME type of audio; None if the type is not PCM of 16 bits with one channel.

    By RFC 2586 ``audio/L16`` is big-endian, but Gemini sends little-endian PCM under this name as well.
    """
    return _reply_hz(mime_type) if len(mime_type) <= TYPE_MAX else None


@lru_cache(maxsize=16)
def _reply_hz(mime_type: str) -> int | None:
    kind, *parameters = (part.strip() for part in mime_type.lower().split(";"))
    if kind not in PCM16_TYPES:
        return None
    rate_hz = DEFAULT_REPLY_HZ
    for parameter in parameters:
        name, _, value = (part.strip().strip('"') for part in parameter.partition("="))
        name = name.replace("-", "").replace("_", "")
        if name in ("rate", "samplerate"):
            if not (value.isdecimal() and len(value) <= RATE_DIGITS_MAX):
                return None
            rate_hz = int(value)
        elif name in MEANS_PCM16 and value not in MEANS_PCM16[name]:
            return None
    return rate_hz


ALONE: Final = ConfigDict(extra="forbid", strict=True, val_json_bytes="base64")
"""A message with any other field is not accepted. Base64 may have either alphabet, with padding or without."""


@with_config(ALONE)
class _Blob(TypedDict):
    mimeType: str
    data: Annotated[bytes, Field(min_length=1)]


@with_config(ALONE)
class _Part(TypedDict):
    inlineData: _Blob


@with_config(ALONE)
class _Turn(TypedDict):
    parts: Annotated[list[_Part], Field(min_length=1)]
    role: NotRequired[Any]


@with_config(ALONE)
class _Content(TypedDict):
    modelTurn: _Turn


@with_config(ALONE)
class _Message(TypedDict):
    serverContent: _Content


MESSAGE: Final = TypeAdapter(_Message)


def audio_of(raw: bytes) -> list[Audio] | None:
    """The audio of a message that holds nothing else; None for every other message."""
    if b'"inlineData"' not in raw:
        return None
    try:
        parts = MESSAGE.validate_json(raw)["serverContent"]["modelTurn"]["parts"]
    except ValidationError:
        return None
    pieces = [(part["inlineData"]["data"], reply_hz(part["inlineData"]["mimeType"])) for part in parts]
    audio = [Audio(pcm, rate_hz) for pcm, rate_hz in pieces if rate_hz is not None and rate_hz in REPLY_HZ]
    return audio if len(audio) == len(pieces) else None


class Socket(Protocol):
    """The SDK's socket."""

    async def send(self, message: str | bytes, *, text: bool | None = None) -> None:
        """Send a message. ``text=True`` sends bytes as a text message."""

    async def recv(self, *, decode: bool | None = None) -> str | bytes:
        """The next message."""


class Shortcut:
    """Takes the place of the socket in an SDK session. It reads audio itself, and keeps other messages for the SDK."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._kept: str | bytes | None = None
        self._masks = Masks()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    async def send_audio(self, pcm: bytes) -> None:
        """Send PCM16 mono at 16 kHz; raises what the socket raises."""
        await self._socket.send(mic_message(pcm), text=True)

    def offer_audio(self, pcm: bytes) -> bool:
        """Send audio without waiting, if no other data waits to be sent. False if it was not sent.

        If the connection is broken, the next :meth:`send_audio` raises the error.
        """
        socket = self._socket
        if (
            not isinstance(socket, ClientConnection)
            or socket.state is not State.OPEN
            or socket.transport.is_closing()  # the library notices this in the next turn of the event loop
            or socket.send_in_progress
            or socket.protocol.extensions
            or socket.transport.get_write_buffer_size()
            or len(message := mic_message(pcm)) not in FRAMED
        ):
            return False
        socket.transport.write(text_frame(message, self._masks.next()))
        return True

    async def audio(self) -> list[Audio]:
        """The audio of the next message. Empty if the message holds anything else; it is then kept for the SDK.

        Raises:
            websockets.exceptions.ConnectionClosed: When the connection is lost; the SDK's next read raises it, too.
        """
        raw = await self._socket.recv(decode=False)
        pieces = audio_of(raw) if isinstance(raw, bytes) else None
        if pieces is None:
            self._kept = raw
        return pieces or []

    async def recv(self, *, decode: bool | None = None) -> str | bytes:
        """Called by the SDK: the message that was kept, or the next one."""
        kept, self._kept = self._kept, None
        return kept if kept is not None else await self._socket.recv(decode=decode)
