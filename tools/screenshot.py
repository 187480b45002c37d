"""docs/console.png: the page in a conversation, in Debian's headless Chromium. ``python tools/screenshot.py``."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import Final

from demo import BIN, ROOT, free_ports, gateway, listens, start, stop, wait_for
from playwright.sync_api import expect, sync_playwright

PICTURE: Final = ROOT / "docs" / "console.png"
SPEECH: Final = ROOT / "services" / "robot-io" / "utterances" / "05.wav"


def main() -> int:
    """Exit status 0 if it is made."""
    with tempfile.TemporaryDirectory(prefix="reachy-link-") as directory:
        work, running = Path(directory), list[subprocess.Popen[bytes]]()
        try:
            up, down, health = gateway(work, ["browser-1"], running)
            (port,) = free_ports(1)
            settings = {
                "CONSOLE_PORT": port,
                "CONSOLE_STATE_DIR": work / "state",
                "CONSOLE_GATEWAY": f"127.0.0.1:{up}+{down}",
                "CONSOLE_METRICS": f"http://127.0.0.1:{health}/metrics",
                "REACHY_KEYS_DIR": work / "robots",
            }
            running.append(start("reachy-console", **settings))
            wait_for("the console", lambda: listens(port), running)
            environment = os.environ | {name: str(value) for name, value in settings.items()}
            link = subprocess.run([BIN / "reachy-console", "link"], env=environment, capture_output=True, text=True, check=True)
            take(link.stdout.strip(), said(work / "said.wav"))
        finally:
            stop(running)
    return 0


def said(path: Path) -> Path:
    """The question, and a while of silence on both sides of it."""
    with wave.open(str(SPEECH)) as question, wave.open(str(path), "wb") as file:
        file.setparams(question.getparams())
        second = bytes(question.getframerate() * question.getsampwidth() * question.getnchannels())
        file.writeframes(2 * second + question.readframes(question.getnframes()) + 20 * second)
    return path


def take(link: str, microphone: Path) -> None:
    """Talk, and take the picture while the robot moves."""
    flags = ["--no-sandbox", "--disable-gpu", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    flags += ["--autoplay-policy=no-user-gesture-required", f"--use-file-for-fake-audio-capture={microphone}"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium-headless-shell"), args=flags)
        page = chromium.new_page(viewport={"width": 1080, "height": 760}, device_scale_factor=1.5)
        page.goto(link)
        page.locator("#talk:not([disabled])").click()
        expect(page.locator("#state-words")).to_have_text("speaking", timeout=30_000)
        time.sleep(1.2)  # for a pose that shows something
        page.screenshot(path=PICTURE)
        chromium.close()


if __name__ == "__main__":
    sys.exit(main())
