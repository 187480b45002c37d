"""Audio past the SDK's layers equals audio through them. A changed SDK turns one of these tests red."""

import asyncio
import json
from base64 import b64encode, urlsafe_b64encode
from types import SimpleNamespace

import pytest
import websockets.exceptions
from google.genai import types
from google.genai.live import AsyncSession
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.streams import StreamReader

from gemini_gateway.endpoint import Endpoint
from gemini_gateway.events import LiveError
from gemini_gateway.personas import Persona
from gemini_gateway.sdk.client import Live
from gemini_gateway.sdk.connection import Connection
from gemini_gateway.sdk.shortcut import Masks, audio_of, mic_message, reply_hz, text_frame
from gemini_live_sim.server import serve
from gemini_live_sim.settings import SimSettings
from reachy_gateway.voice import Audio, TurnComplete


class Socket:
    """The SDK's end of a connection. It gives these messages, then closes, and remembers what was sent to it."""

    def __init__(self, *messages: dict) -> None:
        self._messages = [json.dumps(message).encode() for message in messages]
        self.sent: list[bytes] = []

    async def send(self, message, *, text=None) -> None:
        assert isinstance(message, str) or text
        self.sent.append(message.encode() if isinstance(message, str) else message)

    async def recv(self, *, decode) -> bytes:
        assert decode is False
        if self._messages:
            return self._messages.pop(0)
        raise websockets.exceptions.ConnectionClosedError(Close(1011, "over"), None)


def connection(socket, *, shortcut: bool) -> Connection:
    return Connection(AsyncSession(SimpleNamespace(vertexai=False), socket), shortcut=shortcut)


def events(*messages: dict, shortcut: bool) -> tuple[list, str]:
    """The events that a connection makes of these messages, and why it ended."""
    found = []

    async def receive() -> str:
        try:
            async for event in connection(Socket(*messages), shortcut=shortcut).receive():
                found.append(event)  # noqa: PERF401 - the loop ends with an error, but earlier events count
        except LiveError as error:
            return f"{error.kind}: {error.words}"
        raise AssertionError

    return found, asyncio.run(receive())


def part(pcm: bytes = b"\1\0", mime: str = "audio/pcm;rate=24000", encode=b64encode, **more) -> dict:
    return {"inlineData": {"mimeType": mime, "data": encode(pcm).decode()}, **more}


def turn(*parts: dict, **content) -> dict:
    return {"serverContent": {"modelTurn": {"role": "model", "parts": list(parts)}, **content}}


@given(st.binary(min_size=1, max_size=2000))
def test_a_chunk_is_sent_as_the_sdk_sends_it_to_the_letter(pcm):
    by_hand, by_sdk = Socket(), Socket()
    asyncio.run(connection(by_hand, shortcut=True).send_audio(pcm))
    asyncio.run(connection(by_sdk, shortcut=False).send_audio(pcm))
    assert by_hand.sent == by_sdk.sent == [mic_message(pcm)]


PARTS = st.lists(
    st.builds(
        part,
        st.binary(min_size=1, max_size=300),
        st.sampled_from(["audio/pcm", "audio/pcm;rate=24000", "audio/pcm; rate=16000"]),
        st.sampled_from([b64encode, urlsafe_b64encode]),
    ),
    min_size=1,
    max_size=4,
)


@given(PARTS)
def test_audio_alone_is_read_as_the_sdk_reads_it(parts):
    assert audio_of(json.dumps(turn(*parts)).encode()) == events(turn(*parts), shortcut=False)[0]


OTHERS = [
    {"setupComplete": {}},
    turn(part(), turnComplete=True),
    turn(part(), {"text": "a thought", "thought": True}),
    turn(part(thought=True)),
    turn(part(mime="image/png")),
    turn(part(mime="audio/pcm;rate=1")),
    turn(part(b"")),
    turn(),
    turn({"inlineData": {"mimeType": "audio/pcm"}}),
    turn({"inlineData": {"mimeType": 3, "data": ["AQA="]}}),
    turn({"inlineData": {"mimeType": "audio/pcm", "data": "A"}}),
    {**turn(part()), "usageMetadata": {"totalTokenCount": 3}},
    {"serverContent": {"interrupted": True}, "inlineData": 1},
    {"serverContent": {"turnComplete": True}},
    {"goAway": {"timeLeft": "3s"}},
    {"error": {"inlineData": 1}},
]


@pytest.mark.parametrize("message", OTHERS)
def test_whatever_else_a_message_holds_makes_it_the_sdks(message):
    assert audio_of(json.dumps(message).encode()) is None


@pytest.mark.parametrize(
    "raw", [b"", b"\xff", b'{"inlineData"', b'["inlineData"]', b'"inlineData"', b"\0" * 9 + b'"inlineData"']
)
def test_what_is_no_message_is_left_to_the_sdk(raw):
    assert audio_of(raw) is None


@given(st.lists(st.one_of(st.sampled_from(OTHERS), PARTS.map(lambda parts: turn(*parts))), max_size=12))
def test_events_come_in_the_same_order_and_the_end_has_the_same_reason(messages):
    assert events(*messages, shortcut=True) == events(*messages, shortcut=False)


def test_an_sdk_whose_socket_is_elsewhere_is_used_as_it_says():
    class Elsewhere:
        def __init__(self) -> None:
            self.sent = []

        async def send_realtime_input(self, **what) -> None:
            self.sent.append(what)

    session = Elsewhere()
    asyncio.run(Connection(session, shortcut=True).send_audio(b"\1\0"))
    assert session.sent == [{"audio": types.Blob(data=b"\1\0", mime_type="audio/pcm;rate=16000")}]


@pytest.mark.parametrize("shortcut", [True, False])
async def test_a_real_connection_hears_and_answers_either_way(shortcut):
    """And takes the shortcut when asked to: the private attribute is still there."""
    async with serve(SimSettings(mode="tone", tone_ms=300, vad_threshold_dbfs=-60)) as sim:
        endpoint = Endpoint("the simulator", SecretStr("test-key"), sim.url, sim.root_path)
        async with Live(endpoint, shortcut=shortcut).connect(Persona()) as line:
            assert (line._shortcut is not None) is shortcut
            said = b"".join(bytes([n, 40 - n % 40]) * 320 for n in range(50))
            await line.send_audio(said)
            await line.send_audio(bytes(32000))
            heard = b""
            async for event in line.receive():
                if isinstance(event, Audio):
                    heard += event.pcm
                if isinstance(event, TurnComplete):
                    break
            [session] = sim.sessions
            assert bytes(session.heard).startswith(said)
            assert heard == session.answers[0].pcm


@pytest.mark.parametrize("size", [126, 127, 1783, 65535])
def test_a_frame_by_hand_is_what_the_library_reads(size):
    payload, mask = bytes(n % 251 for n in range(size)), b"\x01\xfe\x80\x7f"
    reader = StreamReader()
    reader.feed_data(text_frame(payload, mask))
    with pytest.raises(StopIteration) as over:
        next(Frame.parse(reader.read_exact, mask=True))
    assert over.value.value == Frame(Opcode.TEXT, payload)


def test_no_key_masks_two_frames():
    masks = Masks()
    keys = [masks.next() for _ in range(1000)]
    assert {len(key) for key in keys} == {4}
    assert len(set(keys)) > 990, "four random bytes must rarely repeat"


PIECES = [bytes([n % 256, n // 256]) * 1600 for n in range(2000)]
"""6.4 MB: more than any socket accepts at once."""


@pytest.mark.parametrize("shortcut", [True, False])
async def test_what_is_offered_is_sent_or_left_to_the_sender_and_keeps_its_order(shortcut):
    async with serve(SimSettings(mode="tone", vad_threshold_dbfs=0, record_bytes=10**7)) as sim:
        endpoint = Endpoint("the simulator", SecretStr("test-key"), sim.url, sim.root_path)
        async with Live(endpoint, shortcut=shortcut).connect(Persona()) as line:
            taken = 0
            while taken < len(PIECES) and line.offer_audio(PIECES[taken]):  # no other task runs, so the server reads nothing
                taken += 1
            assert 0 < taken < len(PIECES) if shortcut else taken == 0
            for piece in PIECES[taken : taken + 20]:
                await line.send_audio(piece)
            sent = b"".join(PIECES[: taken + 20])
            async with asyncio.timeout(20):
                while len(sim.sessions[0].heard) < len(sent):
                    await asyncio.sleep(0.01)
            assert sim.sessions[0].heard == sent
            assert line.offer_audio(PIECES[0]) is shortcut
            await line._session.close()
            assert not line.offer_audio(PIECES[0]), "the audio would be lost without notice"


async def test_what_is_offered_to_a_connection_that_has_just_failed_is_left_to_the_sender():
    """The connection still counts as open until the event loop has told the library."""
    async with serve(SimSettings(mode="tone", vad_threshold_dbfs=0)) as sim:
        endpoint = Endpoint("the simulator", SecretStr("test-key"), sim.url, sim.root_path)
        async with Live(endpoint, shortcut=True).connect(Persona()) as line:
            assert line.offer_audio(PIECES[0])
            line._socket.transport.abort()
            assert line._socket.state is State.OPEN
            assert not line.offer_audio(PIECES[0])


@pytest.mark.parametrize("filler", ["a" * 40_000, "=" * 40_000, "rate=" * 8_000])
def test_a_type_as_long_as_a_message_is_not_understood(filler):
    assert reply_hz("audio/pcm;" + filler) is None
