"""Which requests the console answers, by their Host and Origin."""

import pytest

from reachy_console.guard import HEADERS, refusal

NAMES = {"box.lab"}


def asked(host: str | None, origin: str | None = None, kind="http", method="GET", *, secure=False, names=NAMES) -> str | None:
    headers = [(name, value.encode("latin-1")) for name, value in ((b"host", host), (b"origin", origin)) if value is not None]
    return refusal(kind, method, headers, names, secure=secure)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8090", "localhost:1", "[::1]:8090", "box.lab", "BOX.lab:443", " box.lab "]
)
def test_a_page_may_be_read_by_the_consoles_own_names(host):
    assert asked(host) is None
    assert asked(host, "https://evil.example", method="HEAD") is None


@pytest.mark.parametrize(
    "host", [None, "", "evil.example", "127.0.0.1.evil.example", "box.lab.", "box.lab:123456", "box.lab@x", "[::1", "a b"]
)
def test_another_name_is_refused_with_what_to_do(host):
    assert "CONSOLE_NAMES" in asked(host)


def test_two_hosts_are_none():
    headers = [(b"host", b"box.lab"), (b"host", b"box.lab")]
    assert refusal("http", "GET", headers, NAMES, secure=False)


@pytest.mark.parametrize(("kind", "method"), [("websocket", "GET"), ("http", "POST"), ("http", "DELETE")])
@pytest.mark.parametrize(("origin", "secure", "passes"), [
    ("http://box.lab:8090", False, True),
    ("https://box.lab:8090", False, True),
    ("https://box.lab:8090", True, True),
    ("http://box.lab:8090", True, False),
    ("https://box.lab", True, False),
    ("https://evil.example", False, False),
    ("null", False, False),
    (None, False, False),
])  # fmt: skip
def test_a_command_counts_only_from_the_consoles_own_page(kind, method, origin, secure, passes):
    assert (asked("box.lab:8090", origin, kind, method, secure=secure) is None) is passes


def test_a_request_with_two_origins_is_refused():
    headers = [(b"host", b"box.lab"), (b"origin", b"http://box.lab"), (b"origin", b"http://box.lab")]
    assert refusal("websocket", "GET", headers, NAMES, secure=False)


def test_every_answer_forbids_frames_and_foreign_scripts():
    policy = dict(HEADERS)[b"content-security-policy"]
    assert b"default-src 'none'" in policy
    assert b"frame-ancestors 'none'" in policy
