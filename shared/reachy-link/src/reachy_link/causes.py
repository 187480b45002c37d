"""The causes by which an end of the link counts its drops, refusals and misses; ``docs/protocol.md`` explains each.

All causes are in this module, so that a counter's labels are a fixed set of words and none is misspelt.
"""

from typing import Literal

WireCause = Literal["parts", "topic", "oversized", "version", "kind", "header", "payload", "format"]
"""Why a message is not of this protocol. Both ends count these causes; ``format`` occurs only at the gateway."""

_AtRobot = Literal["other_boot", "look_up", "window", "late_chunks", "overflow_chunks", "no_device"]
RobotCause = WireCause | _AtRobot

_Refused = Literal["impostor", "revoked", "flood", "hung_up", "barred", "crowded", "key", "operator", "mechanism", "handshake"]
_Dropped = Literal["subscription", "upstream", "stranger", "repeat", "gap", "late", "clone", "unasked"]
_Down = Literal["queue_full", "refused", "unsendable", "fault"]
LinkCause = WireCause | _Refused | _Dropped | _Down
"""The causes at the gateway."""
