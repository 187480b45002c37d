"""The API key and the private keys show nowhere: not in the real programs' output on any path, nor in their files."""

import asyncio
import base64
import os
import re
import signal
import sys
import urllib.error
import urllib.request
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from ports import free_ports
from rig import Keys

from gemini_gateway.settings import GeminiSettings
from gemini_live_sim.actions import Close, Step
from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from gemini_live_sim.settings import SimSettings
from robot_io.settings import RobotSettings

HERE = Path(__file__).parent
SPEECH = HERE.parent / "e2e" / "data"
BIN = Path(sys.executable).parent
FOREIGN = ("ROBOT_", "GATEWAY_", "GEMINI_", "GOOGLE_", "REACHY_", "SIM_")
KEY = "the-marked-API-key-0123456789-abcdef"  # not in Google's form: only a program that knows the key can hide it
NEXT_KEY = "the-next-marked-API-key-9876543210-fedcba"
GOOGLE_KEY = "AIza" + "SyMarkedMarkedMarkedMarkedMarked123"


class Bench:
    """The real programs around one set of keys, and all their output."""

    def __init__(self, directory, sim):
        self.directory, self.sim = directory, sim
        self.made = Keys(directory / "keys", "reachy-1")
        self.robot_secret = self.made.robot("reachy-1").keys.secret.decode()
        self.ports = free_ports(3)
        self.told = []
        (directory / "robots.toml").write_text("[defaults]\ntranscripts_to_file = true\n")

    def settings(self):
        up, down, health = self.ports
        return {
            "GATEWAY_HOST": "127.0.0.1", "GATEWAY_UP_PORT": up, "GATEWAY_DOWN_PORT": down, "REACHY_HEALTH_PORT": health,
            "REACHY_KEYS_DIR": self.made.gateway_dir, "REACHY_LOG_LEVEL": "DEBUG",
            "GATEWAY_LEDGER": self.directory / "ledger.sqlite", "GATEWAY_TRANSCRIPTS_DIR": self.directory / "transcripts",
            "GATEWAY_ROBOTS_FILE": self.directory / "robots.toml",
            "GOOGLE_GEMINI_BASE_URL": self.sim.url, "GEMINI_ROOT_CERT": self.sim.root_path, "GEMINI_API_KEY": KEY,
        }  # fmt: skip

    @asynccontextmanager
    async def runs(self, *command, **settings):
        """Run a program, and end it with SIGTERM. Its last words are kept, too."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        env = clean | {"PYTHONUNBUFFERED": "1"} | {name: str(value) for name, value in settings.items()}
        process = await asyncio.create_subprocess_exec(
            *command, env=env, cwd=self.directory, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said = Said(process)
        try:
            yield said
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(said.ended, 8)
            except TimeoutError:
                process.kill()
            await process.wait()
            self.told.append(said.text)

    @asynccontextmanager
    async def gateway(self, *command, **changes):
        settings = {name: value for name, value in (self.settings() | changes).items() if value is not None}
        async with self.runs(*(command or (BIN / "gemini-gateway",)), **settings) as said:
            yield said

    @asynccontextmanager
    async def robot(self, **changes):
        settings = {
            "ROBOT_DEVICE": "wav", "ROBOT_UTTERANCES": SPEECH, "ROBOT_SPEAKER_WAV": self.directory / "speaker.wav",
            "ROBOT_GATEWAYS_FILE": self.directory / "gateways",
            "ROBOT_GATEWAY": "127.0.0.1", "ROBOT_UP_PORT": self.ports[0], "ROBOT_DOWN_PORT": self.ports[1],
            "REACHY_KEYS_DIR": self.made.robot_dir("reachy-1"), "REACHY_LOG_LEVEL": "DEBUG", "ROBOT_SHOW_TRANSCRIPTS": "true",
        }  # fmt: skip
        async with self.runs(BIN / "robot-io", **settings | changes) as said:
            yield said

    async def health(self):
        """What health reports; it is kept, too."""

        def ask():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[2]}/healthz", timeout=2) as response:
                    return response.read().decode()
            except urllib.error.HTTPError as error:
                return error.read().decode()
            except OSError as error:
                return str(error)

        self.told.append(await asyncio.to_thread(ask))
        return self.told[-1]

    def leaks(self, *more):
        """Which secrets show, and where."""
        secrets = [KEY, NEXT_KEY, *more, self.made.pair.secret.decode(), self.robot_secret]
        kept = [
            path
            for path in self.directory.rglob("*")
            if path.is_file() and "keys" not in path.relative_to(self.directory).parts
        ]
        places = {f"output {n}": text.encode() for n, text in enumerate(self.told)}
        places |= {str(path): path.read_bytes() for path in kept if path.suffix != ".key-file"}
        forms = {form for each in secrets for form in (each, quote(each, safe=""), base64.b64encode(each.encode()).decode())}
        return [(where, form) for where, content in places.items() for form in forms if form.encode() in content]


class Said:
    """A program's output."""

    def __init__(self, process):
        self.process, self.text = process, ""
        self._more = asyncio.Event()
        self.ended = asyncio.ensure_future(self._read())

    async def _read(self):
        while line := await self.process.stdout.readline():
            self.text += line.decode()
            self._more.set()
        self._more.set()

    async def until(self, words, timeout_s=15):
        try:
            async with asyncio.timeout(timeout_s):
                while words not in self.text:
                    assert not self.ended.done(), self.text
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            pytest.fail(f"{words!r} does not come: {self.text}")


@pytest.fixture
async def sim():
    async with serve(SimSettings(api_keys=f"{KEY},{NEXT_KEY}")) as running:
        running.behaviour = Behaviour(mode="tone", tone_ms=300, thinking_ms=50, hold_turn_complete=False)
        yield running


@pytest.fixture
def bench(tmp_path, sim):
    return Bench(tmp_path, sim)


async def test_a_whole_conversation(bench):
    async with bench.gateway() as gateway, bench.robot() as robot:
        await robot.until("turn 1 done")
        assert "reachy-1" in await bench.health()
        assert "the turn cost" in gateway.text
    assert "stopped by a signal" in gateway.text
    assert list((bench.directory / "transcripts").iterdir())
    assert (bench.directory / "ledger.sqlite").stat().st_size
    assert bench.leaks() == []


async def test_the_search_finds_what_is_there(bench):
    """Else the search would prove nothing."""
    (bench.directory / "transcripts").mkdir()
    (bench.directory / "transcripts" / "x.jsonl").write_text(f"{KEY} {bench.made.pair.secret.decode()}")
    bench.told.append(bench.robot_secret + base64.b64encode(NEXT_KEY.encode()).decode())
    assert len(bench.leaks()) == 4


async def test_a_key_that_the_server_refuses_and_repeats_to_our_face(bench):
    """Gemini does not repeat keys, but a proxy before it may."""
    reason = f"API key not valid: {NEXT_KEY}"
    bench.sim.behaviour = Behaviour(script=(Step(on="setup", action=Close(code=1008, reason=reason)),))
    async with bench.gateway(GEMINI_API_KEY=NEXT_KEY) as gateway, bench.robot() as robot:
        await gateway.until("Gemini refused the API key")
        await robot.until("Gemini refused the API key: check GEMINI_API_KEY (code 1008: API key not valid: [secret]")
        await bench.health()
    assert bench.leaks() == []


async def test_a_server_that_cannot_be_reached(bench):
    (port,) = free_ports(1)
    async with bench.gateway(GOOGLE_GEMINI_BASE_URL=f"https://127.0.0.1:{port}") as gateway, bench.robot():
        await gateway.until("cannot be reached")
    assert bench.leaks() == []


async def test_a_key_whose_file_changes_at_run_time(bench):
    """The old key, a refused one that the server repeats, and the good one again: none of them shows."""
    file = bench.directory / "api.key-file"
    file.write_text(KEY)
    async with bench.gateway(GEMINI_API_KEY=None, GEMINI_API_KEY_FILE=file) as gateway, bench.robot() as robot:
        await robot.until("listening")
        bench.sim.behaviour = Behaviour(
            script=(Step(on="setup", action=Close(code=1008, reason=f"API key not valid: {NEXT_KEY}, was {KEY}")),)
        )
        file.write_text(NEXT_KEY)
        await gateway.until("configuration read again")
        bench.sim.abort_all()
        await robot.until("(code 1008: API key not valid: [secret], was [secret]")
    assert bench.leaks() == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (NEXT_KEY.encode() + "\u200b".encode(), "is an invisible character"),
        (f"\u201c{NEXT_KEY}\u201d".encode(), "is a typographic quotation mark"),
        (NEXT_KEY.encode("utf-16"), "it is UTF-16"),
        (f"{NEXT_KEY}\n{KEY}".encode(), "is a line's end"),
    ],
)
async def test_a_key_that_cannot_be_sent_once_its_file_has_changed_is_one_line_and_the_last_good_one_stays(bench, content, why):
    file = bench.directory / "api.key-file"
    file.write_text(KEY)
    async with bench.gateway(GEMINI_API_KEY=None, GEMINI_API_KEY_FILE=file) as gateway, bench.robot() as robot:
        await robot.until("listening")
        file.write_bytes(content)
        await gateway.until("(the last good one stays in use)")
        await robot.until("turn 1 done")
    (line,) = [line for line in gateway.text.splitlines() if "the last good one stays" in line]
    assert f"configuration: GEMINI_API_KEY_FILE: GEMINI_API_KEY_FILE={file}" in line
    assert why in line
    assert "pydantic" not in gateway.text
    assert bench.leaks() == []


@pytest.mark.parametrize("content", [b"", KEY.encode() + b"\xff\xfe", None], ids=["empty", "no text", "a directory"])
async def test_a_key_file_that_cannot_be_read(bench, content):
    file = bench.directory / "api.key-file"
    file.mkdir() if content is None else file.write_bytes(content)
    async with bench.gateway(GEMINI_API_KEY=None, GEMINI_API_KEY_FILE=file) as gateway:
        await gateway.ended
    assert "GEMINI_API_KEY_FILE" in gateway.text
    assert bench.leaks() == []


async def test_private_keys_that_others_can_read_or_that_are_damaged(bench):
    for directory in (bench.made.gateway_dir, bench.made.robot_dir("reachy-1")):
        (directory / "self.key").chmod(0o644)
    async with bench.gateway() as gateway, bench.robot() as robot:
        await asyncio.gather(gateway.ended, robot.ended)
    assert "chmod 600" in gateway.text
    assert "chmod 600" in robot.text
    secret = bench.made.pair.secret.decode()
    damaged = bench.directory / "damaged" / "keys"
    damaged.mkdir(parents=True)
    for content in (secret[:-1], secret + secret, "\xff" + secret):
        (damaged / "self.key").write_text(content, encoding="latin1")
        (damaged / "self.key").chmod(0o600)
        async with bench.gateway(REACHY_KEYS_DIR=damaged) as gateway:
            await gateway.ended
        assert "self.key" in gateway.text
    assert bench.leaks(secret[:-1]) == []


@pytest.mark.parametrize(
    "where", ["at_the_start", "in_the_hub", "in_a_voice", "in_a_callback", "in_what_runs_beside", "in_health"]
)
async def test_a_fault_whose_words_carry_the_secrets(bench, where):
    async with bench.gateway(sys.executable, HERE / "broken.py", where) as gateway:
        if where in ("at_the_start", "in_the_hub"):
            await gateway.ended
        else:
            async with bench.robot():
                await gateway.until("listening on ports")
                await bench.health()
                await gateway.until("[secret]")
    assert "[secret]" in gateway.text
    assert "Traceback" in gateway.text
    assert bench.leaks() == []


def variables(model):
    prefix = model.model_config["env_prefix"]
    return [str(field.validation_alias or f"{prefix}{name}".upper()) for name, field in model.model_fields.items()]


@pytest.mark.parametrize("program", ["gemini-gateway", "robot-io"])
async def test_a_key_of_googles_in_the_wrong_variable(bench, program):
    """In all variables, then in those that are left after each reported mistake is repaired."""
    model = GeminiSettings if program == "gemini-gateway" else RobotSettings
    starts, words = (bench.gateway, "listening on ports") if model is GeminiSettings else (bench.robot, "nobody listens")
    wrong = every = set(variables(model))
    runs = False
    while not runs:
        async with starts(**dict.fromkeys(every & {"GEMINI_API_KEY"}) | dict.fromkeys(wrong, GOOGLE_KEY)) as said:
            begun = asyncio.ensure_future(said.until(words))
            done, _ = await asyncio.wait([said.ended, begun], return_when=asyncio.FIRST_COMPLETED)
            runs = said.ended not in done
            begun.cancel()
            await asyncio.wait([begun])
        mistakes = " ".join(line for line in said.text.splitlines() if line.startswith("configuration:"))
        told = {name for name in wrong if re.search(rf"\b{name}\b", mistakes)}
        assert runs or told, said.text
        wrong = wrong - told
    assert len(every - wrong) > 5, "most of them are mistakes that show at the start"
    assert bench.leaks(GOOGLE_KEY) == []
