"""What a gateway needs in order to continue another gateway's session. Pure.

A newer gateway may write more fields, and an older one fewer. A text that cannot be understood is ignored, and a new session
begins.
"""

from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gemini_gateway.session.exchanges import CHARS, TURNS, Who

FORM: Final = 1
HANDLE_CHARS: Final = 10_000
"""Longer handles are not remembered. Google's handles have some hundred characters."""


class Memory(BaseModel):
    """The memory of a session at one moment."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    handle: str | None = Field(default=None, max_length=HANDLE_CHARS)
    handle_age_s: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    said: tuple[tuple[Who, str], ...] = Field(default=(), max_length=TURNS)
    """The transcript, as a new session is told it."""
    parked: bool = False
    session: str = Field(default="", max_length=100)
    """The session's name in the ledger."""
    model: str = Field(default="", max_length=200)
    account: str = Field(default="", max_length=100)
    """A digest of the server and the key: a handle is valid only for those that gave it."""
    form: int = FORM

    def text(self) -> str:
        """The memory as JSON, to be stored."""
        return self.model_dump_json()

    def older(self, age_s: float, *, model: str, account: str) -> "Memory":
        """The memory ``age_s`` seconds later. It loses its handle if the model, the server or the key is another."""
        fits = self.model == model and self.account == account
        handle = self.handle if fits else None
        return self.model_copy(update={"handle": handle, "handle_age_s": self.handle_age_s + age_s if handle else 0.0})

    @classmethod
    def read(cls, text: str) -> "Memory | None":
        """Parse a stored memory; None if the text cannot be understood."""
        try:
            memory = cls.model_validate_json(text)
        except ValidationError:
            return None
        whole = sum(len(words) for _, words in memory.said) <= CHARS
        return memory if memory.form == FORM and whole else None
