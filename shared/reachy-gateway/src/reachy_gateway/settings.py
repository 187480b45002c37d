"""The settings that every gateway has."""

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
    """Settings from environment variables with the prefix ``GATEWAY_``."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_")

    keys_from: Path | None = None
    """A folder with the gateway's key, as an orchestrator mounts a secret. The key is used in the keys directory, which also
    holds the admitted keys."""
    host: str = ANY
    """The address to listen on. ``*`` is every IPv4 and IPv6 address, ``0.0.0.0`` every IPv4 address."""
    up_port: int = Field(default=5555, ge=0, le=65535)
    down_port: int = Field(default=5556, ge=0, le=65535)
    max_robots: int = Field(default=50, ge=1, le=1000)
    """How many robots are served at a time. A further robot is refused with a reason."""

    robot_messages_per_s: int = Field(default=200, ge=100, le=2000)
    """How many messages a second one robot may send. Further messages are dropped and counted as ``flood``."""
    robot_bytes_per_s: int = Field(default=500_000, ge=50_000, le=1_500_000)
    """How many bytes a second one robot may send. A microphone at 48 kHz in stereo takes 200 000."""

    admin_port: int | None = Field(default=None, ge=0, le=65535)
    """The port for consoles (usually 5559); without it there is none. It opens once ``reachy-keys operator`` made a key."""
    recordings_dir: Path | None = None
    """Where recordings are kept for a day. A robot's persona must permit them. Without a folder none are made."""

    store_plain: bool = False
    """Whether the network to the store is private, so that the connection need not be encrypted."""
    store_root_cert: Path | None = None
    """A root certificate for the store, trusted in addition to the system's."""
    store_url: SecretStr | None = None
    """The URL of the store that the gateways of a fleet share: Valkey or Redis. Without it each gateway is alone."""
    store_url_file: Path | None = None
    """A file that holds ``store_url``."""
    name: str = Field(default="", max_length=100)
    """What people call this gateway. The default is its host's name and its port."""
    advertise: str = ""
    """Where robots reach this gateway, as ``host:UP+DOWN``. The fleet's other gateways tell their robots this address."""

    drain_s: float = Field(default=2.0, ge=0, le=600)
    """How long turns in progress may go on when the gateway is stopped. Its supervisor must wait longer than this."""

    @model_validator(mode="before")
    @classmethod
    def _store_from_file(cls, values: dict[str, Any]) -> dict[str, Any]:
        path = values.get("store_url_file") or values.get("GATEWAY_STORE_URL_FILE")
        if values.get("store_url") is None:
            with suppress(ValueError):  # _holds_a_url reports it, together with all other bad settings
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
        """The fleet's store; None without one."""
        if self.store_url is None:
            return None
        return place.parse(self.store_url.get_secret_value(), plain=self.store_plain, root_cert=str(self.store_root_cert or ""))

    @property
    def called(self) -> str:
        """The name by which people call this gateway."""
        return self.name or f"{socket.gethostname()}:{self.up_port}"
