"""A server in Gemini's place that costs next to nothing: TLS, and WebSocket and JSON by hand. It holds no conversation."""

import asyncio
import base64
import binascii
import hashlib
import json
import re
import struct
import time
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from gemini_live_sim import answers
from gemini_live_sim.tls import make_context, publish
from reachy_gateway.talk.resampler import Pcm16, Resampler
from stamps import SAMPLES as UP_SAMPLES
from stamps import Reader, marked

SPEECH_S: Final = 4.0
DOWN_SAMPLES: Final = 960
"""Samples in a message, at 24 kHz."""


class Server(asyncio.Protocol):
    """One connection in Gemini's place."""

    MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

    def __init__(self, desk: "Desk") -> None:
        self._desk = desk
        self._in = bytearray()
        self._open = False
        self.number = 0
        """The robot's number."""
        self.robot: Any = None
        self.ear = Reader()
        self.out: asyncio.Transport
        self.turns: list[list[int]] = []
        """When each message of each turn was sent, in ns."""
        self.speaking = False
        self.due = 0.0
        self.cut_ns = 0
        self.calls = 0
        self.called_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept the connection."""
        self.out = cast("asyncio.Transport", transport)  # uvloop's transport is no subclass of it

    def data_received(self, data: bytes) -> None:
        """Read the handshake, then frames."""
        now_ns = time.monotonic_ns()
        self._in += data
        if not self._open:
            end = self._in.find(b"\r\n\r\n")
            if end < 0:
                return
            found = re.search(rb"(?i)sec-websocket-key: *(\S+)", bytes(self._in[:end]))
            assert found
            accept = base64.b64encode(hashlib.sha1(found[1] + self.MAGIC).digest())  # noqa: S324 - as RFC 6455 has it
            head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            self.out.write(head + accept + b"\r\n\r\n")
            del self._in[: end + 4]
            self._open = True
        while self._frame(now_ns):
            pass

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        del exc
        self._desk.servers.discard(self)

    def say(self, turn: int, n: int) -> None:
        """Send one message of a turn's speech."""
        if n == 0:
            self.turns.append([])
        self.turns[turn].append(time.monotonic_ns())
        self.out.write(self._desk.message(self.number, turn, n))

    def burst(self, turn: int, messages: int) -> None:
        """Send so many messages of a turn's speech at once."""
        self.turns.append([time.monotonic_ns()])
        self.out.writelines(self._desk.message(self.number, turn, n % len(self._desk.speech)) for n in range(messages))

    def end(self) -> None:
        """End a turn."""
        self.turns[-1].append(time.monotonic_ns())
        self.out.write(self._desk.turn_end)

    def call(self, name: str, args: Mapping[str, object]) -> None:
        """Call a tool."""
        self.calls += 1
        self.called_ns = time.monotonic_ns()
        call = {"id": f"call-{self.calls}", "name": name, "args": args}
        self.out.write(frame(json.dumps({"toolCall": {"functionCalls": [call]}}, separators=(",", ":")).encode()))

    def interrupt(self) -> None:
        """Interrupt a turn."""
        self.cut_ns = time.monotonic_ns()
        self.out.write(self._desk.interrupted)

    def _frame(self, now_ns: int) -> bool:
        """Read one frame. Returns whether a whole one was there."""
        have = self._in
        if len(have) < 6:
            return False
        size, at = have[1] & 127, 2
        if size == 126:
            (size,) = struct.unpack_from(">H", have, 2)
            at = 4
        elif size == 127:
            (size,) = struct.unpack_from(">Q", have, 2)
            at = 10
        if len(have) < at + 4 + size:
            return False
        code = have[0] & 15
        mask = bytes(have[at : at + 4])
        masked = bytes(have[at + 4 : at + 4 + size])
        del have[: at + 4 + size]
        key = int.from_bytes((mask * (size // 4 + 1))[:size], "little")
        payload = (int.from_bytes(masked, "little") ^ key).to_bytes(size, "little")
        if code == 1:
            self._text(payload, now_ns)
        elif code == 9:
            self.out.write(bytes([0x8A, size]) + payload)
        elif code == 8:
            self.out.write(bytes([0x88, size]) + payload)
            self.out.close()
        return True

    def _text(self, payload: bytes, now_ns: int) -> None:
        start = payload.find(b'"data"')
        if start < 0:
            if b'"setup"' in payload[:12]:
                self.out.write(frame(b'{"setupComplete":{"sessionId":"bench"}}'))
                self._desk.opened(self)
            elif b'"tool_response"' in payload[:20]:
                self._desk.answered(self, now_ns)
            return
        start = payload.index(b'"', payload.index(b":", start)) + 1
        pcm = binascii.a2b_base64(payload[start : payload.index(b'"', start)].translate(STANDARD))
        self._desk.heard(self, pcm, now_ns)


STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def frame(payload: bytes) -> bytes:
    """A text frame, as a server sends it."""
    size = len(payload)
    head = bytes([0x81, size]) if size < 126 else struct.pack(">BBH", 0x81, 126, size)
    return head + payload


def message(content: dict[str, Any]) -> bytes:
    """A framed message, as the server sends it."""
    return frame(json.dumps({"serverContent": content}, separators=(",", ":")).encode())


def spoken(pcm: bytes) -> bytes:
    """A framed message with speech."""
    blob = {"mimeType": "audio/pcm;rate=24000", "data": base64.b64encode(pcm).decode()}
    return message({"modelTurn": {"parts": [{"inlineData": blob}]}})


def completing(speech: Pcm16) -> list[int]:
    """For each chunk of a turn at the robot: the number of the message after which the resampler gives the chunk's last sample.

    The turn's end counts as the message after the last.
    """
    rate, ready = Resampler(24000, 16000), 0
    found: list[int] = []
    for n, at in enumerate(range(0, len(speech), DOWN_SAMPLES)):
        ready += len(rate.convert(speech[at : at + DOWN_SAMPLES]))
        found += [n] * (ready // UP_SAMPLES - len(found))
    return found + [len(speech) // DOWN_SAMPLES] * 10


class Desk:
    """The server in Gemini's place, and its prepared messages.

    Args:
        tls: Where the root certificate is written.
        marks: Whether speech holds the time at which it was sent. Resampling would destroy such a mark.
    """

    def __init__(self, tls: Path, *, marks: bool = False) -> None:
        self.servers: set[Server] = set()
        self._marks = marks
        self._tls = tls
        with wave.open(str(min((Path(answers.__file__).parent / "answers").glob("*.wav")))) as file:
            pcm = file.readframes(file.getnframes())
        speech = np.resize(np.frombuffer(pcm, "<i2"), int(SPEECH_S * 24000))
        self._pcm = [speech[at : at + DOWN_SAMPLES].tobytes() for at in range(0, len(speech), DOWN_SAMPLES)]
        self.speech = [spoken(pcm) for pcm in self._pcm]
        self.completes = completing(speech)
        self.turn_end = message({"generationComplete": True}) + message({"turnComplete": True})
        self.interrupted = message({"interrupted": True}) + message({"turnComplete": True})

    async def listen(self) -> int:
        """Listen on the loopback. Returns the port."""

        def accept() -> Server:
            server = Server(self)
            self.servers.add(server)
            return server

        context, root_pem = make_context()
        publish(self._tls, root_pem)
        self._listener = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0, ssl=context)
        return int(self._listener.sockets[0].getsockname()[1])

    def message(self, robot: int, turn: int, n: int) -> bytes:
        """One message of a turn's speech, marked if marks are on."""
        return spoken(marked(self._pcm[n], robot, turn, time.monotonic_ns())) if self._marks else self.speech[n]

    def opened(self, server: Server) -> None:
        """Called when a session was set up."""

    def answered(self, server: Server, now_ns: int) -> None:
        """Called when a tool call was answered."""

    def heard(self, server: Server, pcm: bytes, now_ns: int) -> None:
        """Called for microphone audio on Gemini's socket."""
