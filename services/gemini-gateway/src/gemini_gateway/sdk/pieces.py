"""Text as a server streams it, made fit for whoever reads it. Pure."""

from typing import Final

from gemini_gateway.session.exchanges import Who

HIGH: Final = ("\ud800", "\udbff")
"""The first halves of characters beyond the first 65,536, such as emoji."""


def clean(text: str) -> str:
    """The text with U+FFFD for each half of a character that has no other half: no encoder takes that."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


# The codec is a module: imported at its first use it would need a descriptor, which a gateway under attack may not have.
clean("")


class Pieces:
    """Joins characters that were split between two pieces of the same speaker. Holds half a character for each."""

    def __init__(self) -> None:
        self._halves: dict[Who, str] = {}

    def join(self, who: Who, text: str) -> str:
        """The piece without the half at its end, which the next piece begins with."""
        text = self._halves.pop(who, "") + text
        if text and HIGH[0] <= text[-1] <= HIGH[1]:
            self._halves[who] = text[-1]
            text = text[:-1]
        return clean(text)

    def rest(self) -> list[tuple[Who, str]]:
        """The halves that no other half came to, as U+FFFD."""
        found = [(who, clean(half)) for who, half in self._halves.items()]
        self._halves.clear()
        return found
