"""Asks a service on this host for its health. A container's health check runs this module, so it imports next to nothing."""

import os
import socket
import sys

TIMEOUT_S = 2.0
ANSWER_MAX = 2**20
EVERYWHERE = ("", "*", "0.0.0.0", "::", "[::]")
"""With these values of ``REACHY_HEALTH_HOST`` a service also answers at 127.0.0.1."""


def ask(port: int, host: str = "127.0.0.1") -> tuple[bool, str]:
    """Whether the service on this port is well, and its answer. Proxies in the environment are not used."""
    told = b""
    try:
        with socket.create_connection((host.strip("[]"), port), TIMEOUT_S) as connection:
            connection.sendall(f"GET /healthz HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n".encode())
            while len(told) <= ANSWER_MAX and (more := connection.recv(65536)):
                told += more
    except (OSError, OverflowError) as error:
        return False, f"no answer on port {port} of {host}: {error}"
    head, _, body = told.partition(b"\r\n\r\n")
    version, _, status = head.partition(b"\r\n")[0].partition(b" ")
    if not version.startswith(b"HTTP/"):
        return False, f"no answer on port {port} of {host}: the program that listens there is no health server"
    return status.startswith(b"200"), body.decode(errors="replace")


def main() -> int:
    """``python -m reachy_service.well``: exit status 0 if the service of this container is well."""
    given = os.environ.get("REACHY_HEALTH_PORT", "").strip().strip("\ufeff")
    if not given.isdecimal() or int(given) == 0:
        sys.stderr.write("there is no health to ask for: REACHY_HEALTH_PORT is not set to a port\n")
        return 1
    host = os.environ.get("REACHY_HEALTH_HOST", "").strip()
    ok, words = ask(int(given), "127.0.0.1" if host in EVERYWHERE else host)
    sys.stdout.write(words + "\n")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
