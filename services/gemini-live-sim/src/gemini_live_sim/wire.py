"""Parses the clients' messages: both spellings of every key, both base64 alphabets. Faults are reported in words."""

import binascii
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

INVALID = 1007
"""The close code for messages that the server cannot understand."""
INVALID_ARGUMENT = "Request contains an invalid argument."
"""Google's reason where it gives no details."""

_VERBATIM = frozenset({"args", "response", "parameters", "properties", "labels"})
"""Keys whose values belong to the user: the names inside them keep their spelling."""

_KINDS = ("setup", "clientContent", "realtimeInput", "toolResponse", "contextUpdate")
_STANDARD = bytes.maketrans(b"-_", b"+/")
_HZ = range(8_000, 192_001)
_RATE = re.compile(r"rate=(\d{4,6})\b")


class WireError(Exception):
    """The client broke the protocol; the connection closes with this code and reason."""

    def __init__(self, reason: str, code: int = INVALID) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message. Payload: the setup object, keys in camelCase."""

    fields: Json


@dataclass(frozen=True, slots=True)
class Audio:
    """Microphone audio: PCM16 little-endian, mono."""

    pcm: bytes
    hz: int


@dataclass(frozen=True, slots=True)
class Video:
    """An image or video frame; counted, not looked at."""

    mime_type: str


@dataclass(frozen=True, slots=True)
class Text:
    """Text sent as realtime input."""

    text: str


@dataclass(frozen=True, slots=True)
class ActivityStart:
    """The client's signal that the person starts to speak."""


@dataclass(frozen=True, slots=True)
class ActivityEnd:
    """The client's signal that the person has stopped speaking."""


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """The microphone is off: the audio so far is the utterance."""


@dataclass(frozen=True, slots=True)
class Content:
    """Turns of the conversation as text, and whether the client now expects an answer."""

    turns: tuple[tuple[str, str], ...]
    """(role, text) in order."""
    turn_complete: bool


@dataclass(frozen=True, slots=True)
class ToolResponse:
    """Responses to tool calls."""

    responses: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class ContextUpdate:
    """A new system instruction or new tools."""

    fields: Json


ClientMessage: TypeAlias = (
    Setup | Audio | Video | Text | ActivityStart | ActivityEnd | StreamEnd | Content | ToolResponse | ContextUpdate
)


def parse(raw: str | bytes) -> list[ClientMessage]:
    """Parse one WebSocket message. A realtime input may hold several client messages.

    Raises:
        WireError: If the message is not JSON, or has an unknown name, a wrong type, or broken base64.
    """
    message = _load(raw)
    for name in message:
        if name not in _KINDS:
            raise WireError(f'Invalid JSON payload received. Unknown name "{name[:40]}": Cannot find field.')
    if len(message) != 1:
        raise WireError("Invalid JSON payload received. Exactly one message type is expected.")
    kind, value = message.popitem()
    body = _object(value, kind)
    if kind == "realtimeInput":
        return list(_realtime(body))
    if kind == "clientContent":
        return [_content(body)]
    if kind == "setup":
        return [Setup(body)]
    if kind == "toolResponse":
        responses = _array(body.get("functionResponses"), "tool_response.function_responses")
        return [ToolResponse(tuple(_object(item, "function_responses") for item in responses))]
    return [ContextUpdate(body)]


def decode_base64(data: object, where: str) -> bytes:
    """Decode standard or url-safe base64, padded or not.

    Raises:
        WireError: If ``data`` is no string, or has characters outside both alphabets.
    """
    fault = WireError(f"Invalid value at '{where}' (TYPE_BYTES), Base64 decoding failed.")
    if not isinstance(data, str):
        raise fault
    try:
        ascii_bytes = data.encode("ascii").translate(_STANDARD).rstrip(b"=")
        return binascii.a2b_base64(ascii_bytes + b"=" * (-len(ascii_bytes) % 4), strict_mode=True)
    except ValueError:
        raise fault from None


def camel(value: Any) -> Any:
    """Convert every key of a JSON value to camelCase, except inside the user's own objects."""
    if isinstance(value, dict):
        return {(name := _camel_key(key)): inner if name in _VERBATIM else camel(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [camel(item) for item in value]
    return value


@lru_cache(maxsize=1024)
def _camel_key(key: str) -> str:
    head, *tail = key.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in tail) if head else key


def _load(raw: str | bytes) -> Json:
    try:
        message = camel(json.loads(raw))
    except (ValueError, RecursionError):
        raise WireError("Invalid JSON payload received. Unable to parse the message.") from None
    if not isinstance(message, dict):
        raise WireError("Invalid JSON payload received. The root element must be a message.")
    return message


def _object(value: object, where: str) -> Json:
    if not isinstance(value, dict):
        raise WireError(f"Invalid value at '{where}' (type is not an object).")
    return value


def _array(value: object, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise WireError(f"Invalid value at '{where}' (type is not an array).")
    return value


def _string(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise WireError(f"Invalid value at '{where}' (TYPE_STRING).")
    return value


def _realtime(body: Json) -> Iterator[ClientMessage]:
    for name, value in body.items():
        match name:
            case "audio":
                yield _audio(value)
            case "mediaChunks":
                yield from (_media(chunk) for chunk in _array(value, "realtime_input.media_chunks"))
            case "video":
                yield Video(_string(_object(value, "realtime_input.video").get("mimeType", ""), "video.mime_type"))
            case "text":
                yield Text(_string(value, "realtime_input.text"))
            case "activityStart":
                yield ActivityStart()
            case "activityEnd":
                yield ActivityEnd()
            case "audioStreamEnd":
                if value:
                    yield StreamEnd()
            case _:
                raise WireError(f"Invalid JSON payload received. Unknown name \"{name[:40]}\" at 'realtime_input'.")


def _media(value: object) -> ClientMessage:
    mime_type = _object(value, "realtime_input.media_chunks").get("mimeType", "")
    return _audio(value) if str(mime_type).startswith("audio/") else Video(str(mime_type))


def _audio(value: object) -> Audio:
    blob = _object(value, "realtime_input.audio")
    mime_type = _string(blob.get("mimeType"), "realtime_input.audio.mime_type")
    if not mime_type.lower().startswith("audio/pcm"):
        raise WireError(f"Request contains an invalid argument: unsupported audio type {mime_type[:40]}.")
    return Audio(decode_base64(blob.get("data", ""), "realtime_input.audio.data"), _rate_hz(mime_type))


@lru_cache(maxsize=64)
def _rate_hz(mime_type: str) -> int:
    """Read the sample rate from a MIME type such as ``audio/pcm;rate=16000``; 16 kHz if the type names none."""
    found = _RATE.search(mime_type)
    hz = int(found.group(1)) if found else 16_000
    if hz not in _HZ:
        raise WireError(f"Request contains an invalid argument: sample rate {hz}.")
    return hz


def _content(body: Json) -> Content:
    turns = []
    for turn in _array(body.get("turns"), "client_content.turns"):
        content = _object(turn, "client_content.turns")
        parts = [_object(part, "parts") for part in _array(content.get("parts"), "client_content.turns.parts")]
        text = "".join(_string(part["text"], "parts.text") for part in parts if "text" in part)
        turns.append((str(content.get("role", "user")), text))
    return Content(tuple(turns), bool(body.get("turnComplete", False)))
