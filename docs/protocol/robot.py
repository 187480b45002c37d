"""A minimal robot in bare pyzmq, after docs/protocol.md.

Raw audio (16 kHz, mono, 16 bit) comes in on stdin and goes out on stdout:

    BUFFERS="--period-time=20000 --buffer-time=80000"    # else ALSA holds back half a second, each way
    arecord -t raw -f S16_LE -r 16000 $BUFFERS |
      python robot.py NAME HOST KEYS | aplay -t raw -f S16_LE -r 16000 $BUFFERS

KEYS is a folder with self.key, self.pub and gateway.pub, as `reachy-keys` makes it. The microphone is the
clock: after each 20 ms of audio the robot looks at everything once. It leaves out the uplink window, beat,
played, and the body.
"""

import json
import secrets
import sys
import time
from contextlib import suppress
from pathlib import Path

import zmq

NAME, HOST, KEYS, UP_PORT, DOWN_PORT = (*sys.argv[1:], "5555", "5556")[:5]
FILES = "self.key", "self.pub", "gateway.pub"
SECRET, PUBLIC, SERVER = ((Path(KEYS) / key).read_bytes().strip() for key in FILES)
PCM, CHUNK_BYTES, BOOT = {"rate_hz": 16000, "channels": 1}, 640, secrets.token_hex(8)


class Link:
    """What is known of the gateway; a link that is lost is made anew."""

    def __init__(self, boot=None):
        self.boot, self.welcomed, self.hello_at, self.patience_s = boot, False, 0, 2
        self.floor, self.ended, self.playing, self.turns = 0, -1, None, {}

    def take(self, now, m, payload):
        if m["kind"] == "refuse":
            print(m["reason"], file=sys.stderr)
            self.hello_at, self.patience_s = now + 5, 7
        self.welcomed = self.welcomed or m["kind"] == "welcome"
        if not self.welcomed:
            return
        self.floor = max(self.floor, m.get("floor", 0), m["turn"] if m["kind"] == "flush" else 0)
        self.turns = {turn: pcm for turn, pcm in self.turns.items() if turn >= self.floor}
        if m["kind"] == "speaker" and m["turn"] >= max(self.floor, self.ended + 1, *self.turns):
            pcm = self.turns.setdefault(m["turn"], bytearray())
            pcm += payload if len(pcm) < 100 * CHUNK_BYTES else b""
        if m["kind"] == "turn_end" or (m["kind"] == "state" and m["state"] != "speaking"):
            self.ended = max(self.ended, m.get("turn", -1), *self.turns)

    def play(self):
        for turn, pcm in list(self.turns.items()):
            over = turn <= self.ended or turn < max(self.turns)
            if pcm and (over or turn == self.playing or len(pcm) >= 3 * CHUNK_BYTES):
                self.playing, chunk = turn, bytes(pcm[:CHUNK_BYTES])
                del pcm[:CHUNK_BYTES]
                return chunk.ljust(CHUNK_BYTES, b"\0")
            self.playing = None
            if not over:
                break
            self.ended = max(self.ended, turn)
            del self.turns[turn]
        return bytes(CHUNK_BYTES)


def dial():
    for kind, port in ((zmq.PUB, UP_PORT), (zmq.SUB, DOWN_PORT)):
        socket = zmq.Context.instance().socket(kind)
        socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = SERVER, PUBLIC, SECRET
        socket.linger, socket.handshake_ivl, socket.tcp_maxrt = 0, 2000, 3000
        socket.immediate = kind == zmq.PUB
        if kind == zmq.SUB:
            socket.subscribe(f"{NAME}/down")
        socket.connect(f"tcp://{HOST}:{port}")
        yield socket


def send(kind, payload=b"", **fields):
    global seq
    header = {"v": 1, "kind": kind, "robot": NAME, "boot": BOOT, "seq": seq, **fields}
    header["t_us"] = time.monotonic_ns() // 1000
    up.send_multipart([f"{NAME}/up".encode(), json.dumps(header).encode(), payload])
    seq += 1


up, down = dial()
seq, link, heard, dialled = 0, Link(), 0, time.monotonic()
while mic := sys.stdin.buffer.read(CHUNK_BYTES):
    now = time.monotonic()
    while down.poll(0):
        with suppress(ValueError, TypeError, LookupError, AttributeError):  # what is malformed is dropped
            _, header, payload = down.recv_multipart()
            m = json.loads(header)
            if m["v"] == 1 and m.get("to_boot") in (None, BOOT):
                heard = now
                if m["boot"] != link.boot or m["kind"] in ("refuse", "stranger"):
                    link = Link(m["boot"])
                link.take(now, m, payload)
    if now - heard > link.patience_s:
        link = Link() if link.welcomed else link  # the link is lost
        if now - dialled > 3:
            up.close(), down.close()
            (up, down), dialled = dial(), now
    if not link.welcomed and now >= link.hello_at:
        link.hello_at = now + 0.2
        send("hello", mic=PCM, speaker=PCM, lead_ms=40, software="robot.py")
    if link.welcomed:
        send("mic", mic, samples=len(mic) // 2)
    sys.stdout.buffer.write(link.play())
    sys.stdout.buffer.flush()
send("bye")
time.sleep(0.05)
