import pytest
from hypothesis import given
from hypothesis import strategies as st

from reachy_link.address import Address, parse


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("127.0.0.1", [Address("127.0.0.1", 5555, 5556)]),
        ("my-gateway.local", [Address("my-gateway.local", 5555, 5556)]),
        ("one:7000", [Address("one", 7000, 5556)]),
        ("one:7000+7001", [Address("one", 7000, 7001)]),
        ("[::1]", [Address("[::1]", 5555, 5556)]),
        ("[fe80::1%eth0]:7000+7001", [Address("[fe80::1%eth0]", 7000, 7001)]),
        ("one, one:5557+5558 ,two_2", [Address("one"), Address("one", 5557, 5558), Address("two_2")]),
    ],
)
def test_addresses_are_read_in_every_form(text, addresses):
    assert parse(text) == addresses


@pytest.mark.parametrize(
    ("host", "named"),
    [("127.0.0.1", False), ("[fe80::1%eth0]", False), ("localhost", True), ("box-1.lab", True), ("1and1.lab", True)],
)
def test_a_host_is_a_name_or_an_ip_address(host, named):
    assert Address(host).named == named


def test_ports_that_are_not_given_are_those_of_the_settings():
    assert parse("one,two:1,three:1+2", 8000, 8001) == [
        Address("one", 8000, 8001),
        Address("two", 1, 8001),
        Address("three", 1, 2),
    ]


def test_all_mistakes_are_told_at_once():
    with pytest.raises(ValueError, match=r".") as caught:
        parse("one,,::1,two:0,three:70000,four:7+7,five:6:7,tcp://six,[::1,one:5555+5556,se ven,eight:+9")
    words = str(caught.value)
    assert words.count(";") == 10
    for mistake in (
        "'' is not",
        "'::1' is not",
        "brackets",
        "two:0",
        "three:70000",
        "four:7+7",
        "five:6:7",
        "tcp://six",
        "'[::1'",
    ):
        assert mistake in words
    assert "'one:5555+5556' is there twice" in words
    assert "'se ven'" in words
    assert "eight:+9" in words


@given(st.text())
def test_any_text_is_a_list_of_addresses_or_a_mistake(text):
    try:
        found = parse(text)
    except ValueError:
        return
    assert parse(",".join(map(str, found))) == found
