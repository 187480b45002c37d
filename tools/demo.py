"""A whole conversation on this machine: simulator, gateway and virtual robot as three processes. Ends with the last answer."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
SPEAKER_WAV = ROOT / "out" / "speaker.wav"
MOTION_FILE = ROOT / "out" / "motion.jsonl"
START_S = 20.0


def main() -> int:
    """Run the demo. Returns exit status 0 if every utterance got an answer."""
    with tempfile.TemporaryDirectory(prefix="reachy-link-") as work:
        return converse(Path(work))


def converse(work: Path) -> int:
    """Start the three processes, wait for the robot, and stop the others."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        up, down, _ = gateway(work, ["virtual-1"], running)
        robot = start(
            "robot-io",
            REACHY_KEYS_DIR=work / "robots" / "virtual-1",
            ROBOT_DEVICE="wav",
            ROBOT_GATEWAY="127.0.0.1",
            ROBOT_UP_PORT=up,
            ROBOT_DOWN_PORT=down,
            ROBOT_UTTERANCES=ROOT / "services" / "robot-io" / "utterances",
            ROBOT_SPEAKER_WAV=SPEAKER_WAV,
            ROBOT_MOTION_FILE=MOTION_FILE,
            ROBOT_SHOW_TRANSCRIPTS=True,
        )
        running.append(robot)
        status = robot.wait()
    finally:
        stop(running)
    print(f"what the robot's speaker played: {SPEAKER_WAV.relative_to(ROOT)}")
    print(f"how the robot moved: {MOTION_FILE.relative_to(ROOT)}, drawn in {MOTION_FILE.with_suffix('.svg').relative_to(ROOT)}")
    return status


def gateway(
    work: Path, robots: Sequence[str], running: list[subprocess.Popen[bytes]], **settings: object
) -> tuple[int, int, int]:
    """Start a simulator, and a gateway with these settings that admits these robots. Returns its ports: up, down, health."""
    sim, up, down, health = free_ports(4)
    for robot in robots:
        subprocess.run([BIN / "reachy-keys", "--dir", work / "gateway", "demo", work / "robots" / robot, robot], check=True)
    # A demo never talks to Google, whatever the environment or .env sets. Tools and robots files of yours it does use.
    yours = {
        name: os.environ[name]
        for name in ("GATEWAY_TOOLS_DIR", "GATEWAY_ROBOTS_FILE", "REACHY_LOG_LEVEL")
        if name in os.environ
    }
    scenario = os.environ.get("SIM_SCENARIO", "steady")
    running.append(
        start("gemini-live-sim", SIM_HOST="127.0.0.1", SIM_PORT=sim, SIM_TLS_DIR=work / "tls", SIM_SCENARIO=scenario)
    )
    wait_for("the simulator", (work / "tls" / "root.pem").exists, running)
    usual: dict[str, object] = {
        "REACHY_KEYS_DIR": work / "gateway",
        "REACHY_HEALTH_PORT": health,
        "GATEWAY_HOST": "127.0.0.1",
        "GATEWAY_UP_PORT": up,
        "GATEWAY_DOWN_PORT": down,
        "GATEWAY_SIM_URL": f"https://127.0.0.1:{sim}",
        "GATEWAY_SIM_ROOT": work / "tls" / "root.pem",
        "GATEWAY_LEDGER": work / "ledger.sqlite",
        "GATEWAY_ROBOTS_FILE": ROOT / "services" / "gemini-gateway" / "demo.toml",
    }
    running.append(start("gemini-gateway", **{**usual, **yours, **settings}))
    wait_for("the gateway", lambda: listens(health), running)
    return up, down, health


def console_keys(work: Path, robots: Sequence[str]) -> None:
    """Make a console's keys (an operator's, and one for each of these robots' pages) and admit them at the gateway."""
    command: list[str | Path] = [BIN / "reachy-keys", "--dir", work / "gateway", "console", work / "console", "console"]
    subprocess.run([*command, *robots], check=True)


def start(program: str, **settings: object) -> subprocess.Popen[bytes]:
    """Start one of our programs, with these settings and none of the caller's."""
    foreign = ("ROBOT_", "GATEWAY_", "GEMINI_", "GOOGLE_", "REACHY_", "SIM_", "CONSOLE_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return subprocess.Popen([BIN / program], env=clean | {name: str(value) for name, value in settings.items()})


def stop(running: list[subprocess.Popen[bytes]]) -> None:
    """Stop what still runs: first SIGTERM, after 3 s SIGKILL."""
    for process in reversed(running):
        process.send_signal(signal.SIGTERM)
    for process in running:
        try:
            process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_for(what: str, ready: Callable[[], bool], running: list[subprocess.Popen[bytes]]) -> None:
    """Wait until the condition holds.

    Raises:
            SystemExit: If a process ended instead, or the wait takes too long.
    """
    deadline = time.monotonic() + START_S
    while not ready():
        if time.monotonic() > deadline or any(process.poll() is not None for process in running):
            sys.exit(f"demo: {what} did not start; see the lines above")
        time.sleep(0.05)


def listens(port: int) -> bool:
    """Whether a program accepts connections at this port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_ports(n: int) -> list[int]:
    """Ports of the loopback that no program uses now."""
    probes = [socket.socket() for _ in range(n)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


if __name__ == "__main__":
    sys.exit(main())
