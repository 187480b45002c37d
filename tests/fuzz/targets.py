"""The fuzz targets: for each reader of outside bytes a function that feeds it and raises only if the reader misbehaves.

A reader may accept the bytes, or refuse them with its own error. In an input, a line ``--`` separates the parts of a message
and a line ``==`` separates messages or files.
"""

import contextlib
import io
import os
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import websockets.exceptions
from google.genai.live import AsyncSession
from websockets.frames import Close

from gemini_gateway import personas
from gemini_gateway.events import LiveError, ServerEvent
from gemini_gateway.sdk.connection import Connection
from gemini_gateway.session.decisions import Emit
from gemini_gateway.session.session import Session
from gemini_gateway.session.timing import SessionSettings
from gemini_gateway.settings import GeminiSettings
from gemini_live_sim import wire as sim_wire
from gemini_live_sim.setup import read_setup
from reachy_gateway.link.peer import Handling, Peer
from reachy_gateway.link.zap import Zap
from reachy_gateway.talk.conversation import Conversation
from reachy_gateway.voice import Audio, SpeechNoticed
from reachy_link.address import Address
from reachy_link.keys import Keyring, KeysError, checked_public, load_robot
from reachy_link.messages import Activity, Hello, Mic, Played, Welcome
from reachy_link.pcm import Format
from reachy_link.sockets import ZAP_DOMAIN
from reachy_link.wire import WireError, check_audio, pack_down, pack_up, unpack_down, unpack_up
from reachy_robot.core import RobotCore
from reachy_robot.decisions import Profile
from reachy_service.config import load
from robot_io.settings import RobotSettings

CAUSES = {"parts", "topic", "oversized", "version", "kind", "header", "payload", "format"}
PART, MESSAGE = b"\n--\n", b"\n==\n"
STEREO = Format(rate_hz=16000, channels=2)
BOOTS = ("0" * 16, "1" * 16)
WORK = Path(tempfile.mkdtemp(prefix="fuzz-"))


def refused(error: WireError) -> None:
    assert error.cause in CAUSES
    assert len(error.detail) < 1000


def link_up(data: bytes) -> None:
    """Messages from one robot at the gateway: the codec, the peer, the conversation."""
    peer, conversation, now = Peer("reachy-1", BOOTS[1]), None, 100.0
    for raw in data.split(MESSAGE)[:20]:
        now += 0.02
        try:
            message, payload = unpack_up(raw.split(PART)[:6])
            assert unpack_up(pack_up(message, payload)) == (message, payload)
            verdict, _ = peer.heard(message, now)
            if verdict not in (Handling.PASSED, Handling.RESTARTED):
                continue
            check_audio(message, payload, peer.mic)
        except WireError as error:
            refused(error)
            continue
        match message:
            case Hello():
                conversation = Conversation(message, 1)
            case Mic() if conversation:
                conversation.mic(message, payload, now)
            case Activity(event="start") if conversation:
                conversation.voice(SpeechNoticed(), now)
            case Played() if conversation:
                conversation.played(message, peer.clock.offset_us)
        if conversation:
            conversation.tick(now)


def link_down(data: bytes) -> None:
    """Messages from a gateway at a welcomed robot: the codec, the core, the playout."""
    core = RobotCore(Profile("reachy-1", BOOTS[0], STEREO, STEREO, 40, "fuzz"), 100.0, [Address("10.0.0.1")])
    now = 100.0
    others = ("10.0.0.2:5555+5556", "box.lab:5555+5556")
    core.down(Welcome(robot="reachy-1", boot=BOOTS[1], seq=0, t_us=0, to_boot=BOOTS[0], gateways=others), b"", now, 0.0)
    for raw in data.split(MESSAGE)[:20]:
        now += 0.02
        try:
            message, payload = unpack_down(raw.split(PART)[:6])
        except WireError as error:
            refused(error)
            core.bad(error)
        else:
            assert unpack_down(pack_down(message, payload)) == (message, payload)
            core.down(message, payload, now, 0.0)
        core.tick(now, 20.0)


class _Nobody(Keyring):
    """A key ring that admits no robot and has no directory."""

    def __init__(self) -> None:
        super().__init__(WORK / "nowhere")


def zap(data: bytes) -> None:
    """A request of the handshake: without an admitted key nothing gets in."""
    handler = Zap.__new__(Zap)
    handler._ring, handler._barred, handler._on_bad = _Nobody(), lambda _: False, lambda *_: None
    handler._domain, handler._cause = ZAP_DOMAIN, "key"
    status, text, user_id = handler._decide(data.split(PART)[:12])
    assert (status, user_id) == (b"400", b"")
    assert text


def robots_file(data: bytes) -> None:
    """The robots file: personas, budgets, prices."""
    path = WORK / "robots.toml"
    path.write_bytes(data)
    _, problems = personas.read(path)
    assert all(isinstance(problem, str) for problem in problems)


def settings(data: bytes) -> None:
    """The environment, one variable on each line."""
    lines = data.replace(b"\0", b"").decode(errors="replace").splitlines()
    known = {line.partition("=")[0]: line.partition("=")[2] for line in lines if line.startswith(PREFIXES) and "=" in line}
    for name in [name for name in os.environ if name.startswith(PREFIXES)]:
        del os.environ[name]
    os.environ.update(known)
    for model in (GeminiSettings, RobotSettings):
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            try:
                load(model)
            except SystemExit as end:
                assert end.code == 2  # noqa: PT017
                assert said.getvalue().startswith("configuration: ")


PREFIXES = ("ROBOT_", "GATEWAY_", "GEMINI_", "GOOGLE_", "REACHY_")


def key_files(data: bytes) -> None:
    """A robot's directory (self.key, gateway.pub, robot-id), a file of admitted keys, and a typed key."""
    secret, gateway, name, admitted, typed, *_ = [*data.split(MESSAGE), b"", b"", b"", b"", b""]
    for file, content, mode in (("self.key", secret, 0o600), ("gateway.pub", gateway, 0o644), ("robot-id", name, 0o644)):
        (WORK / file).write_bytes(content)
        (WORK / file).chmod(mode)
    with contextlib.suppress(KeysError):
        identity = load_robot(WORK)
        assert len(identity.keys.public) == len(identity.gateway_public) == 40
    with contextlib.suppress(KeysError):
        assert len(checked_public(typed.decode(errors="replace"), "here")) == 40
    (WORK / "admitted").mkdir(exist_ok=True)
    (WORK / "admitted" / "reachy-1.pub").write_bytes(admitted)
    ring = Keyring(WORK)
    assert ring.problems or ring.robots or not admitted.decode(errors="replace").strip()


def sim_message(data: bytes) -> None:
    """A client's messages at the simulator, including its setup."""
    for raw in data.split(MESSAGE)[:10]:
        try:
            for message in sim_wire.parse(raw):
                if isinstance(message, sim_wire.Setup):
                    read_setup(message.fields)
        except sim_wire.WireError as error:
            assert error.reason  # noqa: PT017


class _Socket:
    """The SDK's end of a connection to Gemini. It gives these messages and then closes."""

    def __init__(self, messages: list[bytes]) -> None:
        self._messages = messages

    async def send(self, message: bytes, *, text: bool) -> None:
        """Send nothing."""

    async def recv(self, *, decode: bool) -> bytes:
        assert decode is False
        if self._messages:
            return self._messages.pop(0)
        raise websockets.exceptions.ConnectionClosedError(Close(1011, "over"), None)


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never waits."""
    with contextlib.suppress(StopIteration):
        coroutine.send(None)
        raise AssertionError("the coroutine waits")


def gemini_message(data: bytes) -> None:
    """Gemini's messages, read by the SDK and by the shortcut past it, into the session's core and the conversation."""
    by_sdk, by_hand = (_events(data.split(MESSAGE)[:10], shortcut=shortcut) for shortcut in (False, True))
    assert [event for event in by_hand if isinstance(event, Audio)] == [event for event in by_sdk if isinstance(event, Audio)]
    session = Session(SessionSettings(), 0.0, lambda: 0.5)
    session.dial(0.0)
    session.opened(0.0)
    conversation = Conversation(Hello.model_validate_json(HELLO), 1)
    for n, event in enumerate(by_hand):
        for out in session.server(event, n / 100):
            if isinstance(out, Emit):
                conversation.voice(out.event, n / 100)
        conversation.tick(n / 100)


def _events(messages: list[bytes], *, shortcut: bool) -> list[ServerEvent]:
    connection = Connection(AsyncSession(SimpleNamespace(vertexai=False), _Socket(messages)), shortcut=shortcut)
    events: list[ServerEvent] = []

    async def receive() -> None:
        with contextlib.suppress(LiveError):
            async for event in connection.receive():
                events.append(event)  # noqa: PERF401 - it ends with an error

    run(receive())
    return events


HELLO = (
    '{"v":1,"kind":"hello","robot":"reachy-1","boot":"0000000000000000","seq":0,"t_us":0,"lead_ms":40,'
    '"mic":{"rate_hz":16000,"channels":2},"speaker":{"rate_hz":16000,"channels":2}}'
)
TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each for each in (link_up, link_down, zap, robots_file, settings, key_files, sim_message, gemini_message)
}
