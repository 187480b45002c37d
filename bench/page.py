"""The page's budgets, in headless Chromium with the real console and gateway; ``bench/README.md`` has the method.

``python bench/page.py``, a minute. It needs Debian's ``chromium-headless-shell``.
"""

import argparse
import asyncio
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Page, async_playwright

from gemini_live_sim import Behaviour, SimSession, SimSettings, serve
from harness.devices import chunk_numbers, until
from harness.gateway import BIN, Gateway, make_keys
from harness.results import Timing, keep, machine, table

PORT: Final = 27570
CONSOLE_PORT: Final = PORT + 5
LOUD: Final = 0.01
WARM_UP: Final = 100
SPEECH_MS: Final = 4000
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
)
INSTRUMENTS: Final = """
// At 16 kHz nothing is resampled on the way, so a chunk can hold its number; it is stamped as the worklet hands it over.
const Context = AudioContext;
window.AudioContext = class extends Context { constructor(options) { super({ ...options, sampleRate: 16000 }); } };
window.said = [];
window.heard = [];
const now = () => performance.timeOrigin + performance.now();
const Channel = MessageChannel;
let first = true;
window.MessageChannel = function () {
  if (!first) return new Channel();
  first = false;
  const [inner, outer] = [new Channel(), new Channel()];
  inner.port2.onmessage = ({ data }) => {
    said.push(now());
    new Int16Array(data).fill(((said.length - 1) % 30000) + 1);
    outer.port1.postMessage(data, [data]);
  };
  return { port1: inner.port1, port2: outer.port2 };
};
const Node = AudioWorkletNode;
window.AudioWorkletNode = class extends Node {
  constructor(context, name, options) {
    super(context, name, options);
    if (name !== "playback") return;
    const ear = context.createAnalyser();
    ear.fftSize = 64;
    this.connect(ear);
    const samples = new Float32Array(ear.fftSize);
    setInterval(() => { ear.getFloatTimeDomainData(samples); heard.push([now(), Math.max(...samples.map(Math.abs))]); }, 2);
  }
};
"""


class Stamps:
    """When events were on Gemini's socket, in ms since 1970: the page's clock."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, float]] = []
        self.cut: list[float] = []

    def note(self, _session: SimSession, name: str, at_ns: int, detail: Any) -> None:
        """Note an event of the simulator."""
        at_ms = time.time() * 1000 - (time.monotonic_ns() - at_ns) / 1e6
        if name == "audio_in":
            self.heard += [(number, at_ms) for number in chunk_numbers(detail)]
        elif name == "interrupted":
            self.cut.append(at_ms)


@asynccontextmanager
async def console(work: Path, gateway: Gateway) -> AsyncIterator[str]:
    """Run the real console. Yields the link to its page."""
    robots = work / "pages"
    robots.mkdir()
    (work / "robot-0").rename(robots / "robot-0")
    address = gateway.address
    settings = {
        "CONSOLE_PORT": str(CONSOLE_PORT),
        "CONSOLE_GATEWAY": f"{address.host}:{address.up_port}+{address.down_port}",
        "CONSOLE_STATE_DIR": str(work / "state"),
        "REACHY_KEYS_DIR": str(robots),
    }
    process = await asyncio.create_subprocess_exec(BIN / "reachy-console", env=settings, stderr=asyncio.subprocess.PIPE)
    assert process.stderr
    try:
        while not (found := re.search(r"http://\S+", (await process.stderr.readline()).decode())):
            pass
        reading = asyncio.create_task(process.stderr.read())
        while not await listens(CONSOLE_PORT):
            await asyncio.sleep(0.05)
        yield found[0]
        reading.cancel()
    finally:
        process.terminate()
        await process.wait()


async def listens(port: int) -> bool:
    """Whether a program listens on this port."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def cuts(page: Page, session: SimSession, stamps: Stamps, count: int) -> list[float]:
    """From an interruption on Gemini's socket to silence in the page, in ms."""
    took = []
    for _ in range(count):
        await page.evaluate("heard.length = 0")
        session.say(SPEECH_MS)
        await asyncio.sleep(0.8)
        before = len(stamps.cut)
        session.interrupt()
        await until(lambda n=before: len(stamps.cut) > n)  # type: ignore[misc]
        await asyncio.sleep(0.6)
        loud = [at for at, peak in await page.evaluate("heard") if peak > LOUD]
        assert loud, "nothing was heard before"
        took.append(max(0.0, loud[-1] - stamps.cut[-1]))
        await session.until(lambda it: it.answers[-1].complete)
    return took


async def measure(chunks: int, n_cuts: int) -> list[Timing]:
    """Measure everything."""
    stamps = Stamps()
    with tempfile.TemporaryDirectory(prefix="page-") as directory:
        work = Path(directory)
        make_keys(work, 1)
        async with serve(SimSettings(), on_event=stamps.note) as sim:
            sim.behaviour = Behaviour(mode="tone", speed=0, thinking_ms=0, vad_threshold_dbfs=0, max_age_s=None)
            async with (
                Gateway(work, sim.url, sim.root_path, PORT) as gateway,
                console(work, gateway) as link,
                async_playwright() as playwright,
            ):
                chromium = await playwright.chromium.launch(
                    executable_path=shutil.which("chromium-headless-shell"),
                    args=list(FLAGS),
                    ignore_default_args=["--mute-audio"],
                )
                page = await chromium.new_page()
                await page.add_init_script(INSTRUMENTS)
                await page.goto(link)
                await page.locator("#talk:not([disabled])").click()
                await until(lambda: len(stamps.heard) > WARM_UP + chunks, 120)
                heard = stamps.heard[WARM_UP : WARM_UP + chunks]
                said = await page.evaluate("said")
                cut = await cuts(page, sim.open_sessions[-1], stamps, n_cuts)
                await chromium.close()
    up = [at - said[number - 1] for number, at in heard]
    return [
        Timing("a chunk in the page -> Gemini's socket", up, {"p50": 35, "p99": 60}),
        Timing("`interrupted` on Gemini's socket -> silence in the page", cut, {"p50": 35, "p99": 60}),
    ]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--chunks", type=int, default=1000)
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--out", type=Path, help="a folder for page.json")
    given = parser.parse_args()
    about = machine()
    timings = asyncio.run(measure(given.chunks, given.cuts))
    print(table(timings, "ms", 1))
    print(json.dumps(about))
    keep(given.out, "page", about, [it.told() for it in timings])
    return 0


if __name__ == "__main__":
    sys.exit(main())
