"""A person who talks with a Gemini voice: a microphone that never pauses, a record of the reply, and a watched simulator."""

import asyncio
import json
import time
import wave
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import dropwhile, groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from gemini_gateway import personas
from gemini_gateway.configuration import Configuration
from gemini_gateway.endpoint import Endpoint
from gemini_gateway.voices import Voices
from gemini_live_sim.connection import SimSession
from gemini_live_sim.server import GeminiLiveSim
from reachy_gateway.provider.ledger import Ledger
from reachy_gateway.talk.speech_gate import SpeechGate
from reachy_gateway.tools.toolbox import Toolbox
from reachy_gateway.voice import Audio, ConnectionState, Said, TurnComplete, Unanswered, VoiceEvent

CHUNK_MS = 20
CHUNK_BYTES = 640
BYTES_PER_S = 32_000
TESTS = Path(__file__).parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest tests first, spread over the workers, so that the run does not end with them."""
    long = [item for item in items if item.get_closest_marker("timeout") and item.path.parent == Path(__file__).parent]
    for n, item in enumerate(long):
        items.remove(item)
        items.insert(n * len(items) // 16, item)


def read(path: Path) -> bytes:
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        return file.readframes(file.getnframes())


@pytest.fixture(scope="session")
def question() -> bytes:
    """0.8 s of speech."""
    return read(TESTS / "sim/data/question.wav")


@pytest.fixture(scope="session")
def numbers() -> list[bytes]:
    """3 s of speech each."""
    return [read(TESTS / f"e2e/data/number-{n}.wav") for n in (1, 2, 3)]


class Talk:
    """One robot's voice, driven as the gateway drives it: 20 ms of microphone every 20 ms. Keeps what comes back.

    The room has a faint noise, different at every moment, so a piece that is lost, doubled or moved is always noticed.

    Args:
        pace: Speed as a multiple of real time.
    """

    def __init__(self, robot: str, office: Voices, sim: GeminiLiveSim, *, pace: float = 1.0) -> None:
        self.robot = robot
        self.sim = sim
        self.voice = office.make(robot)
        self.gate = SpeechGate()
        self.fed = bytearray()
        """Everything that the voice was given."""
        self.events: list[tuple[float, VoiceEvent]] = []
        self.muted = False
        """Send nothing at all, not even silence."""
        self.zeros = False
        """Send zeros, as half-duplex does."""
        self.forgetful = False
        """Keep next to nothing, for tests that look at memory."""
        self.task: asyncio.Task[None] | None = None
        self._pace = pace
        self._noise = np.random.default_rng(list(robot.encode()))
        self._speech: deque[bytes] = deque()
        self._changed = asyncio.Event()

    def say(self, pcm: bytes) -> None:
        """Speak, after what is already queued."""
        self._speech.extend(pcm[at : at + CHUNK_BYTES] for at in range(0, len(pcm), CHUNK_BYTES))

    @property
    def saying(self) -> bool:
        return bool(self._speech)

    @property
    def reply(self) -> bytes:
        """All audio that came back."""
        return b"".join(event.pcm for _, event in self.events if isinstance(event, Audio))

    @property
    def turns(self) -> int:
        """How many turns were completed."""
        return sum(isinstance(event, TurnComplete) for _, event in self.events)

    @property
    def unanswered(self) -> int:
        """How many questions were given up."""
        return sum(isinstance(event, Unanswered) for _, event in self.events)

    @property
    def standings(self) -> list[ConnectionState]:
        return [event for _, event in self.events if isinstance(event, ConnectionState)]

    @property
    def states(self) -> list[str]:
        """The states of the connection, in order: without the wait for the first connection, and without the reasons."""
        told = dropwhile(lambda standing: standing.state == "reconnecting", self.standings)
        return [state for state, _ in groupby(standing.state for standing in told)]

    @property
    def reasons(self) -> str:
        return "\n".join(standing.reason for standing in self.standings)

    def said(self, who: str) -> str:
        return "".join(event.text for _, event in self.events if isinstance(event, Said) and event.who == who)

    @property
    def sessions(self) -> list[SimSession]:
        """The simulator's records of this robot's connections, recognised by the robot's instruction."""
        return [it for it in self.sim.sessions if it.setup and it.setup.instruction == instruction(self.robot)]

    @property
    def heard(self) -> bytes:
        """All audio that the simulator heard from this robot, over all connections."""
        return b"".join(bytes(session.heard) for session in self.sessions)

    @property
    def answered(self) -> bytes:
        """All audio that the simulator sent to this robot, over all connections."""
        return b"".join(answer.sent for session in self.sessions for answer in session.answers)

    async def until(self, condition: Callable[[], object], timeout_s: float = 10.0) -> float:
        """Wait for a condition; look at every event and every 20 ms. Returns how long that took."""
        began = time.monotonic()
        async with asyncio.timeout(timeout_s):
            while not condition():
                if self.task and self.task.done():
                    self.task.result()
                    raise AssertionError("the voice ended by itself")
                self._changed.clear()
                await self._changed.wait()
        return time.monotonic() - began

    async def never(self, condition: Callable[[], object], for_s: float) -> None:
        """Check for this long that a condition does not become true."""
        began = time.monotonic()
        await self.until(lambda: condition() or time.monotonic() - began > for_s, for_s + 10)
        assert not condition()

    async def live(self, timeout_s: float = 10.0) -> SimSession:
        """Wait until audio reaches the newest connection."""
        await self.until(lambda: self.sessions and self.sessions[-1].open and self.sessions[-1].heard_bytes, timeout_s)
        return self.sessions[-1]

    async def ask(self, pcm: bytes, timeout_s: float = 15.0) -> None:
        """Say something, and hear one answer to its end."""
        turns = self.turns
        self.say(pcm)
        await self.until(lambda: not self.saying and self.turns > turns, timeout_s)

    async def all_heard(self, timeout_s: float = 5.0) -> None:
        """Mute the microphone, and wait until the last of its audio has been heard."""
        self.muted = True
        await self.until(lambda: self.sessions[-1].heard and self.fed.endswith(self.sessions[-1].heard[-6400:]), timeout_s)

    async def run(self) -> None:
        """Talk until cancelled, or until the voice breaks."""
        self.task = asyncio.create_task(self.voice.run(self._emit), name=f"voice of {self.robot}")
        self.task.add_done_callback(lambda _: self._changed.set())
        microphone = asyncio.create_task(self._microphone())
        try:
            await asyncio.wait([self.task])
        finally:
            for task in (self.task, microphone):
                task.cancel()
            await asyncio.wait([self.task, microphone])

    def _emit(self, event: VoiceEvent) -> None:
        self.events.append((time.monotonic(), event))
        if self.forgetful:
            self.events[:-50] = [pair for pair in self.events[:-50] if isinstance(pair[1], ConnectionState)][-200:]
        self._changed.set()

    async def _microphone(self) -> None:
        due = time.monotonic()
        while True:
            due += CHUNK_MS / 1000 / self._pace
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if not self.muted:
                self._give(self._chunk())
            self._changed.set()

    def _chunk(self) -> bytes:
        if self._speech:
            return self._speech.popleft()
        if self.zeros:
            return bytes(CHUNK_BYTES)
        return self._noise.integers(-3, 4, CHUNK_BYTES // 2).astype("<i2").tobytes()

    def _give(self, pcm: bytes) -> None:
        self.gate.hear(np.frombuffer(pcm, "<i2"), 0)
        self.fed += b"" if self.forgetful else pcm
        self.voice.hear(pcm, speaking=self.gate.speaking)


def instruction(robot: str) -> str:
    return f"You are {robot}."


class Watchman:
    """Watches a simulator, as its ``on_event``: when each connection gets audio, and whether a robot ever has two."""

    def __init__(self) -> None:
        self.sim: GeminiLiveSim | None = None
        self.doubles: list[str] = []
        """Robots that opened a connection while another of theirs was open."""
        self.times: dict[int, list[float]] = defaultdict(list)
        """When mic audio arrived, by connection."""

    def __call__(self, session: SimSession, name: str, at_ns: int, _detail: object) -> None:
        if name == "setup" and self.sim:
            mine = session.setup.instruction
            others = [it for it in self.sim.sessions if it is not session and it.is_connected and it.setup]
            self.doubles += [mine for other in others if other.setup.instruction == mine]
        if name == "audio_in":
            self.times[session.number].append(at_ns / 1e9)

    def gaps_ms(self, talk: Talk) -> list[float]:
        """From each connection's last mic audio to the next one's first: what a renewal costs."""
        times = [self.times[session.number] for session in talk.sessions if self.times[session.number]]
        return [1000 * (after[0] - before[-1]) for before, after in pairwise(times)]


@pytest.fixture
def watchman() -> Watchman:
    return Watchman()


def robots_toml(robots: Sequence[str], defaults: dict[str, Any], **tables: dict[str, Any]) -> str:
    """A robots file in which each robot's instruction holds its name, so that the simulator can tell robots apart."""
    named = {f"robots.{robot}": {"instruction": instruction(robot)} for robot in robots}
    tables = {**tables, "defaults": defaults} | {name: table | tables.get(name, {}) for name, table in named.items()}
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in tables[name].items()) for name in tables
    )


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


@pytest.fixture
def robots_file(tmp_path):
    """Writes the robots file. Returns its path."""
    path = tmp_path / "robots.toml"

    def write(*robots: str, defaults: dict[str, Any] | None = None, **tables: dict[str, Any]) -> Path:
        path.write_text(robots_toml(robots or ("reachy-1",), defaults or {}, **tables))
        return path

    return write


@pytest.fixture
def open_office(tmp_path, robots_file):
    """Makes what the voices of a gateway share, as its main does. Writes the robots file unless one is given."""
    ledgers = []

    def make(
        sim: GeminiLiveSim,
        *robots: str,
        settings: dict[str, Any] | None = None,
        file: Path | None = None,
        endpoint: Callable[[], Endpoint] | None = None,
        **changes: Any,
    ) -> Voices:
        file = file or robots_file(*robots, defaults={"vad": {"silence_duration_ms": 300}} | (settings or {}))
        tools = (changes.get("toolbox") or Toolbox()).names
        shared, problems = personas.read(file, tools=tools)
        assert not problems
        simulator = Endpoint("the simulator", SecretStr("test-key"), sim.url, sim.root_path)
        ledgers.append(Ledger(tmp_path / "ledger.sqlite"))
        return Voices(Configuration(endpoint or (lambda: simulator), shared, file, tools=tools), ledgers[-1], **changes)

    yield make
    for ledger in ledgers:
        ledger.close()


@asynccontextmanager
async def running(talks: list[Talk]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(talk.run()) for talk in talks]
    try:
        yield
        assert not any(task.done() for task in tasks), "a voice ended by itself"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@pytest.fixture
def talking(open_office):
    """Runs one robot's conversation, ``async with talking(sim) as talk``, or several if robots are named."""

    @asynccontextmanager
    async def run(
        sim: GeminiLiveSim,
        *robots: str,
        office: Voices | None = None,
        pace: float = 1.0,
        made: type[Talk] = Talk,
        **changes: Any,
    ) -> AsyncIterator[Talk | list[Talk]]:
        names = robots or ("reachy-1",)
        office = office or open_office(sim, *names, **changes)
        talks = [made(name, office, sim, pace=pace) for name in names]
        for talk in talks:
            talk.office = office
        async with running(talks):
            yield talks if robots else talks[0]

    return run
