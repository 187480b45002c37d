"""A user's first minute: the compose file, on a copy of the tree as in a fresh clone.

Each process of pytest-xdist has a project of its own. A project but the first publishes its ports elsewhere on the host.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import DEVICES, browser, spoken
from documented import IN_CONTAINERS
from documents import commands
from pages import Served
from playwright.async_api import expect
from rig import read_wav

ROOT = Path(__file__).parent.parent.parent
OURS = ["reachy-link/gemini-gateway", "reachy-link/mock-gateway", "reachy-link/robot-io", "reachy-link/gemini-live-sim"]
OURS += ["reachy-link/console"]
NUMBER = read_wav(ROOT / "tests" / "e2e" / "data" / "number-1.wav")
FLEET = ("-f", "docker-compose.yml", "-f", "docker-compose.fleet.yml")
MOCK = ("-f", "docker-compose.yml", "-f", "docker-compose.mock.yml")
BEFORE = ("-f", "docker-compose.yml", "-f", "before.yml")
VERSION_0_1 = """
services:
  keys:
    command: [demo, /keys/robot, virtual-1]
    volumes: !override ["gateway-keys:/keys/gateway", "robot-keys:/keys/robot"]
"""
"""Fills the volumes as version 0.1 did: the admitted keys were in the volume of the gateway's secrets."""
TAR = ("run", "--rm", "-T", "--entrypoint", "tar", "keys", "-C", "/keys/gateway")
"""The command of docs/fleet.md."""
KEYS = ["rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"]
"""Public keys from the documentation of ZeroMQ."""


class Project:
    """A compose project in its own directory; the number is that of the process that runs the tests."""

    def __init__(self, directory: Path, number: int) -> None:
        self.directory, self.name, self._number = directory, f"reachy-link-test-{number}", number
        if number:
            for path in directory.glob("docker-compose*.yml"):
                path.write_text(
                    re.sub(r'(?<=[":])(\d{4})(?=:\d{4}")', lambda port: str(self.port(int(port[0]))), path.read_text())
                )

    def port(self, port: int) -> int:
        """Where on the host the port is published."""
        return port + 10_000 * self._number

    def compose(
        self, *args: str, timeout_s: float = 120, check: bool = True, given: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = ["docker", "compose", "--project-name", self.name, *args]
        done = subprocess.run(
            command, cwd=self.directory, capture_output=True, text=True, timeout=timeout_s, check=False, input=given
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def logs(self, service: str) -> str:
        return self.compose("logs", "--no-color", "--no-log-prefix", service).stdout

    def until(self, condition, timeout_s: float = 60.0) -> None:
        """Wait for a condition; ask again and again, because the engine sends no events."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, self.compose("logs", "--no-color").stdout[-5000:]
            subprocess.run(["docker", "events", "--since", "0s", "--until", "0.3s"], capture_output=True, check=False)

    def state(self, service: str) -> dict:
        lines = self.compose("ps", "--all", "--format", "json", service).stdout.strip().splitlines()
        return json.loads(lines[0]) if lines else {}


def inspected(name: str, what: str) -> str:
    command = ["docker", "inspect", "--format", f"{{{{{what}}}}}", name]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def project(clone) -> Iterator[Project]:
    project = Project(clone, int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")))
    yield project
    project.compose("--profile", "two", "down", "--volumes", "--remove-orphans", "--timeout", "3", check=False)


@pytest.fixture(autouse=True)
def torn_down(project) -> Iterator[None]:
    yield
    project.compose("--profile", "two", "down", "--volumes", "--remove-orphans", "--timeout", "3")
    project.compose(*FLEET, "down", "--volumes", "--timeout", "3")


async def talked_in_chromium(link: str, tmp_path: Path) -> None:
    """Open the link, speak, and check that the page is answered."""
    async with browser(*DEVICES, spoken(tmp_path / "microphone.wav", 3.0, NUMBER, 20.0)) as chromium:
        page = await chromium.new_page()
        await page.goto(link)
        await page.click("#talk")
        await expect(page.locator("#state-words")).to_have_text("speaking", timeout=30_000)
        await expect(page.locator("#said .timing").first).to_contain_text("answered after", timeout=20_000)
        assert await page.locator("#checks li[data-ok=yes]").count() == 7


@pytest.mark.timeout(240)
async def test_up_ends_with_a_link_to_a_page_where_one_can_talk(project, tmp_path):
    """With both gateways: gemini-gateway, here with the simulator, and the mock."""
    for files, more in (((), ["gemini-live-sim"]), (MOCK, [])):
        started = time.monotonic()
        project.compose(*files, "up", "--detach", "gemini-gateway", "console", *more)
        project.until(lambda: "http://127.0.0.1:8090/#" in project.logs("console"))
        code = re.findall(r"http://127.0.0.1:8090/#(\S+)", project.logs("console"))[-1]
        console = Served.at(project.port(8090))
        console.cookie_name = "reachy-console-8090"  # by the port inside
        cookie = await asyncio.to_thread(console.open_link, code)
        async with console.page(cookie) as page:
            await page.tell({"kind": "look", "fleet": True, "robot": None})
            await page.until(lambda it=page: any(each["gateways"][0]["standing"] == "here" for each in it.kinds("gateways")))
            rows = {row["robot"] for it in page.kinds("fleet") for row in it["it"]["rows"]}
            assert rows >= {"virtual-1", "browser-1"}
            await page.start()
            await page.until(lambda it=page: "listening" in it.states)
            page.say(NUMBER)
            await page.until(lambda it=page: it.kinds("answered") and len(it.sound) > 4000, 30)
            assert page.kinds("answered")[0]["complete"]
            assert page.kinds("pose")
        print(f"\nfrom `docker compose up` to an answer in the page, images built: {time.monotonic() - started:.1f} s")  # noqa: T201
        if not files and shutil.which("chromium-headless-shell"):
            link = project.compose(*files, "exec", "console", "reachy-console", "link").stdout.strip()
            await talked_in_chromium(link.replace(":8090", f":{project.port(8090)}"), tmp_path)
        again = project.compose(*files, "exec", "console", "reachy-console", "link", "--viewer").stdout
        assert re.fullmatch(r"http://127.0.0.1:8090/#\S{32}\n", again)
        assert inspected(project.state("console")["Name"], ".Config.User") == "reachy"
        assert project.state("console")["Health"] == "healthy"
        project.compose(*files, "down", "--timeout", "3")


@pytest.mark.timeout(180)
def test_up_runs_a_whole_conversation_and_down_ends_it_at_once(project):
    started = time.monotonic()
    project.compose("up", "--detach")
    project.until(lambda: "turn 1 done" in project.logs("robot-io"))
    print(f"\nfrom `docker compose up` to the end of the first turn, images built: {time.monotonic() - started:.1f} s")  # noqa: T201
    project.until(lambda: project.state("robot-io").get("State") == "exited")
    assert project.state("robot-io")["ExitCode"] == 0
    told = project.logs("robot-io")
    for moment in ("connected to the gateway", "listening", "thinking", "speaking", "turn 5 done, answered after"):
        assert moment in told
    assert "heard 2." in project.logs("gemini-gateway")
    project.until(lambda: len(re.findall(r"http://127.0.0.1:8090/#\S{32}\n", project.logs("console"))) == 2)
    assert re.search(r"called what_time_is_it: done in \d+ ms", project.logs("gemini-gateway"))
    assert "dance sway" in told
    assert (project.directory / "out" / "motion.svg").read_text().startswith("<svg ")
    with wave.open(str(project.directory / "out" / "speaker.wav")) as recording:
        assert recording.getnframes() / recording.getframerate() > 10
    assert project.state("gemini-gateway")["Health"] == "healthy"
    checks = json.loads(inspected(project.state("gemini-gateway")["Name"], "json .State.Health.Log"))
    ended = [each["End"] for each in checks if each["ExitCode"] == 0]
    assert len(ended) == 1, "a healthy service must be asked once a minute"
    query = ("python", "-m", "sqlite3", "/data/ledger.sqlite", "SELECT robot, COUNT(*) FROM turns GROUP BY robot")
    booked = project.compose("exec", "gemini-gateway", *query).stdout  # the command of docs/operations.md
    assert re.search(r"virtual-1\W+5\b", booked)
    started = time.monotonic()
    project.compose("stop")
    assert time.monotonic() - started < 3.0
    assert project.state("gemini-gateway")["ExitCode"] == 0
    assert project.state("gemini-live-sim")["ExitCode"] == 0
    lines = project.compose("logs", "--no-color").stdout.splitlines()
    # Warnings are allowed: on a machine that is busy building images a chunk of 20 ms can come too late to be sent.
    assert [line for line in lines if re.search(r"Traceback|ERROR", line)] == []


@pytest.mark.timeout(180)
def test_the_gateway_swapped_for_the_mock_answers_and_ends_with_the_robot(project):
    done = project.compose(*MOCK, "run", "--rm", "robot-io")
    assert re.search(r"connected to the gateway at gemini-gateway:\S+ \(\S+\) \(mock-gateway ", done.stderr + done.stdout)
    assert "turn 5 done" in done.stderr + done.stdout
    assert project.state("gemini-live-sim") == {}


@pytest.mark.timeout(180)
def test_a_second_robot_is_one_more_service(project):
    project.compose("--profile", "two", "up", "--detach")
    project.until(lambda: all(project.state(robot).get("State") == "exited" for robot in ("robot-io", "robot-io-2")))
    for robot in ("robot-io", "robot-io-2"):
        assert project.state(robot)["ExitCode"] == 0
        assert "turn 5 done" in project.logs(robot)
    assert (project.directory / "out" / "speaker-2.wav").exists()
    listed = project.compose("run", "--rm", "keys", "list").stdout
    assert "virtual-1" in listed
    assert "virtual-2" in listed


@pytest.mark.timeout(180)
def test_a_robot_talks_on_in_the_same_conversation_when_the_gateway_that_serves_it_is_killed(project):
    project.compose(*FLEET, "up", "--detach")
    project.until(lambda: "turn 1 done" in project.logs("robot-io"))
    other = "gemini-gateway-2"
    project.compose(*FLEET, "kill", "gemini-gateway")  # the command of docs/fleet.md
    project.until(lambda: project.state("robot-io").get("State") == "exited")
    assert project.state("robot-io")["ExitCode"] == 0
    before, connected, after = project.logs("robot-io").partition(f"connected to the gateway at {other}:")
    assert "turn 1 done" in before
    assert connected
    assert "done, answered after" in after
    opened = re.findall(r"session \d+ open: .*", project.logs("gemini-live-sim"))
    assert ["resumed" in line for line in opened] == [False, True]
    told = project.compose(*FLEET, "exec", "gemini-gateway-2", "reachy-top", "--once").stdout
    assert "fleet: gateway-2 " in told
    asked = ("exec", "store", "valkey-cli", "--user", "reachy", "--pass", "a-guess", "--no-auth-warning", "ping")
    assert "WRONGPASS" in project.compose(*FLEET, *asked, check=False).stderr
    assert "NOAUTH" in project.compose(*FLEET, "exec", "store", "valkey-cli", "keys", "*", check=False).stdout
    reached = ("exec", "console", "python", "-c", "import socket; socket.create_connection(('store', 6379), 2)")
    assert project.compose(*FLEET, *reached, check=False).returncode, "only gateways may be on the store's network"


@pytest.mark.timeout(120)
def test_the_list_tells_who_is_connected_and_says_so_where_it_cannot(project):
    project.compose("up", "--detach")
    project.until(lambda: "connected to the gateway" in project.logs("robot-io"))
    listed = project.compose("exec", "gemini-gateway", "reachy-keys", "list").stdout
    assert re.search(r"^virtual-1\t\S{40}\tconnected since [-0-9]{10} [:0-9]{8} UTC$", listed, re.MULTILINE)
    assert re.search(r"^browser-1\t\S{40}\tnot connected$", listed, re.MULTILINE)
    elsewhere = project.compose("run", "--rm", "keys", "list")
    assert re.search(r"^virtual-1\t\S{40}$", elsewhere.stdout, re.MULTILINE)
    assert "who is connected is not known here" in elsewhere.stderr + elsewhere.stdout


def test_only_the_robots_ports_are_published_and_health_on_loopback(project):
    services = json.loads(project.compose("--profile", "two", "config", "--format", "json").stdout)["services"]
    published = {
        (name, port["target"], port["published"], port.get("host_ip", ""))
        for name, service in services.items()
        for port in service.get("ports", [])
    }
    assert published == {
        ("gemini-gateway", 5555, str(project.port(5555)), ""),
        ("gemini-gateway", 5556, str(project.port(5556)), ""),
        ("gemini-gateway", 8080, str(project.port(8080)), "127.0.0.1"),
        ("console", 8090, str(project.port(8090)), "127.0.0.1"),
    }
    project.compose("up", "--detach", "--wait", "gemini-gateway")
    with urllib.request.urlopen(f"http://127.0.0.1:{project.port(8080)}/healthz", timeout=5) as response:
        assert json.load(response)["ok"]


@pytest.mark.timeout(120)
def test_a_key_that_is_a_docker_secret_shows_nowhere(project):
    key = "the-marked-key-0123456789-0123456789"
    file = project.directory / "config" / "gemini-api-key"
    file.write_text(key)
    file.chmod(0o444)
    with_secret = ("-f", "docker-compose.yml", "-f", "docker-compose.secret.yml")
    project.compose(*with_secret, "up", "--detach", "--wait", "gemini-gateway")
    assert "will talk to Google" in project.logs("gemini-gateway")
    name = project.state("gemini-gateway")["Name"]
    shown = subprocess.run(
        ["docker", "inspect", name, "reachy-link/gemini-gateway"], capture_output=True, text=True, check=True
    )
    told = shown.stdout + project.logs("gemini-gateway") + project.compose(*with_secret, "config").stdout
    assert "GEMINI_API_KEY_FILE=/run/secrets/gemini-api-key" in shown.stdout
    assert key not in told
    file.unlink()


@pytest.mark.timeout(120)
def test_a_private_key_in_the_volume_that_others_can_read_is_refused_until_it_is_mended(project):
    def change(mode: str) -> None:
        project.compose("run", "--rm", "--entrypoint", "chmod", "keys", mode, "/keys/gateway/self.key")

    project.compose("run", "--rm", "keys")
    change("644")
    assert project.compose("up", "--detach", "gemini-gateway", check=False).returncode
    assert "chmod 600 /keys/gateway/self.key" in project.logs("keys"), "the keys service must check modes first"
    project.compose("up", "--detach", "--no-deps", "gemini-gateway", check=False)
    project.until(lambda: project.state("gemini-gateway").get("Status", "").startswith("Restarting (2)"))
    assert "chmod 600 /keys/self.key" in project.logs("gemini-gateway")
    change("600")
    project.compose("up", "--detach", "--wait", "gemini-gateway")


SAYS = {
    "docker compose exec console reachy-console link": "http://127.0.0.1:8090/#",
    "docker compose exec console reachy-console link --viewer": "http://127.0.0.1:8090/#",
    "docker compose logs -f gemini-gateway": "listening on ports 5555 and 5556",
    "docker compose run --rm keys admit reachy-1 'ROBOT_KEY'": "takes effect at once",
    "docker compose exec gemini-gateway reachy-keys list": "reachy-1\t",
    "docker compose run --rm keys list": "reachy-2\t",
    "docker compose run --rm keys revoke reachy-1": "revoked 1 key",
    "docker compose exec gemini-gateway reachy-top": "robots connected",
}
"""What a command of the documents prints, among other things."""
GOES_ON = ("docker compose logs -f gemini-gateway", "docker compose exec gemini-gateway reachy-top")
"""Commands that a person ends."""


@pytest.mark.timeout(240)
def test_the_commands_of_the_documents_run_as_they_stand(project):
    """In the order of the list; each placeholder has a value, and what a person would end is ended after 4 s."""
    told = {command.text for command in commands()}
    meant = {"'ROBOT_KEY'": f"'{KEYS[0]}'", "ID NEW_KEY": f"reachy-2 '{KEYS[1]}'"}
    environment = os.environ | {"COMPOSE_PROJECT_NAME": project.name}
    try:
        for text in IN_CONTAINERS:
            assert text in told
            command = text
            for word, value in meant.items():
                command = command.replace(word, value)
            if text in GOES_ON:
                command = f"timeout --signal INT 4 {command} || [ $? = 124 -o $? = 130 ]"
            done = subprocess.run(
                ["bash", "-ec", command],
                cwd=project.directory,
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}\n{done.stderr[-2000:]}"
            assert SAYS.get(text, "") in done.stdout + done.stderr, command
    finally:
        (project.directory / ".env").unlink(missing_ok=True)
    assert (project.directory / "ledger-copy.sqlite").stat().st_size
    assert "configuration read again" in project.logs("gemini-gateway")


@pytest.mark.timeout(180)
def test_a_gateways_keys_are_kept_saved_and_restored_from_version_0_1_on(project):
    def told(*files: str) -> tuple[str, list[str]]:
        """The gateway's key, and the admitted robots. One container reads both, to save time."""
        both = "reachy-keys --dir /keys/gateway show && reachy-keys --dir /keys/gateway list"
        said = project.compose(*files, "run", "--rm", "--entrypoint", "sh", "keys", "-c", both).stdout.splitlines()
        return said[1], said[2:]

    def restored(saved: str) -> tuple[str, list[str]]:
        project.compose("down", "--volumes", "--timeout", "3")
        project.compose(*TAR, "-xf", "-", given=saved)
        return told()

    (project.directory / "before.yml").write_text(VERSION_0_1)
    project.compose(*BEFORE, "run", "--rm", "keys")
    for robot, key in zip(("reachy-8", "reachy-9"), KEYS, strict=True):
        project.compose(*BEFORE, "run", "--rm", "keys", "admit", robot, key)
    saved_before = project.compose(*BEFORE, *TAR, "-cf", "-", ".").stdout
    shown, before = told(*BEFORE)
    assert re.fullmatch(r"reachy-keys trust '\S{40}'", shown)
    assert len(before) == 3

    project.compose("up", "--detach", "gemini-gateway")  # the upgrade
    assert "adopted reachy-8, reachy-9, virtual-1 from /keys/before/admitted" in project.logs("keys")
    assert told() == (shown, before)
    project.until(lambda: "admitted: reachy-8, reachy-9, virtual-1" in project.logs("gemini-gateway"))
    project.compose("exec", "gemini-gateway", "reachy-keys", "revoke", "reachy-9")
    refused = project.compose("exec", "gemini-gateway", "reachy-keys", "operator", "anna", KEYS[1], check=False)
    assert refused.returncode
    assert "Read-only file system" in refused.stderr + refused.stdout
    project.compose("run", "--rm", "keys", "operator", "anna", KEYS[1])

    written = "for it in self.key self.pub x operators/x.pub operators/anna.pub viewers admitted/x; do"
    written += " (: >> /keys/$it) 2>/dev/null && echo wrote $it; done;"
    written += " for it in self.key operators/anna.pub operators admitted/x; do"
    written += " rm -r /keys/$it 2>/dev/null && echo removed $it; done; mkdir /keys/viewers 2>/dev/null && echo made it; true"
    tried = project.compose("exec", "gemini-gateway", "sh", "-c", written).stdout
    assert tried.splitlines() == ["wrote admitted/x", "removed admitted/x"], "only the folder of admitted keys may be written"

    project.compose("up", "--detach", "gemini-gateway")  # start it again, as after the next upgrade
    after = [line for line in before if not line.startswith("reachy-9")] + [f"operator\tanna\t{KEYS[1]}"]
    assert told() == (shown, after), "a revoked robot must stay out"
    saved = project.compose(*TAR, "-cf", "-", ".").stdout
    assert restored(saved) == (shown, after)
    assert restored(saved_before) == (shown, before)
    project.compose("up", "--detach", "--wait", "gemini-gateway")
    assert set(before) <= set(told()[1]), "also with a new key of the virtual robot"
    (project.directory / "before.yml").unlink()


@pytest.mark.timeout(120)
def test_a_gateway_that_crashes_starts_again(project):
    project.compose("up", "--detach", "--wait", "gemini-gateway")
    name = project.state("gemini-gateway")["Name"]

    # As in README.md. `docker compose kill` would count as a stop, whatever the signal, and then the engine restarts nothing.
    project.compose("exec", "gemini-gateway", "sh", "-c", "kill -HUP 1")
    project.until(lambda: "configuration read again" in project.logs("gemini-gateway"))
    # Kill from outside: in the container nothing can kill process 1, and what the engine itself kills it does not restart.
    kill = ["docker", "run", "--rm", "--pid", "host", "--user", "0", "--entrypoint", "python", "reachy-link/robot-io", "-c"]
    subprocess.run([*kill, f"import os; os.kill({inspected(name, '.State.Pid')}, 9)"], check=True)
    project.until(lambda: inspected(name, ".RestartCount") != "0")
    project.compose("up", "--detach", "--wait", "gemini-gateway")


def test_the_gateways_of_a_fleet_share_their_keys_and_the_console_knows_both(project):
    services = json.loads(project.compose(*FLEET, "config", "--format", "json").stdout)["services"]
    gateways = ("gemini-gateway", "gemini-gateway-2")
    for name in gateways:
        mounts = {it["target"]: (it["source"], it.get("read_only", False)) for it in services[name]["volumes"]}
        assert mounts["/keys"] == ("gateway-keys", True)
        assert mounts["/keys/admitted"] == ("gateway-admitted", False)
        assert services[name]["environment"]["GATEWAY_ADMIN_PORT"] == "5559"
    assert services["console"]["environment"]["CONSOLE_ADMIN"] == ",".join(f"{name}:5559" for name in gateways)


def test_the_key_as_a_secret_reaches_every_gateway_of_a_fleet(project):
    files = [f"docker-compose{name}.yml" for name in ("", ".secret", ".fleet", ".fleet-secret")]
    text = (project.directory / "docs" / "security.md").read_text()
    assert f"'COMPOSE_FILE={':'.join(files[:2])}' >> .env" in text
    assert f"With two gateways the line goes on with `:{':'.join(files[2:])}`" in " ".join(text.split())
    (project.directory / "config" / "gemini-api-key").write_text("x")
    config = project.compose(*(part for file in files for part in ("-f", file)), "config", "--format", "json").stdout
    (project.directory / "config" / "gemini-api-key").unlink()
    services = json.loads(config)["services"]
    for name in ("gemini-gateway", "gemini-gateway-2"):
        assert services[name]["environment"]["GEMINI_API_KEY_FILE"] == "/run/secrets/gemini-api-key"
        assert services[name]["secrets"] == [{"source": "gemini-api-key", "target": "/run/secrets/gemini-api-key"}]
    assert services["gemini-gateway-2"]["environment"]["GATEWAY_UP_PORT"] == "5557"


def test_containers_run_unprivileged_read_only_and_without_capabilities(project):
    project.compose("up", "--detach")
    names = project.compose("ps", "--all", "--format", "{{.Name}}").stdout.split()
    assert len(names) == 7
    for name in names:
        facts = json.loads(subprocess.run(["docker", "inspect", name], capture_output=True, text=True, check=True).stdout)[0]
        host = facts["HostConfig"]
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert host["Memory"] > 0, name
        assert host["PidsLimit"] > 0, name
        if "-out-" in name:  # this service makes ./out writable; it has no network and none of our code
            assert (host["CapAdd"], host["NetworkMode"]) == (["FOWNER"], "none")
        else:
            assert facts["Config"]["User"] == "reachy", name
            assert not host["CapAdd"], name


@pytest.mark.parametrize("image", OURS)
def test_an_image_holds_no_gstreamer_no_secret_and_no_sdk_that_it_does_not_need(project, image):
    look = (
        "import importlib.util as u; print([n for n in ('gi', 'reachy_mini', 'google.genai') if u.find_spec(n.split('.')[0])])"
    )
    command = ["docker", "run", "--rm", "--entrypoint", "python", image, "-c", look]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert found == ("['google.genai']" if image.endswith("gemini-gateway") else "[]")
    libraries = [
        "docker",
        "run",
        "--rm",
        "--entrypoint",
        "find",
        image,
        "/",
        "-xdev",
        "-name",
        "libgstreamer*",
        "-o",
        "-name",
        "*.key",
    ]
    assert subprocess.run(libraries, capture_output=True, text=True, check=False).stdout == ""
    raised = ["docker", "run", "--rm", "--user", "0", "--entrypoint", "sh", image, "-c"]
    search = r"find / -xdev \( -type f -perm /6000 \) -o \( -perm -0002 ! -type l ! -perm -1000 \)"
    found = subprocess.run([*raised, search], capture_output=True, text=True, check=True)
    assert found.stdout == "", "files that raise privileges or that every user may write"
    closed = r"find /venv $(ls -d /utterances 2>/dev/null) \( ! -type l ! -perm -044 \) -o \( -type d ! -perm -011 \)"
    found = subprocess.run([*raised, closed], capture_output=True, text=True, check=True)
    assert found.stdout == "", "files that the service cannot read"
    config = subprocess.run(["docker", "inspect", image], capture_output=True, text=True, check=True).stdout
    assert "OPENBLAS_NUM_THREADS=1" in config
    assert not re.search(r"API_KEY|SECRET|TOKEN", config)


@pytest.mark.timeout(900)
def test_the_image_of_the_real_robot_has_the_sdk_and_can_play_and_record(project):
    image = "reachy-link/robot-io-reachy"
    look = (
        "import reachy_mini, robot_io.reachy.sound, gi; gi.require_version('Gst', '1.0'); from gi.repository import Gst;"
        "Gst.init(None); needed = ('pulsesrc', 'pulsesink', 'alsasrc', 'alsasink', 'audioconvert', 'audioresample', 'appsink');"
        "print([name for name in needed if not Gst.ElementFactory.find(name)])"
    )
    command = ["docker", "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--entrypoint", "python", image, "-c", look]  # noqa: S108
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
