"""A robot that costs next to nothing: the real link (CURVE, every header), and no work on the samples."""

import json
import os
import time
from typing import Final

import zmq

from reachy_link.keys import RobotIdentity
from reachy_link.sockets import Drain, SyncSocket, set_dialer
from reachy_robot.acts import OFFER
from stamps import stamped

CHUNK_S: Final = 0.02


class Robot:
    """A robot that only moves samples. With a body, it answers each act at once that the act is done."""

    def __init__(
        self, number: int, identity: RobotIdentity, context: "zmq.Context[SyncSocket]", port: int, *, body: bool = False
    ) -> None:
        self.number = number
        self._name = identity.robot
        self._body = {"body": OFFER.model_dump(mode="json")} if body else {}
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
        self._waiting = b""
        """A chunk that waits for the next one, if the gateway asked for long messages."""
        self._long = False

    def took(self, header: bytes, samples: int) -> None:
        """Called for each received message, with the number of its samples."""

    def close(self) -> None:
        """Close the connection."""
        self._drain.close()
        for socket in (self._up, self._down):
            socket.close(linger=0)

    def hello(self) -> None:
        """Send a hello."""
        pcm = {"rate_hz": 16000, "channels": 2}
        fields = {"v": 1, "robot": self._name, "boot": self._boot, "seq": self._next(), "t_us": time.monotonic_ns() // 1000}
        self._send(json.dumps(fields | {"kind": "hello", "mic": pcm, "speaker": pcm, "lead_ms": 40} | self._body).encode(), b"")

    def say(self) -> None:
        """Send the next microphone chunk."""
        self.chunk += 1
        now_us = time.monotonic_ns() // 1000
        self._hear(stamped(self.number, now_us, channels=2), now_us)
        if self.chunk % 50 == 0:
            self._send(self._header % (self._next(), now_us, b'"beat"'), b"")

    def _hear(self, pcm: bytes, now_us: int) -> None:
        """Send 20 ms of stereo, or keep them until 20 more arrive."""
        self._waiting += pcm
        if not self._long or len(self._waiting) > len(pcm):
            self._send(self._header % (self._next(), now_us, b'"mic","samples":%d' % (len(self._waiting) // 4)), self._waiting)
            self._waiting = b""

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
        elif b'"kind":"act"' in parts[1]:
            self._act(json.loads(parts[1])["id"])
        self._long = b'"mic_ms":40' in parts[1]
        self.took(parts[1], len(parts[2]) // 4)
        return True

    def _act(self, number: int) -> None:
        """Answer that an act is done."""
        now_us = time.monotonic_ns() // 1000
        self._send(self._header % (self._next(), now_us, b'"acted","id":%d,"outcome":"done"' % number), b"")
