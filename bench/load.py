"""Light robots, and a server in Gemini's place: what the density bench loads a gateway with, in one process on one core.

``load.py DIRECTORY ROBOTS SECONDS [--dial PORT]`` prints one line of JSON with what it measured; without a gateway's first port
there are no robots. The robots speak the real link
(CURVE, every header), the server the real wire (TLS, WebSocket), both with as little code as will do, so that the generator
is not what is measured. One monotonic clock stamps both ends.

A robot's microphone gives 20 ms every 20 ms; a chunk holds the time when it was sent in its first samples. The server sends
4 s of speech in every 8 s, in messages of 40 ms, in real time, and every second turn is cut in its middle, of half the robots
the first; the robots take turns, so that half of them hear something at any time.
"""

import argparse
import asyncio
import base64
import binascii
import hashlib
import json
import os
import re
import struct
import sys
import time
import wave
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import uvloop
import zmq

from gemini_live_sim import answers
from gemini_live_sim.tls import make_context
from reachy_gateway.talk.resampler import Pcm16, Resampler
from reachy_link.keys import RobotIdentity, load_robot
from reachy_link.sockets import Drain, SyncSocket, set_dialer
from stamps import SAMPLES as UP_SAMPLES
from stamps import read, stamped

CHUNK_S: Final = 0.02
MESSAGE_S: Final = 0.04
SPEECH_S: Final = 4.0
CYCLE_S: Final = 8.0
TICK_S: Final = 0.001
DOWN_SAMPLES: Final = 960
"""In a message, at 24 kHz."""
JITTER_S: Final = 0.06
WARM_UP_S: Final = 4.0
GRACE_S: Final = 1.0
"""What was not heard so long after the end is lost."""


@dataclass
class Measured:
    """Latencies in ms, and what did not come."""

    up_ms: list[float] = field(default_factory=list)
    down_ms: list[float] = field(default_factory=list)
    """From the message that completes a chunk."""
    content_ms: list[float] = field(default_factory=list)
    """From the message that holds a chunk's first sample: what the resampler holds back is in it."""
    cut_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)
    """How late the generator's own sends were."""
    up_sent: int = 0
    up_heard: int = 0
    down_sent: int = 0
    down_heard: int = 0
    messages_up: int = 0
    """On Gemini's sockets; fewer than chunks if the gateway put some together."""
    underruns: int = 0
    """Chunks that reached a robot later than its jitter buffer of 60 ms could bear."""


class Server(asyncio.Protocol):
    """One connection in Gemini's place."""

    MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

    def __init__(self, desk: "Desk") -> None:
        self._desk = desk
        self._in = bytearray()
        self._open = False
        self.number = -1
        self.robot: Listener | None = None
        self.out: asyncio.Transport
        self.turns: list[list[int]] = []
        """When each message of each turn was sent, in ns."""
        self.speaking = False
        self.due = 0.0
        self.cut_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self.out = cast("asyncio.Transport", transport)  # uvloop's is none by name

    def data_received(self, data: bytes) -> None:
        """Take the handshake, then frames."""
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
        """Forget it."""
        del exc
        self._desk.servers.discard(self)

    def say(self, turn: int, n: int) -> None:
        """Send a message of a turn's speech."""
        if n == 0:
            self.turns.append([])
        self.turns[turn].append(time.monotonic_ns())
        self.out.write(self._desk.speech[n])

    def end(self) -> None:
        """End a turn."""
        self.turns[-1].append(time.monotonic_ns())
        self.out.write(self._desk.turn_end)

    def interrupt(self) -> None:
        """Cut a turn."""
        self.cut_ns = time.monotonic_ns()
        self.out.write(self._desk.interrupted)

    def _frame(self, now_ns: int) -> bool:
        """Take one frame, if it is there."""
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
            return
        start = payload.index(b'"', payload.index(b":", start)) + 1
        pcm = binascii.a2b_base64(payload[start : payload.index(b'"', start)].translate(STANDARD))
        self._desk.heard(self, pcm, now_ns)


STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def frame(payload: bytes) -> bytes:
    """A text frame of the server's."""
    size = len(payload)
    head = bytes([0x81, size]) if size < 126 else struct.pack(">BBH", 0x81, 126, size)
    return head + payload


def message(content: dict[str, Any]) -> bytes:
    """A message of the server's, framed."""
    return frame(json.dumps({"serverContent": content}, separators=(",", ":")).encode())


def completing(speech: Pcm16) -> list[int]:
    """For each of a robot's chunks of a turn, the message that makes the resampler give its last sample; or the turn's end."""
    rate, ready = Resampler(24000, 16000), 0
    found: list[int] = []
    for n, at in enumerate(range(0, len(speech), DOWN_SAMPLES)):
        ready += len(rate.convert(speech[at : at + DOWN_SAMPLES]))
        found += [n] * (ready // UP_SAMPLES - len(found))
    return found + [len(speech) // DOWN_SAMPLES] * 10


class Robot:
    """A robot that moves samples and does nothing else."""

    def __init__(self, number: int, identity: RobotIdentity, context: "zmq.Context[SyncSocket]", port: int) -> None:
        self.number = number
        self._name = identity.robot
        self._boot = os.urandom(8).hex()
        self._up, self._down = context.socket(zmq.PUB), context.socket(zmq.SUB)
        for socket, to in ((self._up, port), (self._down, port + 1)):
            set_dialer(socket, identity.keys, identity.gateway_public)
            socket.connect(f"tcp://127.0.0.1:{to}")
        self._down.subscribe(f"{self._name}/down".encode())
        self._topic = f"{self._name}/up".encode()
        self._header = b'{"v":1,"robot":"%s","boot":"%s",' % (self._name.encode(), self._boot.encode())
        self._header += b'"seq":%d,"t_us":%d,"kind":%s}'
        self._drain = Drain(self._down, self._ready)
        self._seq = 0
        self.welcomed = False
        self.chunk = 0
        self.due = 0.0

    def took(self, header: bytes, samples: int) -> None:
        """Told of a message, and how many samples it holds."""

    def close(self) -> None:
        """Hang up."""
        self._drain.close()
        for socket in (self._up, self._down):
            socket.close(linger=0)

    def hello(self) -> None:
        """Say hello."""
        pcm = {"rate_hz": 16000, "channels": 2}
        fields = {"v": 1, "robot": self._name, "boot": self._boot, "seq": self._next(), "t_us": time.monotonic_ns() // 1000}
        self._send(json.dumps(fields | {"kind": "hello", "mic": pcm, "speaker": pcm, "lead_ms": 40}).encode(), b"")

    def say(self) -> None:
        """Send the next chunk of the microphone."""
        self.chunk += 1
        now_us = time.monotonic_ns() // 1000
        self._send(self._header % (self._next(), now_us, b'"mic","samples":320'), stamped(self.number, now_us, channels=2))
        if self.chunk % 50 == 0:
            self._send(self._header % (self._next(), now_us, b'"beat"'), b"")

    def _next(self) -> int:
        self._seq += 1
        return self._seq - 1

    def _send(self, header: bytes, payload: bytes) -> None:
        self._up.send(self._topic, zmq.SNDMORE)
        self._up.send(header, zmq.SNDMORE)
        self._up.send(payload)

    def _ready(self) -> bool:
        try:
            parts = self._down.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return False
        if b'"kind":"welcome"' in parts[1]:
            self.welcomed = True
        self.took(parts[1], len(parts[2]) // 4)
        return True


class Listener(Robot):
    """A robot that measures what it is sent."""

    def __init__(
        self, number: int, identity: RobotIdentity, bench: "Bench", context: "zmq.Context[SyncSocket]", port: int
    ) -> None:
        super().__init__(number, identity, context, port)
        self._bench = bench
        self.server: Server | None = None
        self._turn = -1
        self._turns = -1
        self._position = 0
        self._began_ns = 0

    def took(self, header: bytes, samples: int) -> None:
        """Measure."""
        if b'"kind":"speaker"' in header:
            self._heard(header, samples)
        elif b'"kind":"flush"' in header and self.server and self.server.cut_ns:
            self._bench.cut(self.server, self._position // UP_SAMPLES)

    def _heard(self, header: bytes, samples: int) -> None:
        now_ns = time.monotonic_ns()
        found = re.search(rb'"turn":(\d+)', header)
        assert found
        turn = int(found[1])
        if turn != self._turn:
            self._turn, self._position, self._began_ns = turn, 0, now_ns
            self._turns += 1
        late = now_ns - self._began_ns > (self._position / 16000 + JITTER_S) * 1e9
        first = self._position * 3 // 2 // DOWN_SAMPLES
        completes = self._bench.completes[self._position // UP_SAMPLES]
        self._position += samples
        if self.server and self._turns < len(self.server.turns) and completes < len(self.server.turns[self._turns]):
            sent = self.server.turns[self._turns]
            self._bench.played(sent[min(first, completes)], sent[completes], now_ns, late=late)


class Desk:
    """What stands in Gemini's place, and what it can say.

    Args:
        tls: Where its root certificate is written.
    """

    def __init__(self, tls: Path) -> None:
        self.servers: set[Server] = set()
        self._tls = tls
        with wave.open(str(min((Path(answers.__file__).parent / "answers").glob("*.wav")))) as file:
            pcm = file.readframes(file.getnframes())
        speech = np.resize(np.frombuffer(pcm, "<i2"), int(SPEECH_S * 24000))
        self.speech = [
            message({"modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": data}}]}})
            for data in (
                base64.b64encode(speech[at : at + DOWN_SAMPLES].tobytes()).decode()
                for at in range(0, len(speech), DOWN_SAMPLES)
            )
        ]
        self.completes = completing(speech)
        self.turn_end = message({"generationComplete": True}) + message({"turnComplete": True})
        self.interrupted = message({"interrupted": True}) + message({"turnComplete": True})

    async def listen(self) -> int:
        """Listen; on which port of the loopback."""

        def accept() -> Server:
            server = Server(self)
            self.servers.add(server)
            return server

        self._listener = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0, ssl=make_context(self._tls))
        return int(self._listener.sockets[0].getsockname()[1])

    def opened(self, server: Server) -> None:
        """Told of a session that was set up."""

    def heard(self, server: Server, pcm: bytes, now_ns: int) -> None:
        """Told of mic audio on Gemini's socket."""


class Bench(Desk):
    """A run."""

    def __init__(self, directory: Path, robots: int) -> None:
        super().__init__(directory / "tls")
        self.measured = Measured()
        self.measuring = False
        self._from_ns = self._to_ns = 0
        """What was sent within is measured, whenever it is heard."""
        self.robots: list[Listener] = []
        self._n = robots
        self._directory = directory

    def heard(self, server: Server, pcm: bytes, now_ns: int) -> None:
        """Mic audio on Gemini's socket."""
        chunks = read(pcm)
        if server.robot is None and self.robots:
            server.robot = self.robots[chunks[0][0]]
            server.robot.server = server
        took_ms = [now_ns / 1e6 - sent_us / 1e3 for _, sent_us in chunks if self._counts(sent_us * 1000)]
        self.measured.messages_up += bool(took_ms)
        self.measured.up_heard += len(took_ms)
        self.measured.up_ms += took_ms

    def played(self, first_ns: int, completed_ns: int, now_ns: int, *, late: bool) -> None:
        """A speaker chunk at a robot's socket, and when the server sent its first sample and what completed it."""
        if self._counts(completed_ns):
            self.measured.down_heard += 1
            self.measured.underruns += late
            self.measured.content_ms.append((now_ns - first_ns) / 1e6)
            self.measured.down_ms.append((now_ns - completed_ns) / 1e6)

    def cut(self, server: Server, heard: int) -> None:
        """A flush at a robot's socket, which has heard so many chunks of the turn: the others are not lost."""
        if self._counts(server.cut_ns):
            self.measured.down_sent -= max(0, 2 * len(server.turns[-1]) - heard)
        self.measured.cut_ms.append((time.monotonic_ns() - server.cut_ns) / 1e6)
        server.cut_ns = 0

    def _counts(self, sent_ns: int) -> bool:
        return 0 < self._from_ns <= sent_ns and (self.measuring or sent_ns < self._to_ns)

    async def run(self, seconds: float, port: int | None) -> None:
        """Connect everybody, warm up, measure."""
        print(json.dumps({"port": await self.listen()}), flush=True)
        if port:
            await self._dial(port)
        async with asyncio.timeout(60):
            while len(self.servers) < self._n:
                await asyncio.sleep(0.05)
        await self._talk(seconds)

    async def _dial(self, port: int) -> None:
        context: zmq.Context[SyncSocket] = zmq.Context(io_threads=1)
        context.max_sockets = 4 * self._n + 50
        for n in range(self._n):
            self.robots.append(Listener(n, load_robot(self._directory / f"robot-{n}"), self, context, port))
        async with asyncio.timeout(60):
            while not all(robot.welcomed for robot in self.robots):
                for robot in self.robots:
                    if not robot.welcomed:
                        robot.hello()
                await asyncio.sleep(0.2)

    async def _talk(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time() + 0.1
        for n, robot in enumerate(self.robots):
            robot.due = began + CHUNK_S * n / self._n
        warm = began + WARM_UP_S
        await asyncio.sleep(1.0)
        servers = sorted(self.servers, key=lambda server: server.robot.number if server.robot else 0)
        began = loop.time()
        plans = [Plan(server, began + CYCLE_S * n / len(servers), n) for n, server in enumerate(servers)]
        ticker = asyncio.create_task(self._tick(plans))
        await asyncio.sleep(warm - loop.time())
        cpu, since = time.process_time(), loop.time()
        self.measuring, self._from_ns = True, time.monotonic_ns() // 1000 * 1000
        print(json.dumps({"measuring": True}), flush=True)
        await asyncio.sleep(seconds)
        self.measuring, self._to_ns = False, time.monotonic_ns()
        busy = (time.process_time() - cpu) / (loop.time() - since)
        await asyncio.sleep(GRACE_S)
        measured = self.measured
        print(
            json.dumps({"busy": busy, **{name: getattr(measured, name) for name in measured.__dataclass_fields__}}), flush=True
        )
        await asyncio.sleep(60)  # whoever asked hangs up first
        ticker.cancel()

    async def _tick(self, plans: list["Plan"]) -> None:
        """Whatever is due, again and again."""
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            for robot in self.robots:
                while robot.due <= now:
                    if self.measuring:
                        self.measured.up_sent += 1
                        self.measured.late_ms.append((now - robot.due) * 1000)
                    robot.say()
                    robot.due += CHUNK_S
            for plan in plans:
                while plan.due <= now:
                    plan.step(self)
            await asyncio.sleep(TICK_S)


class Plan:
    """When a server says what: speech for 4 s, silence for 4 s; every second turn is cut in its middle."""

    def __init__(self, server: Server, due: float, number: int) -> None:
        self._server = server
        self._number = number
        self._steps = round(SPEECH_S / MESSAGE_S)
        self._turn = 0
        self._n = 0
        self.due = due

    def step(self, bench: Bench) -> None:
        """Do what is due."""
        cut = (self._turn + self._number) % 2 == 1
        if cut and self._n == self._steps // 2:
            self._server.interrupt()
            self._next(CYCLE_S - SPEECH_S / 2)
        elif self._n == self._steps:
            self._server.end()
            self._next(CYCLE_S - SPEECH_S)
        else:
            self._server.say(self._turn, self._n)
            if bench.measuring:
                bench.measured.down_sent += 2
            self._n += 1
            self.due += MESSAGE_S

    def _next(self, pause_s: float) -> None:
        self._turn += 1
        self._n = 0
        self.due += pause_s


def main(argv: list[str]) -> None:
    """Run once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("robots", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--dial", type=int, metavar="PORT", help="the gateway's first port")
    args = parser.parse_args(argv)
    bench = Bench(args.directory, args.robots)
    uvloop.run(bench.run(args.seconds, args.dial))


if __name__ == "__main__":
    main(sys.argv[1:])
