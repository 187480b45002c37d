"""Asks a server on this machine whether it is well, as a container's health check."""

import http.client
import ssl
from pathlib import Path

TIMEOUT_S = 3.0


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
