"""How a gateway of a fleet stands, as it tells the others. Pure."""

from pydantic import BaseModel, ConfigDict, ValidationError


class Present(BaseModel):
    """One gateway."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    inbox: str
    name: str
    where: str = ""
    """As robots dial it; empty if it does not say."""
    robots: int
    robots_max: int
    draining: bool = False
    software: str = ""

    def text(self) -> str:
        """As it is told."""
        return self.model_dump_json()

    @classmethod
    def read(cls, text: str | None) -> "Present | None":
        """What a gateway told; None if nobody understands it, as of a newer version."""
        try:
            return cls.model_validate_json(text) if text else None
        except ValidationError:
            return None
