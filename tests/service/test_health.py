"""Health over HTTP, asked over real sockets."""

import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from reachy_service.health import HealthServer, configured, fetched
from reachy_service.well import ask

NEEDS_IPV6 = pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6")


@contextmanager
def serving(host="127.0.0.1", names=(), **told):
    server = HealthServer(host, 0, lambda: {"ok": True} | told, names=names)
    try:
        yield server.port
    finally:
        server.close()


@contextmanager
def answering(answer):
    """Run another program on the health port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            asker, _ = server.accept()
            with asker:
                asker.recv(4096)
                asker.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def status_for(port, host, path="/healthz"):
    question = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Host": host})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(question, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8080", "127.0.0.1", "[::1]:8080", "[fd00::7]", "localhost:8080", "LocalHost", "gemini-gateway:8080", "box",
     "host.docker.internal:8080", "gateway.localhost", "box.lab", "BOX.LAB.:80", ""],
)  # fmt: skip
def test_who_asks_by_an_address_or_a_name_of_this_network_is_answered(host):
    with serving(names={"box.lab", "other.lab"}) as port:
        assert status_for(port, host) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example:8080", "box.lab.evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "internal.evil.example",
     "[::1].evil.example", "evil.example:80:80", "[::1]x", "::1", "evil.local", "x@evil.example"],
)  # fmt: skip
def test_a_browser_that_was_told_that_another_name_is_this_machine_is_refused(host):
    with serving(names={"box.lab"}) as port:
        assert status_for(port, host) == 403


@pytest.mark.parametrize(
    ("told", "healthz", "livez", "readyz"),
    [
        ({}, 200, 200, 200),
        ({"unready": ""}, 200, 200, 200),
        ({"unready": "this gateway is being stopped"}, 200, 200, 503),
        ({"ok": False}, 503, 503, 503),
        ({"ok": False, "unready": "no keys"}, 503, 503, 503),
    ],
)
def test_a_service_that_lives_may_yet_not_be_ready(told, healthz, livez, readyz):
    with serving(**told) as port:
        for path, status in (("/healthz", healthz), ("/livez", livez), ("/readyz", readyz)):
            assert status_for(port, "10.1.2.3:8080", path) == status
        assert status_for(port, "10.1.2.3:8080", "/startupz") == 404


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        pytest.param("*", {"127.0.0.1", "[::1]"}, marks=NEEDS_IPV6),
        pytest.param("[::]", {"127.0.0.1", "[::1]"}, marks=NEEDS_IPV6),
        pytest.param("[::1]", {"[::1]"}, marks=NEEDS_IPV6),
        ("0.0.0.0", {"127.0.0.1"}),
        ("127.0.0.1", {"127.0.0.1"}),
        ("localhost", {"127.0.0.1"}),
    ],
)
def test_it_listens_on_the_families_that_its_host_says(host, reached):
    with serving(host) as port:
        assert {ip for ip in ("127.0.0.1", "[::1]") if ask(port, ip)[0]} == reached


def test_its_start_asks_no_name_server(monkeypatch):
    """A silent name server would delay the start, while the gateway serves no robot yet."""
    for name in ("getfqdn", "gethostbyaddr"):
        monkeypatch.delattr(socket, name)
    with serving("*") as port:
        assert ask(port)[0]


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH_9.6\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", b"HTTP/1.1 200 OK\r\n\r\n\xff"],
)
def test_something_else_that_answers_is_no_traceback(answer):
    with answering(answer) as port:
        assert isinstance(ask(port)[1], str)


@pytest.mark.parametrize("url", ["nonsense", "http://127.0.0.1:port/metrics"])
def test_an_address_that_is_none_is_told_as_nobody_who_answers(url):
    with pytest.raises(OSError, match="no service of Reachy Link"):
        fetched(url, 1)


@pytest.mark.parametrize(
    ("host", "port", "where"),
    [
        ("", "", ("127.0.0.1", 7)), ("", "8080", ("127.0.0.1", 8080)), ("0.0.0.0", "8080", ("127.0.0.1", 8080)),
        ("::", "8080", ("127.0.0.1", 8080)), ("::1", "8080", ("[::1]", 8080)), ("192.0.2.7", "1", ("192.0.2.7", 1)),
    ],
)  # fmt: skip
def test_where_to_ask_is_what_the_service_was_told(monkeypatch, host, port, where):
    monkeypatch.setenv("REACHY_HEALTH_HOST", host)
    monkeypatch.setenv("REACHY_HEALTH_PORT", port)
    assert configured(7) == where


def test_as_a_command_it_tells_by_its_status_whether_the_service_is_well():
    with serving() as port:
        for text, status in ((str(port), 0), ("", 1)):
            env = os.environ | {"REACHY_HEALTH_PORT": text}
            done = subprocess.run([sys.executable, "-m", "reachy_service.well"], env=env, check=False, capture_output=True)
            assert (done.returncode, b"Traceback" in done.stderr) == (status, False)
