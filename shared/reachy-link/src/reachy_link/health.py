"""Health over HTTP: a thread that answers, and the command that a container's healthcheck runs."""

import json
import logging
import os
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

log = logging.getLogger(__name__)

Report = Callable[[], dict[str, Any]]
"""Tells how the service stands; ``ok`` decides. Called from another thread: reads only."""


class Page(NamedTuple):
    """What is answered to a question."""

    content_type: str
    body: bytes


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A question that could not be answered, in the log, which hides secrets; who asked may have gone away."""
        if not isinstance(sys.exc_info()[1], OSError):
            log.exception("health could not be told")  # noqa: LOG004 - this is called in an exception handler


class HealthServer:
    """Answers ``GET /healthz`` with the report as JSON: 200 while ``ok`` is true, else 503.

    A thread of its own, so that it can tell when the event loop hangs.

    Args:
        pages: What else is answered, by its path. Called from another thread: reads only.
    """

    def __init__(self, host: str, port: int, report: Report, pages: Mapping[str, Callable[[], Page]] | None = None) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 2

            def do_GET(self) -> None:
                if self.path == "/healthz":
                    told = report()
                    self._answer(200 if told["ok"] else 503, Page("application/json", json.dumps(told).encode()))
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

        self._server = _Server((host, port), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.2,), name="health", daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


def ask(port: int) -> tuple[bool, str]:
    """Whether the service on this host is well, and what it says."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever proxy the environment names
    try:
        with direct.open(f"http://127.0.0.1:{port}/healthz", timeout=2) as response:
            return True, response.read().decode()
    except urllib.error.HTTPError as error:
        return False, error.read().decode()
    except OSError as error:
        return False, f"no answer on port {port}: {error}"


def main(argv: Iterable[str] = ()) -> int:
    """``python -m reachy_link.health``: exit status 0 if the service of this container is well."""
    del argv
    ok, words = ask(int(os.environ.get("REACHY_HEALTH_PORT", "8765")))
    sys.stdout.write(words + "\n")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
