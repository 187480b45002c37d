"""The simulator's rim, and its process."""

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

import gemini_live_sim
from gemini_live_sim import Abort, Behaviour, Close, ResumeIo, SendRaw, SimSettings, Stall, Step, serve
from gemini_live_sim.process import SettingsError, read_settings, suspects
from gemini_live_sim.scenario import SCENARIOS, ScenarioError, load_scenario

PATH = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
KEY = {"x-goog-api-key": "any"}
SETUP = json.dumps({"setup": {"model": "models/x"}})


def dial(sim, path: str = PATH, headers: dict[str, str] | None = None):
    context = ssl.create_default_context(cafile=str(sim.root_path))
    headers = KEY if headers is None else headers
    url = sim.url.replace("https", "wss") + path
    return connect(url, ssl=context, additional_headers=headers, proxy=None, close_timeout=1)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (PATH, None),
        ("/" + PATH, None),
        (PATH.replace("v1beta", "v1alpha"), None),
        (PATH + "Constrained", None),
        ("/", 404),
        ("/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent", 404),
        (PATH + "/more", 404),
    ],
)
async def test_paths(path, status) -> None:
    async with serve() as sim:
        if status is None:
            async with dial(sim, path) as socket:
                await socket.send(SETUP)
                assert "setupComplete" in json.loads(await socket.recv())
        else:
            with pytest.raises(InvalidStatus, match=str(status)):
                await dial(sim, path)


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({}, PATH, 403),
        ({"x-goog-api-key": ""}, PATH, 403),
        ({}, PATH + "?key=abc", None),
        ({"authorization": "Token auth_tokens/abc"}, PATH, None),
    ],
)
async def test_there_must_be_a_key(headers, path, status) -> None:
    async with serve() as sim:
        if status is None:
            async with dial(sim, path, headers):
                pass
        else:
            with pytest.raises(InvalidStatus, match=str(status)):
                await dial(sim, path, headers)


@pytest.mark.parametrize("message", ["}", b"\xff\x00", "[" * 50_000, '{"setup": {"model": 1}}', "{}"])
async def test_nonsense_closes_its_own_connection_only(message) -> None:
    async with serve() as sim, dial(sim) as steady, dial(sim) as nonsense:
        await nonsense.send(message)
        with pytest.raises(ConnectionClosed) as error:
            await nonsense.recv()
        assert error.value.rcvd.code == 1007
        assert error.value.rcvd.reason
        await steady.send(SETUP)
        assert "setupComplete" in json.loads(await steady.recv())


@pytest.mark.parametrize("closing", ["client", "server"])
async def test_a_session_may_be_resumed_while_its_old_socket_is_still_closing(closing) -> None:
    setup = {"setup": {"model": "models/x", "sessionResumption": {}}}
    async with serve() as sim, dial(sim) as old:
        await old.send(json.dumps(setup))
        await old.recv()
        handle = json.loads(await old.recv())["sessionResumptionUpdate"]["newHandle"]
        # The old client ignores the server from now on, so the closing handshake cannot end.
        old.transport.pause_reading()
        if closing == "client":
            ending = asyncio.create_task(old.close())
        else:
            ending = asyncio.create_task(old.wait_closed())
            sim.sessions[0].close(1000, "bye")
        async with dial(sim) as new:
            setup["setup"]["sessionResumption"] = {"handle": handle}
            await new.send(json.dumps(setup))
            assert "setupComplete" in json.loads(await new.recv())
            assert sim.sessions[0].open
            assert sim.sessions[1].resumed
        old.transport.abort()
        await ending


@pytest.mark.parametrize("binary", [False, True])
async def test_messages_are_text_or_binary(binary) -> None:
    async with serve(SimSettings(binary=binary)) as sim, dial(sim) as socket:
        await socket.send(SETUP)
        assert isinstance(await socket.recv(), bytes if binary else str)


async def test_a_script_can_end_a_stall_and_nothing_is_lost_or_out_of_order() -> None:
    script = (
        Step(action=Stall()),
        Step(action=SendRaw(message={"n": 1})),
        Step(after_s=0.1, action=SendRaw(message={"n": 2})),
        Step(after_s=0.2, action=ResumeIo()),
    )
    async with serve(SimSettings(script=script)) as sim, dial(sim) as socket:
        clock = asyncio.get_running_loop().time
        await socket.send(SETUP)
        assert "setupComplete" in json.loads(await socket.recv())
        began = clock()
        assert [json.loads(await socket.recv()) for _ in range(2)] == [{"n": 1}, {"n": 2}]
        assert clock() - began > 0.15


async def test_a_script_can_abort_a_stalled_connection() -> None:
    script = (Step(action=Stall()), Step(after_s=0.05, action=Abort()))
    async with serve(SimSettings(script=script)) as sim, dial(sim) as socket:
        await socket.send(SETUP)
        await sim.until(lambda sim: bool(sim.sessions) and not sim.sessions[0].open)
        assert sim.sessions[0].close_code == 1006


async def test_a_message_that_is_too_long_is_a_1009() -> None:
    async with serve(SimSettings(max_message_bytes=2000)) as sim, dial(sim) as socket:
        await socket.send("x" * 2001)
        with pytest.raises(ConnectionClosed) as error:
            await socket.recv()
        assert error.value.rcvd.code == 1009


async def test_noise_on_the_port_harms_nobody() -> None:
    async with serve() as sim:
        _, writer = await asyncio.open_connection("127.0.0.1", sim.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n" * 10)
        await writer.drain()
        writer.transport.abort()
        async with dial(sim) as socket:
            await socket.send(SETUP)
            assert "setupComplete" in json.loads(await socket.recv())


async def test_stopping_does_not_wait_for_clients_that_do_not_answer() -> None:
    clock = asyncio.get_running_loop().time
    async with serve() as sim:
        deaf, stalled = await dial(sim), await dial(sim)
        deaf.transport.pause_reading()
        sim.sessions[1].stall()
        await sim.swallow(drop=False)
        _, writer = await asyncio.open_connection("127.0.0.1", sim.port)
        began = clock()
    assert clock() - began < 0.9
    for transport in (deaf.transport, stalled.transport, writer.transport):
        transport.abort()


async def test_old_records_are_forgotten_open_ones_are_not() -> None:
    async with serve(SimSettings(keep_sessions=3)) as sim, dial(sim):
        for _ in range(5):
            async with dial(sim):
                pass
            await sim.until(lambda sim: len(sim.open_sessions) == 1)
        assert [record.number for record in sim.sessions] == [1, 5, 6]


async def test_waiting_for_what_does_not_happen_ends() -> None:
    async with serve() as sim:
        with pytest.raises(TimeoutError):
            await sim.until(lambda sim: bool(sim.sessions), timeout_s=0.01)


def test_it_shares_no_code_with_the_project_and_none_with_the_sdk() -> None:
    code = "import sys, gemini_live_sim.process; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "gemini_live_sim.session" in modules
    assert not [name for name in modules if name.startswith(("reachy", "gemini_gateway", "mock_gateway", "robot_io", "google"))]


def test_a_health_check_imports_nothing_of_the_server() -> None:
    code = "import sys, gemini_live_sim.__main__; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    ours = {"gemini_live_sim", "gemini_live_sim.__main__", "gemini_live_sim.health", "gemini_live_sim.threads"}
    assert {name for name in modules if name.startswith("gemini_live_sim")} == ours
    assert set(modules).isdisjoint({"asyncio", "cryptography", "numpy", "pydantic", "soxr", "websockets"})


def test_every_name_of_the_package_is_there_without_being_imported_first() -> None:
    code = "import gemini_live_sim as sim; assert all(getattr(sim, name).__name__ == name for name in sim.__all__)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = gemini_live_sim.nothing_like_it


def test_the_core_has_no_socket_no_loop_and_no_clock() -> None:
    rim = {"__init__", "__main__", "alarm", "connection", "health", "listener", "logs", "process", "server", "tls", "watch"}
    folder = Path(gemini_live_sim.__file__).parent
    core = [path for path in folder.glob("*.py") if path.stem not in rim]
    assert len(core) > 15
    for path in core:
        words = [line.split() for line in path.read_text().splitlines() if line.startswith(("import ", "from "))]
        imported = {line[1].split(".")[0] for line in words}
        assert imported.isdisjoint({"asyncio", "time", "socket", "ssl", "websockets", "datetime", "threading"}), path.name


def test_all_wrong_settings_are_named_at_once(monkeypatch) -> None:
    wrong = {"SIM_PORT": "many", "SIM_SPEED": "-1", "SIM_SCRIPT": "no json"}
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as error:
        read_settings()
    lines = str(error.value).splitlines()
    assert len(lines) == 4
    assert all(any(line.strip().startswith(f"{name}: ") for line in lines) for name in wrong)


def test_a_misspelt_setting_is_told_with_the_nearest_one_and_ends_nothing(monkeypatch) -> None:
    """Orchestrators set variables of their own."""
    (line,) = suspects({"SIM_SPEEED": "2", "SIM_SPEED": "2", "OTHER_SPEED": "2"})
    assert line == "SIM_SPEEED: there is no such setting; is it SIM_SPEED?"
    monkeypatch.setenv("SIM_SPEEED", "2")
    read_settings()


def test_what_kubernetes_sets_for_a_service_called_sim_is_no_setting(monkeypatch) -> None:
    service = {"SIM_PORT": "tcp://10.0.0.1:80", "SIM_SERVICE_HOST": "10.0.0.1", "SIM_PORT_80_TCP_ADDR": "10.0.0.1"}
    for name, value in service.items():
        monkeypatch.setenv(name, value)
    assert read_settings().port == 8765
    assert [line.partition(" ")[0] for line in suspects(service)] == sorted(service)


def test_what_stands_around_a_setting_goes_and_a_home_is_found(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SIM_TLS_DIR", "\ufeff~/tls\r")
    monkeypatch.setenv("SIM_MODE", "echo\r\n")
    monkeypatch.setenv("SIM_SPEED", "")
    settings = read_settings()
    assert (settings.tls_dir, settings.mode) == (tmp_path / "tls", "echo")


def test_a_scenario_file_is_found_in_a_home_and_read_without_its_byte_order_mark(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.toml").write_text("[behaviour]\r\nmode = 'tone'\r\n", encoding="utf-8-sig")
    assert load_scenario("~/x.toml", Behaviour(mode="echo")).behaviour.mode == "tone"


def test_settings_come_from_the_environment(monkeypatch) -> None:
    monkeypatch.setenv("SIM_MODE", "echo")
    monkeypatch.setenv("SIM_API_KEYS", "a, b")
    monkeypatch.setenv("SIM_MODELS", "")
    monkeypatch.setenv("SIM_SCRIPT", '[{"on": "turn_complete", "action": {"do": "close", "code": 1008}}]')
    settings = read_settings()
    assert settings.behaviour().mode == "echo"
    assert [key.get_secret_value() for key in settings.api_keys] == ["a", "b"]
    assert (settings.models, settings.port, settings.record_bytes) == ((), 8765, 0)
    assert settings.behaviour().script[0].action == Close(code=1008)
    assert "'a'" not in repr(settings)


def test_the_readme_names_every_setting_and_scenario() -> None:
    readme = (Path(__file__).parents[2] / "services/gemini-live-sim/README.md").read_text()
    assert [name for name in [*SimSettings.model_fields, *SCENARIOS] if f"`{name}`" not in readme] == []


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_is_a_behaviour(name) -> None:
    scenario = load_scenario(name, Behaviour(mode="tone"))
    assert scenario.behaviour.mode == "tone"
    changed = scenario.behaviour != Behaviour(mode="tone") or bool(scenario.connections)
    assert changed == (name != "steady")


def test_a_scenario_from_a_file(tmp_path) -> None:
    file = tmp_path / "rough.toml"
    file.write_text("""
        [behaviour]
        thinking_ms = 300
        [[behaviour.script]]
        on = "ready"
        every_s = 30
        action = {do = "go_away", time_left_s = 5}
        [[connection]]
        handshake_status = 503
    """)
    scenario = load_scenario(str(file), Behaviour(mode="echo"))
    assert (scenario.behaviour.mode, scenario.behaviour.thinking_ms) == ("echo", 300)
    assert scenario.behaviour.script[0].every_s == 30
    assert [one.handshake_status for one in scenario.connections] == [503]
    file.write_text("[behaviour]\nthinking = 3")
    with pytest.raises(ScenarioError, match="thinking"):
        load_scenario(str(file), Behaviour())
    with pytest.raises(ScenarioError, match="steady, renewal"):
        load_scenario("nothing", Behaviour())


async def test_a_second_server_on_the_same_port_leaves_the_first_ones_certificate_alone(tmp_path):
    async with serve(SimSettings(tls_dir=tmp_path)) as sim:
        before = sim.root_path.read_bytes()
        with pytest.raises(OSError, match="address already in use"):
            async with serve(SimSettings(tls_dir=tmp_path, port=sim.port)):
                pass
        assert sim.root_path.read_bytes() == before
        async with dial(sim):
            pass


class Process:
    """The server as a separate process."""

    def __init__(self, tls_dir: Path, **environment: str) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SIM_")}
        self.environment = clean | {"SIM_TLS_DIR": str(tls_dir), "SIM_PORT": "0", "PYTHONUNBUFFERED": "1"} | environment
        self.command = [sys.executable, "-m", "gemini_live_sim"]

    async def start(self) -> str:
        """Start the server. Returns the line that says where it listens."""
        self.running = await asyncio.create_subprocess_exec(
            *self.command, env=self.environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        return await self.line("listening on")

    async def line(self, words: str) -> str:
        async with asyncio.timeout(10):
            while words not in (text := (await self.running.stdout.readline()).decode()):
                assert text, f"it ended without saying {words!r}"
        return text

    def health(self, port: str, **environment: str) -> tuple[int, str]:
        """Run the health check. Returns its exit code and its output."""
        environment = self.environment | {"SIM_PORT": port} | environment
        asked = subprocess.run([*self.command, "health"], env=environment, check=False, capture_output=True, text=True)
        return asked.returncode, asked.stderr

    def health_cpu_s(self, port: str) -> float:
        """The processor time of a health check."""
        before = os.times()
        assert self.health(port) == (0, "")
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_as_a_process_it_serves_is_healthy_and_stops_at_once(tmp_path, number, call, speak, spoken) -> None:
    process = Process(tmp_path, SIM_SPEED="0", SIM_THINKING_MS="0", SIM_HOLD_TURN_COMPLETE="false", SIM_API_KEYS="hidden-key")
    url = (await process.start()).split("listening on ")[1].split(",")[0]
    port = url.rsplit(":", 1)[1]
    assert await asyncio.to_thread(process.health, port) == (0, "")
    assert min([await asyncio.to_thread(process.health_cpu_s, port) for _ in range(10)]) <= 0.15
    for wrong, code in (({"SIM_PORT": "1"}, 1), ({"SIM_TLS_DIR": str(tmp_path / "none")}, 1), ({"SIM_PORT": "many"}, 2)):
        code_found, words = await asyncio.to_thread(lambda wrong=wrong: process.health(port, **wrong))
        assert (code_found, "Traceback" in words, bool(words)) == (code, False, True), wrong
    assert "SIM_PORT" in words

    class Running:
        root_path = tmp_path / "root.pem"

    Running.url = url
    async with call(Running, key="hidden-key") as session:
        await speak(session, spoken)
        messages = [message async for message in session.receive()]
        assert any(message.data for message in messages)
        for words in ("session 1 open: model models/gemini-3.8-live", "heard 1.0 s", "answering: 3.5 s", "turn 1 complete"):
            assert "hidden-key" not in await process.line(words)
        clock = asyncio.get_running_loop().time
        began = clock()
        process.running.send_signal(number)
        assert await process.running.wait() == 0
        assert clock() - began < 1.0
        assert "Traceback" not in (await process.running.stdout.read()).decode()


@pytest.mark.parametrize("environment", [{"SIM_PORT": "many"}, {"SIM_SCENARIO": "nothing"}, {"SIM_TLS_DIR": "/proc/none"}])
def test_a_wrong_start_is_explained_in_words(tmp_path, environment) -> None:
    process = Process(tmp_path, **environment)
    ended = subprocess.run(process.command, env=process.environment, check=False, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert ended.stderr.strip()
