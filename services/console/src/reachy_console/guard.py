"""Which requests are answered at all, by whom they were made and by what name the console was asked. Pure."""

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
"""Of every answer."""


def refusal(
    kind: str, method: str, headers: Iterable[tuple[bytes, bytes]], names: Collection[str], *, secure: bool
) -> str | None:
    """Why a request is refused; None if it may pass.

    A page that somebody else serves can have a browser ask here. It cannot choose the ``Host`` of this machine's own names nor
    forge ``Origin``: the first shows a name that it made mean this machine, the second shows who asks where that matters.

    Args:
        kind: ``http`` or ``websocket``.
        method: Of an HTTP request.
        headers: Names in lower case.
        names: By which the console may be asked, beside those of the loopback; with any port.
        secure: Whether it is asked by TLS, as far as it knows: something in front may see to that.
    """
    given: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        given.setdefault(name, []).append(value)
    hosts = given.get(b"host", [])
    host = hosts[0].decode("latin-1").strip().lower() if len(hosts) == 1 else ""
    found = _HOST.fullmatch(host)
    if not found or found[1] not in LOOPBACK | set(names):
        return f"asked by the name {host[:80]!r}: ask by 127.0.0.1 or localhost, or list the name in CONSOLE_NAMES"
    if kind == "http" and method in ("GET", "HEAD"):
        return None
    origins = given.get(b"origin", [])
    own = {f"https://{host}"} if secure else {f"https://{host}", f"http://{host}"}
    if len(origins) != 1 or origins[0].decode("latin-1").lower() not in own:
        return "asked by a page of another origin"
    return None
