"""Which requests are let in and which are answered: links, guests, names and origins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reachy_console.guard import refusal
from reachy_console.login import ATTEMPTS, GUESTS_MAX, IDLE_S, LINK_S, LINKS_MAX, Logins


def logins() -> Logins:
    drawn = iter(range(10**6))
    return Logins(lambda: f"word-{next(drawn)}")


def test_a_link_lets_in_once_and_not_for_long():
    door = logins()
    first, late = door.make_link("operator", 0.0), door.make_link("viewer", 0.0)
    token = door.redeem(first, 1.0)
    assert token
    assert door.guests == 1
    assert door.role(token, 2.0) == "operator"
    assert door.redeem(first, 3.0) is None, "used"
    assert door.redeem(late, LINK_S + 1) is None, "too old"
    assert door.redeem("word-99", 4.0) is None
    assert door.role(first, 4.0) is None, "a link's code is not a guest's token"


def test_a_viewer_is_a_viewer():
    door = logins()
    token = door.redeem(door.make_link("viewer", 0.0), 0.0)
    assert token
    assert door.role(token, 1.0) == "viewer"


def test_whoever_is_away_for_long_is_forgotten_and_whoever_asks_is_not():
    door = logins()
    token = door.redeem(door.make_link("operator", 0.0), 0.0)
    assert token
    assert door.role(token, IDLE_S - 1) == "operator"
    assert door.role(token, 2 * IDLE_S - 2) == "operator"
    assert door.role(token, 4 * IDLE_S) is None


def test_whoever_leaves_is_let_in_no_more():
    door = logins()
    token = door.redeem(door.make_link("operator", 0.0), 0.0)
    assert token
    door.leave(token)
    door.leave(token)
    assert door.role(token, 1.0) is None


def test_a_thousand_attempts_are_a_few_and_those_who_are_in_notice_nothing():
    door = logins()
    token = door.redeem(door.make_link("operator", 0.0), 0.0)
    assert token
    link = door.make_link("operator", 100.0)
    tried = [door.redeem(f"guess-{n}", 100.0) for n in range(1000)]
    assert tried == [None] * 1000
    assert door.redeem(link, 100.0) is None, "the door must be shut for every link meanwhile"
    assert door.role(token, 100.0) == "operator"
    assert door.redeem(link, 100.0 + 1 / ATTEMPTS.per_s + 0.1), "and a moment later the door works"


def test_links_and_guests_are_bounded():
    door = logins()
    links = [door.make_link("operator", float(n)) for n in range(LINKS_MAX + 1)]
    assert door.redeem(links[0], 20.0) is None, "the oldest is void"
    tokens = []
    for n in range(GUESTS_MAX + 1):
        now = 100.0 * (n + 1)
        tokens.append(door.redeem(door.make_link("operator", now), now))
    assert all(tokens)
    assert door.role(tokens[0], 100.0 * GUESTS_MAX) is None, "the guest who was away longest must be out"
    assert door.role(tokens[-1], 100.0 * GUESTS_MAX) == "operator"


@pytest.mark.parametrize("word", ["", "\ud800", "x" * 100_000, "\x00", "ü"])
def test_any_word_may_be_tried(word):
    assert logins().redeem(word, 0.0) is None
    assert logins().role(word, 0.0) is None


def asked(kind="http", method="GET", host="127.0.0.1:8090", origin=None, names=(), *, secure=False, more=()):
    headers = [(b"host", host.encode("latin-1"))] if host is not None else []
    headers += [(b"origin", origin.encode())] if origin else []
    return refusal(kind, method, [*headers, *more], names, secure=secure)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8090", "localhost:9", "LOCALHOST", "[::1]:8090", "box.lab:444"])
def test_the_console_is_asked_by_its_own_names(host):
    assert asked(host=host, names=["box.lab"]) is None


NAMES_OF_OTHERS = ["evil.example", "evil.example:8090", "127.0.0.1.evil.example", "", None, "127.0.0.1:80:80", "a b", "\xe9"]


@pytest.mark.parametrize("host", [*NAMES_OF_OTHERS, "[::1", "0"])
def test_by_another_name_it_does_not_answer(host):
    assert "unknown host name" in asked(host=host)
    assert "unknown host name" in asked("websocket", "", host=host, origin=f"http://{host}")


def test_two_names_at_once_are_none():
    assert asked(more=[(b"host", b"127.0.0.1:8090")])


@pytest.mark.parametrize("origin", [None, "http://evil.example", "https://127.0.0.1:8091", "http://127.0.0.1:8091", "null"])
@pytest.mark.parametrize(("kind", "method"), [("websocket", ""), ("http", "POST"), ("http", "DELETE")])
def test_a_page_of_another_origin_commands_nothing(kind, method, origin):
    assert "another origin" in asked(kind, method, origin=origin)


GOOD = {b"127.0.0.1", b"localhost", b"[::1]", b"box.lab"}
HOSTS = st.sampled_from([*sorted(GOOD), b"evil", b"127.0.0.1.evil", b"box.lab.", b"", b"localhost\x00"]) | st.binary(
    max_size=20
)


@given(
    st.sampled_from(["http", "websocket"]),
    st.sampled_from(["GET", "POST", ""]),
    st.lists(HOSTS, max_size=2),
    st.lists(st.sampled_from([b"http://", b"https://", b""]).flatmap(lambda it: HOSTS.map(lambda host: it + host)), max_size=2),
    st.booleans(),
)
def test_whatever_passes_has_one_good_host_and_its_own_origin_where_it_commands(kind, method, hosts, origins, secure):
    headers = [*((b"host", it) for it in hosts), *((b"origin", it) for it in origins)]
    if refusal(kind, method, headers, ["box.lab"], secure=secure) is None:
        (host,) = hosts
        assert host.strip().lower() in GOOD
        if kind == "websocket" or method != "GET":
            (origin,) = origins
            assert origin.lower().removeprefix(b"https://").removeprefix(b"http://") == host.strip().lower()
            assert not (secure and origin.lower().startswith(b"http://"))


def test_a_page_of_its_own_origin_does():
    assert asked("websocket", "", origin="http://127.0.0.1:8090") is None
    assert asked("http", "POST", origin="http://localhost:1", host="localhost:1") is None
    assert asked("http", "POST", host="box.lab", origin="https://box.lab", names=["box.lab"], secure=True) is None
    assert asked("http", "POST", host="box.lab", origin="http://box.lab", names=["box.lab"], secure=True)
    assert asked("http", "POST", host="box.lab", origin="https://box.lab", names=["box.lab"]) is None, (
        "a proxy in front may add TLS"
    )
