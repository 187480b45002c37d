"""A real browser: Debian's headless Chromium, controlled by Playwright."""

import shutil
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from playwright.async_api import Browser, Page, async_playwright
from rig import read_wav

CHROMIUM = shutil.which("chromium-headless-shell") or "/usr/bin/chromium-headless-shell"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]
DEVICES = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
ROBOTS = ("browser-1", "browser-2")
NUMBER = read_wav(Path(__file__).parent.parent / "e2e" / "data" / "number-1.wav")


def spoken(path: Path, *parts: float | np.ndarray) -> str:
    """The flag that gives the browser this microphone: seconds of silence, and speech at 16 kHz."""
    pieces = [np.zeros((int(16000 * it), 1), np.float32) if isinstance(it, float) else it for it in parts]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((np.concatenate(pieces) * 32767).astype("<i2").tobytes())
    return f"--use-file-for-fake-audio-capture={path}%noloop"


@asynccontextmanager
async def browser(*flags: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*FLAGS, *flags], ignore_default_args=["--mute-audio"]
        )
        try:
            yield launched
        finally:
            await launched.close()


class Seen:
    """A page's error messages, and the addresses that it requested."""

    def __init__(self, page: Page) -> None:
        self.errors: list[str] = []
        self.asked: set[str] = set()
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.asked.add(request.url))
        page.on("websocket", lambda socket: self.asked.add(socket.url))


def link(console, role: str = "operator") -> str:
    return f"{console.url}/#{console.logins.make_link(role, console.now())}"
