"""gemini-gateway's settings."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from gemini_gateway.endpoint import Endpoint
from gemini_gateway.proxy import proxy_for
from reachy_gateway.settings import GatewaySettings
from reachy_link.text import unsendable
from reachy_service.config import from_file


class GeminiSettings(GatewaySettings):
    """A gateway's settings, with those that name the Gemini server and its key."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_")

    api_key: SecretStr | None = Field(default=None, validation_alias="GEMINI_API_KEY")
    """The API key. ``GEMINI_API_KEY_FILE`` names a file that holds it instead, and is read again when it changes."""
    api_key_file: Path | None = Field(default=None, validation_alias="GEMINI_API_KEY_FILE")
    base_url: str | None = Field(default=None, validation_alias="GOOGLE_GEMINI_BASE_URL", pattern=r"^https://")
    """The URL of another server that speaks the Gemini Live API."""
    root_cert: Path | None = Field(default=None, validation_alias="GEMINI_ROOT_CERT")
    """A certificate to trust beside the system's, for the server of ``GOOGLE_GEMINI_BASE_URL``."""
    sim_url: str = Field(default="https://gemini-live-sim:8765", pattern=r"^https://")
    sim_root: Path = Path("/tls/root.pem")
    model: str | None = Field(default=None, validation_alias="GEMINI_MODEL", min_length=1)
    """The model of robots for which the robots file names none."""
    robots_file: Path | None = None
    """A TOML file with robots, personas, budgets and prices; read again when it changes."""
    tools_dir: Path | None = None
    """A folder with your own tools, as Python files; read at start."""
    ledger: Path = Path("~/.local/share/reachy-link/ledger.sqlite")
    """The database of every turn's tokens and cost."""
    transcripts_dir: Path | None = None
    """The folder for transcripts of robots whose persona asks for them."""
    transcripts_keep_days: int = Field(default=30, ge=0, le=36500)
    """Transcripts of earlier days are deleted; 0 keeps them for ever."""
    uplink_ms: int | None = Field(default=None, ge=20, le=100)
    """How much mic audio one message to Gemini holds. More needs less CPU, but the audio arrives later by as much. The default
    is 20, and 40 while there are many robots or the event loop has hardly any time left."""
    shortcut: bool = True
    """Whether audio bypasses google-genai's layers, which halves the CPU per robot; all other messages go through them."""

    @model_validator(mode="before")
    @classmethod
    def _key_from_file(cls, values: dict[str, Any]) -> dict[str, Any]:
        path = values.get("GEMINI_API_KEY_FILE") or values.get("api_key_file")
        if values.get("GEMINI_API_KEY") is None and values.get("api_key") is None:  # a blank key is a mistake
            with suppress(ValueError):  # reported below, together with other mistakes
                values["GEMINI_API_KEY"] = from_file({"GEMINI_API_KEY_FILE": path}, "GEMINI_API_KEY")
        return values

    @field_validator("api_key_file")
    @classmethod
    def _holds_a_key(cls, path: Path | None) -> Path | None:
        if path and not from_file({"GEMINI_API_KEY_FILE": path}, "GEMINI_API_KEY"):
            raise ValueError(f"GEMINI_API_KEY_FILE={path} holds no key")  # without a key the simulator would be used
        return path

    @field_validator("api_key")
    @classmethod
    def _can_be_sent(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not key.get_secret_value():
            raise ValueError("the key holds only white space: leave it empty to use the simulator")
        if key and (why := unsendable(key.get_secret_value())):
            raise ValueError(f"the key cannot be sent: {why}")
        return key

    @field_validator("base_url", "sim_url")
    @classmethod
    def _is_ascii(cls, url: str | None) -> str | None:
        if url and (why := unsendable(url)):
            raise ValueError(f"this is not a URL: {why}")
        return url

    def endpoint(self) -> Endpoint:
        """Choose the server: with a base URL that server; with only a key Google; with neither the simulator.

        A key that was given never falls back to the simulator.

        Raises:
            ValueError: If the proxy that the environment names cannot be used.
        """
        if self.base_url:
            key = self.api_key or SecretStr("none")
            proxy = proxy_for(self.base_url, os.environ)
            return Endpoint(self.base_url, key, self.base_url, self.root_cert, self.api_key_file, proxy)
        if self.api_key:
            return Endpoint("Google", self.api_key, key_file=self.api_key_file, proxy=proxy_for(None, os.environ))
        return Endpoint(f"the simulator at {self.sim_url}", SecretStr("simulator"), self.sim_url, self.sim_root)
