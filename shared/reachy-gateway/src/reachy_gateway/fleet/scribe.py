"""Makes the sealed entries of a store, and reads them. Each is sealed for its place."""

import json
from collections.abc import Mapping
from typing import Any

from reachy_gateway.fleet.claims import Claim, Start
from reachy_gateway.fleet.port import Entry, Letter
from reachy_gateway.fleet.present import Present
from reachy_gateway.fleet.seal import Seal


class Scribe:
    """Writes and reads for one fleet. Data of another fleet, or of an unknown version, is treated as missing."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    def entry(self, robot: str, claim: Claim, body: str) -> Entry:
        """A robot's entry: its claim, and the text to remember."""
        head = json.dumps([claim.start.boot, claim.start.t_us, claim.former])
        return Entry(claim.token, claim.owner, self._seal.close(f"{head}\n{body}", _place(robot, claim.token, claim.owner)))

    def opened(self, robot: str, entry: Entry | None) -> tuple[Claim | None, str]:
        """An entry's claim and text."""
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
        """A letter to the gateway with this inbox."""
        return Letter(inbox, self._seal.close(json.dumps(words), f"letter {inbox}"))

    def read(self, inbox: str, sealed: bytes) -> Mapping[str, Any]:
        """The content of a letter; empty if the letter is not valid."""
        text = self._seal.open(sealed, f"letter {inbox}")
        try:
            words = json.loads(text or "{}")
        except ValueError:
            return {}
        return words if isinstance(words, dict) else {}

    def presence(self, present: Present) -> bytes:
        """How this gateway stands, sealed."""
        return self._seal.close(present.text(), "gateway")

    def present(self, sealed: bytes) -> Present | None:
        """How another gateway stands; None if that cannot be read."""
        return Present.read(self._seal.open(sealed, "gateway"))


def _place(robot: str, token: str, owner: str) -> str:
    return f"robot {robot} {token} {owner}"
