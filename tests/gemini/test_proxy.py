"""The proxy to Gemini: what the environment says about it, and what a proxy answers."""

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from gemini_gateway.endpoint import Endpoint
from gemini_gateway.events import LiveError
from gemini_gateway.personas import Persona
from gemini_gateway.proxy import password_of, proxy_for
from gemini_gateway.sdk.client import Live
from gemini_live_sim.server import serve
from gemini_live_sim.settings import SimSettings

PROXY = "http://proxy.lab:3128"


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "wss_proxy"])
def test_google_is_reached_by_the_proxy_that_is_named(name):
    assert proxy_for(None, {name: PROXY}) == PROXY
    assert proxy_for("https://live.example.org", {name: "proxy.lab:3128"}) == PROXY
    assert proxy_for(None, {name: "  "}) is None


def test_plain_http_has_a_proxy_of_its_own():
    assert proxy_for(None, {"HTTP_PROXY": PROXY}) is None


@pytest.mark.parametrize(
    "url",
    [
        *("https://127.0.0.1:8765", "https://localhost:1", "https://[::1]:8765", "https://127.8.9.1"),
        *("https://gemini-live-sim:8765", "https://GEMINI-live-sim.:8765", "https://sim.localhost"),
    ],
)
def test_no_proxy_is_asked_for_what_only_this_machine_knows(url):
    for value in (PROXY, "socks5://127.0.0.1:9", "nonsense://"):
        assert proxy_for(url, {"HTTPS_PROXY": value, "ALL_PROXY": value}) is None


@pytest.mark.parametrize("listed", ["*", "googleapis.com", ".googleapis.com", "*.googleapis.com", "x, GOOGLEAPIS.com:443"])
def test_a_server_that_is_excepted_is_reached_without_a_proxy(listed):
    assert proxy_for(None, {"HTTPS_PROXY": "socks5://x", "NO_PROXY": listed}) is None
    assert proxy_for("https://notgoogleapis.com", {"HTTPS_PROXY": PROXY, "no_proxy": "googleapis.com"}) == PROXY


@pytest.mark.parametrize(
    "value",
    [
        *(
            "socks5://127.0.0.1:9",
            "http://",
            "http://:3128",
            "http://host:port",
            "http://host:99999",
            "http://[::1",
            "://",
            "ftp://x:1",
        ),
        *("http://pro xy:1", "http://user:hunter2@:1", "http://a:hunter2@b:c"),
    ],
)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY"])
def test_a_proxy_that_cannot_be_used_is_a_line_with_the_variables_name(value, name):
    with pytest.raises(ValueError, match=rf"^{name}: .*NO_PROXY$") as raised:
        proxy_for(None, {name: value})
    assert "hunter2" not in str(raised.value)


def test_the_one_that_can_be_used_is_taken_first():
    assert proxy_for(None, {"HTTPS_PROXY": PROXY, "ALL_PROXY": "socks5://127.0.0.1:9"}) == PROXY


def test_a_proxys_password_can_be_concealed():
    assert password_of("http://me:hunter2@proxy:1") == "hunter2"
    assert password_of(PROXY) == password_of(None) == ""


@asynccontextmanager
async def proxying(answer: str, to: int = 0):
    """A proxy with this answer to every CONNECT. If it agrees, it forwards data. Yields its port and the requests."""
    asked: list[str] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.transport.abort()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[0])
        writer.write(f"HTTP/1.1 {answer}\r\n\r\n".encode())
        if to:
            there, back = await asyncio.open_connection("127.0.0.1", to)
            await asyncio.gather(pump(reader, back), pump(there, writer))
        writer.close()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked


@pytest.mark.parametrize(
    "answer", ["403 Forbidden", "404 Not Found", "429 Too Many", "401 No", "400 Bad", "407 Login", "502 Bad"]
)
async def test_a_proxy_that_refuses_is_named_and_the_key_is_not_blamed(answer):
    async with proxying(answer) as (port, asked):
        live = Live(Endpoint("Google", SecretStr("test-key"), proxy=f"http://127.0.0.1:{port}"))
        with pytest.raises(LiveError) as raised:
            async with live.connect(Persona()):
                pass
    assert asked == ["CONNECT generativelanguage.googleapis.com:443 HTTP/1.1"]
    assert raised.value.kind == "unreachable", "and so tried again"
    assert f"HTTP {answer[:3]}" in raised.value.words
    assert "proxy" in raised.value.words
    assert "key" not in raised.value.words


async def test_a_conversation_goes_through_a_proxy():
    async with serve(SimSettings(tls_names="live.example.org")) as sim, proxying("200 OK", sim.port) as (port, asked):
        url = f"https://live.example.org:{sim.port}"
        live = Live(Endpoint(url, SecretStr("test-key"), url, sim.root_path, proxy=f"http://127.0.0.1:{port}"))
        async with live.connect(Persona()) as line:
            await line.send_audio(bytes(640))
            session = await sim.session(1)
            await session.until(lambda session: session.heard_bytes == 640)
    assert asked == [f"CONNECT live.example.org:{sim.port} HTTP/1.1"]


@pytest.mark.parametrize("value", ["socks5://127.0.0.1:9", "http://[::1", "nonsense", "ftp://x"])
def test_no_proxy_of_the_environment_is_anything_to_the_sdk(value):
    """In its own process: httpx reads the environment when a client is made."""
    code = (
        "from pydantic import SecretStr; from gemini_gateway.endpoint import Endpoint\n"
        "from gemini_gateway.sdk.client import Live\n"
        "Live(Endpoint('x', SecretStr('k'), 'https://127.0.0.1:1'))"
    )
    env = {"PATH": "", "ALL_PROXY": value, "HTTPS_PROXY": value, "HTTP_PROXY": value}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=50, capture_output=True)


async def test_a_root_that_was_replaced_is_trusted_no_more(tmp_path):
    async with serve() as old, serve() as new:
        root = tmp_path / "root.pem"
        root.write_bytes(old.root_path.read_bytes())
        live = Live(Endpoint("the simulator", SecretStr("k"), old.url, root))
        async with live.connect(Persona()):
            pass
        root.write_bytes(new.root_path.read_bytes())
        live.retarget(Endpoint("the simulator", SecretStr("k"), new.url, root))
        async with live.connect(Persona()):
            pass
        live.retarget(Endpoint("the simulator", SecretStr("k"), old.url, root))
        with pytest.raises(LiveError, match="is not trusted"):
            async with live.connect(Persona()):
                pass
