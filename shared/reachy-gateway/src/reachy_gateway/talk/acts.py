"""Acts that a robot's body is asked for, sent again until they are answered. Pure: time is passed in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from reachy_gateway.talk.tell import Tell
from reachy_link.messages import Act, Acted, Cancel, Outcome

RETELL_S: Final = 0.25
"""A message may be lost, so a request without an answer is sent again after so long."""
PATIENCE_S: Final = 2.0
"""After so long without an answer the robot is assumed not to have heard the request."""
PENDING_MAX: Final = 16
"""How many acts and cancellations may wait for an answer. Further ones are refused."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What is known of an act: the robot's first answer, or that there was none."""

    id: int
    outcome: Outcome | None
    """None: the robot did not answer."""
    reason: str = ""


@dataclass(slots=True)
class _Pending:
    tell: Tell
    since: float
    told_at: float


class Acts:
    """The acts of one conversation. Ids count within the gateway's boot, over all conversations of a robot.

    Args:
        boot: The robot's boot, to which all requests are addressed.
        first_id: The id of the first act.
    """

    def __init__(self, boot: str, first_id: int = 1) -> None:
        self.next_id = first_id
        self._boot = boot
        self._pending: dict[tuple[type, int | None], _Pending] = {}

    def begin(self, name: str, args: Mapping[str, Any], turn: int, now: float) -> tuple[int, list[Tell]]:
        """Ask for an act. Returns its id, and the messages to send: none if too many requests are waiting."""
        key, self.next_id = self.next_id, self.next_id + 1
        if len(self._pending) >= PENDING_MAX:
            return key, []
        tell = Tell(Act, {"to_boot": self._boot, "id": key, "name": name, "args": dict(args), "turn": turn})
        self._pending[Act, key] = _Pending(tell, now, now)
        return key, [tell]

    def cancel(self, key: int | None, now: float) -> list[Tell]:
        """Cancel an act, or with None whatever is going on."""
        if key is not None:
            self._pending.pop((Act, key), None)
        if len(self._pending) >= PENDING_MAX:
            return []
        tell = Tell(Cancel, {"to_boot": self._boot} | ({"id": key} if key is not None else {}))
        self._pending[Cancel, key] = _Pending(tell, now, now)
        return [tell]

    def acted(self, message: Acted) -> list[Answered]:
        """Take the robot's report on an act. Only the first answer counts; the robot may repeat it."""
        if message.outcome != "started":
            self._pending.pop((Cancel, message.id), None)
        if self._pending.pop((Act, message.id), None) is None:
            return []
        return [Answered(message.id, message.outcome, message.reason)]

    def due(self, now: float) -> tuple[list[Tell], list[Answered]]:
        """The messages to send again, and the acts that got no answer."""
        if not self._pending:
            return [], []
        tells: list[Tell] = []
        unheard: list[Answered] = []
        for (kind, key), pending in list(self._pending.items()):
            if now - pending.since >= PATIENCE_S:
                del self._pending[kind, key]
                if kind is Act and key is not None:
                    unheard.append(Answered(key, None))
            elif now - pending.told_at >= RETELL_S:
                pending.told_at = now
                tells.append(pending.tell)
        return tells, unheard

    def next_due(self) -> float | None:
        """When :meth:`due` will next have something to do."""
        return min(it.told_at + RETELL_S for it in self._pending.values()) if self._pending else None
