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
    """Settings from ``CONSOLE_*`` in the environment. ``REACHY_KEYS_DIR`` holds a folder for each robot of a page."""

    model_config = SettingsConfigDict(env_prefix="CONSOLE_")

    host: str = "127.0.0.1"
    """The address on which the page is served."""
    port: int = Field(default=8090, ge=1, le=65535)
    gateway: str = "127.0.0.1"
    """The gateways' addresses, written as in ``ROBOT_GATEWAY``."""
    names: str = ""
    """More host names under which the console answers, beside ``localhost``, separated by commas."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    plain: bool = False
    """Serve other machines without TLS: for a proxy with TLS in front, or a container's published port."""
    admin: str = ""
    """The gateways' admin ports, which the fleet view needs, as ``box-1.lab,box-2.lab:5559``. Empty: the page only talks."""
    half_duplex: bool = False
    """Send silence while the robot speaks: for loudspeakers whose sound the browser does not cancel in the microphone."""
    quiet_s: float = Field(default=120.0, ge=5, le=3600)
    """A page's robot says goodbye after this long without speech, because silence is billed."""
    state_dir: Path = Path("/tmp/reachy-console")  # noqa: S108 - our own folder; no other user may read it
    """The folder in which ``reachy-console link`` finds the running console's secret."""

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
                raise ValueError(f"{name!r} is not a host name: give names without a port, such as box.lab")
        return text

    @field_validator("admin")
    @classmethod
    def _has_admin_ports(cls, text: str) -> str:
        if any("+" in item for item in text.split(",")):
            raise ValueError("an admin port is a single port: write host, or host:PORT")
        if text:
            parse(text, admin.PORT, 1)
        return text

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("CONSOLE_TLS_CERT and CONSOLE_TLS_KEY belong together: set both or neither")
        if self.host not in ("127.0.0.1", "::1", "localhost") and not self.tls_cert and not self.plain:
            raise ValueError(
                "CONSOLE_HOST: browsers give the microphone to other machines over https only: set CONSOLE_TLS_CERT and "
                "CONSOLE_TLS_KEY, use ssh -L 8090:127.0.0.1:8090 HOST, or set CONSOLE_PLAIN=true if a proxy in front adds TLS"
            )
        return self

    def addresses(self) -> list[Address]:
        """The gateways' addresses, in the given order."""
        return parse(self.gateway, 5555, 5556)

    def admin_addresses(self) -> list[Address]:
        """The admin ports' addresses; each admin port is its address's first port."""
        return parse(self.admin, admin.PORT, 1) if self.admin else []


def split(text: str) -> list[str]:
    """Split a text at commas, into lower-case words."""
    return [word for word in (part.strip().lower() for part in text.split(",")) if word]
