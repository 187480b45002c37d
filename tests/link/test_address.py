from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reachy_link.address import Address, bracketed, listening, parse, plain, readable


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


LONG = "a" * 63
WORKS = {
    "_gateway": "_gateway",
    "büro.local": "xn--bro-hoa.local",
    "BÜRO。local": "xn--bro-hoa.local",
    "Box.Lab": "box.lab",
    "box.lab.": "box.lab.",
    "7.example": "7.example",
    "0x.example": "0x.example",
    LONG: LONG,
    f"{LONG}.{LONG}.{LONG}.{'a' * 61}": f"{LONG}.{LONG}.{LONG}.{'a' * 61}",
    f"{LONG}.{LONG}.{LONG}.{'a' * 61}.": f"{LONG}.{LONG}.{LONG}.{'a' * 61}.",
    "0.0.0.0": "0.0.0.0",
    "[::1]": "[::1]",
    "[FD00:0:0::7]": "[fd00::7]",
    "[fe80::1%eth0]": "[fe80::1%eth0]",
    "[fe80::1%br-lan.100]": "[fe80::1%br-lan.100]",
    "[fe80::1%2]": "[fe80::1%2]",
    "[::ffff:127.0.0.1]": f"[{IPv6Address('::ffff:127.0.0.1')}]",
}
NO_HOSTS = [
    "-box", "box-", "box~1", "gate!way", "ga te", "a..b", ".lab", ".", "..", "", "box/", "user@box", "box%eth0", "*", "=",
    "a\0b", "a\nb", "\u00ad", "\ud800", "\ufe52lab", "\uff0f", f"{LONG}a", "ü" * 60,
    f"{LONG}.{LONG}.{LONG}.{'a' * 62}", "::1", "fe80::1%eth0", "fe80::1%eth0:5555+5556", "[::1", "::1]", "[]", "[::1]]",
    "[box]", "[127.0.0.1]", "[:::1]", "[::1%]", "[::1%a b]", "[fe80::1%averylongnameof0]", "[::1%[]", "127.0.0.01",
    "127.1", "127.0.0", "127.0.0.256", "127.0.0.1.", "1.2.3.4.5", "2130706433", "0x7f000001", "box.0x", "box.7", "\u0663.1.1.1",
    "\uff11.0.0.1", "tcp://box", "https://box.lab/", "http://[::1]",
    "[fe80::1%a@b]", "[fe80::1%a+b]", "[fe80::1%é]",
]  # fmt: skip


@pytest.mark.parametrize("text", WORKS)
def test_every_host_that_can_be_dialled_is_taken(text):
    assert parse(f"{text}:1+2") == [Address(WORKS[text], 1, 2)]


@pytest.mark.parametrize("text", NO_HOSTS)
def test_what_cannot_be_dialled_is_a_mistake_that_says_what_it_is_about(text):
    with pytest.raises(ValueError, match=r".") as caught:
        parse(f"{text}:5555+5556")
    assert repr(text)[1:-1] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("port", ["0", "65536", "70000", "-1", "+1", "1000000", "\u0663", "1.0", "x"])
def test_a_port_is_a_number_from_1_to_65535(port):
    for text in (f"box:{port}", f"box:1+{port}", f"[::1]:{port}"):
        with pytest.raises(ValueError, match=r"box|::1"):
            parse(text)


def test_advice_names_what_was_probably_meant():
    for text, advice in {
        "tcp://box:5555": "write it without tcp://",
        "::1": "an IPv6 address is written in brackets",
        "127.0.0.01": "four numbers from 0 to 255 without leading zeros",
        "box~1": "letters, digits, - and _",
        "[box]": r"as \[fd00::1\]",
        "*": "a robot dials one host, not all",
    }.items():
        with pytest.raises(ValueError, match=advice):
            parse(text)


def test_one_gateway_is_not_there_twice_in_whatever_way_it_is_written():
    for twice in ("box.lab,BOX.lab.", "büro,xn--bro-hoa", "[::1],[0:0::1]", "one:5555,one"):
        with pytest.raises(ValueError, match="is there twice"):
            parse(twice)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("*", "*"), ("0.0.0.0", "0.0.0.0"), ("::", "[::]"), ("[::]", "[::]"), ("::1", "[::1]"),
        ("fe80::1%eth0", "[fe80::1%eth0]"), ("192.168.0.7", "192.168.0.7"), ("localhost", "localhost"),
        ("eth0", "eth0"), (" * ", "*"),
    ],
)  # fmt: skip
def test_a_gateway_listens_on_all_addresses_on_one_or_by_a_name_of_its_own(text, host):
    assert listening(text) == host


@pytest.mark.parametrize(
    "text", ["", " ", "tcp://*", "*:5555", "127.0.0.1:5555", "127.0.0.01", "[::1]:5555", "a b", "**", "[*]"]
)
def test_a_gateway_listens_on_nothing_else(text):
    with pytest.raises(ValueError, match="is no"):
        listening(text)


@given(st.ip_addresses())
def test_an_ip_address_that_was_found_is_a_host_that_is_no_name(ip):
    assert not Address(bracketed(str(ip))).named
    assert parse(bracketed(str(ip))) == [Address(bracketed(str(ip)))]


def test_a_peer_of_ipv4_looks_like_one_at_a_socket_of_both_families():
    assert [plain(peer) for peer in ("::ffff:10.0.0.7", "10.0.0.7", "fd00::7", "")] == ["10.0.0.7", "10.0.0.7", "fd00::7", ""]


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


def test_of_texts_of_somebody_elses_making_those_count_that_can_be_read_each_once():
    texts = [
        "box.lab",
        "no host",
        "BOX.lab.:5555+5556",
        "",
        "[FD00::1]",
        "[fd00:0::1]:5555+5556",
        "*",
        "box.lab:1+1",
        "[fe80::1%a@b]",
    ]
    assert readable(texts) == [Address("box.lab"), Address("[fd00::1]")]


@given(st.lists(st.text(max_size=30)))
def test_whatever_texts_come_what_is_read_can_be_written_and_read_again(texts):
    addresses = readable(texts)
    assert readable(map(str, addresses)) == addresses
