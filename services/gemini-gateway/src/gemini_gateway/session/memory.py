"""What a gateway has to know to go on with a session that another one had. Pure.

A newer gateway may write more, and an older one less: what nobody understands is no memory, and a new session begins.
"""

from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gemini_gateway.session.exchanges import CHARS, TURNS, Who

FORM: Final = 1
HANDLE_CHARS: Final = 10_000
"""Google's have some hundred; a longer one is not remembered."""


class Memory(BaseModel):
    """As of one moment."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    handle: str | None = Field(default=None, max_length=HANDLE_CHARS)
    handle_age_s: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    said: tuple[tuple[Who, str], ...] = Field(default=(), max_length=TURNS)
    """As a new session is told it."""
    parked: bool = False
    session: str = Field(default="", max_length=100)
    """Its name in the books."""
    model: str = Field(default="", max_length=200)
    account: str = Field(default="", max_length=100)
    """Tells one server and key from others: a handle is good for the one that gave it."""
    form: int = FORM

    def text(self) -> str:
        """As it is kept."""
        return self.model_dump_json()

    def older(self, age_s: float, *, model: str, account: str) -> "Memory":
        """The same so much later, for this model, server and key: without a handle that is another's."""
        fits = self.model == model and self.account == account
        handle = self.handle if fits else None
        return self.model_copy(update={"handle": handle, "handle_age_s": self.handle_age_s + age_s if handle else 0.0})

    @classmethod
    def read(cls, text: str) -> "Memory | None":
        """What was kept; None if nobody understands it."""
        try:
            memory = cls.model_validate_json(text)
        except ValidationError:
            return None
        whole = sum(len(words) for _, words in memory.said) <= CHARS
        return memory if memory.form == FORM and whole else None
