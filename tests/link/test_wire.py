import json
from contextlib import suppress
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from reachy_link import messages as m
from reachy_link.pcm import Format
from reachy_link.wire import (
    HEADER_MAX_BYTES,
    PAYLOAD_MAX_BYTES,
    VersionError,
    WireError,
    check_audio,
    down_topic,
    pack_down,
    pack_up,
    unpack_down,
    unpack_up,
    up_topic,
)

BOOT = "0123456789abcdef"
STEREO = Format(rate_hz=16000, channels=2)

# --- every message there is -------------------------------------------------------------------------------------------

ROBOTS = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)
BOOTS = st.text("0123456789abcdef", min_size=16, max_size=16)
SEQS = st.integers(0, 2**53 - 1)
TURNS = st.integers(0, 2**31 - 1)
COUNTS = st.integers(0, 10**9)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
FORMATS = st.builds(Format, rate_hz=st.integers(8000, 48000), channels=st.integers(1, 2))
ECHOES = st.builds(m.Echo, t_us=SEQS, received_us=SEQS)
SENDER = {"robot": ROBOTS, "boot": BOOTS, "seq": SEQS, "t_us": SEQS}
DOWN = SENDER | {"ack": st.none() | SEQS, "floor": TURNS, "to_boot": st.none() | BOOTS}
NAMES = st.from_regex(r"[a-z0-9_]{1,24}", fullmatch=True)
OFFERS = st.builds(
    m.BodyOffer,
    gestures=st.lists(NAMES, max_size=m.GESTURES_MAX).map(tuple),
    dances=st.lists(NAMES, max_size=m.DANCES_MAX).map(tuple),
    turns=st.booleans(),
    volume=st.booleans(),
    manner=st.booleans(),
)
ACT = {
    "id": TURNS,
    "name": NAMES,
    "args": st.dictionaries(NAMES, WORDS | st.floats(allow_nan=False, allow_infinity=False), max_size=3),
}
PHASES = st.sampled_from(get_args(m.Phase))
WHERE = st.from_regex(r"[a-z0-9.]{1,40}(:[0-9]{1,5}\+[0-9]{1,5})?", fullmatch=True)

UP_MESSAGES = {
    m.Hello: st.builds(
        m.Hello, **SENDER, mic=FORMATS, speaker=FORMATS, lead_ms=st.integers(10, 1000), software=WORDS, body=st.none() | OFFERS
    ),
    m.Mic: st.builds(m.Mic, **SENDER, samples=st.integers(1, 4096)),
    m.Activity: st.builds(m.Activity, **SENDER, event=st.sampled_from(["start", "end"])),
    m.Played: st.builds(
        m.Played,
        **SENDER,
        turn=TURNS,
        played_ms=COUNTS,
        complete=st.booleans(),
        underruns=COUNTS,
        concealed_ms=COUNTS,
        latency_ms=st.none() | COUNTS,
        arrived_us=st.none() | SEQS,
        started_us=st.none() | SEQS,
        cut_us=st.none() | SEQS,
    ),
    m.Acted: st.builds(m.Acted, **SENDER, id=TURNS, outcome=st.sampled_from(get_args(m.Outcome)), reason=WORDS),
    m.Sense: st.builds(m.Sense, **SENDER, person_deg=st.none() | st.floats(-180, 180)),
    m.BeatUp: st.builds(m.BeatUp, **SENDER, echo=st.none() | ECHOES),
    m.Bye: st.builds(m.Bye, **SENDER),
}
DOWN_MESSAGES = {
    m.Welcome: st.builds(m.Welcome, **DOWN, software=WORDS, gateways=st.lists(WHERE, max_size=m.GATEWAYS_MAX).map(tuple)),
    m.Refuse: st.builds(m.Refuse, **DOWN, reason=WORDS),
    m.Stranger: st.builds(m.Stranger, **DOWN),
    m.Leave: st.builds(m.Leave, **DOWN, reason=WORDS, to=st.none() | WHERE),
    m.Speaker: st.builds(m.Speaker, **DOWN, turn=TURNS, samples=st.integers(1, 4096)),
    m.TurnEnd: st.builds(m.TurnEnd, **DOWN, turn=TURNS),
    m.Flush: st.builds(m.Flush, **DOWN, turn=TURNS),
    m.Act: st.builds(m.Act, **DOWN, **ACT, turn=TURNS),
    m.Cancel: st.builds(m.Cancel, **DOWN, id=st.none() | TURNS),
    m.State: st.builds(
        m.State, **DOWN, state=PHASES, reason=WORDS, heard_us=st.none() | SEQS, person_speaks=st.none() | st.booleans()
    ),
    m.Transcript: st.builds(m.Transcript, **DOWN, who=st.sampled_from(["person", "robot"]), text=WORDS, turn=st.none() | TURNS),
    m.BeatDown: st.builds(m.BeatDown, **DOWN, echo=st.none() | ECHOES),
}
PAYLOADS = st.binary(max_size=64)


def bye(**fields) -> m.Bye:
    return m.Bye(**{"robot": "reachy-1", "boot": BOOT, "seq": 0, "t_us": 0} | fields)


def mic(samples: int) -> m.Mic:
    return m.Mic(robot="reachy-1", boot=BOOT, seq=0, t_us=0, samples=samples)


def header(**fields: object) -> bytes:
    return json.dumps({"v": 1, "kind": "bye", "robot": "reachy-1", "boot": BOOT, "seq": 0, "t_us": 0} | fields).encode()


def refusal(parts, unpack=unpack_up) -> WireError:
    with pytest.raises(WireError) as caught:
        unpack(parts)
    return caught.value


# --- what was packed comes back ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", get_args(m.Up))
@given(data=st.data(), payload=PAYLOADS)
def test_every_message_of_a_robot_comes_back_as_it_was(kind, data, payload):
    message = data.draw(UP_MESSAGES[kind])
    payload = payload if isinstance(message, m.Audio) else b""
    parts = pack_up(message, payload)
    assert unpack_up(parts) == (message, payload)
    assert type(unpack_up(parts)[0]) is kind
    assert parts[0] == message.robot.encode() + b"/up"


@pytest.mark.parametrize("kind", get_args(m.Down))
@given(data=st.data(), payload=PAYLOADS)
def test_every_message_of_a_gateway_comes_back_as_it_was(kind, data, payload):
    message = data.draw(DOWN_MESSAGES[kind])
    payload = payload if isinstance(message, m.Audio) else b""
    parts = pack_down(message, payload)
    assert unpack_down(parts) == (message, payload)
    assert type(unpack_down(parts)[0]) is kind
    assert parts[0] == message.robot.encode() + b"/down"


LONGEST = {"robot": "r" * 63, "boot": BOOT, "seq": 2**53 - 1, "t_us": 2**53 - 1}
LONGEST_DOWN = LONGEST | {"ack": 2**53 - 1, "floor": 2**31 - 1, "to_boot": BOOT}
ALPHABETS = pytest.mark.parametrize("letter", ["a", "é", "語", "🤖", '"', "\x01"], ids=ascii)


def longest(kind, field: str) -> int:
    """The most characters that a field may have."""
    return next(part.max_length for part in kind.model_fields[field].metadata if hasattr(part, "max_length"))


@ALPHABETS
@pytest.mark.parametrize(
    ("kind", "field", "fields"),
    [
        (m.Welcome, "software", {}),
        (m.Welcome, "software", {"gateways": ("x" * 43,) * 16 + ("y" * 12,)}),
        (m.Leave, "reason", {"to": "x" * 300}),
        (m.Refuse, "reason", {}),
        (m.State, "reason", {"state": "reconnecting", "heard_us": 2**53 - 1}),
        (m.Transcript, "text", {"who": "person", "turn": 2**31 - 1}),
    ],
)
def test_the_longest_words_in_any_alphabet_fit_a_header(kind, field, fields, letter):
    message = kind(**LONGEST_DOWN, **fields, **{field: letter * longest(kind, field)})
    parts = pack_down(message)
    assert len(parts[1]) <= HEADER_MAX_BYTES
    assert unpack_down(parts) == (message, b"")


@ALPHABETS
def test_the_longest_hello_in_any_alphabet_fits_a_header(letter):
    hello = m.Hello(**LONGEST, mic=STEREO, speaker=STEREO, lead_ms=1000, software=letter * longest(m.Hello, "software"))
    assert unpack_up(pack_up(hello)) == (hello, b"")


ODD = [
    "",
    "a b",
    "a,b",
    'a"b',
    "a\\b",
    "a\nb",
    "\x01",
    "büro.lab",
    "語",
    "x" * 301,
    5,
    None,
    1.5,
    ["box.lab"],
    {"host": "box.lab"},
]


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_what_can_be_no_address_is_left_out_of_a_hint_and_costs_no_message(odd):
    welcome, _ = unpack_down([b"reachy-1/down", header(kind="welcome", gateways=["one.lab", odd, "two.lab:1+2"]), b""])
    assert welcome.gateways == ("one.lab", "two.lab:1+2")
    leave, _ = unpack_down([b"reachy-1/down", header(kind="leave", reason="stopping", to=odd), b""])
    assert (leave.reason, leave.to) == ("stopping", None)
    for gateways in ([odd] * 10, {"one.lab": odd}, "one.lab", 5, None):
        assert unpack_down([b"reachy-1/down", header(kind="welcome", gateways=gateways), b""])[0].gateways == ()


@given(st.lists(st.text(max_size=320) | WHERE, max_size=40))
def test_whatever_gateways_a_welcome_is_to_name_it_fits_a_header_and_keeps_their_order(gateways):
    message = m.make(m.Welcome, **LONGEST_DOWN, software="\x01" * 500, gateways=gateways)
    assert unpack_down(pack_down(message)) == (message, b"")
    rest = iter(gateways)
    assert all(where in rest for where in message.gateways)
    assert sum(map(len, message.gateways)) <= m.GATEWAYS_MAX_CHARS


def test_what_is_not_set_is_not_sent():
    assert b"gateways" not in pack_down(m.Welcome(robot="reachy-1", boot=BOOT, seq=0, t_us=0))[1]
    assert b"null" not in pack_down(m.BeatDown(robot="reachy-1", boot=BOOT, seq=0, t_us=0))[1]
    assert b"null" not in pack_up(m.BeatUp(robot="reachy-1", boot=BOOT, seq=0, t_us=0))[1]


# --- newer and older peers --------------------------------------------------------------------------------------------


def test_fields_of_a_newer_peer_are_ignored_at_any_depth():
    fields = header(kind="beat", mood="happy", echo={"t_us": 1, "received_us": 2, "quality": 3})
    message, _ = unpack_up((up_topic("reachy-1"), fields, b""))
    assert message == m.BeatUp(robot="reachy-1", boot=BOOT, seq=0, t_us=0, echo=m.Echo(t_us=1, received_us=2))


def test_an_unknown_kind_is_told_from_a_damaged_header():
    assert refusal((up_topic("reachy-1"), header(kind="dance"), b"")).cause == "kind"
    assert refusal((up_topic("reachy-1"), header(kind="mic", samples="many"), b"")).cause == "header"


def test_a_kind_of_the_other_direction_is_unknown():
    assert refusal((up_topic("reachy-1"), header(kind="flush", turn=1), b"")).cause == "kind"
    assert refusal((down_topic("reachy-1"), header(kind="mic", samples=1), b""), unpack_down).cause == "kind"


@pytest.mark.parametrize(("theirs", "who"), [(2, "upgrade this end"), (0, "upgrade the other end")])
def test_another_version_is_refused_in_words_that_say_who_must_upgrade(theirs, who):
    error = refusal((up_topic("reachy-1"), header(v=theirs), b""))
    assert isinstance(error, VersionError)
    assert error.cause == "version"
    assert f"version {theirs}," in str(error)
    assert who in str(error)


def test_another_version_is_seen_even_if_nothing_else_of_the_header_is_known():
    assert refusal((up_topic("reachy-1"), b'{"v": 7, "type": "whatever"}', b"")).cause == "version"


@pytest.mark.parametrize("version", ["true", "1.0", '"1"', '"2"', "2.0", "null", None])
def test_a_version_is_an_integer_and_has_to_be_there(version):
    said = json.loads(header())
    del said["v"]
    text = json.dumps(said)
    if version:
        text = text[:-1] + f', "v": {version}}}'
    assert refusal((up_topic("reachy-1"), text.encode(), b"")).cause == "header"


@example(theirs=10**1500)
@given(theirs=st.integers())
def test_whatever_version_a_peer_claims_its_refusal_can_be_sent_back(theirs):
    if theirs == m.VERSION:
        return
    error = refusal((up_topic("reachy-1"), header(v=theirs), b""))
    refuse = m.Refuse(robot="reachy-1", boot=BOOT, seq=0, t_us=0, reason=error.detail)
    assert unpack_down(pack_down(refuse))[0] == refuse


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_a_message_has_three_parts(count):
    error = refusal([b"reachy-1/up", header(), b"", b""][:count])
    assert error.cause == "parts"
    assert f"{count} parts, expected 3" in str(error)


@pytest.mark.parametrize("topic", [b"", b"reachy-1", b"reachy-1/down", b"reachy-2/up", b"reachy-1/up/", b"\xff/up"])
def test_the_topic_must_be_that_of_the_robot_in_the_header(topic):
    assert refusal((topic, header(), b"")).cause == "topic"


def test_a_robot_drops_what_is_under_the_topic_of_another():
    told = m.BeatDown(robot="reachy-2", boot=BOOT, seq=0, t_us=0)
    assert refusal((down_topic("reachy-1"), *pack_down(told)[1:]), unpack_down).cause == "topic"


def test_sizes_beyond_the_limits_are_refused_with_both_numbers():
    topic = up_topic("reachy-1")
    assert refusal((b"r" * 69, header(), b"")).cause == "topic"
    too_long = refusal((topic, header(extra="x" * HEADER_MAX_BYTES), b""))
    assert too_long.cause == "oversized"
    assert "at most 4096" in str(too_long)
    too_large = refusal((topic, header(kind="mic", samples=4096), b"\0" * (PAYLOAD_MAX_BYTES + 1)))
    assert too_large.cause == "oversized"
    assert "8193" in str(too_large)
    assert "at most 8192" in str(too_large)


def test_sizes_at_the_limits_pass():
    padded = header(kind="mic", samples=1, extra="")
    padded = header(kind="mic", samples=1, extra="x" * (HEADER_MAX_BYTES - len(padded)))
    assert len(padded) == HEADER_MAX_BYTES
    assert unpack_up((up_topic("reachy-1"), padded, b"\0" * PAYLOAD_MAX_BYTES))[0] == mic(1)
    longest_name = "r" * 63
    assert unpack_up(pack_up(bye(robot=longest_name)))[0].robot == longest_name


MONO = {"rate_hz": 16000, "channels": 1}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("robot", "Reachy"),
        ("robot", "-r"),
        ("robot", ""),
        ("robot", "a/up"),
        ("robot", "r" * 64),
        ("robot", "reachy-1\n"),
        ("boot", "0123"),
        ("boot", BOOT.upper()),
        ("seq", -1),
        ("seq", 2**53),
        ("seq", "1"),
        ("seq", 1.5),
        ("t_us", -1),
        ("t_us", None),
        ("samples", 0),
        ("samples", 4097),
        ("event", "pause"),
        ("mic", MONO | {"rate_hz": 4000}),
        ("speaker", MONO | {"channels": 3}),
        ("lead_ms", 9),
        ("lead_ms", 1001),
    ],
)
def test_a_field_beyond_its_range_is_refused_by_name(field, value):
    kind = {"samples": "mic", "event": "activity", "mic": "hello", "speaker": "hello", "lead_ms": "hello"}.get(field, "bye")
    valid = {"samples": 1, "event": "start", "mic": MONO, "speaker": MONO, "lead_ms": 40, "kind": kind}
    unpack_up((up_topic("reachy-1"), header(**valid), b""))
    error = refusal((up_topic("reachy-1"), header(**valid | {field: value}), b""))
    assert error.cause == "header"
    assert field in error.detail


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KINDS = st.sampled_from([kind.model_fields["kind"].default for kind in (*get_args(m.Up), *get_args(m.Down))])
NEARLY = st.fixed_dictionaries(
    {"v": st.just(1) | JSON, "kind": KINDS | JSON, "robot": st.just("reachy-1") | JSON, "boot": st.just(BOOT) | JSON},
    optional={
        name: st.integers(0, 9) | JSON
        for name in ("seq", "t_us", "samples", "turn", "echo", "mic", "speaker", "ack", "floor", "to_boot", "state", "text")
    },
)
HEADERS = (
    st.binary(max_size=200)
    | JSON.map(lambda value: json.dumps(value).encode())
    | NEARLY.map(lambda value: json.dumps(value).encode())
)
TOPICS = st.sampled_from([b"reachy-1/up", b"reachy-1/down"]) | st.binary(max_size=80)


@given(parts=st.lists(st.binary(max_size=200), max_size=5) | st.tuples(TOPICS, HEADERS, PAYLOADS))
@example(parts=(b"reachy-1/up", b"[" * 4000, b""))
@example(parts=(b"reachy-1/up", b'{"kind":' * 400, b""))
@example(parts=(b"reachy-1/up", b'{"v":1e999,"kind":"bye"}', b""))
@example(parts=(b"reachy-1/up", b'{"v":' + b"9" * 4000 + b"}", b""))
@example(parts=(b"reachy-1/up", b'{"v":1,"kind":"\\ud800"}', b""))
@example(parts=(b"reachy-1/up", b"\xff\xfe", b""))
def test_whatever_bytes_come_the_answer_is_a_message_or_a_wire_error(parts):
    for unpack in (unpack_up, unpack_down):
        with suppress(WireError):
            message, payload = unpack(parts)
            assert parts[0].startswith(message.robot.encode() + b"/")
            assert payload == parts[2]


@given(message=st.one_of(*UP_MESSAGES.values()), at=st.integers(0), byte=st.integers(0, 255))
def test_one_damaged_byte_of_a_header_is_a_message_or_a_wire_error(message, at, byte):
    topic, good, _ = pack_up(message)
    at %= len(good)
    with suppress(WireError):
        unpack_up((topic, good[:at] + bytes([byte]) + good[at + 1 :], b""))


# --- header and payload -----------------------------------------------------------------------------------------------


@given(samples=st.integers(1, 4096), pcm=FORMATS, off=st.integers(-9, 9))
def test_the_payload_is_as_long_as_header_and_format_say(samples, pcm, off):
    size = samples * pcm.channels * 2
    payload = b"\0" * max(0, size + off)
    if len(payload) == size:
        check_audio(mic(samples), payload, pcm)
    else:
        with pytest.raises(WireError, match=f"mic has {len(payload)} bytes of payload, expected {size}") as caught:
            check_audio(mic(samples), payload, pcm)
        assert caught.value.cause == "payload"


def test_audio_before_any_hello_has_no_format():
    with pytest.raises(WireError) as caught:
        check_audio(mic(1), b"\0\0", None)
    assert caught.value.cause == "format"


@pytest.mark.parametrize("pcm", [None, STEREO])
def test_only_audio_carries_a_payload(pcm):
    check_audio(bye(), b"", pcm)
    topic, header, payload = pack_up(bye())
    with pytest.raises(WireError, match="bye has 1 bytes of payload, expected 0") as caught:
        unpack_up((topic, header, payload + b"\0"))
    assert caught.value.cause == "payload"


@given(text=st.text(max_size=70) | st.from_regex(m.ROBOT_ID))
def test_a_robot_id_is_the_same_everywhere(text):
    try:
        bye(robot=text)
    except ValueError:
        valid = False
    else:
        valid = True
    assert m.is_robot_id(text) is valid


@pytest.mark.parametrize("kind", get_args(m.Up))
def test_no_number_of_a_robot_is_too_large_to_reckon_with(kind):
    """Sums of numbers become floats. One robot's number must not break every robot's metrics."""
    integers = {name for name, field in kind.model_fields.items() if field.annotation in (int, int | None)}
    for name in integers - {"v"}:
        fields = {"robot": "reachy-1", "boot": BOOT, "seq": 0, "t_us": 0, "kind": kind.model_fields["kind"].default}
        fields |= {"turn": 1, "played_ms": 1, "complete": True, "samples": 1, "event": "start", "lead_ms": 40}
        fields |= {"id": 1, "outcome": "done"}
        fields |= {"mic": {"rate_hz": 16000, "channels": 1}, "speaker": {"rate_hz": 16000, "channels": 1}}
        assert isinstance(m.UP.validate_python(fields), kind)
        with pytest.raises(ValidationError, match="less than"):
            m.UP.validate_python(fields | {name: 10**400})


def test_a_message_of_ours_has_no_field_that_its_kind_lacks():
    fields = {"robot": "reachy-1", "boot": "0" * 16, "seq": 0, "t_us": 0, "floor": 0, "state": "listening"}
    assert m.make(m.State, **fields, heard_us=5).heard_us == 5
    with pytest.raises(TypeError, match="State has no field heard_uss"):
        m.make(m.State, **fields, heard_uss=5)
