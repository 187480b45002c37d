"""The server's settings: from code, or from ``SIM_*`` in the environment."""

import json
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gemini_live_sim.actions import Step
from gemini_live_sim.behaviour import Behaviour

_SERVICE = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?$")


def of_kubernetes(name: str, value: str) -> bool:
    """Whether a variable is what Kubernetes sets for a Service that is called ``sim``."""
    upper = name.upper()
    return bool(_SERVICE.search(upper)) or (upper.endswith("_PORT") and bool(re.match(r"(tcp|udp|sctp)://", value.strip())))


class SimSettings(Behaviour, BaseSettings):
    """Everything a server needs; every field of :class:`Behaviour` is one too, as every connection's default."""

    model_config = SettingsConfigDict(env_prefix="SIM_", frozen=True, extra="forbid")

    script: Annotated[tuple[Step, ...], NoDecode] = ()
    """What goes wrong when; in the environment a JSON list."""
    host: str = "127.0.0.1"
    port: int | None = Field(default=None, ge=0, le=65535)
    """Nothing: a free port for a server inside a test, 8765 for a process."""
    tls_dir: Path | None = None
    """Where the root certificate goes; nothing: a temporary directory."""
    tls_names: Annotated[tuple[str, ...], NoDecode] = ()
    """More names for the certificate, separated by commas."""
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Valid keys, separated by commas; none: any key."""
    models: Annotated[tuple[str, ...], NoDecode] = ()
    """Known models, separated by commas; none: any."""
    voices: Annotated[tuple[str, ...], NoDecode] = ()
    """Known voices, separated by commas; none: any."""
    scenario: str = "steady"
    """A name or a TOML file: what goes wrong."""
    record_bytes: int | None = Field(default=None, ge=0)
    """How much audio each way a connection's record keeps; nothing: 64 MiB in a test, none in a process."""
    keep_sessions: int = Field(default=1000, ge=1)
    """How many records of connections are kept; the oldest closed ones go."""
    max_message_bytes: int = Field(default=16 * 2**20, ge=1024)
    """Longer messages of clients close their connection with 1009."""
    deflate: bool = False
    """Negotiate compression of messages."""

    @model_validator(mode="before")
    @classmethod
    def _as_meant(cls, values: dict[str, Any]) -> dict[str, Any]:
        """What is blank counts as not set, as does a port that Kubernetes has set for a Service; a byte order mark goes."""
        given = {name: value.strip().strip("\ufeff") if isinstance(value, str) else value for name, value in values.items()}
        service = {name for name, value in given.items() if name == "port" and of_kubernetes(f"SIM_{name}", str(value))}
        return {name: value for name, value in given.items() if value != "" and name not in service}

    @field_validator("tls_dir")
    @classmethod
    def _at_home(cls, value: Path | None) -> Path | None:
        try:
            return value.expanduser() if value else None
        except RuntimeError:
            raise ValueError(f"nobody knows whose home the ~ in {value} is: write the whole path") from None

    @field_validator("tls_names", "api_keys", "models", "voices", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(item.strip() for item in value.split(",") if item.strip()) if isinstance(value, str) else value

    @field_validator("script", mode="before")
    @classmethod
    def _load(cls, value: object) -> object:
        return json.loads(value) if isinstance(value, str) else value

    def behaviour(self) -> Behaviour:
        """Return what every connection does unless told otherwise."""
        return Behaviour(**{name: getattr(self, name) for name in Behaviour.model_fields})
