"""Gateways as processes of their own, for tests that kill them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rig import Keys

BIN = Path(sys.executable).parent


@contextmanager
def gateway_process(made: Keys, ports: tuple[int, ...], sim, **more: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run a gemini-gateway that talks to a simulator, with the fleet's keys and its own ledger."""
    settings = {
        "REACHY_KEYS_DIR": made.gateway_dir,
        "GATEWAY_HOST": "127.0.0.1",
        "GATEWAY_UP_PORT": ports[0],
        "GATEWAY_DOWN_PORT": ports[1],
        "GATEWAY_SIM_URL": sim.url,
        "GATEWAY_SIM_ROOT": sim.root_path,
        "GATEWAY_LEDGER": made.directory / f"ledger-{ports[0]}.sqlite",
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GEMINI", "GOOGLE", "GATEWAY"))}
    process = subprocess.Popen([BIN / "gemini-gateway"], env=clean | {k: str(v) for k, v in (settings | more).items()})
    try:
        yield process
    finally:
        process.kill()
        process.wait()
