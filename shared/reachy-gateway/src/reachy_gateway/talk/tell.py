"""A message to a robot before its header is filled in. Pure."""

from dataclasses import dataclass
from typing import Any

from reachy_link.messages import Down


@dataclass(frozen=True, slots=True)
class Tell:
    """A message to the robot, without the fields that every header has."""

    kind: type[Down]
    fields: dict[str, Any]
    payload: bytes = b""
