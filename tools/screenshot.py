"""The pictures in docs/: the page's three views and a dance, in Debian's headless Chromium. ``python tools/screenshot.py``."""

import base64
import os
import shutil
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import Final

from demo import BIN, ROOT, console_keys, free_ports, gateway, listens, start, stop, wait_for
from playwright.sync_api import Page, expect, sync_playwright

PICTURES: Final = {view: ROOT / "docs" / name for view, name in
                   (("talk", "console.png"), ("fleet", "console-fleet.png"), ("robot", "console-robot.png"))}  # fmt: skip
DANCE: Final = ROOT / "docs" / "dance.png"
SHOTS, BETWEEN_S = 6, 0.45
SPEECH: Final = ROOT / "services" / "robot-io" / "utterances"
ROBOTS: Final = ("lab-1", "lab-2", "lab-3", "lobby")
"""The last one is not connected."""
ROBOTS_FILE: Final = """[defaults]
transcripts_to_console = true
recordings = true
budget_usd_per_day = 2.0

[robots.lab-1]
voice = "Puck"
"""


def main() -> int:
    """Make the pictures. Returns exit status 0."""
    with tempfile.TemporaryDirectory(prefix="reachy-link-") as directory:
        work, running = Path(directory), list[subprocess.Popen[bytes]]()
        try:
            console_keys(work, ["browser-1"])
            port, admin = free_ports(2)
            file = work / "robots.toml"
            file.write_text(ROBOTS_FILE, encoding="utf-8")
            more = {"GATEWAY_ADMIN_PORT": admin, "GATEWAY_ROBOTS_FILE": file, "GATEWAY_RECORDINGS_DIR": work / "kept"}
            up, down, _ = gateway(work, ROBOTS, running, **more)
            settings = {
                "CONSOLE_PORT": port,
                "CONSOLE_STATE_DIR": work / "state",
                "CONSOLE_GATEWAY": f"127.0.0.1:{up}+{down}",
                "CONSOLE_ADMIN": f"127.0.0.1:{admin}",
                "REACHY_KEYS_DIR": work / "console",
            }
            running.append(start("reachy-console", **settings))
            wait_for("the console", lambda: listens(port), running)
            for name, utterances in zip(ROBOTS[:-1], ((1, 5, 3), (4, 2), (3, 4)), strict=True):
                running.append(robot(work, name, utterances, up, down))
            stranger = work / "robots" / "stranger"
            subprocess.run([BIN / "reachy-keys", "--dir", stranger, "robot", "reachy-9"], check=True)
            shutil.copy(work / "robots" / "lab-1" / "gateway.pub", stranger)
            running.append(robot(work, "stranger", (1,), up, down))
            environment = os.environ | {name: str(value) for name, value in settings.items()}
            link = subprocess.run([BIN / "reachy-console", "link"], env=environment, capture_output=True, text=True, check=True)
            take(link.stdout.strip(), said(work / "said.wav"))
        finally:
            stop(running)
    return 0


def robot(work: Path, name: str, utterances: tuple[int, ...], up: int, down: int) -> subprocess.Popen[bytes]:
    """Start a virtual robot with a body. Its person says these utterances."""
    spoken = work / f"utterances-{name}"
    spoken.mkdir()
    for number in range(30):
        shutil.copy(SPEECH / f"0{utterances[number % len(utterances)]}.wav", spoken / f"{number:02}.wav")
    return start(
        "robot-io",
        REACHY_KEYS_DIR=work / "robots" / name,
        ROBOT_DEVICE="wav",
        ROBOT_GATEWAY=f"127.0.0.1:{up}+{down}",
        ROBOT_UTTERANCES=spoken,
        ROBOT_SPEAKER_WAV=work / f"{name}.wav",
    )


def said(path: Path) -> Path:
    """Write the question, with silence before and after it."""
    with wave.open(str(SPEECH / "05.wav")) as question, wave.open(str(path), "wb") as file:
        file.setparams(question.getparams())
        second = bytes(question.getframerate() * question.getsampwidth() * question.getnchannels())
        file.writeframes(2 * second + question.readframes(question.getnframes()) + 20 * second)
    return path


def take(link: str, microphone: Path) -> None:
    """Talk, and take the pictures while robots move."""
    flags = ["--no-sandbox", "--disable-gpu", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    flags += ["--autoplay-policy=no-user-gesture-required", f"--use-file-for-fake-audio-capture={microphone}"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium-headless-shell"), args=flags)
        page = chromium.new_page(viewport={"width": 1280, "height": 800}, device_scale_factor=1.5)
        page.goto(link)
        page.locator("#talk:not([disabled])").click()
        expect(page.locator("#state-words")).to_have_text("speaking", timeout=30_000)
        time.sleep(1.2)  # until the pose is worth a picture
        page.screenshot(path=PICTURES["talk"])
        look(page)
        chromium.close()


def look(page: Page) -> None:
    """Take pictures of the fleet and of one robot, once the robots have talked for a while."""
    page.locator("#nav-fleet").click()
    expect(page.locator("[data-robot=lab-1] .turns")).to_contain_text("3", timeout=60_000)
    page.screenshot(path=PICTURES["fleet"])
    page.goto(page.url.partition("#")[0] + "#/robot/lab-1")
    expect(page.locator("#robot-view-state")).to_have_attribute("data-state", "speaking", timeout=30_000)
    page.locator("#persona-read").click()
    expect(page.locator("#persona-text")).to_have_value('[robots.lab-1]\nvoice = "Puck"\n')
    expect(page.locator("#robot-view-state")).to_have_attribute("data-state", "speaking", timeout=30_000)
    time.sleep(0.8)
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=PICTURES["robot"])
    watch(page)


def watch(page: Page) -> None:
    """Ask the robot to dance, and put pictures of it side by side."""
    page.locator("#act-dance").select_option("circles")
    page.locator("#act-dance-go").click()
    time.sleep(1.0)  # until the dance has begun
    shots = []
    for _ in range(SHOTS):
        shots.append(base64.b64encode(page.locator("#robot-view-picture").screenshot()).decode())
        time.sleep(BETWEEN_S)
    images = "".join(f'<img height="200" src="data:image/png;base64,{shot}">' for shot in shots)
    page.set_content(f'<div id="strip" style="display: inline-flex; background: white">{images}</div>')
    page.locator("#strip").screenshot(path=DANCE)


if __name__ == "__main__":
    sys.exit(main())
