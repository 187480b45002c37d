"""A page talks to a robot: the served console, the real link, the real SDK, and a simulator in Google's place."""

import asyncio
import http.client
import wave
from contextlib import suppress
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from operating import gemini_office, operator_of, running_admin
from pages import SECRET, running_console
from ports import free_ports
from rig import Keys, read_wav, running_hub
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gemini_gateway.personas import Persona
from gemini_live_sim.actions import CallTools, WantedCall
from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from reachy_console import guard, login, seats, visit
from reachy_console.messages import Said
from reachy_link.address import Address
from reachy_link.bucket import Rate

NUMBER = read_wav(Path(__file__).parent.parent / "e2e" / "data" / "number-1.wav")
BROWSERS = ("browser-1", "browser-2")
pytestmark = pytest.mark.timeout(60)


def address(hub) -> list[Address]:
    return [Address("127.0.0.1", hub.bound.up_port, hub.bound.down_port)]


@pytest.fixture
async def everything(tmp_path, gemini):
    """A simulator, a gateway and a console."""
    made = Keys(tmp_path, *BROWSERS)
    async with serve() as sim, running_hub(made, gemini(sim)) as hub, running_console(made, address(hub)) as console:
        yield sim, hub, console


async def test_a_page_is_heard_answered_moved_and_can_interrupt(everything):
    sim, _, console = everything
    sim.behaviour = Behaviour(mode="tone", tone_ms=3000)
    async with console.page(console.let_in(), 48000) as page:
        await page.start()
        await page.until(lambda: "listening" in page.states)
        assert page.kinds("seated")[0]["robot"] == "browser-1"
        session = await sim.session(1)
        page.say(np.repeat(NUMBER, 3, axis=0))
        await page.until(lambda: len(page.sound) > 48000 // 2)
        assert np.abs(page.sound).max() > 0.1
        page.say(np.repeat(NUMBER, 3, axis=0))
        await page.until(lambda: page.kinds("hush"))
        await page.until(lambda: len(page.kinds("answered")) >= 1)
        assert not page.kinds("answered")[0]["complete"]
        await page.until(lambda: len(page.kinds("answered")) == 2)
        assert 300 < page.kinds("answered")[1]["latency_ms"] < 3000
        assert {"thinking", "speaking"} <= set(page.states)
        assert any(it["person_speaks"] for it in page.kinds("standing"))
        before = len(page.kinds("pose"))
        session.do(CallTools(calls=(WantedCall(name="look_at", args={"direction": "left"}),)))
        await page.until(lambda: page.kinds("pose")[-1]["pose"][5] > 30)
        assert len(page.kinds("pose")) > before


async def test_what_is_said_is_shown_to_whoever_said_it(everything):
    _, _, console = everything
    async with console.page(console.let_in()) as page:
        await page.start()
        await page.until(lambda: "listening" in page.states)
        page.say(phrase("time"))
        await page.until(lambda: {it["who"] for it in page.kinds("said")} == {"person", "robot"}, 25)


def phrase(name):
    with wave.open(str(resources.files("gemini_live_sim") / "phrases" / f"{name}.wav")) as file:
        return (np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768)[:, None]


async def test_a_page_that_is_reloaded_in_mid_answer_finds_its_robot_and_the_answer_goes_on(everything):
    sim, hub, console = everything
    sim.behaviour = Behaviour(mode="tone", tone_ms=6000)
    cookie = console.let_in()
    async with console.page(cookie, tab="mine") as page:
        await page.start()
        await page.until(lambda: "listening" in page.states)
        page.say(NUMBER)
        await page.until(lambda: len(page.sound) > 8000)
    async with console.page(cookie, tab="other") as other, console.page(cookie, tab="mine") as again:
        await other.start()
        await other.until(lambda: other.kinds("seated"))
        assert other.kinds("seated")[0]["robot"] == "browser-2", "another tab has another robot"
        await again.start()
        await again.until(lambda: len(again.sound) > 16000)
        assert again.kinds("seated")[0]["robot"] == "browser-1"
        await again.until(lambda: again.kinds("answered"))
        assert again.kinds("answered")[0]["complete"]
    assert len(sim.sessions) <= 2, "one conversation of each"
    assert hub.tally.total("clone") == 0


async def test_a_page_whose_old_socket_nobody_has_noticed_to_be_gone_has_its_robot_at_once(everything):
    sim, _, console = everything
    sim.behaviour = Behaviour(mode="tone", tone_ms=1000)
    cookie = console.let_in()
    async with console.page(cookie, tab="mine") as gone, console.page(cookie, tab="mine") as back:
        await gone.start()
        await gone.until(lambda: "listening" in gone.states)
        gone.deafen()
        await back.start()
        await back.until(lambda: "listening" in back.states)
        assert back.kinds("seated")[0]["robot"] == "browser-1"
        back.say(NUMBER)
        await back.until(lambda: back.kinds("answered"))
        assert len(sim.sessions) == 1
        assert len(console.seats.taken) == 1


async def test_a_page_that_stops_and_starts_at_once_talks_again(everything):
    _, _, console = everything
    async with console.page(console.let_in()) as page:
        for n in range(1, 4):
            await page.start()
            await page.until(lambda: page.states[-1:] == ["listening"])
            page.told.clear()
            await page.tell({"kind": "stop"})
            assert page.n == n
        await page.start()
        await page.until(lambda: page.kinds("seated"))
        await page.until(lambda: page.states[-1:] == ["listening"])
        assert {it["n"] for it in page.kinds("ended")} <= {3}, "messages of the earlier conversation"
        assert page.kinds("seated")[0]["robot"] == "browser-1"


async def test_whoever_leaves_talks_no_more(everything, monkeypatch):
    monkeypatch.setattr(visit, "LOOK_S", 0.1)
    _, _, console = everything
    cookie = console.let_in()
    async with console.page(cookie) as page:
        await page.start()
        await page.until(lambda: "listening" in page.states)
        await asyncio.to_thread(post, console, "/logout", "", {"Cookie": f"{console.cookie_name}={cookie}"})
        await page.until(lambda: page.closed)
        assert page.closed == (1008, "you are signed out")


async def test_two_pages_have_two_robots_and_a_third_is_told_so(everything):
    _, _, console = everything
    cookie = console.let_in()
    async with console.page(cookie) as one, console.page(cookie) as two, console.page(console.let_in()) as three:
        for page in (one, two):
            await page.start()
            await page.until(lambda it=page: "listening" in it.states)
        assert [page.kinds("seated")[0]["robot"] for page in (one, two)] == list(BROWSERS)
        await three.start()
        await three.until(lambda: three.kinds("ended"))
        assert "all 2 robots for pages are taken" in three.kinds("ended")[0]["why"]
        await two.tell({"kind": "stop"})
        await two.until(lambda: two.kinds("ended"))
        assert two.kinds("ended")[0]["why"] == "you ended it"
        await three.start()
        await three.until(lambda: "listening" in three.states)


async def test_a_page_that_nobody_sees_or_speaks_at_says_goodbye(tmp_path, gemini, monkeypatch):
    monkeypatch.setattr(seats, "HIDDEN_S", 0.5)
    made = Keys(tmp_path, *BROWSERS)
    async with (
        serve() as sim,
        running_hub(made, gemini(sim)) as hub,
        running_console(made, address(hub), quiet_s=5.0) as console,
        console.page(console.let_in()) as hidden,
        console.page(console.let_in()) as quiet,
    ):
        for page in (hidden, quiet):
            await page.start()
            await page.until(lambda it=page: "listening" in it.states)
        await hidden.tell({"kind": "visible", "visible": False})
        await hidden.until(lambda: hidden.kinds("ended"))
        assert hidden.kinds("ended")[0]["why"] == "the page was hidden"
        quiet.say(NUMBER)
        await quiet.until(lambda: quiet.kinds("ended"), 30)
        assert "nobody has spoken for 5 s" in quiet.kinds("ended")[0]["why"]
        assert "speaking" in quiet.states, "what it was answered was heard"
        async with asyncio.timeout(5):
            while hub.robots:  # the goodbye is on its way
                await asyncio.sleep(0.01)
        await hidden.start()
        await hidden.until(lambda: hidden.states[-1:] == ["listening"])


async def test_a_page_without_a_gateway_is_told_and_is_well_once_there_is_one(tmp_path, gemini):
    made = Keys(tmp_path, *BROWSERS)
    up, down = free_ports(2)
    async with (
        serve() as sim,
        running_console(made, [Address("127.0.0.1", up, down)]) as console,
        console.page(console.let_in()) as page,
    ):
        await page.start()
        await page.until(lambda: page.states == ["alone"])
        async with running_hub(made, gemini(sim), up, down):
            await page.until(lambda: page.states[-1] == "listening", 20)
        await page.until(lambda: page.states[-1] == "alone", 20)


async def test_a_robot_that_is_not_admitted_is_said_in_words(tmp_path, gemini):
    made = Keys(tmp_path, "browser-2")
    async with (
        serve() as sim,
        running_hub(made, gemini(sim)) as hub,
        running_console(made, address(hub)) as console,
        console.page(console.let_in()) as page,
    ):
        await page.start()
        await page.until(lambda: page.kinds("standing") and page.kinds("standing")[-1]["reason"])
        assert "refused this robot's key" in page.kinds("standing")[-1]["reason"]


async def test_the_page_tells_what_its_robot_costs_and_a_page_that_nobody_talks_at_costs_nothing(tmp_path, office):
    made = Keys(tmp_path, *BROWSERS)
    keys = operator_of(made)
    async with serve() as sim:
        voices = office(sim, Persona(budget_usd_per_day=5))
        async with (
            running_hub(made, voices.make) as hub,
            running_admin(hub, made, gemini_office(voices)) as served,
            running_console(made, address(hub), operator=keys, admin=f"127.0.0.1:{served.port.port}") as console,
            console.page(console.let_in()) as page,
            console.page(console.let_in()) as idle,
        ):
            await page.start()
            await page.until(lambda: "listening" in page.states)
            page.say(NUMBER)
            await page.until(lambda: any(it["dollars"] > 0 for it in page.kinds("spent")))
            assert page.kinds("spent")[-1]["budget"] == 5
            assert not idle.kinds("seated")
            assert len(sim.sessions) == len(hub.robots) == 1


class TestTheDoor:
    async def test_without_a_cookie_there_is_no_page(self, everything):
        _, _, console = everything
        for cookie in ("", "word-0", "x" * 4000):
            with pytest.raises(InvalidStatus) as refused:
                async with console.page(cookie):
                    pass
            assert refused.value.response.status_code == 403

    async def test_a_page_of_another_origin_or_by_another_name_gets_none(self, everything):
        _, _, console = everything
        cookie = console.let_in()
        for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
            status, _ = await asyncio.to_thread(upgrade, console, {"Cookie": f"{console.cookie_name}={cookie}", **headers})
            assert status == 403
        status, _ = await asyncio.to_thread(upgrade, console, {"Cookie": f"{console.cookie_name}={cookie}"})
        assert status == 101

    async def test_a_link_is_shown_for_a_cookie_that_no_script_and_no_other_site_has(self, everything):
        _, _, console = everything
        code = console.logins.make_link("operator", console.now())
        status, headers, _ = await asyncio.to_thread(post, console, "/login", code)
        assert status == 204
        cookie = headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert cookie.startswith(f"{console.cookie_name}=")
        status, _, words = await asyncio.to_thread(post, console, "/login", code)
        assert (status, "it was used" in words) == (403, True)

    async def test_a_link_is_made_for_whoever_knows_the_secret_alone(self, everything):
        _, _, console = everything
        for shown in ("", "Bearer", "Bearer x", "Bearer ü", f"Basic {SECRET}"):
            status, _, _ = await asyncio.to_thread(post, console, "/link", "operator", {"Authorization": shown})
            assert status == 403, shown
        status, _, code = await asyncio.to_thread(post, console, "/link", "viewer", {"Authorization": f"Bearer {SECRET}"})
        assert status == 200
        token = console.logins.redeem(code, console.now())
        async with console.page(token) as page:
            await page.start()
            await page.until(lambda: page.kinds("ended"))
            assert "may not talk" in page.kinds("ended")[0]["why"]
            assert page.kinds("welcome")[0]["role"] == "viewer"

    async def test_every_answer_says_what_a_page_may_do(self, everything):
        _, _, console = everything
        for path in ("/", "/static/app.js", "/nowhere", "/me"):
            _, headers, _ = await asyncio.to_thread(ask, console, "GET", path)
            assert "default-src 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert "server" not in headers

    async def test_nothing_beyond_the_pages_own_files_is_given(self, everything):
        _, _, console = everything
        for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd", "/static/"):
            status, _, _ = await asyncio.to_thread(ask, console, "GET", path)
            assert status in (403, 404, 405), path


def ask(console, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", console.port, timeout=5)
    try:
        connection.request(method, path, body, {name: value.encode() for name, value in (headers or {}).items()})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read().decode()
    finally:
        connection.close()


def post(console, path, body, headers=None):
    return ask(console, "POST", path, body.encode(), {"Origin": console.url} | (headers or {}))


def upgrade(console, headers):
    given = {"Origin": console.url, "Connection": "Upgrade", "Upgrade": "websocket"} | headers
    given |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    status, told, _ = ask_head(console, given)
    return status, told


def ask_head(console, headers):
    connection = http.client.HTTPConnection("127.0.0.1", console.port, timeout=5)
    try:
        connection.request("GET", "/ws", headers=headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), ""
    finally:
        connection.close()


class TestWithoutADefence:
    """What the defences above are worth: without each of them the attack succeeds."""

    async def test_a_page_of_another_origin_or_by_another_name_gets_one(self, everything, monkeypatch):
        _, _, console = everything
        monkeypatch.setattr(guard, "refusal", lambda *_, **__: None)
        cookie = f"{console.cookie_name}={console.let_in()}"
        for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
            status, _ = await asyncio.to_thread(upgrade, console, {"Cookie": cookie, **headers})
            assert status == 101

    async def test_a_flood_is_read_to_its_end(self, everything, monkeypatch):
        _, _, console = everything
        monkeypatch.setattr(visit, "PER_S", Rate(1e9, 1e9))
        async with console.page(console.let_in()) as page:
            for _ in range(5000):
                await page.socket.send(b"\0\0")
            await page.start()
            await page.until(lambda: page.kinds("seated"))

    async def test_a_guess_is_as_good_as_any(self, monkeypatch):
        monkeypatch.setattr(login, "ATTEMPTS", Rate(1e9, 1e9))
        door = login.Logins(iter(["1234", "token"]).__next__)  # four digits, and no limit of attempts
        door.make_link("operator", 0.0)
        assert any(door.redeem(f"{n:04}", 1.0) for n in range(10_000))


class TestAHostilePage:
    @pytest.mark.parametrize(
        "sent",
        [
            "x" * 20_000,
            b"\0" * 10_000_000,
            b"\0" * 8194,
            b"\0\0\0",
            b"",
            "{",
            '{"kind": "start", "rate_hz": 1, "tab": "a", "n": 1}',
            '{"kind": "start", "rate_hz": 96000, "tab": "a", "n": 1}',
            '{"kind": "start", "rate_hz": 48000, "tab": "a", "n": 1, "robot": "browser-2"}',
            '{"kind": "start", "rate_hz": 48000, "tab": "../a", "n": 1}',
            '{"kind": "start", "rate_hz": 48000, "tab": "a", "n": -1}',
            '{"kind": "dance"}',
            "null",
            '{"kind": "start", "rate_hz": NaN, "tab": "a", "n": 1}',
            "[" * 500,
        ],
    )
    async def test_is_hung_up_on_and_the_others_notice_nothing(self, everything, sent):
        sim, _, console = everything
        sim.behaviour = Behaviour(mode="tone", tone_ms=1000)
        async with console.page(console.let_in()) as honest, console.page(console.let_in()) as hostile:
            await honest.start()
            await honest.until(lambda: "listening" in honest.states)
            with suppress(ConnectionClosed):
                await hostile.socket.send(sent)
            await hostile.until(lambda: hostile.closed)
            assert hostile.closed[0] in (1008, 1009)
            honest.say(NUMBER)
            await honest.until(lambda: honest.kinds("answered"))
            assert honest.kinds("answered")[0]["complete"]

    async def test_that_floods_is_hung_up_on(self, everything):
        _, _, console = everything
        async with console.page(console.let_in()) as page:
            with pytest.raises(Exception, match="too many messages"):  # noqa: PT012 - any of these sends may find the socket closed
                for _ in range(5000):
                    await page.socket.send(b"\0\0")
                await page.until(lambda: page.closed)
                raise RuntimeError(page.closed[1])

    async def test_that_never_reads_costs_nobody_anything(self, everything, monkeypatch):
        monkeypatch.setattr(visit, "READ_S", 1.0)
        sim, _, console = everything
        sim.behaviour = Behaviour(mode="tone", tone_ms=60_000)
        async with console.page(console.let_in(), 48000) as deaf, console.page(console.let_in()) as honest:
            await deaf.start()
            await deaf.until(lambda: "listening" in deaf.states)
            waiting = console.seats.taken[0].device.page
            deaf.deafen()
            for _ in range(200):  # the sockets' buffers must be full first
                waiting.tell(Said(who="robot", text="x" * 500))
                waiting.play(b"\0" * 100_000)
                await asyncio.sleep(0.01)
            await honest.start()
            await honest.until(lambda: "listening" in honest.states)
            honest.say(NUMBER)
            await honest.until(lambda: len(honest.sound) > 16000)
            await honest.until(lambda: console.console.pages == 1)
            assert waiting.dropped
            assert "too slowly" in waiting.over or waiting.dropped > 50
