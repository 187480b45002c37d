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
    """Whether Kubernetes sets this variable, for a Service called ``sim``."""
    upper = name.upper()
    return bool(_SERVICE.search(upper)) or (upper.endswith("_PORT") and bool(re.match(r"(tcp|udp|sctp)://", value.strip())))


class SimSettings(Behaviour, BaseSettings):
    """All settings of a server. The fields of :class:`Behaviour` are settings, too: the default of every connection."""

    model_config = SettingsConfigDict(env_prefix="SIM_", frozen=True, extra="forbid")

    script: Annotated[tuple[Step, ...], NoDecode] = ()
    """Scripted faults and other actions; in the environment a JSON list."""
    host: str = "127.0.0.1"
    port: int | None = Field(default=None, ge=0, le=65535)
    """None: a free port for a server inside a test, 8765 for a process."""
    tls_dir: Path | None = None
    """The folder for the root certificate; None: a temporary directory."""
    tls_names: Annotated[tuple[str, ...], NoDecode] = ()
    """More names for the certificate, separated by commas."""
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Valid keys, separated by commas; empty: any key."""
    models: Annotated[tuple[str, ...], NoDecode] = ()
    """Known models, separated by commas; empty: any model."""
    voices: Annotated[tuple[str, ...], NoDecode] = ()
    """Known voices, separated by commas; empty: any voice."""
    scenario: str = "steady"
    """The name or the TOML file of a scenario, which says what goes wrong."""
    record_bytes: int | None = Field(default=None, ge=0)
    """The audio that a connection's record keeps in each direction; None: 64 MiB in a test, nothing in a process."""
    keep_sessions: int = Field(default=1000, ge=1)
    """The number of connection records that are kept. Beyond this the oldest closed ones are dropped."""
    max_message_bytes: int = Field(default=16 * 2**20, ge=1024)
    """Longest message from a client. A longer one closes the connection with 1009."""
    deflate: bool = False
    """Whether to negotiate compression of messages."""

    @model_validator(mode="before")
    @classmethod
    def _as_meant(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Treat blank values, and a port that Kubernetes set for a Service, as not set. Remove byte order marks."""
        given = {name: value.strip().strip("\ufeff") if isinstance(value, str) else value for name, value in values.items()}
        service = {name for name, value in given.items() if name == "port" and of_kubernetes(f"SIM_{name}", str(value))}
        return {name: value for name, value in given.items() if value != "" and name not in service}

    @field_validator("tls_dir")
    @classmethod
    def _at_home(cls, value: Path | None) -> Path | None:
        try:
            return value.expanduser() if value else None
        except RuntimeError:
            raise ValueError(f"the home directory for ~ in {value} is unknown: write the whole path") from None

    @field_validator("tls_names", "api_keys", "models", "voices", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(item.strip() for item in value.split(",") if item.strip()) if isinstance(value, str) else value

    @field_validator("script", mode="before")
    @classmethod
    def _load(cls, value: object) -> object:
        return json.loads(value) if isinstance(value, str) else value

    def behaviour(self) -> Behaviour:
        """Return the default behaviour of every connection."""
        return Behaviour(**{name: getattr(self, name) for name in Behaviour.model_fields})
