"""A gateway, three robots and a simulator as processes in their own world, and a record of which question was answered when."""

import fcntl
import json
import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import threading
import time
import wave
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rig import Keys
from world import BIN, TESTS, Program, World, kept

ROBOTS = ("reachy-1", "reachy-2", "reachy-3")
KEY = "the-marked-API-key-0123456789-abcdef"
NAME_SERVER = "127.0.0.53"
NAME = "gateway.lab"
CORE = str(max(os.sched_getaffinity(0)))
"""The gateway's core."""
PIPE = 4096
DAY_S = 86400
QUESTION_S, ANSWER_S = 0.8, 0.3
"""Length of the sound. Before the question come 0.6 s of a faint room, so that a spent budget finds its quiet moment; after it
0.1 s."""
PATIENCE_S = 4.0
"""How long a person waits for an answer before asking again."""
ROUND_S = 0.9 + QUESTION_S + 0.5 + 0.15 + ANSWER_S
"""From one question to the next: the lead-in, the question, the server's wait for its end, its thinking, the answer."""
BUSY_S = 2.0
"""How much a busy machine may delay a question."""
CALM_S = 1.0 + QUESTION_S + PATIENCE_S + ROUND_S + BUSY_S
"""From one answer to the next without a fault: one question may have been lost to a fault that has just ended."""
STOPS_S = 2.0 + 3.0 + BUSY_S
"""GATEWAY_DRAIN_S, and the time that .env.example grants beyond it."""
ROBOT_STOPS_S = 1.5 + BUSY_S
"""As in tests/names."""
STARTS_S = 15.0
FINDS_S = 3.0 + 1.0 + 4.0
"""A robot starts, the system asks a silent name server again, and the robot connects (tests/names)."""
PORTS = (5555, 5556)
WORDS = ("a tone of", "of speech)")
"""Words of answers and questions. Transcripts must hold them, logs must not."""


class Hit(NamedTuple):
    """Which robots a fault may silence, and for how long after it is healed."""

    whom: tuple[str, ...] = ()
    well_s: float = 0.0


@dataclass(slots=True, eq=False)
class Spell:
    """A period with one fault."""

    kind: str
    whom: frozenset[str]
    """The robots that may be silent meanwhile."""
    well_s: float
    """How long afterwards they may still be silent."""
    began: float
    ended: float = float("inf")

    heals: ExitStack = field(default_factory=ExitStack)
    until: float = 0.0
    """When the fault is to be healed."""

    @property
    def over(self) -> float:
        return self.ended + self.well_s


class Person:
    """A person who talks with one robot: when answers came, and when the person gave up waiting."""

    def __init__(self, robot: str) -> None:
        self.robot = robot
        self.program: Program | None = None
        self.answers: list[float] = []
        self.lost: list[float] = []
        self._read = 0

    def moves_to(self, program: Program) -> None:
        self.listen()
        self.program, self._read = program, 0

    def listen(self) -> None:
        if self.program is None:
            return
        with self.program.log.open("rb") as log:
            log.seek(self._read)
            data = log.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        now = time.monotonic()
        self.answers += [now] * whole.count(b" done, ")
        self.lost += [now] * whole.count(b"the utterance was not answered to its end")


class Sink:
    """A pipe of 4 KiB, whose reader can pause."""

    def __init__(self) -> None:
        self.told = b""
        self.reads = threading.Event()
        self.reads.set()
        self._reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIPE)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def fill(self) -> None:
        """Stop reading, and fill the pipe."""
        self.reads.clear()
        writer = os.open(f"/proc/self/fd/{self.writer}", os.O_WRONLY | os.O_NONBLOCK)  # the gateway's own end stays blocking
        for _ in range(2):  # the reader may empty the pipe once more
            with suppress(BlockingIOError):
                for _ in range(3 * PIPE):
                    os.write(writer, b".")
            time.sleep(0.05)
        os.close(writer)

    def close(self) -> None:
        self.reads.set()
        os.close(self.writer)
        self._thread.join(5)
        os.close(self._reader)

    def _run(self) -> None:
        while data := os.read(self._reader, 65536):
            self.told += data
            self.reads.wait()


class Town:
    """The programs, the persons, and the faults that hit them."""

    def __init__(self, world: World, made: Keys, directory: Path, draw: random.Random, robots_toml: str) -> None:
        self.world, self.made, self.directory, self.draw = world, made, directory, draw
        self.began = time.monotonic()
        self.spells: list[Spell] = []
        self.active: list[Spell] = []
        """Spells that are not healed yet."""
        self.people = {robot: Person(robot) for robot in ROBOTS}
        self.gateway: Program | None = None
        self.stopped_within: list[float] = []
        self.sink = Sink()
        self.sink_kind = "pipe"
        self.days = 0
        self.arrivals = Counter({today(0): 1})
        """How often the gateway's clock reached each day."""
        self.robots_file = directory / "robots.toml"
        self.robots_file.write_text(robots_toml)
        self.key_file = directory / "api.key-file"
        self.key_file.write_text(KEY)
        self._clock(0)
        self._clock_library = directory / "clock.so"
        compile_it = ["cc", "-O2", "-shared", "-fPIC", "-o", self._clock_library, TESTS / "weather" / "clock.c"]
        subprocess.run(compile_it, check=True, timeout=30)
        for where, size in (("data", "16m"), ("words", "1m"), ("log", "8m")):
            (directory / where).mkdir()
            world.run("mount", "-t", "tmpfs", "-o", f"size={size}", where, directory / where)
        (self.inside("data") / "books").mkdir()
        self.records = world.name_server(NAME_SERVER, gateway__lab="127.0.0.1")
        self._speech = speech(directory)

    # --- programs -------------------------------------------------------------------------------------------------------

    def start_sim(self) -> None:
        """Start the simulator. Its certificate is ten days old, so that it is valid at every setting of the gateway's clock."""
        past = self.directory / "past"
        past.write_bytes(struct.pack("=q", -10 * DAY_S))
        sim = self.world.start(
            BIN / "gemini-live-sim", SIM_TLS_DIR=self.directory, SIM_API_KEYS=KEY, SIM_MODE="tone",
            SIM_TONE_MS=round(ANSWER_S * 1000), LD_PRELOAD=self._clock_library, CLOCK_AHEAD=past,
        )  # fmt: skip
        sim.until(lambda: listens(sim.process.pid, 8765), STARTS_S)

    def start_gateway(self, sink: str = "pipe", **changes: str) -> None:
        """Start the gateway with its log on a pipe, in a file on a small disk, or closed. Wait until it listens."""
        self.sink_kind = sink
        settings = {
            "REACHY_KEYS_DIR": self.made.gateway_dir, "REACHY_LOG_LEVEL": "DEBUG",
            "GATEWAY_LEDGER": self.directory / "data" / "books" / "ledger.sqlite",
            "GATEWAY_TRANSCRIPTS_DIR": self.directory / "words" / "kept", "GATEWAY_ROBOTS_FILE": self.robots_file,
            "GOOGLE_GEMINI_BASE_URL": "https://127.0.0.1:8765", "GEMINI_ROOT_CERT": self.directory / "root.pem",
            "GEMINI_API_KEY_FILE": self.key_file, "TZ": "UTC",
            "LD_PRELOAD": self._clock_library, "CLOCK_AHEAD": self.directory / "ahead",
        }  # fmt: skip
        command: list[object] = ["taskset", "-c", CORE, BIN / "gemini-gateway"]
        if sink == "closed":
            command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
        file = os.open(self.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            out = self.sink.writer if sink == "pipe" else file
            gateway = self.gateway = self.world.start(*command, stderr=out, **settings | changes)
        finally:
            os.close(file)
        self.until(lambda: listens(gateway.process.pid, *PORTS), STARTS_S, "the gateway listens")

    def stop_gateway(self) -> None:
        """End the gateway with SIGTERM, whatever is wrong, and keep how long that took."""
        assert self.gateway
        process, began = self.gateway.process, time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        while process.poll() is None:
            assert time.monotonic() - began < STOPS_S, f"the gateway does not end: {self.weather()}"
            self.watch()
        assert process.returncode == 0, self.words_of_gateway()[-3000:]
        self.stopped_within.append(time.monotonic() - began)

    def start_robot(self, robot: str, **changes: str) -> None:
        """Start a robot in place of the previous one."""
        person = self.people[robot]
        if person.program and person.program.process.poll() is None:
            assert person.program.stop() < ROBOT_STOPS_S
        program = self.world.start(
            BIN / "robot-io", REACHY_KEYS_DIR=self.made.robot_dir(robot), ROBOT_DEVICE="wav", ROBOT_UTTERANCES=self._speech,
            ROBOT_SPEAKER_WAV=self.directory / f"{robot}.wav", ROBOT_GATEWAY=NAME, ROBOT_PATIENCE_S=PATIENCE_S,
            ROBOT_GATEWAYS_FILE=self.directory / f"{robot}.gateways", **changes,
        )  # fmt: skip
        person.moves_to(program)

    # --- the world ------------------------------------------------------------------------------------------------------

    def inside(self, where: str) -> Path:
        """The path of a small disk as seen from outside the world."""
        return self.world.path(str(self.directory / where))

    @property
    def log_file(self) -> Path:
        return self.inside("log") / "gateway.log"

    def words_of_gateway(self) -> str:
        return (self.sink.told + self.log_file.read_bytes()).decode(errors="replace")

    def turn_clock(self, days: int) -> None:
        """Set the gateway's date this many days ahead."""
        self.arrivals[today(days)] += self.days != days
        self.days = days
        self._clock(days)

    def _clock(self, days: int) -> None:
        path = self.directory / "ahead"
        if not path.exists():
            path.write_bytes(struct.pack("=q", 0))
        with path.open("r+b") as file:  # write in place: the gateway has the file mapped
            file.write(struct.pack("=q", days * DAY_S))

    # --- time passes ----------------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Let a moment pass: hear the persons, and restart robots that have ended."""
        time.sleep(0.05)
        for person in self.people.values():
            person.listen()
            program = person.program
            if program and program.process.poll() is not None:
                assert program.process.returncode in (0, 1), program.said[-3000:]
                spell = Spell("the last utterance", frozenset({person.robot}), STARTS_S / 2, time.monotonic())
                self.start_robot(person.robot)
                spell.ended = time.monotonic()
                self.spells.append(spell)

    def until(self, condition: Callable[[], object], within_s: float, words: str) -> float:
        began = time.monotonic()
        while not condition():
            assert self.gateway is None or self.gateway.process.poll() is None, self.words_of_gateway()[-3000:]
            assert time.monotonic() - began < within_s, f"not within {within_s} s: {words}; {self.weather()}"
            self.watch()
        return time.monotonic() - began

    def everybody_answers(self, within_s: float) -> float:
        """Wait until every person has had one more answer."""
        began = time.monotonic()
        return self.until(
            lambda: all(person.answers and person.answers[-1] > began for person in self.people.values()),
            within_s,
            f"an answer for everybody, but {[r for r, p in self.people.items() if not p.answers or p.answers[-1] < began]}",
        )

    def strike(self, kind: str, fault: Callable[["Town"], AbstractContextManager[Hit]], lasts_s: float) -> None:
        """Cause a fault."""
        spell = Spell(kind, frozenset(), 0.0, time.monotonic())
        self.spells.append(spell)
        hit = spell.heals.enter_context(fault(self))
        spell.whom, spell.well_s, spell.until = frozenset(hit.whom), hit.well_s, time.monotonic() + lasts_s
        self.active.append(spell)

    def heal(self, when: Callable[[Spell], bool] = lambda _: True) -> None:
        """Heal the faults that the condition selects."""
        for spell in [spell for spell in self.active if when(spell)]:
            self.active.remove(spell)
            spell.heals.close()
            spell.ended = time.monotonic()

    def disturb(self, *robots: str) -> None:
        """Note that these robots lose their link. They then ask for the name again, so a fault of names hits them, too."""
        for spell in self.active:
            if spell.kind.startswith("names"):
                spell.whom |= set(robots)
                spell.well_s = max(spell.well_s, FINDS_S)

    def weather(self) -> str:
        """The last spells, for a failure message."""
        now = time.monotonic()
        told = [f"{spell.kind} from {now - spell.began:.1f} to {now - spell.ended:.1f} s ago" for spell in self.spells[-6:]]
        return "; ".join(told)

    # --- what became of it ----------------------------------------------------------------------------------------------

    def silences(self) -> list[str]:
        """Robots that were silent for longer than their faults and CALM_S explain."""
        found = []
        for person in self.people.values():
            spells = [(spell.began, spell.over) for spell in self.spells if person.robot in spell.whom]
            for before, after in pairwise([*person.answers, time.monotonic()]):
                excused = covered(spells, before, after)
                if after - before - excused > CALM_S:
                    at = before - self.began
                    told = [f"{s.kind} {s.began - self.began:.0f}-{s.ended - self.began:.0f}" for s in self.spells
                            if s.began < after and s.over > before]  # fmt: skip
                    found.append(
                        f"{person.robot} is silent from {at:.1f} s for {after - before:.1f} s, {excused:.1f} excused: {told}"
                    )
        return found

    def outcomes(self) -> dict[str, list[int]]:
        """For each kind of fault: questions asked, answered and lost in it or right after it, and the number of spells."""
        counted: dict[str, list[int]] = {"calm": [0, 0, 0, 0]}
        for spell in self.spells:
            counted.setdefault(spell.kind, [0, 0, 0, 0])[3] += 1
        for person in self.people.values():
            for n, (times, took_s) in enumerate(((person.answers, ROUND_S), (person.lost, PATIENCE_S + QUESTION_S)), 1):
                for at in times:
                    during = [s for s in self.spells if s.began < at and s.ended > at - took_s]
                    for kind in {s.kind for s in during} or {"calm"}:
                        counted[kind][n] += 1
                        counted[kind][0] += 1
        return counted

    def lost_for_nothing(self) -> list[str]:
        """Questions that were lost without a fault that explains the loss."""
        found = []
        for person in self.people.values():
            for at in person.lost:
                spells = [s for s in self.spells if s.began < at and s.over > at - PATIENCE_S - QUESTION_S]
                if not any(person.robot in spell.whom for spell in spells):
                    found.append(f"{person.robot} at {at - self.began:.1f} s: {[spell.kind for spell in spells]}")
        return found

    def shown(self, *more: str) -> list[str]:
        """Secrets and spoken words that a log shows."""
        secrets = [KEY[:12], self.made.pair.secret.decode(), *WORDS, *more]
        secrets += [self.made.robot(robot).keys.secret.decode() for robot in ROBOTS]
        logs = {path.name: path.read_bytes() for path in self.directory.glob("*.log")}
        logs["the gateway"] = self.words_of_gateway().encode()
        return [f"{secret} in {where}" for where, text in logs.items() for secret in secrets if secret.encode() in text]

    def transcripts(self) -> list[Path]:
        return sorted((self.inside("words") / "kept").glob("*.jsonl"))

    def said(self) -> str:
        """The text of all transcripts."""
        lines = [line for path in self.transcripts() for line in path.read_text().splitlines()]
        return " ".join(" ".join(json.loads(line)["text"] for line in lines).split())

    def booked(self) -> Counter[tuple[str, str]]:
        """How many turns the ledger has, by day and robot. The gateway must have ended."""
        copy = shutil.copytree(
            self.inside("data") / "books", self.directory / "books"
        )  # SQLite resolves paths in its own namespace
        with closing(sqlite3.connect(copy / "ledger.sqlite")) as ledger:
            return Counter(ledger.execute("SELECT day, robot FROM turns").fetchall())

    def size(self) -> tuple[float, int, int]:
        """The gateway's resident memory in MiB, threads and descriptors."""
        assert self.gateway
        proc = Path(f"/proc/{self.gateway.process.pid}")
        fields = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line)
        return int(fields["VmRSS"].split()[0]) / 1024, int(fields["Threads"]), len(list((proc / "fd").iterdir()))


def today(days: int) -> str:
    """The date for a gateway in UTC whose clock is this many days ahead."""
    return (datetime.now(UTC).date() + timedelta(days=days)).isoformat()


def covered(spells: list[tuple[float, float]], begin: float, end: float) -> float:
    """How much of the time from begin to end these spells cover together."""
    total, at = 0.0, begin
    for since, until in sorted(spells):
        total += max(0.0, min(until, end) - max(since, at))
        at = max(at, min(until, end))
    return total


def listens(pid: int, *ports: int) -> bool:
    """Whether a program listens on all these ports in that process's network."""
    try:
        lines = [line for name in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]]
    except OSError:
        return False
    found = {int(line.split()[1].rpartition(":")[2], 16) for line in lines if line.split()[3] == "0A"}
    return found.issuperset(ports)


def speech(directory: Path) -> Path:
    """Write 120 utterances of speech-like noise in a faint room. A robot ends after the last and is started again."""
    folder = directory / "speech"
    folder.mkdir()
    noise = np.random.default_rng(1).normal(0, 10, round(16000 * (QUESTION_S + 0.7)))
    noise[9600:-1600] *= 300
    samples = noise.clip(-32768, 32767).astype("<i2")
    with wave.open(str(directory / "question.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.tobytes())
    for n in range(120):
        (folder / f"{n:03}.wav").symlink_to(directory / "question.wav")
    return folder


@contextmanager
def town(directory: Path, draw: random.Random, robots_toml: str) -> Iterator[Town]:
    """Run a town where every robot talks. Clean up at the end."""
    made = Keys(directory / "keys", *ROBOTS)
    with kept(directory, "timeout:1 attempts:2") as keeper:
        world = World(directory, made, keeper)
        here = None
        try:
            here = Town(world, made, directory, draw, robots_toml)
            here.start_sim()
            here.start_gateway()
            for robot in ROBOTS:
                here.start_robot(robot)
            here.everybody_answers(3 * STARTS_S)
            here.began = time.monotonic()
            for person in here.people.values():
                del person.answers[:-1], person.lost[:]
            yield here
        finally:
            if here:
                here.heal()
                (directory / "gateway.said").write_text(here.words_of_gateway())
            world.close()
            if here:
                here.sink.close()


def missing() -> list[str]:
    """What this machine lacks for a town."""
    lacks = []
    if os.geteuid() != 0:
        lacks.append("root")
    for program, package in (("cc", "gcc and libc6-dev"), ("ip", "iproute2"), ("taskset", "util-linux")):
        if not any((Path(folder) / program).exists() for folder in os.environ["PATH"].split(":")):
            lacks.append(f"Debian's {package}")
    return lacks
