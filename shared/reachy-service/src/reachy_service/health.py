"""Health over HTTP, answered by a thread. :mod:`reachy_service.well` is the client."""

import json
import logging
import os
import re
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Mapping
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Final, NamedTuple

from reachy_link.address import ANY, is_ipv6, listening

log = logging.getLogger(__name__)

_HOST: Final = re.compile(r"(\[[^\]]*\]|[^:]*)(:[0-9]*)?")
"""The ``Host`` of an HTTP request: a host, and perhaps a port."""
_PRIVATE: Final = re.compile(r"[^.]*|[0-9.]+|\[.*|.*\.(internal|localhost)")
"""Hosts to which nobody outside can give a meaning: a single word, an IP address, and names that are reserved for private
use."""
EVERYWHERE: Final = (ANY, "[::]", "0.0.0.0")

DEFAULT_PORT: Final = 8765

PROBES: Final = ("/healthz", "/livez", "/readyz")
"""Paths of the report. It has status 200 while the service lives, else 503; ``/readyz`` also has 503 while the service wants no
robots."""

Report = Callable[[], dict[str, Any]]
"""Returns the service's state: ``ok`` if the service lives, and ``unready`` with the reason if no robots should come. It asks
no other service. It is called from another thread and only reads."""


class Page(NamedTuple):
    """The answer to a request."""

    content_type: str
    body: bytes


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self._of_both = host in (ANY, "[::]") and socket.has_dualstack_ipv6()
        if self._of_both or is_ipv6(host):
            self.address_family = socket.AF_INET6
        bare = host.strip("[]")
        super().__init__(("::" if self._of_both else "0.0.0.0" if host == ANY else bare, port), handler)

    def server_bind(self) -> None:
        """Bind without looking up the address's name, as the base class does: a silent name server would delay the start."""
        if self._of_both:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, *_: object) -> None:
        """Log a request that failed; the log hides secrets. A client that has gone away is not logged."""
        if not isinstance(sys.exc_info()[1], OSError):
            log.exception("a health request failed")  # noqa: LOG004 - this is called in an exception handler


class HealthServer:
    """Answers ``GET /healthz``, ``/livez`` and ``/readyz`` (:data:`PROBES`) with the report as JSON.

    It has its own thread, so that it answers while the event loop hangs. It refuses a web page that points its own name at this
    machine and has a browser ask: the page could read everything else here.

    Args:
        host: The address to listen on, in the form of :func:`~reachy_link.address.listening`.
        pages: Further pages by path. They are called from another thread and only read.
        names: Host names that requests may use, beside the private ones that are always allowed.
    """

    def __init__(
        self,
        host: str,
        port: int,
        report: Report,
        pages: Mapping[str, Callable[[], Page]] | None = None,
        names: Collection[str] = (),
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 2

            def do_GET(self) -> None:
                asked = self.headers.get("Host", "")
                if not _is_ours(asked, names):
                    words = f"the name {asked[:80]!r} is not in REACHY_HEALTH_NAMES: add it there, or ask by an IP address"
                    self.send_error(403, explain=words)
                elif self.path in PROBES:
                    told = report()
                    well = told["ok"] and not (self.path == "/readyz" and told.get("unready"))
                    self._answer(200 if well else 503, Page("application/json", json.dumps(told).encode()))
                elif pages and self.path in pages:
                    self._answer(200, pages[self.path]())
                else:
                    self.send_error(404)

            def _answer(self, status: int, page: Page) -> None:
                self.send_response(status)
                self.send_header("Content-Type", page.content_type)
                self.send_header("Content-Length", str(len(page.body)))
                self.end_headers()
                self.wfile.write(page.body)

            def log_message(self, *_: object) -> None:
                """Log nothing: a line per request would drown the conversation."""

        self._server = _Server(host, port, Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.2,), name="health", daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


def _is_ours(asked: str, names: Collection[str]) -> bool:
    """Whether an HTTP request names a host that nobody outside can point at this machine."""
    match = _HOST.fullmatch(asked.strip().lower())
    host = match[1].removesuffix(".") if match else ""
    return not asked or (match is not None and (host in names or _PRIVATE.fullmatch(host) is not None))


def fetched(url: str, timeout_s: float) -> bytes:
    """The answer to a request. Proxies in the environment are not used: the server is on this machine or its network.

    Raises:
        OSError: If there is no answer; an HTTPError if the answer is an error.
    """
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=timeout_s) as response:
            return bytes(response.read())
    except (HTTPException, ValueError) as error:
        raise OSError(f"the program that answers there is no service of Reachy Link ({error!r})") from None


def configured(default: int) -> tuple[str, int]:
    """The address of this environment's service, by ``REACHY_HEALTH_HOST`` and ``REACHY_HEALTH_PORT``.

    Raises:
        ValueError: If the port is no number.
    """
    text = os.environ.get("REACHY_HEALTH_PORT", "").strip() or str(default)
    if "://" in text:  # the address of a Kubernetes Service
        text = str(default)
    if not re.fullmatch("[0-9]{1,5}", text):
        raise ValueError(f"REACHY_HEALTH_PORT={text} is no port")
    host = listening(os.environ.get("REACHY_HEALTH_HOST") or ANY)
    return "127.0.0.1" if host in EVERYWHERE else host, int(text)
