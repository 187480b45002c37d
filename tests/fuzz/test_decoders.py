"""Random bytes for everything that reads bytes from outside: each reader accepts them, or refuses them with its own error.

For more examples: ``HYPOTHESIS_MAX=100000 .venv/bin/pytest tests/fuzz``.
"""

import asyncio
import json
import os
from contextlib import suppress

import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_gateway.personas import read
from mock_gateway.voice import MockVoice
from reachy_gateway.hub import Hub
from reachy_gateway.link.end import Bind
from reachy_gateway.link.limits import Arrival
from reachy_link.keys import KeyPair, Keyring, KeysError, checked_public
from reachy_link.messages import UP
from reachy_link.wire import WireError, pack_up, unpack_down, unpack_up

CAUSES = {"parts", "topic", "oversized", "version", "kind", "header"}
EXAMPLES = int(os.environ.get("HYPOTHESIS_MAX", "300"))
many = settings(max_examples=EXAMPLES, deadline=None)

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FORMATS = st.fixed_dictionaries(
    {"rate_hz": st.sampled_from([0, 7999, 8000, 16000, 48000, 2**63]), "channels": st.integers(-1, 3)}
)
NUMBERS = st.sampled_from([-1, 0, 1, 2, 320, 4096, 2**31, 2**53 - 1, 2**53, 10**30]) | st.integers()
FIELDS = {
    "v": st.just(1) | NUMBERS,
    "kind": st.sampled_from(["hello", "mic", "activity", "played", "beat", "bye", "speaker", "flush", "welcome", "state"]),
    "robot": st.just("reachy-1") | st.text(max_size=5),
    "boot": st.sampled_from(["0" * 16, "f" * 16, "F" * 16, ""]),
    "seq": NUMBERS,
    "t_us": NUMBERS,
    "samples": NUMBERS,
    "mic": FORMATS,
    "speaker": FORMATS,
    "lead_ms": NUMBERS,
    "event": st.sampled_from(["start", "end", "stop"]),
    "turn": NUMBERS,
    "played_ms": NUMBERS,
    "complete": st.booleans(),
    "echo": st.none() | st.fixed_dictionaries({"t_us": NUMBERS, "received_us": NUMBERS}),
    "state": st.sampled_from(["listening", "speaking", "gone"]),
}
NEARLY = st.fixed_dictionaries({}, optional=FIELDS | {"extra": ANY_JSON}).map(lambda fields: json.dumps(fields).encode())
HEADERS = st.binary(max_size=300) | ANY_JSON.map(lambda value: json.dumps(value).encode()) | NEARLY
TOPICS = st.sampled_from([b"reachy-1/up", b"reachy-1/down", b"", b"reachy-1"]) | st.binary(max_size=80)
PAYLOADS = st.binary(max_size=40) | st.sampled_from([0, 640, 1280, 8192, 8193]).map(bytes)
PARTS = st.tuples(TOPICS, HEADERS, PAYLOADS) | st.lists(st.binary(max_size=50), max_size=6)

GOOD = st.fixed_dictionaries(
    {
        "v": st.just(1),
        "robot": st.just("reachy-1"),
        "boot": st.sampled_from(["0" * 16, "1" * 16, "2" * 16]),
        "seq": st.integers(0, 50) | st.integers(0, 2**53 - 1),
        "t_us": st.integers(0, 2**53 - 1),
        "kind": st.sampled_from(["hello", "mic", "mic", "activity", "played", "beat", "bye"]),
        "mic": st.fixed_dictionaries({"rate_hz": st.integers(8000, 48000), "channels": st.integers(1, 2)}),
        "speaker": st.fixed_dictionaries({"rate_hz": st.integers(8000, 48000), "channels": st.integers(1, 2)}),
        "lead_ms": st.integers(10, 1000),
        "samples": st.integers(1, 2048),
        "event": st.sampled_from(["start", "end"]),
        "turn": st.integers(0, 2**31 - 1),
        "played_ms": st.integers(0, 2**31 - 1),
        "concealed_ms": st.integers(0, 2**31 - 1),
        "window": st.integers(0, 2**53 - 1),
        "complete": st.booleans(),
    }
).map(lambda fields: UP.validate_json(json.dumps(fields)))


@many
@given(PARTS)
def test_bytes_for_a_gateway(parts):
    refusal = None
    try:
        message, payload = unpack_up(parts)
    except WireError as error:
        refusal = error
    else:
        assert unpack_up(pack_up(message, payload)) == (message, payload)
    assert refusal is None or (refusal.cause in CAUSES and len(refusal.detail) < 1000)


@many
@given(PARTS)
def test_bytes_for_a_robot(parts):
    refusal = None
    try:
        unpack_down(parts)
    except WireError as error:
        refusal = error
    assert refusal is None or (refusal.cause in CAUSES and len(refusal.detail) < 1000)


@many
@given(GOOD)
def test_what_is_packed_is_unpacked(message):
    assert unpack_up(pack_up(message)) == (message, b"")


@settings(max_examples=max(20, EXAMPLES // 10), deadline=None)
@given(st.lists(st.tuples(GOOD, st.integers(0, 2) | PAYLOADS), max_size=40))
def test_whatever_an_admitted_robot_says_the_gateway_has_no_fault(tmp_path_factory, messages):
    """Well-formed messages in any order, end to end within the gateway, with payloads that fit or do not fit."""

    async def run():
        hub = Hub(
            KeyPair(*zmq.curve_keypair()), Keyring(tmp_path_factory.getbasetemp()), Bind("127.0.0.1", 0, 0),
            lambda *_: MockVoice(), max_robots=2, software="fuzz",
        )  # fmt: skip
        serving = asyncio.create_task(hub.run())
        await asyncio.sleep(0)
        try:
            for message, payload in messages:
                fits = getattr(message, "samples", 0) * 2
                data = payload if isinstance(payload, bytes) else bytes(payload * fits)
                assert hub.on_arrival("reachy-1", len(data)) in Arrival
                hub.on_up(message, data)
                await asyncio.sleep(0)
            assert hub.tally.total("fault") == 0
        finally:
            serving.cancel()
            await asyncio.wait([serving])

    asyncio.run(run())


@many
@given(st.binary(max_size=400) | st.text(max_size=200).map(lambda text: f"[robots.reachy-1]\n{text}".encode()))
def test_bytes_for_a_robots_file(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "robots.toml"
    path.write_bytes(data)
    _, problems = read(path)
    assert all(isinstance(problem, str) for problem in problems)


@many
@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("latin1")))
def test_text_for_a_public_key(text):
    with suppress(KeysError):
        assert len(checked_public(text, "here")) == 40


@many
@given(st.binary(max_size=120))
def test_bytes_for_a_file_of_admitted_keys(tmp_path_factory, data):
    admitted = tmp_path_factory.getbasetemp() / "admitted"
    admitted.mkdir(exist_ok=True)
    (admitted / "reachy-1.pub").write_bytes(data)
    ring = Keyring(admitted.parent)
    assert ring.problems or ring.robots or not data.decode(errors="replace").strip()
