"""``broken.py WHERE``: gemini-gateway with a fault whose message contains the secrets. WHERE is its start, a voice, a callback
of the event loop, the code that follows files, or the thread that serves health."""

import asyncio
import os
import sys
from pathlib import Path

from gemini_gateway.__main__ import main
from gemini_gateway.sdk.client import Live
from gemini_gateway.voice import GeminiVoice
from gemini_gateway.voices import Voices
from reachy_gateway import service
from reachy_gateway.hub import Hub


def fault(*_args, **_fields):
    key = os.environ.get("GEMINI_API_KEY") or Path(os.environ["GEMINI_API_KEY_FILE"]).read_text()
    secret = (Path(os.environ["REACHY_KEYS_DIR"]) / "self.key").read_text().strip()
    raise RuntimeError(f"on purpose: {key} {secret} {secret.encode()!r}")


async def late_fault(*_args):
    fault()


def at_the_start():
    def raises(*_, **__):
        raise RuntimeError(f"on purpose: {os.environ['GEMINI_API_KEY']}")

    Live.__init__ = raises


def in_a_voice():
    GeminiVoice.run = late_fault


def in_the_hub():
    Hub.__init__ = fault


def in_a_callback():
    look = Hub._look_around

    def looks(self):
        asyncio.get_running_loop().call_soon(fault)
        look(self)

    Hub._look_around = looks


def in_what_runs_beside():
    Voices.watch = late_fault


def in_health():
    service._report = fault


if __name__ == "__main__":
    globals()[sys.argv.pop()]()  # the gateway takes no argument
    sys.exit(main())
