"""``gemini-live-sim``: run a server until a signal; ``gemini-live-sim health``: ask one."""

import asyncio
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from gemini_live_sim import health
from gemini_live_sim.scenario import ScenarioError
from gemini_live_sim.server import serve
from gemini_live_sim.settings import PORT, SimSettings
from gemini_live_sim.tls import ROOT

USAGE = "usage: gemini-live-sim [health]"
_KEPT_SESSIONS = 50

log = logging.getLogger("gemini_live_sim")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code: 1 if the server is not well, 2 if the settings are wrong."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        return _complain(str(error))
    if list(arguments) == ["health"]:
        return _health(settings)
    if arguments:
        return _complain(USAGE)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
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
        "tls_dir": settings.tls_dir or Path(tempfile.gettempdir()) / "gemini-live-sim",
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


def _health(settings: SimSettings) -> int:
    host = settings.host if settings.host not in ("0.0.0.0", "::", "") else "127.0.0.1"
    if settings.tls_dir is None or settings.port is None:
        return 1
    wrong = health.ask(host, settings.port, settings.tls_dir / ROOT)
    return _complain(wrong, code=1) if wrong else 0


def _complain(text: str, code: int = 2) -> int:
    sys.stderr.write(text + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
