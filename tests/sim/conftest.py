"""Speech to send, a session without a server, and the real SDK as a client."""

import json
import ssl
import wave
from base64 import urlsafe_b64encode
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from google import genai
from google.genai import types

from gemini_live_sim import Behaviour, GeminiLiveSim
from gemini_live_sim.answers import recordings
from gemini_live_sim.journal import Journal
from gemini_live_sim.opening import Caller, Door
from gemini_live_sim.outputs import Output, Send
from gemini_live_sim.resumption import HandleStore
from gemini_live_sim.session import Session
from gemini_live_sim.wire import parse

HZ = 16_000
CHUNK_BYTES = 640
"""20 ms."""
DATA = Path(__file__).parent / "data"


def silence(n_ms: int) -> bytes:
    return bytes(HZ * 2 * n_ms // 1000)


def read(name: str) -> bytes:
    with wave.open(str(DATA / name)) as reader:
        assert (reader.getframerate(), reader.getnchannels(), reader.getsampwidth()) == (HZ, 1, 2)
        return reader.readframes(reader.getnframes())


@pytest.fixture(scope="session")
def question() -> bytes:
    """0.83 s of speech, "What is the time?", made with Debian's flite (voice awb) and sox, 16 kHz."""
    return read("question.wav")


@pytest.fixture(scope="session")
def spoken(question: bytes) -> bytes:
    """The question with enough silence around it for its end to be noticed, in whole chunks of 20 ms."""
    return silence(200) + question + bytes(-len(question) % CHUNK_BYTES) + silence(700)


class Talk:
    """A session with its own clock: send, let time pass, and see what came out when."""

    def __init__(self, door: Door, setup: dict[str, Any] | None = None, number: int = 1, now: float = 0.0, **fields: Any):
        self.now = now
        self.journal = Journal(number)
        self.out: list[tuple[float, Output]] = []
        caller = Caller(fields.pop("key_is_known", True), fields.pop("api_version", "v1beta"))
        self.session = Session(Behaviour(**fields), self.journal, door, now, caller)
        if setup is not None:
            self.send({"setup": {"model": "models/gemini-3.8-live", **setup}})

    def send(self, message: dict[str, Any]) -> None:
        for parsed in parse(json.dumps(message)):
            self.session.receive(parsed, self.now)
        self.wait(0)

    def say(self, pcm: bytes, mime_type: str = "audio/pcm;rate=16000") -> None:
        """Send audio in real time."""
        for at in range(0, len(pcm), CHUNK_BYTES):
            chunk = pcm[at : at + CHUNK_BYTES]
            data = urlsafe_b64encode(chunk).decode()
            self.send({"realtime_input": {"audio": {"data": data, "mime_type": mime_type}}})
            self.wait(len(chunk) / 2 / HZ)

    def wait(self, seconds: float) -> None:
        """Let time pass, from one due action to the next."""
        until = self.now + seconds
        while (due := self.session.next_due()) is not None and due <= until:
            self.now = max(self.now, due)
            self.out += [(self.now, output) for output in self.session.advance(self.now)]
        self.now = until

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [output.message for _, output in self.out if isinstance(output, Send) and isinstance(output.message, dict)]

    @property
    def audio(self) -> bytes:
        return b"".join(output.audio.pcm for _, output in self.out if isinstance(output, Send) and output.audio)

    def times(self, name: str) -> list[float]:
        """When messages with this name, or this name in serverContent, went out."""
        return [
            at
            for at, output in self.out
            if isinstance(output, Send)
            and isinstance(output.message, dict)
            and name in (output.message | output.message.get("serverContent", {}))
        ]


@pytest.fixture
def door() -> Door:
    names = (f"handle-{n}" for n in count(1))
    ids = (f"session-{n}" for n in count(1))
    return Door(HandleStore(lambda: next(names)), recordings(), frozenset(), lambda: next(ids))


@pytest.fixture
def talk(door: Door) -> Callable[..., Talk]:
    """Opens a session from setup fields and fields of its behaviour."""

    def opened(setup: dict[str, Any] | None = None, **fields: Any) -> Talk:
        return Talk(door, {} if setup is None else setup, **fields)

    return opened


class Sdk:
    """The real SDK, connected to a given server."""

    def __init__(self, sim: GeminiLiveSim, key: str, api_version: str, **socket: Any):
        context = ssl.create_default_context(cafile=str(sim.root_path))
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        options = {"ssl": context, "close_timeout": 1, "compression": None, "proxy": None, "max_size": None} | socket
        http = types.HttpOptions(base_url=sim.url, api_version=api_version, async_client_args=options)
        self.client = genai.Client(api_key=key, http_options=http)

    def connect(self, model: str = "gemini-3.8-live", **config: Any) -> Any:
        return self.client.aio.live.connect(model=model, config={"response_modalities": ["AUDIO"], **config})


@pytest.fixture
def call() -> Callable[..., Any]:
    """Connects the SDK: ``async with call(sim, **config) as session``."""

    def connect(
        sim: GeminiLiveSim,
        key: str = "any-key",
        socket: dict[str, Any] | None = None,
        api_version: str = "v1beta",
        **config: Any,
    ) -> Any:
        return Sdk(sim, key, api_version, **(socket or {})).connect(**config)

    return connect


@pytest.fixture
def speak() -> Callable[..., Any]:
    """Sends audio through the SDK, faster than real time."""

    async def send(session: Any, pcm: bytes) -> None:
        for at in range(0, len(pcm), CHUNK_BYTES):
            blob = types.Blob(data=pcm[at : at + CHUNK_BYTES], mime_type="audio/pcm;rate=16000")
            await session.send_realtime_input(audio=blob)

    return send
