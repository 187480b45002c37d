"""The address of a store, as an operator writes it."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reachy_gateway.fleet.place import PORT, Place, parse

SECRET = "s3cr3t-w0rd"  # noqa: S105


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (f"redis://:{SECRET}@127.0.0.1", Place("127.0.0.1", PORT, None, SECRET)),
        (f"redis://:{SECRET}@localhost:7000/3", Place("localhost", 7000, None, SECRET, 3)),
        (f"valkey://link:{SECRET}@[::1]:7000/", Place("::1", 7000, "link", SECRET)),
        (f"rediss://link:{SECRET}@store.lab", Place("store.lab", PORT, "link", SECRET, tls=True)),
        (f"valkeys://:{SECRET}@store.lab:1/15", Place("store.lab", 1, None, SECRET, 15, tls=True)),
        ("redis://:p%40ss%2Fw%3Ard@127.8.9.1", Place("127.8.9.1", PORT, None, "p@ss/w:rd")),
        (f"REDISS://:{SECRET}@Store.Lab", Place("store.lab", PORT, None, SECRET, tls=True)),
        ("unix:///run/valkey.sock", Place("", 0, None, None, path="/run/valkey.sock")),
        (f"unix://link:{SECRET}@/run/a%20b.sock", Place("", 0, "link", SECRET, path="/run/a b.sock")),
    ],
)
def test_a_url_names_a_place(url, place):
    assert parse(url) == place
    assert SECRET not in repr(place)
    assert SECRET not in str(place)


def test_a_place_is_spoken_of_by_its_address():
    assert str(parse(f"redis://:{SECRET}@localhost:7000/3")) == "localhost:7000"
    assert str(parse("unix:///run/valkey.sock")) == "/run/valkey.sock"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "begins with none of redis://"),
        ("store.lab:6379", "begins with none of"),
        (f"http://:{SECRET}@store.lab", "begins with none of"),
        (f"//:{SECRET}@store.lab", "begins with none of"),
        (f"rediss://:{SECRET}@", "names no host"),
        (f"rediss://:{SECRET}@:6379", "names no host"),
        ("rediss://store.lab", "has no password"),
        ("rediss://link@store.lab", "has no password"),
        (f"rediss://{SECRET}@store.lab", "has no password"),
        ("rediss://link:@store.lab", "has no password"),
        ("redis://localhost", "has no password"),
        (f"rediss://:{SECRET}@store.lab:port", "not a URL"),
        (f"rediss://:{SECRET}@store.lab:70000", "not a URL"),
        (f"rediss://:{SECRET}@[::1", "not a URL"),
        (f"rediss://:{SECRET}/x@store.lab", "not a URL"),
        (f"rediss://:{SECRET}#x@store.lab", "not a URL"),
        (f"rediss://:{SECRET}?x@store.lab", "not a URL"),
        (f"rediss://:{SECRET}@store.lab?db=3", "nothing may follow"),
        (f"rediss://:{SECRET}@store.lab/3#x", "nothing may follow"),
        (f"rediss://:{SECRET}@store.lab/three", "number of a database"),
        (f"rediss://:{SECRET}@store.lab/-1", "number of a database"),
        (f"rediss://:{SECRET}@store.lab/1/2", "number of a database"),
        (f"rediss://:{SECRET}@store.lab/123456", "number of a database"),
        (f"rediss://:{SECRET}@store.lab/\u0663", "number of a database"),
        (f"redis://:{SECRET}@store.lab", "is not encrypted: write rediss://"),
        (f"redis://:{SECRET}@10.0.0.1", "is not encrypted"),
        (f"redis://:{SECRET}@localhost.evil.example", "is not encrypted"),
        (f"redis://:{SECRET}@127.0.0.1.evil.example", "is not encrypted"),
        ("unix://run/valkey.sock", "whole path"),
        ("unix://", "whole path"),
        ("unix:valkey.sock", "whole path"),
    ],
)
def test_what_is_no_place_is_refused_in_words_without_the_password(url, words):
    with pytest.raises(ValueError, match=words) as caught:
        parse(url)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None, "nor does a traceback show it"


def test_a_network_that_is_ones_own_need_not_be_encrypted_but_still_needs_a_password():
    assert not parse(f"redis://:{SECRET}@store", plain=True).tls
    with pytest.raises(ValueError, match="has no password"):
        parse("redis://store", plain=True)


def test_a_certificate_is_for_tls():
    cert = "/etc/root.pem"
    assert parse(f"rediss://:{SECRET}@store.lab", root_cert=cert).root_cert == cert
    with pytest.raises(ValueError, match="GATEWAY_STORE_ROOT_CERT is for a store with TLS"):
        parse(f"redis://:{SECRET}@localhost", root_cert=cert)


@given(
    st.sampled_from(["redis", "rediss", "valkey", "unix", "http", ""]),
    st.text(st.sampled_from("a:@/[]#?%5 \u20ac\n"), max_size=12),
    st.text(st.sampled_from("b:@/[]#?%5.1 \u20ac\n"), max_size=12),
    st.booleans(),
)
def test_whatever_is_written_it_is_a_place_or_refused_without_the_password(scheme, before, behind, plain):
    url = f"{scheme}://{before}{SECRET}{behind}"
    try:
        place = parse(url, plain=plain)
    except ValueError as error:
        words = str(error)
        assert SECRET not in words or SECRET in (urlsplit(url).hostname or ""), "the secret may only show in the host's place"
    else:
        assert place.path or place.password
        assert SECRET not in repr(place) or SECRET in f"{place.host} {place.user} {place.path}", "or a user, or a path"
