"""A container's health check: asks the server on this machine whether it works.

The check runs every few seconds. So it reads its three settings by itself and imports none of the server's modules.
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
    """Check the server with these settings; return the exit code: 1 if it does not work, 2 if ``SIM_PORT`` is wrong."""
    known = {name.upper(): value for name, value in environment.items()}
    host = known.get("SIM_HOST", "127.0.0.1")
    port = _port(known.get("SIM_PORT", str(PORT)))
    if port is None:
        return _complain(f"SIM_PORT: {known['SIM_PORT']!r} is not a port: set SIM_PORT to the server's port", code=2)
    folder = Path(known["SIM_TLS_DIR"]) if "SIM_TLS_DIR" in known else default_tls_dir()
    wrong = ask("127.0.0.1" if host in ("0.0.0.0", "::", "") else host, port, folder / ROOT)
    return _complain(wrong, code=1) if wrong else 0


def default_tls_dir() -> Path:
    """Return the default folder for a process's root certificate."""
    return Path(tempfile.gettempdir()) / "gemini-live-sim"


def ask(host: str, port: int, root: Path) -> str | None:
    """Ask over TLS, trusting the server's own root certificate; return what is wrong, or None."""
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
