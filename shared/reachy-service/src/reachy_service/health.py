"""Health over HTTP: a thread that answers. :mod:`reachy_service.well` asks it."""

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
"""Of an HTTP request: a host, and perhaps a port."""
_PRIVATE: Final = re.compile(r"[^.]*|[0-9.]+|\[.*|.*\.(internal|localhost)")
"""Hosts that nobody outside can give a meaning to: a word, an IP address, and what is reserved for private use."""
EVERYWHERE: Final = (ANY, "[::]", "0.0.0.0")

DEFAULT_PORT: Final = 8765

PROBES: Final = ("/healthz", "/livez", "/readyz")
"""The report: 200 while the service lives, at the last only while it is to be sent robots, too; else 503."""

Report = Callable[[], dict[str, Any]]
"""Tells how the service stands: ``ok`` if it lives, and ``unready``, if there is any, why nobody is to be sent here. It asks
nobody else. Called from another thread: reads only."""


class Page(NamedTuple):
    """What is answered to a question."""

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
        """The base class looks up the name of the address, too: a silent name server would hold up the start."""
        if self._of_both:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, *_: object) -> None:
        """A question that could not be answered, in the log, which hides secrets; who asked may have gone away."""
        if not isinstance(sys.exc_info()[1], OSError):
            log.exception("health could not be told")  # noqa: LOG004 - this is called in an exception handler


class HealthServer:
    """Answers ``GET /healthz``, ``/livez`` and ``/readyz`` (:data:`PROBES`) with the report as JSON.

    A thread of its own, so that it can tell when the event loop hangs. A web page that has a browser ask here, by a name of its
    own that it made mean this machine, is refused: it could read everything else.

    Args:
        host: Where to listen, as :func:`~reachy_link.address.listening` has it.
        pages: What else is answered, by its path. Called from another thread: reads only.
        names: Names by which it may be asked, beside those that only this network can give a meaning to.
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
                    words = f"asked by the name {asked[:80]!r}, which is not in REACHY_HEALTH_NAMES; an IP address will do, too"
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
                """A line per question would drown the conversation."""

        self._server = _Server(host, port, Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.2,), name="health", daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


def _is_ours(asked: str, names: Collection[str]) -> bool:
    """Whether an HTTP request asks for a host that nobody outside can make mean this machine."""
    match = _HOST.fullmatch(asked.strip().lower())
    host = match[1].removesuffix(".") if match else ""
    return not asked or (match is not None and (host in names or _PRIVATE.fullmatch(host) is not None))


def fetched(url: str, timeout_s: float) -> bytes:
    """What is answered to a question, whatever proxy the environment names: who is asked is on this machine or its network.

    Raises:
        OSError: If nobody answers; an HTTPError if the answer is an error.
    """
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=timeout_s) as response:
            return bytes(response.read())
    except (HTTPException, ValueError) as error:
        raise OSError(f"what answers there is no service of Reachy Link ({error!r})") from None


def configured(default: int) -> tuple[str, int]:
    """Where the service of this environment answers, as ``REACHY_HEALTH_HOST`` and ``REACHY_HEALTH_PORT`` say.

    Raises:
        ValueError: If that is nowhere.
    """
    text = os.environ.get("REACHY_HEALTH_PORT", "").strip() or str(default)
    if "://" in text:  # the address of a Kubernetes Service
        text = str(default)
    if not re.fullmatch("[0-9]{1,5}", text):
        raise ValueError(f"REACHY_HEALTH_PORT={text} is no port")
    host = listening(os.environ.get("REACHY_HEALTH_HOST") or ANY)
    return "127.0.0.1" if host in EVERYWHERE else host, int(text)
