"""A store's address, as an operator writes it. Pure."""

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

SCHEMES: Final = ("redis", "rediss", "valkey", "valkeys", "unix")
TLS: Final = ("rediss", "valkeys")
PORT: Final = 6379
EXAMPLE: Final = "rediss://USER:PASSWORD@store.lab:6379 (in a password # / @ : % [ are written %23 %2F %40 %3A %25 %5B)"


@dataclass(frozen=True, slots=True)
class Place:
    """Where to dial, and with which password."""

    host: str
    port: int
    user: str | None
    password: str | None = field(repr=False)
    db: int = 0
    tls: bool = False
    path: str = ""
    """The path of a socket in the file system, instead of host and port."""
    root_cert: str = ""
    """The file of a root certificate, trusted in addition to the system's."""

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


def parse(url: str, *, plain: bool = False, root_cert: str = "") -> Place:
    """The address in a URL: ``redis://``, ``rediss://`` (TLS), or ``unix:///path``.

    Args:
        url: The URL, as redis-py and similar clients write it.
        plain: Whether the network to the store is known to be private.
        root_cert: The file of a root certificate for the store.

    Raises:
        ValueError: With what is wrong. The message never holds the password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"it is not a URL such as {EXAMPLE}") from None
    if parts.scheme not in SCHEMES:
        raise ValueError(f"it begins with none of {', '.join(f'{scheme}://' for scheme in SCHEMES)}; write it as {EXAMPLE}")
    if parts.query or parts.fragment:
        raise ValueError(f"nothing may follow the host, port and number: write it as {EXAMPLE}")
    user, password = (unquote(text) if text else None for text in (parts.username, parts.password))
    if parts.scheme == "unix":
        if not parts.path.startswith("/") or parts.hostname:
            raise ValueError("a socket is written with its whole path: unix:///run/valkey.sock")
        return Place("", 0, user, password, path=unquote(parts.path))
    if not parts.hostname:
        raise ValueError(f"it names no host: write it as {EXAMPLE}")
    if not password:
        raise ValueError(f"it has no password, so anybody who reaches the store could empty it: write it as {EXAMPLE}")
    tls = parts.scheme in TLS
    if not (tls or plain or _is_here(parts.hostname)):
        raise ValueError(
            f"the connection to {parts.hostname} is not encrypted: write rediss:// for a store with TLS, or set "
            "GATEWAY_STORE_PLAIN=true if nobody else is on the network in between"
        )
    if root_cert and not tls:
        raise ValueError("GATEWAY_STORE_ROOT_CERT is for a store with TLS: write rediss://")
    return Place(parts.hostname, port or PORT, user, password, _number(parts), tls, root_cert=root_cert)


def _number(parts: SplitResult) -> int:
    text = parts.path.strip("/")
    if text and not (text.isascii() and text.isdigit() and len(text) < 6):  # noqa: PLR2004 - no store has so many
        raise ValueError(f"after the host comes the number of a database, or nothing: write it as {EXAMPLE}")
    return int(text or 0)


def _is_here(host: str) -> bool:
    """Whether the host is this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
