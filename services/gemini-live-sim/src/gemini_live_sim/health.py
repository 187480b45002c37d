"""Asks a server on this machine whether it is well, as a container's health check.

A check comes every few seconds, so it reads the three settings that it needs by itself and imports nothing of the server's.
"""

import http.client
import ssl
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

PORT = 8765
ROOT = "root.pem"
TIMEOUT_S = 3.0
_MAX_PORT = 65_535


def main(environment: Mapping[str, str]) -> int:
    """Ask the server that has these settings; return the exit code: 1 if it is not well, 2 if they name none."""
    known = {name.upper(): value for name, value in environment.items()}
    host = known.get("SIM_HOST", "127.0.0.1")
    port = _port(known.get("SIM_PORT", str(PORT)))
    if port is None:
        return _complain(f"SIM_PORT: {known['SIM_PORT']!r} is not a port: set it to that of the server", code=2)
    folder = Path(known["SIM_TLS_DIR"]) if "SIM_TLS_DIR" in known else default_tls_dir()
    wrong = ask("127.0.0.1" if host in ("0.0.0.0", "::", "") else host, port, folder / ROOT)
    return _complain(wrong, code=1) if wrong else 0


def default_tls_dir() -> Path:
    """Return where a process puts its root certificate unless told otherwise."""
    return Path(tempfile.gettempdir()) / "gemini-live-sim"


def ask(host: str, port: int, root: Path) -> str | None:
    """Ask over TLS, trusting the server's own root; return what is wrong, or nothing."""
    try:
        context = ssl.create_default_context(cafile=str(root))
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
        try:
            connection.request("GET", "/healthz")
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        return f"https://{host}:{port}: {error}"
    return None if status == http.client.OK else f"https://{host}:{port}: HTTP {status}"


def _port(text: str) -> int | None:
    try:
        port = int(text)
    except ValueError:
        return None
    return port if 0 <= port <= _MAX_PORT else None


def _complain(text: str, code: int) -> int:
    sys.stderr.write(text + "\n")
    return code
