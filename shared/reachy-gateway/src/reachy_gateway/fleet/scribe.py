"""Writes what goes into a store, and reads what comes out of it: sealed, each for its place."""

import json
from collections.abc import Mapping
from typing import Any

from reachy_gateway.fleet.claims import Claim, Start
from reachy_gateway.fleet.port import Entry, Letter
from reachy_gateway.fleet.present import Present
from reachy_gateway.fleet.seal import Seal


class Scribe:
    """Of one fleet. What is not this fleet's, or of a version that nobody understands, is as if it were not there."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    def entry(self, robot: str, claim: Claim, body: str) -> Entry:
        """What is remembered of a robot: who has it, and the document."""
        head = json.dumps([claim.start.boot, claim.start.t_us, claim.former])
        return Entry(claim.token, claim.owner, self._seal.close(f"{head}\n{body}", _place(robot, claim.token, claim.owner)))

    def opened(self, robot: str, entry: Entry | None) -> tuple[Claim | None, str]:
        """The claim and the document of an entry."""
        text = self._seal.open(entry.sealed, _place(robot, entry.token, entry.owner)) if entry else None
        if entry is None or text is None:
            return None, ""
        head, _, body = text.partition("\n")
        try:
            boot, t_us, former = json.loads(head)
            return Claim(entry.owner, entry.token, Start(str(boot), int(t_us)), tuple(former)), body
        except (ValueError, TypeError):
            return None, ""

    def letter(self, inbox: str, words: Mapping[str, Any]) -> Letter:
        """A letter to the gateway that reads this inbox."""
        return Letter(inbox, self._seal.close(json.dumps(words), f"letter {inbox}"))

    def read(self, inbox: str, sealed: bytes) -> Mapping[str, Any]:
        """What a letter says; nothing if it is none."""
        text = self._seal.open(sealed, f"letter {inbox}")
        try:
            words = json.loads(text or "{}")
        except ValueError:
            return {}
        return words if isinstance(words, dict) else {}

    def presence(self, present: Present) -> bytes:
        """How a gateway stands."""
        return self._seal.close(present.text(), "gateway")

    def present(self, sealed: bytes) -> Present | None:
        """How another one does."""
        return Present.read(self._seal.open(sealed, "gateway"))


def _place(robot: str, token: str, owner: str) -> str:
    return f"robot {robot} {token} {owner}"
