"""What every gateway can be told."""

import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from reachy_gateway.fleet import place
from reachy_gateway.link.end import Bind
from reachy_link.address import ANY, listening, parse
from reachy_service.config import Settings, from_file


class GatewaySettings(Settings):
    """From the environment, each with the prefix ``GATEWAY_``."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_")

    keys_from: Path | None = None
    """A folder with the gateway's key, as an orchestrator mounts a secret. It is used in the keys directory, which keeps who is
    admitted."""
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

    store_plain: bool = False
    """Whether the network between here and the store is one's own, so that it need not be encrypted."""
    store_root_cert: Path | None = None
    """A certificate to trust beside the system's, for the store."""
    store_url: SecretStr | None = None
    """What the gateways of a fleet share: a Valkey, or a Redis. Without it each is alone."""
    store_url_file: Path | None = None
    """Or a file that holds it."""
    name: str = Field(default="", max_length=100)
    """What people call this gateway; its host's name if nothing is set."""
    advertise: str = ""
    """Where robots reach this gateway, as ``host:UP+DOWN``: told to the robots of the other gateways."""

    drain_s: float = Field(default=2.0, ge=0, le=600)
    """How long turns in progress may go on when the gateway is stopped; whatever supervises it must wait for longer."""

    @model_validator(mode="before")
    @classmethod
    def _store_from_file(cls, values: dict[str, Any]) -> dict[str, Any]:
        path = values.get("store_url_file") or values.get("GATEWAY_STORE_URL_FILE")
        if values.get("store_url") is None:
            with suppress(ValueError):  # said below, beside whatever else is wrong
                values["store_url"] = from_file({"GATEWAY_STORE_URL_FILE": path}, "GATEWAY_STORE_URL")
        return values

    @field_validator("store_url_file")
    @classmethod
    def _holds_a_url(cls, path: Path | None) -> Path | None:
        if path:
            from_file({"GATEWAY_STORE_URL_FILE": path}, "GATEWAY_STORE_URL")
        return path

    @field_validator("store_url")
    @classmethod
    def _store_can_be_reached(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if url and url.get_secret_value():
            plain, root_cert = info.data.get("store_plain", False), str(info.data.get("store_root_cert") or "")
            place.parse(url.get_secret_value(), plain=plain, root_cert=root_cert)
            return url
        return None

    @field_validator("advertise")
    @classmethod
    def _can_be_dialled(cls, text: str) -> str:
        if text and len(parse(text)) > 1:
            raise ValueError("one gateway has one address: host:UP+DOWN")
        return ",".join(map(str, parse(text))) if text else ""

    @field_validator("host")
    @classmethod
    def _can_be_listened_on(cls, text: str) -> str:
        return listening(text)

    def bind(self) -> Bind:
        """Where the link listens."""
        return Bind(self.host, self.up_port, self.down_port)

    def store(self) -> place.Place | None:
        """Where the fleet's store is, if there is one."""
        if self.store_url is None:
            return None
        return place.parse(self.store_url.get_secret_value(), plain=self.store_plain, root_cert=str(self.store_root_cert or ""))

    @property
    def called(self) -> str:
        """What people call this gateway."""
        return self.name or f"{socket.gethostname()}:{self.up_port}"
