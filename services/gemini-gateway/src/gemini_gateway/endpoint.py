"""Which server speaks the Live wire, and by what it is reached and trusted."""

from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from pydantic import SecretStr


@dataclass(frozen=True)
class Endpoint:
    """Which server speaks the Live wire, and what it is trusted by.

    Args:
        name: For people: "Google", "the simulator", or the address.
        base_url: None is the SDK's own, Google's.
        root: A certificate to trust beside the system's.
        key_file: Where the key came from, if it was a file.
        proxy: The URL of the proxy that it is reached by, if any; with its password.
    """

    name: str
    key: SecretStr = field(repr=False)
    base_url: str | None = None
    root: Path | None = None
    key_file: Path | None = None
    proxy: str | None = field(default=None, repr=False)

    @property
    def account(self) -> str:
        """Tells this server and key from others, and neither can be told from it."""
        return blake2b(f"{self.base_url} {self.key.get_secret_value()}".encode(), digest_size=8).hexdigest()
