"""The causes under which an end of the link counts what it drops, refuses or misses; ``docs/protocol.md`` explains each.

All of them are here, so that a counter's labels are a fixed set of words, and none is mistyped.
"""

from typing import Literal

WireCause = Literal["parts", "topic", "oversized", "version", "kind", "header", "payload", "format"]
"""What makes a message none of this protocol; at both ends, but for ``format``."""

_AtRobot = Literal["other_boot", "look_up", "window", "late_chunks", "overflow_chunks", "no_device"]
RobotCause = WireCause | _AtRobot

_Refused = Literal["impostor", "revoked", "flood", "hung_up", "barred", "crowded", "key", "operator", "mechanism", "handshake"]
_Dropped = Literal["subscription", "upstream", "stranger", "repeat", "gap", "late", "clone", "unasked"]
_Down = Literal["queue_full", "refused", "unsendable", "fault"]
LinkCause = WireCause | _Refused | _Dropped | _Down
"""At the gateway."""
