"""What every gateway can be told."""

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from reachy_gateway.link.end import Bind
from reachy_link.address import ANY, listening
from reachy_service.config import Settings


class GatewaySettings(Settings):
    """From the environment, each with the prefix ``GATEWAY_``."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_")

    host: str = ANY
    """The address to listen on; ``*`` is all of both families, ``0.0.0.0`` all of IPv4."""
    up_port: int = Field(default=5555, ge=0, le=65535)
    down_port: int = Field(default=5556, ge=0, le=65535)
    max_robots: int = Field(default=50, ge=1, le=1000)
    """How many robots are served at a time; the next is refused in words."""

    robot_messages_per_s: int = Field(default=200, ge=100, le=2000)
    """How many messages one robot may send; what is more is dropped and counted as ``flood``."""
    robot_bytes_per_s: int = Field(default=500_000, ge=50_000, le=1_500_000)
    """How many bytes one robot may send. A microphone at 48 kHz in stereo takes 200 000."""

    admin_port: int | None = Field(default=None, ge=0, le=65535)
    """Where consoles ask (5559 is usual); without it nowhere. It opens once an operator has a key: ``reachy-keys operator``."""
    recordings_dir: Path | None = None
    """Where recordings are kept for a day, of robots whose persona permits them; without it none are made."""

    drain_s: float = Field(default=2.0, ge=0, le=600)
    """How long turns in progress may go on when the gateway is stopped; whatever supervises it must wait for longer."""

    @field_validator("host")
    @classmethod
    def _can_be_listened_on(cls, text: str) -> str:
        return listening(text)

    def bind(self) -> Bind:
        """Where the link listens."""
        return Bind(self.host, self.up_port, self.down_port)
