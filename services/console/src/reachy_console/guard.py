"""Decides which requests are answered at all, by their ``Host`` and ``Origin``. Pure."""

import re
from collections.abc import Collection, Iterable
from typing import Final

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?")

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; worker-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"content-security-policy", POLICY.encode()),
    (b"permissions-policy", b"microphone=(self), camera=(), geolocation=()"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
"""Headers of every answer."""


def refusal(
    kind: str, method: str, headers: Iterable[tuple[bytes, bytes]], names: Collection[str], *, secure: bool
) -> str | None:
    """Why a request is refused; None if it may pass.

    A foreign page can make a browser send requests to this console. Such a request betrays itself by two headers that the page
    cannot forge. ``Host`` holds the attacker's name, even if that name resolves to this machine (DNS rebinding). ``Origin``
    holds the foreign page's origin; it is checked for WebSockets and for requests other than GET and HEAD.

    Args:
        kind: ``http`` or ``websocket``.
        method: The HTTP method.
        headers: The headers, with names in lower case.
        names: Host names under which the console answers, beside the loopback's; any port.
        secure: Whether the console itself serves TLS. If not, a proxy in front may.
    """
    given: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        given.setdefault(name, []).append(value)
    hosts = given.get(b"host", [])
    host = hosts[0].decode("latin-1").strip().lower() if len(hosts) == 1 else ""
    found = _HOST.fullmatch(host)
    if not found or found[1] not in LOOPBACK | set(names):
        return f"unknown host name {host[:80]!r}: use 127.0.0.1 or localhost, or add the name to CONSOLE_NAMES"
    if kind == "http" and method in ("GET", "HEAD"):
        return None
    origins = given.get(b"origin", [])
    own = {f"https://{host}"} if secure else {f"https://{host}", f"http://{host}"}
    if len(origins) != 1 or origins[0].decode("latin-1").lower() not in own:
        return "the request comes from a page of another origin"
    return None
