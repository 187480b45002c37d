"""gemini-gateway's settings."""

from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from gemini_gateway.live import Endpoint
from reachy_gateway.settings import GatewaySettings
from reachy_link.config import from_file


class GeminiSettings(GatewaySettings):
    """What a gateway has, and which Gemini it talks to."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_")

    api_key: SecretStr | None = Field(default=None, validation_alias="GEMINI_API_KEY")
    """Or a file that holds it: ``GEMINI_API_KEY_FILE``."""
    base_url: str | None = Field(default=None, validation_alias="GOOGLE_GEMINI_BASE_URL", pattern=r"^https://")
    """Any other server that speaks the Live wire."""
    root_cert: Path | None = Field(default=None, validation_alias="GEMINI_ROOT_CERT")
    """A certificate to trust beside the system's, for that server."""
    sim_url: str = Field(default="https://gemini-live-sim:8765", pattern=r"^https://")
    sim_root: Path = Path("/tls/root.pem")
    model: str = Field(default="gemini-3.8-live", validation_alias="GEMINI_MODEL", min_length=1)
    voice: str = Field(default="Kore", validation_alias="GEMINI_VOICE", min_length=1)
    instruction: str = Field(
        default="You are Reachy Mini, a small friendly robot on a desk. You talk: answer in one to three short sentences.",
        validation_alias="GEMINI_INSTRUCTION",
    )

    @model_validator(mode="before")
    @classmethod
    def _key_file(cls, values: dict[str, Any]) -> dict[str, Any]:
        if not values.get("GEMINI_API_KEY") and (key := from_file(values, "GEMINI_API_KEY")):
            values["GEMINI_API_KEY"] = key
        return values

    def endpoint(self) -> Endpoint:
        """The selector: a base URL is that server; a key alone is Google; nothing is the simulator.

        A key that was given never falls back to the simulator.
        """
        if self.base_url:
            return Endpoint(self.base_url, self.api_key or SecretStr("none"), self.base_url, self.root_cert)
        if self.api_key:
            return Endpoint("Google", self.api_key)
        return Endpoint(f"the simulator at {self.sim_url}", SecretStr("simulator"), self.sim_url, self.sim_root)
