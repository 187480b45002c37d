"""The console's settings."""

import re
from pathlib import Path
from typing import Final, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from reachy_link import admin
from reachy_link.address import Address, parse
from reachy_service.config import Settings

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")


class ConsoleSettings(Settings):
    """From the environment, each with the prefix ``CONSOLE_``. ``REACHY_KEYS_DIR`` has a folder for each robot of a page."""

    model_config = SettingsConfigDict(env_prefix="CONSOLE_")

    host: str = "127.0.0.1"
    """Where the page is served."""
    port: int = Field(default=8090, ge=1, le=65535)
    gateway: str = "127.0.0.1"
    """The gateways, as ``ROBOT_GATEWAY`` has them."""
    names: str = ""
    """Names by which the page may be asked beside ``localhost``, with commas."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    plain: bool = False
    """Serve others than this machine without TLS: where something in front, or the container's published port, sees to it."""
    admin: str = ""
    """The gateways' admin ports, as ``box-1.lab,box-2.lab:5559``: what the fleet is seen by. Empty: the page is for talking."""
    half_duplex: bool = False
    """Send silence while the robot speaks: for loudspeakers that a browser does not cancel."""
    quiet_s: float = Field(default=120.0, ge=5, le=3600)
    """A page at which nobody speaks for so long says goodbye, as silence is billed."""
    state_dir: Path = Path("/tmp/reachy-console")  # noqa: S108 - a folder of our own, which nobody else may read
    """Where ``reachy-console link`` finds the running console."""

    @field_validator("gateway")
    @classmethod
    def _can_be_read(cls, text: str) -> str:
        parse(text, 5555, 5556)
        return text

    @field_validator("names")
    @classmethod
    def _are_names(cls, text: str) -> str:
        for name in split(text):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name: give names without a port, as box.lab")
        return text

    @field_validator("admin")
    @classmethod
    def _has_admin_ports(cls, text: str) -> str:
        if any("+" in item for item in text.split(",")):
            raise ValueError("an admin port is one port: host, or host:PORT")
        if text:
            parse(text, admin.PORT, 1)
        return text

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("CONSOLE_TLS_CERT and CONSOLE_TLS_KEY belong together")
        if self.host not in ("127.0.0.1", "::1", "localhost") and not self.tls_cert and not self.plain:
            raise ValueError(
                "CONSOLE_HOST: browsers give the microphone to https alone, but for this machine itself: set CONSOLE_TLS_CERT "
                "and CONSOLE_TLS_KEY, or use ssh -L 8090:127.0.0.1:8090; CONSOLE_PLAIN=true if something else sees to it"
            )
        return self

    def addresses(self) -> list[Address]:
        """The gateways, as they were given."""
        return parse(self.gateway, 5555, 5556)

    def admin_addresses(self) -> list[Address]:
        """The admin ports; each the first port of its address."""
        return parse(self.admin, admin.PORT, 1) if self.admin else []


def split(text: str) -> list[str]:
    """The words between commas."""
    return [word for word in (part.strip().lower() for part in text.split(",")) if word]
