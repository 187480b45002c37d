"""An operator at the page, with three robots and two gateways: everything that can be done. Names that robots send are text."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from browsing import NUMBER, Seen, browser, link
from operating import gemini_office, operator_of, running_admin
from pages import running_console
from playwright.async_api import expect
from ports import free_ports
from pydantic import SecretStr
from rig import Keys, running_hub, running_robot

from gemini_gateway import personas
from gemini_gateway.configuration import Configuration
from gemini_gateway.endpoint import Endpoint
from gemini_gateway.voices import Voices
from gemini_live_sim.server import serve
from reachy_console.fleet import GONE_S, STALE_S
from reachy_gateway.feed import BudgetNews, Transcribed
from reachy_gateway.link.end import Bind
from reachy_gateway.provider.ledger import Ledger
from reachy_link.address import Address
from robot_io.wav.body import WavBody

pytestmark = pytest.mark.timeout(180)
BIN = Path(sys.executable).parent
WITHIN_MS = 1000
FILE = """[defaults]
transcripts_to_console = true
recordings = true
budget_usd_per_day = 2.0

[robots.lab-1]
voice = "Puck"      # a favourite
"""
HTML = '<img src=x onerror="document.title=1"><mark>bold</mark>'


class Stage:
    """Two gateways: one in this process, with the simulator, and one in its own process, which can be killed."""

    def __init__(self, made: Keys, sim, hub, served, path: Path, other: tuple[int, int, int]) -> None:
        self.made = made
        self.sim = sim
        self.hub = hub
        self.path = path
        self.other = Bind("127.0.0.1", *other[:2])
        self.names = [f"127.0.0.1:{served.port.port}", f"127.0.0.1:{other[2]}"]
        self._settings = dict(zip(("GATEWAY_UP_PORT", "GATEWAY_DOWN_PORT", "GATEWAY_ADMIN_PORT"), other, strict=True))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        settings = {"REACHY_KEYS_DIR": self.made.gateway_dir, "GATEWAY_HOST": "127.0.0.1", **self._settings}
        environment = os.environ | {name: str(value) for name, value in settings.items()}
        self.process = subprocess.Popen([BIN / "mock-gateway"], env=environment, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


@asynccontextmanager
async def staged(tmp_path: Path, *robots: str):
    made = Keys(tmp_path, *robots)
    keys = operator_of(made)
    path = tmp_path / "robots.toml"
    path.write_text(FILE)
    shared, problems = personas.read(path)
    assert not problems
    ledger = Ledger(tmp_path / "ledger.sqlite")
    async with serve() as sim:
        endpoint = Endpoint("the simulator", SecretStr("test-key"), sim.url, sim.root_path)
        voices = Voices(Configuration(lambda: endpoint, shared, path), ledger)
        async with (
            running_hub(made, voices.make) as hub,
            running_admin(hub, made, gemini_office(voices), tmp_path / "recordings") as served,
        ):
            stage = Stage(made, sim, hub, served, path, tuple(free_ports(3)))
            stage.start()
            where = [Address("127.0.0.1", hub.bound.up_port, hub.bound.down_port)]
            async with running_console(made, where, (), operator=keys, admin=",".join(stage.names)) as console:
                try:
                    yield stage, console
                finally:
                    stage.kill()
    ledger.close()


def row(page, robot: str):
    return page.locator(f"#view-fleet [data-robot={robot}]")


async def test_an_operator_sees_and_mends_the_fleet(tmp_path, measured):
    async with (
        staged(tmp_path, "lab-1", "lab-2", "lab-3") as (stage, console),
        browser() as chromium,
        running_robot(stage.made.robot("lab-1"), stage.hub.bound, make_body=lambda: WavBody(None)) as one,
        running_robot(stage.made.robot("lab-2"), stage.hub.bound) as two,
    ):
        page = await chromium.new_page()
        seen = Seen(page)
        await page.goto(link(console))
        await page.click("#nav-fleet")
        for name in stage.names:
            await expect(page.locator(f'[data-gateway="{name}"]')).to_have_attribute("data-standing", "here", timeout=10_000)
        for robot, state in (("lab-1", "listening"), ("lab-2", "listening"), ("lab-3", "absent")):
            await expect(row(page, robot)).to_have_attribute("data-state", state)
        # A third robot arrives at the gateway that will die; the page shows it within a second.
        async with running_robot(stage.made.robot("lab-3"), stage.other) as three:
            await three.welcomed()
            await expect(row(page, "lab-3")).to_have_attribute("data-state", "listening", timeout=WITHIN_MS)
            await expect(row(page, "lab-3").locator(".gateway")).to_contain_text(stage.names[1])
            two.desk.say(NUMBER[:16000])
            await two.desk.until(lambda: stage.hub.robots["lab-2"].conversation.phase == "speaking")
            await expect(row(page, "lab-2")).to_have_attribute("data-state", "speaking", timeout=WITHIN_MS)
            await two.answered(1)
            await expect(row(page, "lab-2").locator(".turns")).to_contain_text("1", timeout=WITHIN_MS)
            await expect(row(page, "lab-2").locator(".money")).to_contain_text("of $2.00", timeout=WITHIN_MS)
            await commands(stage, page, one)
            await the_death_of_a_gateway(stage, page, measured)
        await admission(stage, page, two)
        assert seen.errors == []
        assert {url.split("/")[2] for url in seen.asked} == {console.host}


async def commands(stage: Stage, page, robot) -> None:
    """Say, act, save a persona, record: each takes effect at the robot."""
    await row(page, "lab-1").click()
    await page.keyboard.press("Enter")
    await expect(page.locator("#robot-view-name")).to_have_text("lab-1")
    await expect(page.locator("#robot-view-state")).to_have_attribute("data-state", "listening")
    await page.fill("#say-text", "Dinner is ready.")
    await page.click("#say")
    await expect(page.locator("#say-words")).to_contain_text("was asked to say it")
    await robot.answered(1)
    assert any("Dinner is ready." in text for session in stage.sim.sessions for text in session.texts)
    await expect(page.locator('#turns .turn[data-complete="true"]').first).to_be_visible(timeout=WITHIN_MS)

    head = page.locator("#robot-view-picture svg > g").nth(1)
    still = await head.get_attribute("transform")
    await page.select_option("#act-gesture", "bow")
    await page.click("#act-gesture-go")
    await expect(page.locator("#act-words")).to_contain_text("has begun")
    async with asyncio.timeout(5):
        while await head.get_attribute("transform") == still:
            await asyncio.sleep(0.05)

    await page.click("#persona-read")
    await expect(page.locator("#persona-text")).to_have_value('[robots.lab-1]\nvoice = "Puck"      # a favourite\n')
    await page.fill("#persona-text", "[robots.lab-1]\ntemperature = 9\n")
    await page.click("#persona-check")
    await expect(page.locator("#persona-words")).to_contain_text("temperature")
    await page.fill("#persona-text", '[robots.lab-1]\nvoice = "Aoede"      # a favourite\n')
    await page.click("#persona-save")
    await expect(page.locator("#persona-diff")).to_contain_text("Puck")
    await expect(page.locator("#persona-diff")).to_contain_text("Aoede")
    assert stage.path.read_text() == FILE, "a persona must not be saved before its changes were shown"
    sessions = len(stage.sim.sessions)
    await page.click("#persona-confirm")
    await expect(page.locator("#persona-words")).to_contain_text("saved")
    assert stage.path.read_text() == FILE.replace("Puck", "Aoede")
    assert "Aoede" in str((await stage.sim.session(sessions + 1)).setup_json)

    await page.click("#record")
    await expect(page.locator("#record")).to_have_attribute("aria-pressed", "true")
    await robot.desk.until(lambda: robot.core.recorded)
    robot.desk.say(NUMBER[:16000])
    await robot.answered(2)
    await page.click("#record")
    await robot.desk.until(lambda: not robot.core.recorded)
    await page.locator("#recordings .play").first.click()
    await expect(page.locator("#player")).to_be_visible()
    await page.click("#player-play")
    await expect(page.locator("#player-play")).to_have_text("Pause")
    await expect(page.locator("#player-lines")).to_contain_text("of speech", timeout=WITHIN_MS)
    async with asyncio.timeout(5):
        while float(await page.locator("#player-seek").input_value()) < 0.2:
            await asyncio.sleep(0.05)
    await page.keyboard.press("Escape")


async def the_death_of_a_gateway(stage: Stage, page, measured) -> None:
    """The gateway is stale, then gone, then back. Old data about its robot is never shown as current."""
    await page.click("#nav-fleet")
    gateway = page.locator(f'[data-gateway="{stage.names[1]}"]')
    stage.kill()
    died = time.monotonic()
    await expect(gateway).to_have_attribute("data-standing", "stale", timeout=(STALE_S + 2) * 1000)
    stale = time.monotonic() - died
    await expect(row(page, "lab-3")).to_have_attribute("data-state", "stale")
    await expect(gateway).to_have_attribute("data-standing", "gone", timeout=(GONE_S + 2) * 1000)
    measured(f"a gateway that was killed is shown stale after {stale:.1f} s, gone after {time.monotonic() - died:.1f} s")
    await expect(row(page, "lab-1")).not_to_have_attribute("data-state", "unknown")
    stage.start()
    await expect(gateway).to_have_attribute("data-standing", "here", timeout=10_000)
    await expect(row(page, "lab-3")).to_have_attribute("data-state", "listening", timeout=10_000)


async def admission(stage: Stage, page, robot) -> None:
    """A robot is revoked by typing its name, appears among the strangers, and is admitted by the key that it prints."""
    public = stage.made.robot("lab-2").keys.public.decode()
    await page.goto(page.url.partition("#")[0] + "#/robot/lab-2")
    await expect(page.locator("#revoke")).to_be_disabled()
    await page.fill("#revoke-name", "lab-2")
    await page.click("#revoke")
    await robot.desk.until(lambda: not robot.core.welcomed)
    await page.click("#nav-fleet")
    await expect(row(page, "lab-2")).to_have_count(0)
    await expect(page.locator("#strangers")).to_contain_text(public, timeout=10_000)
    await page.fill("#admit-name", "lab-2")
    await page.fill("#admit-key", "wrong!")
    await page.click("#admit")
    await expect(page.locator("#admit-words")).to_contain_text("no key that was refused lately begins with")
    await page.fill("#admit-key", public[:6])
    await page.click("#admit")
    await expect(page.locator("#admit-words")).to_contain_text("is admitted")
    await robot.welcomed()
    await expect(row(page, "lab-2")).to_have_attribute("data-state", "listening", timeout=10_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_whatever_robots_name_is_text_and_everybody_can_use_the_views(tmp_path, scheme):
    async with (
        staged(tmp_path, "lab-1", "lab-2") as (stage, console),
        browser() as chromium,
        running_robot(stage.made.robot("lab-1"), stage.hub.bound, software=HTML, make_body=lambda: WavBody(None)) as robot,
    ):
        await robot.welcomed()
        stage.hub.feed.tell(BudgetNews("lab-1", HTML))
        stage.hub.feed.tell(Transcribed("lab-1", "person", HTML, None))
        for width in (1280, 320):
            context = await chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
            page = await context.new_page()
            seen = Seen(page)
            await page.goto(link(console))
            await page.click("#nav-fleet")
            await expect(row(page, "lab-1")).to_have_attribute("data-state", "listening", timeout=10_000)
            await calm(page, width)
            await page.goto(page.url.partition("#")[0] + "#/robot/lab-1")
            await expect(page.locator("#view-robot")).to_contain_text(HTML, timeout=10_000)
            await page.fill("#say-text", HTML)
            await page.click("#say")
            await expect(page.locator("#say-words")).to_contain_text("was asked to say it")
            await page.click("#persona-read")
            await page.fill("#persona-text", HTML)
            await page.click("#persona-check")
            await expect(page.locator("#persona-words")).to_contain_text("not TOML")
            await calm(page, width)
            assert await page.locator("img, mark").count() == 0
            assert "1" not in await page.title()
            assert seen.errors == []
            await context.close()


async def calm(page, width: int) -> None:
    """No element overflows, and every control can be used."""
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    found = await Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


async def test_a_viewer_has_no_buttons(tmp_path):
    async with staged(tmp_path, "lab-1") as (stage, console), browser() as chromium:
        page = await chromium.new_page()
        await page.goto(link(console, "viewer"))
        await page.click("#nav-fleet")
        await expect(row(page, "lab-1")).to_be_visible(timeout=10_000)
        buttons = {"fleet": ("#admit",), "robot/lab-1": ("#say", "#act-stop", "#persona-save", "#record", "#revoke")}
        for view, ids in buttons.items():
            await page.goto(page.url.partition("#")[0] + f"#/{view}")
            for it in ids:
                button = page.locator(it)
                assert await button.count() == 0 or not await button.is_visible() or await button.is_disabled(), it
        assert stage.hub.admitted == {"lab-1"}
