"""The commands of the documents, as a person types them: in a shell, in a home of their own."""

import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from documented import HERE
from documents import ROOT, commands
from ports import free_ports

from gemini_gateway.settings import GeminiSettings
from reachy_gateway.provider.ledger import Ledger
from reachy_gateway.settings import GatewaySettings
from robot_io.settings import RobotSettings

BIN = Path(sys.executable).parent
FOREIGN = ("ROBOT_", "GATEWAY_", "GEMINI_", "GOOGLE_", "REACHY_", "SIM_", "CONSOLE_")
TOLD = {text for _, text in commands()}


class Shell:
    """A person at a machine: a home, a place, and the programs of Reachy Link."""

    def __init__(self, home: Path, place: Path = ROOT, **settings: object) -> None:
        home.mkdir(exist_ok=True)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        self.environment = clean | {"HOME": str(home), "PATH": f"{BIN}:{os.environ['PATH']}"}
        self.environment |= {name: str(value) for name, value in settings.items()}
        self.place = place

    def type(self, text: str, **words: str) -> str:
        """Type a command of the documents, with these words in place of the document's; what it prints."""
        assert text in TOLD, f"no page has {text}"
        assert text in HERE
        for word, meant in words.items():
            assert re.search(rf"\b{re.escape(word)}\b", text), word
            text = re.sub(rf"\b{re.escape(word)}\b", lambda _, meant=meant: meant, text)
        return self.run(text)

    def run(self, text: str) -> str:
        done = subprocess.run(
            ["bash", "-ec", text], env=self.environment, cwd=self.place, capture_output=True, text=True, timeout=50, check=False
        )
        assert done.returncode == 0, f"{text}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr


def printed(text: str, command: str) -> list[str]:
    """The words of the command that a program printed for a person to type, up to a remark in brackets."""
    [found] = {line[line.index(command) :].partition(" (")[0] for line in text.splitlines() if command in line}
    return shlex.split(found)


def started(shell: Shell, text: str, **words: str):
    """A command of the documents that goes on until a person ends it."""
    assert text in TOLD & HERE
    for word, meant in words.items():
        text = text.replace(word, meant)
    return subprocess.Popen(
        ["bash", "-ec", f"exec env {text}"],
        env=shell.environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def says(process, words: str) -> None:
    while words not in (line := process.stdout.readline()):
        assert line, f"it ended before it said {words}"


@pytest.mark.timeout(150)
def test_a_gateway_without_docker_and_a_virtual_robot_with_a_key_of_its_own(tmp_path):
    """Of the robot's five sentences it says one here; the ports are others."""
    sim_port, up, down, health = free_ports(4)
    (tmp_path / "said").mkdir()
    shutil.copy(ROOT / "services" / "robot-io" / "utterances" / "03.wav", tmp_path / "said")
    ports = {"GATEWAY_UP_PORT": up, "GATEWAY_DOWN_PORT": down, "SIM_PORT": sim_port, "GATEWAY_HOST": "127.0.0.1"}
    gateway = Shell(tmp_path, **ports)
    robot = Shell(
        tmp_path, ROBOT_UP_PORT=up, ROBOT_DOWN_PORT=down, ROBOT_BODY="off", ROBOT_SPEAKER_WAV=tmp_path / "speaker.wav"
    )
    texts = {text.split()[-1]: text for text in HERE if text.endswith((" gemini-live-sim", " gemini-gateway"))}
    export = "export REACHY_KEYS_DIR=~/.config/reachy-robot"
    assert export in TOLD
    robot.environment["REACHY_KEYS_DIR"] = str(tmp_path / export.rpartition("~/")[2])
    gateway.type("reachy-keys gateway")
    running = [started(gateway, texts["gemini-live-sim"])]
    try:
        says(running[0], "listening on")
        running.append(started(gateway, texts["gemini-gateway"], **{"8765": str(sim_port), "8080": str(health)}))
        says(running[1], "listening on ports")
        admit = printed(robot.type("reachy-keys robot reachy-1"), "reachy-keys admit")
        robot.type(
            "reachy-keys trust 'GATEWAY_KEY'", GATEWAY_KEY=printed(gateway.type("reachy-keys show"), "reachy-keys trust")[-1]
        )
        assert "takes effect at once" in gateway.type("reachy-keys admit reachy-1 'ROBOT_KEY'", ROBOT_KEY=admit[-1])
        talk = next(text for text in HERE if text.endswith(" ROBOT_GATEWAY=127.0.0.1 robot-io"))
        told = robot.type(talk, **{"services/robot-io/utterances": str(tmp_path / "said")})
        assert re.search(r"^ +1 .* yes$", told, re.MULTILINE), told
        assert "reachy-1" in gateway.type("REACHY_HEALTH_PORT=8080 reachy-keys list", **{"8080": str(health)})
        top = subprocess.run(
            [BIN / "reachy-top", "--once", "--url", f"http://127.0.0.1:{health}/metrics"],
            env=gateway.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "1 admitted" in top.stdout
        assert "revoked 1 key" in gateway.type("reachy-keys revoke reachy-1")
        assert "no robot is admitted" in gateway.type("reachy-keys list")
    finally:
        for process in running:
            process.kill()
            process.wait()
            process.stdout.close()


@pytest.mark.timeout(150)
def test_robot_io_is_installed_by_the_commands_of_its_page(tmp_path):
    """All but the robot's SDK, which takes minutes to compile and which tests/reachy installs."""
    shell = Shell(tmp_path)
    shell.environment["PATH"] = os.environ["PATH"].removeprefix(f"{BIN}:")
    texts = ["python3 -m venv ~/reachy-link-venv", "export PATH=~/reachy-link-venv/bin:$PATH"]
    texts += ["pip install --require-hashes -r requirements/build.txt"]
    texts += [next(text for text in HERE if text.startswith("pip install --no-deps"))]
    assert set(texts) <= TOLD
    shell.run("\n".join([*texts, "command -v robot-io reachy-keys"]))
    assert (tmp_path / "reachy-link-venv" / "bin" / "robot-io").exists()


@pytest.mark.timeout(60)
def test_the_gateways_name_in_readme_stands_for_an_address(tmp_path):
    robot = Shell(tmp_path, ROBOT_DEVICE="wav", ROBOT_UTTERANCES=tmp_path, ROBOT_PATIENCE_S=1)
    shutil.copy(ROOT / "services" / "robot-io" / "utterances" / "03.wav", tmp_path)
    robot.type("reachy-keys robot reachy-1")
    robot.type("reachy-keys trust 'GATEWAY_KEY'", GATEWAY_KEY="rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7")
    process = started(robot, "ROBOT_GATEWAY=gateway.local robot-io", **{"gateway.local": "127.0.0.1:9"})
    try:
        says(process, "dialling the gateway at 127.0.0.1:9")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_robot_starts_at_boot_with_the_files_of_its_page(tmp_path):
    robot = Shell(tmp_path)
    robot.type("mkdir -p ~/.config/reachy-link")
    robot.type("echo 'ROBOT_GATEWAY=gateway.local' > ~/.config/reachy-link/robot-io.env")
    robot.type("mkdir -p ~/.config/systemd/user && cp services/robot-io/robot-io.service ~/.config/systemd/user/")
    unit = (tmp_path / ".config/systemd/user/robot-io.service").read_text()
    assert "EnvironmentFile=%h/.config/reachy-link/robot-io.env" in unit
    assert (tmp_path / ".config/reachy-link/robot-io.env").read_text() == "ROBOT_GATEWAY=gateway.local\n"


def test_operators_and_viewers_are_let_in_and_dismissed(tmp_path):
    keys = {name: Shell(tmp_path / name) for name in ("gateway", "ops", "guest")}
    public = {name: printed(shell.run("reachy-keys gateway"), "reachy-keys trust")[-1] for name, shell in keys.items()}
    gateway = keys["gateway"]
    gateway.type("reachy-keys operator NAME KEY", NAME="ops", KEY=shlex.quote(public["ops"]))
    gateway.type("reachy-keys viewer NAME KEY", NAME="guest", KEY=shlex.quote(public["guest"]))
    told = gateway.type("reachy-keys list")
    assert public["ops"] in told
    assert public["guest"] in told
    gateway.type("reachy-keys dismiss NAME", NAME="ops")
    assert public["ops"] not in gateway.type("reachy-keys list")


def test_a_console_with_a_certificate_of_ones_own(tmp_path):
    openssl = next(text for text in HERE if text.startswith("openssl"))
    gateway = Shell(tmp_path)
    gateway.run("reachy-keys gateway")
    gateway.type("reachy-keys console ~/.config/reachy-link/pages console browser-1")
    (port,) = free_ports(1)
    console = Shell(tmp_path, tmp_path, CONSOLE_PORT=port, CONSOLE_STATE_DIR=tmp_path / "state")
    console.type(openssl, **{"store.lab": "box.lab", "tls.key": "box.key", "tls.crt": "box.pem"})
    export, start = (
        "export REACHY_KEYS_DIR=~/.config/reachy-link/pages",
        next(text for text in HERE if text.endswith(" reachy-console")),
    )
    assert {export, start} <= TOLD
    command = ["bash", "-c", f"{export}\n{start.replace(' reachy-console', ' exec reachy-console')}"]
    process = subprocess.Popen(command, env=console.environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        while f"https://box.lab:{port}/#" not in (line := process.stderr.readline()):
            assert line, "the console ended before it printed its link"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)
        process.stderr.close()


def test_the_ledger_answers_the_question_of_the_page(tmp_path):
    text = next(text for text in HERE if text.startswith("sqlite3 "))
    assert text in TOLD
    file, question = shlex.split(text)[1:]
    path = Path(file.replace("~", str(tmp_path)))
    path.parent.mkdir(parents=True)
    Ledger(path).close()
    assert Path(file).expanduser() == GeminiSettings().ledger
    with sqlite3.connect(path) as ledger:
        assert ledger.execute(question).fetchall() == []
    ledger.close()


def test_secrets_are_kept_in_a_file_that_nobody_else_can_read(tmp_path):
    (tmp_path / "deploy" / "secrets").mkdir(parents=True)
    Shell(tmp_path / "home", tmp_path).type("(umask 077; tar --create --file reachy-secrets.tar deploy/secrets)")
    assert (tmp_path / "reachy-secrets.tar").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", sorted(text for text in HERE if re.fullmatch(r"(ROBOT|GATEWAY)_\w+=\S+", text)))
def test_a_setting_of_the_pages_is_one(monkeypatch, text):
    assert text in TOLD
    name, value = text.split("=", 1)
    monkeypatch.setenv(name, value)
    if name == "ROBOT_GATEWAY":
        assert len(RobotSettings().addresses()) == value.count(",") + 1
    else:
        assert GatewaySettings().admin_port == int(value)
