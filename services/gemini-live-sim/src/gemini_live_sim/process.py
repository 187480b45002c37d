"""A server as a process of its own, until a signal."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping

from pydantic import ValidationError

from gemini_live_sim.health import PORT, default_tls_dir
from gemini_live_sim.logs import Lines, tell
from gemini_live_sim.scenario import ScenarioError
from gemini_live_sim.server import serve
from gemini_live_sim.settings import SimSettings

_KEPT_SESSIONS = 50

log = logging.getLogger("gemini_live_sim")


def run() -> int:
    """Serve; return the exit code: 2 if the settings are wrong."""
    try:
        settings = read_settings(os.environ)
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
    """The environment is wrong; the message has a line for each variable."""


def read_settings(environment: Mapping[str, str]) -> SimSettings:
    """Read ``SIM_*`` for a server that runs on its own.

    Raises:
        SettingsError: With everything that is wrong, by the variable's name.
    """
    known = {f"SIM_{name.upper()}" for name in SimSettings.model_fields}
    wrong = [
        f"{name}: there is no such setting"
        for name in sorted(environment)
        if name.upper().startswith("SIM_") and name.upper() not in known
    ]
    try:
        settings = SimSettings()
    except ValidationError as error:
        wrong += [_in_words(item["loc"], item["msg"]) for item in error.errors(include_url=False, include_input=False)]
    if wrong:
        raise SettingsError("\n".join(["The settings are wrong:", *(f"  {line}" for line in wrong)]))
    own = {
        "port": settings.port if settings.port is not None else PORT,
        "tls_dir": settings.tls_dir or default_tls_dir(),
        # A process may run for weeks; nobody looks at its records.
        "record_bytes": settings.record_bytes or 0,
        "keep_sessions": min(settings.keep_sessions, _KEPT_SESSIONS),
    }
    return settings.model_copy(update=own)


def _in_words(where: tuple[int | str, ...], message: str) -> str:
    name, *inside = (str(step) for step in where)
    return f"SIM_{name.upper()}{''.join(f'[{step}]' for step in inside)}: {message}"


async def _run(settings: SimSettings) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with serve(settings) as sim:
        log.info("listening on %s, scenario %s, root certificate in %s", sim.url, settings.scenario, sim.root_path)
        await stopped.wait()
        log.info("stopping")


def _complain(text: str) -> int:
    tell(sys.stderr, text)
    return 2
