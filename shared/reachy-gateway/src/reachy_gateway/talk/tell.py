"""A message to a robot, before it has what every header carries. Pure."""

from dataclasses import dataclass
from typing import Any

from reachy_link.messages import Down


@dataclass(frozen=True, slots=True)
class Tell:
    """A message to the robot, beside what every header carries."""

    kind: type[Down]
    fields: dict[str, Any]
    payload: bytes = b""
