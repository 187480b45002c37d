"""Repairs characters that were split when a server streamed text in pieces. Pure."""

from typing import Final

from gemini_gateway.session.exchanges import Who

HIGH: Final = ("\ud800", "\udbff")
"""The range of high surrogates: first halves of characters beyond the first 65,536, such as emoji."""


def clean(text: str) -> str:
    """The text with U+FFFD in place of each lone half of a character (surrogate), which no encoder accepts."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


# The codec is a module. Import it now: later this needs a file descriptor, and a gateway under attack may have none left.
clean("")


class Pieces:
    """Joins characters that were split between two pieces of the same speaker. Holds half a character for each speaker."""

    def __init__(self) -> None:
        self._halves: dict[Who, str] = {}

    def join(self, who: Who, text: str) -> str:
        """The piece without a lone half at its end. The half is put before the next piece."""
        text = self._halves.pop(who, "") + text
        if text and HIGH[0] <= text[-1] <= HIGH[1]:
            self._halves[who] = text[-1]
            text = text[:-1]
        return clean(text)

    def rest(self) -> list[tuple[Who, str]]:
        """The halves whose other half did not come, as U+FFFD."""
        found = [(who, clean(half)) for who, half in self._halves.items()]
        self._halves.clear()
        return found
