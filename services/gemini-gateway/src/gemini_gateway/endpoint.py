"""The server that speaks the Gemini Live API, and how to reach and trust it."""

from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from pydantic import SecretStr


@dataclass(frozen=True)
class Endpoint:
    """A server that speaks the Gemini Live API, and how to reach and trust it.

    Args:
        name: The name for people: "Google", "the simulator", or the address.
        key: The API key.
        base_url: The server's URL; None is the SDK's default, Google's.
        root: A certificate to trust beside the system's.
        key_file: The file that held the key, if there was one.
        proxy: The URL of the proxy through which the server is reached, with its password; None if there is none.
    """

    name: str
    key: SecretStr = field(repr=False)
    base_url: str | None = None
    root: Path | None = None
    key_file: Path | None = None
    proxy: str | None = field(default=None, repr=False)

    @property
    def account(self) -> str:
        """A digest of the server and the key, from which neither can be read."""
        return blake2b(f"{self.base_url} {self.key.get_secret_value()}".encode(), digest_size=8).hexdigest()
