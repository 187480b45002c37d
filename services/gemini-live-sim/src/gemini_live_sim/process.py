"""Runs a server as a process of its own, until a signal."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping
from difflib import get_close_matches

from pydantic import ValidationError

from gemini_live_sim.health import PORT, default_tls_dir
from gemini_live_sim.logs import Lines, tell
from gemini_live_sim.scenario import ScenarioError
from gemini_live_sim.server import serve
from gemini_live_sim.settings import SimSettings, of_kubernetes

_KEPT_SESSIONS = 50

log = logging.getLogger("gemini_live_sim")


def run() -> int:
    """Run the server; return the exit code: 2 if the settings are wrong."""
    try:
        settings = read_settings()
    except SettingsError as error:
        return _complain(str(error))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=[Lines(sys.stdout)])
    logging.getLogger("websockets").setLevel(logging.ERROR)
    try:
        asyncio.run(_run(settings))
    except (ScenarioError, OSError) as error:
        where = f"SIM_HOST={settings.host}, SIM_PORT={settings.port}, SIM_TLS_DIR={settings.tls_dir}"
        return _complain(f"cannot start with {where}: {error}")
    return 0


class SettingsError(ValueError):
    """The environment's settings are wrong. The message has a line for each fault."""


def read_settings() -> SimSettings:
    """Read the ``SIM_*`` variables for a server that runs as its own process.

    Raises:
        SettingsError: If any is wrong; the message lists every fault by its variable's name.
    """
    try:
        settings = SimSettings()
    except ValidationError as error:
        wrong = [_in_words(item["loc"], item["msg"]) for item in error.errors(include_url=False, include_input=False)]
        raise SettingsError("\n".join(["The settings are wrong:", *(f"  {line}" for line in wrong)])) from None
    own = {
        "port": settings.port if settings.port is not None else PORT,
        "tls_dir": settings.tls_dir or default_tls_dir(),
        # A process may run for weeks, and nobody reads its records.
        "record_bytes": settings.record_bytes or 0,
        "keep_sessions": min(settings.keep_sessions, _KEPT_SESSIONS),
    }
    return settings.model_copy(update=own)


def suspects(environment: Mapping[str, str]) -> list[str]:
    """A line for each unused ``SIM_*`` variable: a misspelt name, or a variable that Kubernetes sets for a Service."""
    known = {f"SIM_{name.upper()}" for name in SimSettings.model_fields}
    found = []
    for name, value in sorted(environment.items()):
        if not name.upper().startswith("SIM_"):
            continue
        if of_kubernetes(name, value):
            found.append(f"{name} is not read: it describes a Kubernetes Service")
        elif name.upper() not in known:
            near = get_close_matches(name.upper(), known, 1, 0.75)
            found.append(f"{name}: there is no such setting" + (f"; is it {near[0]}?" if near else ""))
    return found


def _in_words(where: tuple[int | str, ...], message: str) -> str:
    name, *inside = (str(step) for step in where)
    return f"SIM_{name.upper()}{''.join(f'[{step}]' for step in inside)}: {message}"


async def _run(settings: SimSettings) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    for words in suspects(os.environ):
        log.warning("%s", words)
    async with serve(settings) as sim:
        log.info("listening on %s, scenario %s, root certificate in %s", sim.url, settings.scenario, sim.root_path)
        await stopped.wait()
        log.info("stopping")


def _complain(text: str) -> int:
    tell(sys.stderr, text)
    return 2
