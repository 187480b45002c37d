"""A test's own small world: a network namespace with only its loopback, and its own mounts, name servers and hosts file.

A world needs root (or another way to ``unshare``) and Debian's iproute2; ``tests/run`` reports it where they are missing.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rig import Keys

TESTS = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
NUMBERS = TESTS / "e2e" / "data"
NAME_SERVER = Path(__file__).parent / "name_server.py"
FOREIGN = ("ROBOT_", "GATEWAY_", "GEMINI_", "GOOGLE_", "REACHY_", "SIM_")
ROBOT = "reachy-1"


class Program:
    """A program in the world, and its output."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def said(self) -> str:
        return self.log.read_text()

    def until(self, condition: Callable[[], object], within_s: float) -> float:
        """Wait for a condition. Returns how long that took."""
        began = time.monotonic()
        while not condition():
            assert self.process.poll() is None, self.said
            assert time.monotonic() - began < within_s, self.said
            time.sleep(0.02)
        return time.monotonic() - began

    def until_said(self, words: str, within_s: float, times: int = 1) -> float:
        return self.until(lambda: self.said.count(words) >= times, within_s)

    def until_connected(self, within_s: float, times: int = 1) -> float:
        return self.until_said("connected to the gateway", within_s, times)

    def until_it_talks(self, within_s: float) -> float:
        """Wait until one more turn was heard to its end."""
        return self.until_said(" done, ", within_s, self.said.count(" done, ") + 1)

    def stop(self) -> float:
        """End the program with SIGTERM. Returns how long that took."""
        until = time.monotonic() + 10
        while not self.said and self.process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)  # until its first line a signal ends it as any process that has just begun
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, self.said
        return time.monotonic() - began


class World:
    """A network namespace with its own files."""

    def __init__(self, directory: Path, made: Keys, keeper: int) -> None:
        self._directory = directory
        self._made = made
        self._keeper = keeper
        self._programs: list[Program] = []
        self.gateways_file = directory / "gateways"
        """The gateways that its robots remember."""

    def inside(self, *command: object) -> list[str]:
        return ["nsenter", "--target", str(self._keeper), "--net", "--mount", "--", *map(str, command)]

    def run(self, *command: object) -> None:
        subprocess.run(self.inside(*command), check=True, timeout=10)

    def path(self, where: str) -> Path:
        """The outside path of a path in this world, its mounts included."""
        return Path(f"/proc/{self._keeper}/root{where}")

    def interface(self, name: str, address: str) -> None:
        """Add an interface with this address, and no other host behind it."""
        self.run("ip", "link", "add", name, "type", "veth", "peer", "name", "nobody")
        self.run("ip", "address", "add", address, "dev", name, "nodad")
        for end in (name, "nobody"):
            self.run("ip", "link", "set", end, "up")

    def start(self, *command: object, stderr: int | None = None, **settings: object) -> Program:
        """Start a program. Its standard error goes to its log, or to the given descriptor."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        env = clean | {"PYTHONUNBUFFERED": "1"} | {name: str(value) for name, value in settings.items()}
        log = self._directory / f"{len(self._programs)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(self.inside(*command), env=env, stdout=out, stderr=out if stderr is None else stderr)
        self._programs.append(Program(process, log))
        return self._programs[-1]

    def name_server(self, ip: str, **records: str) -> Path:
        """Run a name server at this address. Without records it is silent. Returns the file of its records."""
        file = self._directory / f"records-{ip}"
        if records:
            file.write_text("".join(f"{name.replace('__', '.')} {ip}\n" for name, ips in records.items() for ip in ips.split()))
        self.start(sys.executable, NAME_SERVER, ip, file).until_said("ready", 5)
        with (self._directory / "resolv.conf").open("a") as resolv:
            resolv.write(f"nameserver {ip}\n")
        return file

    def gateway(self, host: str = "*", program: str = "mock-gateway", **settings: object) -> Program:
        keys = {"REACHY_KEYS_DIR": self._made.gateway_dir}
        gateway = self.start(BIN / program, **keys, GATEWAY_HOST=host, **settings)
        gateway.until_said("listening on ports", 10)
        return gateway

    def robot(self, gateways: str, **settings: object) -> Program:
        """Run a robot that dials these in order and talks as long as a gateway listens. Wait until it dials."""
        speech = self._directory / "speech"
        speech.mkdir(exist_ok=True)
        for n in range(60):
            (speech / f"{n:02}.wav").unlink(missing_ok=True)
            (speech / f"{n:02}.wav").symlink_to(NUMBERS / "number-1.wav")
        robot = self.start(
            BIN / "robot-io", REACHY_KEYS_DIR=self._made.robot_dir(ROBOT), ROBOT_DEVICE="wav", ROBOT_UTTERANCES=speech,
            ROBOT_SPEAKER_WAV=self._directory / "speaker.wav", ROBOT_GATEWAY=gateways, ROBOT_GATEWAY_ORDER="given",
            ROBOT_GATEWAYS_FILE=self.gateways_file, **settings,
        )  # fmt: skip
        robot.until_said("dialling the gateway", 10)
        return robot

    def close(self) -> None:
        for program in self._programs:
            program.process.kill()
            program.process.wait()


@contextmanager
def kept(directory: Path, patience: str = "timeout:5 attempts:2") -> Iterator[int]:
    """Make a namespace that lives as long as its keeper. ``patience`` sets how long its system waits for name servers."""
    for name, text in (("resolv.conf", f"options {patience}\n"), ("hosts", "127.0.0.1 localhost\n::1 localhost\n")):
        (directory / name).write_text(text)
    binds = " && ".join(f"mount --bind {directory / name} /etc/{name}" for name in ("resolv.conf", "hosts"))
    script = f"ip link set lo up && {binds} && echo ready && exec sleep infinity"
    command = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as keeper:
        try:
            assert keeper.stdout
            assert keeper.stdout.readline() == b"ready\n", "this test needs root, and Debian's iproute2"
            yield keeper.pid
        finally:
            keeper.kill()
