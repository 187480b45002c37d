"""A person opens the page and talks: headless Chromium, the console, the gateway, the real SDK and the simulator."""

import asyncio
import os
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from browsing import DEVICES, NUMBER, ROBOTS, Seen, browser, link, spoken
from pages import running_console
from playwright.async_api import expect
from ports import free_ports
from rig import Keys, running_hub

from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from gemini_live_sim.settings import SimSettings
from reachy_console.messages import Ended, Said, Standing
from reachy_link.address import Address

pytestmark = pytest.mark.timeout(120)

EARS = """
const Node = AudioWorkletNode;
window.heard = [];
window.AudioWorkletNode = class extends Node {
  constructor(context, name, options) {
    super(context, name, options);
    if (name !== "playback") return;
    const ear = context.createAnalyser();
    ear.fftSize = 256;
    this.connect(ear);
    const samples = new Float32Array(ear.fftSize);
    setInterval(() => {
      ear.getFloatTimeDomainData(samples);
      heard.push([performance.timeOrigin + performance.now(), Math.max(...samples.map(Math.abs))]);
    }, 5);
  }
};
"""
LOUD = 0.01
TALKING = re.compile("listening|hears you|thinking|speaking")
"""Without a given microphone file the page hears the browser's beeps."""


def started_by(parent: int) -> list[int]:
    """The browser's processes that a process started, and those that these started. One that ends meanwhile is left out."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            names[int(folder.name)] = (folder / "cmdline").read_bytes()
    found = {parent}
    while more := {child for child, by in parents.items() if by in found} - found:
        found |= more
    return [it for it in found - {parent} if b"headless" in names.get(it, b"")]


async def test_it_hears_answers_moves_and_is_interrupted(tmp_path, gemini, measured):
    made = Keys(tmp_path, *ROBOTS)
    cut = []

    def note(_session, name, _at_ns, _detail):
        if name == "interrupted":
            cut.append(time.time() * 1000)

    microphone = spoken(tmp_path / "microphone.wav", 3.0, NUMBER, 4.0, NUMBER, 30.0)
    async with (
        serve(SimSettings(), on_event=note) as sim,
        running_hub(made, gemini(sim)) as hub,
        running_console(made, [Address("127.0.0.1", hub.bound.up_port, hub.bound.down_port)], ROBOTS) as console,
        browser(*DEVICES, microphone) as chromium,
    ):
        sim.behaviour = Behaviour(mode="tone", tone_ms=8000)
        page = await chromium.new_page()
        await page.add_init_script(EARS)
        seen = Seen(page)
        await page.goto(link(console))
        assert "#" not in page.url, "the link's code must not stay in the address"
        await expect(page.locator("#talk")).to_be_enabled()
        head = page.locator("#picture svg > g").nth(1)
        asleep = await head.get_attribute("transform")
        pressed = time.time() * 1000
        await page.click("#talk")
        await expect(page.locator("#state-words")).to_have_text("listening", timeout=15_000)
        await expect(page.locator("#state-words")).to_have_text("speaking", timeout=15_000)
        async with asyncio.timeout(15):  # the page's policy forbids the scripts of Playwright's own waiting
            while not await page.evaluate(f"heard.some(([, loud]) => loud > {LOUD})"):
                await asyncio.sleep(0.05)
        answered = await page.evaluate(f"heard.find(([, loud]) => loud > {LOUD})[0]")
        measured(
            f"from the press of the button to the first answer heard: {answered - pressed:.0f} ms, of which 3 s were silence"
        )
        await expect(page.locator("#said .timing").first).to_be_visible(timeout=25_000)
        assert cut, "the second sentence interrupted the answer"
        heard = await page.evaluate("heard")
        after = [at for at, loud in heard if at > cut[0] and loud > LOUD]
        second = [at for at in after if at > cut[0] + 700]
        silent_after_ms = max([at for at in after if at not in second], default=cut[0]) - cut[0]
        measured(f"from `interrupted` on Gemini's socket to silence in the page: {silent_after_ms:.0f} ms")
        assert silent_after_ms < 300
        assert await head.get_attribute("transform") != asleep
        assert await page.locator("#checks li[data-ok=yes]").count() == 7
        assert seen.errors == []
        assert {url.split("/")[2] for url in seen.asked} == {console.host}
        await page.click("#talk")
        await expect(page.locator("#state-words")).to_have_text("not talking")
        async with asyncio.timeout(5):
            while hub.robots:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everybody_can_use_the_page(everything, scheme):
    _, _, console = everything
    async with browser(*DEVICES) as chromium:
        for width in (1280, 320):
            context = await chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
            page = await context.new_page()
            seen = Seen(page)
            await page.goto(link(console))
            await page.click("#talk")
            await expect(page.locator("#state-words")).to_have_text("listening", timeout=15_000)
            found = (await Axe().run(page)).response["violations"]
            assert [(it["id"], it["nodes"][0]["html"]) for it in found if it["impact"] in ("serious", "critical")] == []
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is cut off"
            assert seen.errors == []
            await page.keyboard.press("Tab")
            await context.close()


async def test_push_to_talk_is_silent_until_the_space_bar_is_held(tmp_path, everything):
    _, _, console = everything
    async with browser(*DEVICES, spoken(tmp_path / "microphone.wav", 1.0, *[NUMBER] * 20)) as chromium:
        page = await chromium.new_page()
        await page.goto(link(console))
        state = page.locator("#state-words")
        await page.click("#talk")
        await expect(state).to_have_text("hears you", timeout=15_000)
        await page.click("#mute")
        await expect(state).not_to_have_text("hears you")
        await page.keyboard.down("Space")
        await expect(state).to_have_text("hears you")
        await page.keyboard.up("Space")
        await expect(state).not_to_have_text("hears you")
        await expect(page.locator("#mute")).to_have_attribute("aria-pressed", "true")


class TestTrouble:
    async def test_a_laptop_that_slept_wakes_up_to_its_robot(self, tmp_path, everything):
        sim, hub, console = everything
        sim.behaviour = Behaviour(mode="tone", tone_ms=2000)
        async with browser(*DEVICES, spoken(tmp_path / "microphone.wav", 2.0, NUMBER, 4.0, *[NUMBER, 6.0] * 10)) as chromium:
            page = await chromium.new_page()
            await page.goto(link(console))
            await page.click("#talk")
            await expect(page.locator("#said .timing").first).to_be_visible(timeout=20_000)
            for process in (asleep := started_by(os.getpid())):
                os.kill(process, signal.SIGSTOP)
            await asyncio.sleep(15)
            for process in asleep:
                os.kill(process, signal.SIGCONT)
            assert len(asleep) > 2
            before = await page.locator("#said .timing").count()
            await expect(page.locator("#said .timing").nth(before)).to_be_visible(timeout=30_000)
            assert len(hub.robots) == 1

    async def test_a_microphone_that_is_refused_is_said_with_its_remedy(self, everything):
        _, _, console = everything
        async with browser("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream=deny") as chromium:
            page = await chromium.new_page()
            await page.goto(link(console))
            await page.click("#talk")
            await expect(page.locator("#words")).to_contain_text("The browser blocks the microphone. Allow it")
            await expect(page.locator("#talk")).to_be_enabled()

    async def test_a_microphone_that_a_switch_has_muted_is_said_at_once(self, everything):
        """The browser then gives a track of silence, and no error."""
        _, _, console = everything
        async with browser(*DEVICES) as chromium:
            page = await chromium.new_page()
            await page.add_init_script("Object.defineProperty(MediaStreamTrack.prototype, 'muted', {get: () => true})")
            await page.goto(link(console))
            await page.click("#talk")
            await expect(page.locator("#state-words")).to_have_text(TALKING, timeout=15_000)
            await expect(page.locator("#words")).to_contain_text("The microphone is muted by a switch")

    async def test_no_microphone_is_said_with_its_remedy(self, everything):
        _, _, console = everything
        async with browser("--use-fake-ui-for-media-stream") as chromium:
            page = await chromium.new_page()
            await page.goto(link(console))
            await page.click("#talk")
            await expect(page.locator("#words")).to_contain_text("No microphone found")

    async def test_without_a_link_or_with_a_used_one_the_page_says_how_to_get_one(self, everything):
        _, _, console = everything
        async with browser(*DEVICES) as chromium:
            used = link(console)
            page = await chromium.new_page()
            await page.goto(used)
            await expect(page.locator("#talk")).to_be_enabled()
            other = await (await chromium.new_context()).new_page()
            for url in (used, console.url, f"{console.url}/#<img src=x onerror=alert(1)>"):
                await other.goto("about:blank")
                await other.goto(url)
                await expect(other.locator("#check-door")).to_contain_text("reachy-console link")
                await expect(other.locator("#talk")).to_be_disabled()

    async def test_a_console_that_was_started_anew_lets_in_by_a_new_link_without_a_reload(self, tmp_path, gemini):
        made = Keys(tmp_path, *ROBOTS)
        async with serve() as sim, running_hub(made, gemini(sim)) as hub, browser(*DEVICES) as chromium:
            where = [Address("127.0.0.1", hub.bound.up_port, hub.bound.down_port)]
            page = await chromium.new_page()
            async with running_console(made, where, ROBOTS) as console:
                await page.goto(link(console))
                await page.click("#talk")
                await expect(page.locator("#state-words")).to_have_text("listening", timeout=15_000)
                port = console.port
            await expect(page.locator("#check-console")).to_contain_text("The console does not answer")
            async with running_console(made, where, ROBOTS, at=port) as console:
                await expect(page.locator("#check-door")).to_contain_text("reachy-console link", timeout=20_000)
                await page.evaluate(f"location.hash = '{console.logins.make_link('operator', console.now())}'")
                await expect(page.locator("#talk")).to_be_enabled(timeout=15_000)
                await page.click("#talk")
                await expect(page.locator("#state-words")).to_have_text("listening", timeout=15_000)

    async def test_a_gateway_that_goes_and_comes_back_and_a_console_that_does(self, tmp_path, gemini):
        made = Keys(tmp_path, *ROBOTS)
        ports = free_ports(2)
        async with serve() as sim, browser(*DEVICES) as chromium:
            where = [Address("127.0.0.1", *ports)]
            page = await chromium.new_page()
            words, state = page.locator("#check-console"), page.locator("#state-words")
            async with running_console(made, where, ROBOTS) as console:
                cookie, port = console.let_in(), console.port
                await page.context.add_cookies([{"name": console.cookie_name, "value": cookie, "url": console.url}])
                await page.goto(console.url)
                await page.click("#talk")
                await expect(state).to_have_text("waiting for the gateway", timeout=10_000)
                async with running_hub(made, gemini(sim), *ports):
                    await expect(state).to_have_text(TALKING, timeout=15_000)
                await expect(state).to_have_text("waiting for the gateway", timeout=15_000)
                logins = console.logins
            await expect(words).to_contain_text("The console does not answer")
            await expect(state).to_have_text("waiting for the console")
            await expect(page.locator("#check-gateway")).to_have_attribute("data-ok", "")
            async with running_hub(made, gemini(sim), *ports), running_console(made, where, ROBOTS, at=port, logins=logins):
                await expect(words).to_have_text("The console answers", timeout=15_000)
                await expect(state).to_have_text(TALKING, timeout=15_000)

    async def test_a_page_that_is_reloaded_in_mid_answer_has_its_robot_and_the_rest_of_the_answer(self, tmp_path, everything):
        sim, hub, console = everything
        sim.behaviour = Behaviour(mode="tone", tone_ms=15_000)
        async with browser(*DEVICES, spoken(tmp_path / "microphone.wav", 2.0, NUMBER, 60.0)) as chromium:
            page = await chromium.new_page()
            await page.goto(link(console))
            await page.click("#talk")
            await expect(page.locator("#state-words")).to_have_text("speaking", timeout=20_000)
            await page.reload()
            await page.click("#talk")
            await expect(page.locator("#state-words")).to_have_text("speaking", timeout=5_000)
            await expect(page.locator("#robot-name")).to_have_text("browser-1")
            assert len(hub.robots) == len(sim.sessions) == 1

    async def test_a_third_page_is_told_that_all_are_taken_and_has_one_once_another_stops(self, everything):
        _, _, console = everything
        async with browser(*DEVICES) as chromium:
            pages = [await (await chromium.new_context()).new_page() for _ in range(3)]
            for page in pages:
                await page.goto(link(console))
                await page.click("#talk")
            third = pages[2]
            for page in pages[:2]:
                await expect(page.locator("#state-words")).to_have_text(TALKING, timeout=15_000)
            await expect(third.locator("#words")).to_contain_text("You cannot talk now: all 2 robots for pages are taken")
            await pages[0].click("#talk")
            await expect(pages[0].locator("#state-words")).to_have_text("not talking")
            await third.click("#talk")
            await expect(third.locator("#state-words")).to_have_text(TALKING, timeout=15_000)

    async def test_a_tab_that_was_duplicated_takes_the_robot_and_the_first_tab_gets_another(self, everything):
        """A browser copies a tab's storage, and with it the tab's name."""
        _, _, console = everything
        async with browser(*DEVICES) as chromium:
            context = await chromium.new_context()
            first, copy = await context.new_page(), await context.new_page()
            await first.goto(link(console))
            await first.click("#talk")
            await expect(first.locator("#robot-name")).to_have_text("browser-1", timeout=15_000)
            tab = await first.evaluate("sessionStorage.getItem('tab')")
            await copy.goto(console.url)
            await copy.evaluate(f"sessionStorage.setItem('tab', '{tab}')")
            await copy.reload()
            await copy.click("#talk")
            await expect(copy.locator("#robot-name")).to_have_text("browser-1", timeout=15_000)
            await expect(first.locator("#words")).to_contain_text("Another tab talks with this robot now.")
            await expect(first.locator("#state-words")).to_have_text("not talking")
            await expect(first.locator("#talk")).to_be_enabled(timeout=15_000)
            await first.click("#talk")
            await expect(first.locator("#robot-name")).to_have_text("browser-2", timeout=15_000)
            for page in (first, copy):
                await expect(page.locator("#state-words")).to_have_text(TALKING, timeout=15_000)

    async def test_what_comes_late_of_a_conversation_that_has_ended_does_not_bring_it_back(self, everything):
        _, _, console = everything
        async with browser(*DEVICES) as chromium:
            page = await chromium.new_page()
            await page.goto(link(console))
            late = await page.evaluate(
                """async () => {
                    const { stand } = await import("/static/talk.js");
                    stand("listening", "", true);
                    return document.getElementById("state-words").textContent;
                }"""
            )
            assert late == "not talking"

    async def test_what_others_say_is_text(self, everything):
        _, _, console = everything
        async with browser(*DEVICES) as chromium:
            page = await chromium.new_page()
            await page.goto(link(console))
            await page.click("#talk")
            await expect(page.locator("#state-words")).to_have_text("listening", timeout=15_000)
            evil = "<img src=x onerror=\"document.title='owned'\">"
            seat = console.seats.taken[0]
            seat.device.page.tell(Said(who="person", text=evil))
            seat.device.page.tell(Standing(state="refused", reason=evil))
            await expect(page.locator("#said")).to_contain_text(evil)
            await expect(page.locator("#reason")).to_have_text(evil)
            seat.device.page.tell(Standing(state="listening", recorded=True))
            await expect(page.locator("#recorded")).to_be_visible()
            seat.device.page.tell(Ended(n=1, why=evil))
            await expect(page.locator("#recorded")).to_be_hidden()
            await expect(page.locator("#words")).to_contain_text(evil)
            assert await page.title() == "Talk to Reachy"
