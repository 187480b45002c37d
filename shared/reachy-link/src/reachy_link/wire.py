"""The wire codec: three parts, a validated header, and a payload as long as the header says.

A message is ``[topic, header, payload]``: the topic ``<robot>/up`` or ``<robot>/down``, a JSON header, and PCM or nothing.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from pydantic import BaseModel, Field, ValidationError

from reachy_link.causes import WireCause
from reachy_link.messages import DOWN, UP, VERSION, Audio, Down, Up
from reachy_link.pcm import Format

HEADER_MAX_BYTES: Final = 4096
PAYLOAD_MAX_BYTES: Final = 8192
TOPIC_MAX_BYTES: Final = 63 + len("/down")

Parts = tuple[bytes, bytes, bytes]
M = TypeVar("M", Up, Down)


class WireError(ValueError):
    """A message that is not of this protocol. The receiver counts the message under its cause and drops it.

    Args:
        cause: The cause, fit for a counter's label.
        detail: What was wrong, for a person.
    """

    def __init__(self, cause: WireCause, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause = cause
        self.detail = detail


class VersionError(WireError):
    """The peer speaks another version of the protocol."""

    def __init__(self, theirs: int) -> None:
        older = "the other end" if theirs < VERSION else "this end"
        shown = theirs if abs(theirs) < 10**6 else "beyond any"
        super().__init__("version", f"the other end speaks protocol version {shown}, this end {VERSION}: upgrade {older}")


def up_topic(robot: str) -> bytes:
    """The topic of everything that a robot publishes."""
    return f"{robot}/up".encode()


def down_topic(robot: str) -> bytes:
    """The topic of everything that a gateway sends to a robot."""
    return f"{robot}/down".encode()


def pack_up(message: Up, payload: bytes = b"") -> Parts:
    """The parts of a message to the gateway."""
    return up_topic(message.robot), message.model_dump_json(exclude_none=True).encode(), payload


def pack_down(message: Down, payload: bytes = b"") -> Parts:
    """The parts of a message to a robot."""
    return down_topic(message.robot), message.model_dump_json(exclude_none=True).encode(), payload


def unpack_up(parts: Sequence[bytes]) -> tuple[Up, bytes]:
    """Header and payload of a robot's message.

    Raises:
        WireError: If the parts are not of this protocol. Whether the sender may speak for the robot is checked elsewhere.
    """
    topic, header, payload = _sized(parts)
    message = _validated(UP.validate_json, header)
    if topic != up_topic(message.robot):
        raise WireError("topic", f"robot {message.robot!r} in the header, {topic!r} as topic")
    _check_bare(message, payload)
    return message, payload


def unpack_down(parts: Sequence[bytes]) -> tuple[Down, bytes]:
    """Header and payload of a gateway's message.

    Raises:
        WireError: If the parts are not of this protocol.
    """
    topic, header, payload = _sized(parts)
    message = _validated(DOWN.validate_json, header)
    if topic != down_topic(message.robot):
        raise WireError("topic", f"robot {message.robot!r} in the header, {topic!r} as topic")
    _check_bare(message, payload)
    return message, payload


def check_audio(message: Up | Down, payload: bytes, pcm: Format | None) -> None:
    """Compare the length of audio with the header and with the format that the hello agreed on.

    Messages other than audio have no payload: :func:`unpack_up` and :func:`unpack_down` check this.

    Raises:
        WireError: If the lengths differ, or if audio comes before a format was agreed on.
    """
    if not isinstance(message, Audio):
        return
    if pcm is None:
        raise WireError("format", f"{message.kind} before any hello")
    _check_length(message, payload, pcm.pcm_bytes(message.samples))


def _check_bare(message: Up | Down, payload: bytes) -> None:
    if not isinstance(message, Audio):
        _check_length(message, payload, 0)


def _check_length(message: Up | Down, payload: bytes, expected: int) -> None:
    if len(payload) != expected:
        raise WireError("payload", f"{message.kind} has {len(payload)} bytes of payload, expected {expected}")


def _sized(parts: Sequence[bytes]) -> Parts:
    if len(parts) != 3:  # noqa: PLR2004
        raise WireError("parts", f"{len(parts)} parts, expected 3")
    topic, header, payload = parts
    if len(topic) > TOPIC_MAX_BYTES:
        raise WireError("topic", f"topic of {len(topic)} bytes, at most {TOPIC_MAX_BYTES} are allowed")
    if len(header) > HEADER_MAX_BYTES:
        raise WireError("oversized", f"header of {len(header)} bytes, at most {HEADER_MAX_BYTES} are allowed")
    if len(payload) > PAYLOAD_MAX_BYTES:
        raise WireError("oversized", f"payload of {len(payload)} bytes, at most {PAYLOAD_MAX_BYTES} are allowed")
    return topic, header, payload


class _AnyVersion(BaseModel):
    v: int = Field(strict=True)


def _validated(validate: Callable[[bytes], M], header: bytes) -> M:
    try:
        message = validate(header)
    except ValidationError as error:
        raise _explained(error, header) from None
    if "v" not in message.model_fields_set:  # the default is only for the sender
        raise WireError("header", "v: Field required")
    return message


def _explained(error: ValidationError, header: bytes) -> WireError:
    """The error in words for a person: a wrong version comes first, then an unknown kind, then the rest."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(step) for step in first["loc"])
    try:
        theirs = _AnyVersion.model_validate_json(header).v
    except ValidationError:
        theirs = VERSION
    if theirs != VERSION:
        return VersionError(theirs)
    if first["type"] == "union_tag_invalid":
        return WireError("kind", first["msg"])
    return WireError("header", f"{where or 'header'}: {first['msg']}")
