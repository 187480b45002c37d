"""Which server speaks the Live wire, and by what it is reached and trusted."""

from dataclasses import dataclass, field
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
