"""reachy-console: serve the page, or print a new link to the running console."""

import argparse
import asyncio
import http.client
import logging
import os
import secrets
import signal
import ssl
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import uvicorn

from reachy_console.app import Console
from reachy_console.gateways import Gateways
from reachy_console.login import Logins
from reachy_console.seats import Seat, Seats
from reachy_console.settings import ConsoleSettings, split
from reachy_link.keys import KeyPair, KeysError, RobotIdentity, load_gateway_public, load_pair, load_robot
from reachy_service import logs
from reachy_service.config import fail, health_server, load, tell_suspects
from reachy_service.spool import tell

log = logging.getLogger(__name__)

MESSAGE_MAX_BYTES: Final = 16384
PING_S: Final = 5.0
"""Time between two pings. A page whose network vanishes is noticed after twice this time at most."""
CONNECTIONS_MAX: Final = 200
"""Most connections at a time. Further connections get HTTP status 503."""
STARTED_S: Final = 0.05
REMIND_S: Final = (45.0, 300.0)
"""Pauses before the link is logged again. The demo's virtual robot has ended before the first of them."""
LINK_WAIT_S: Final = 5.0
"""How long ``link`` waits for a console that is starting."""
AS_THE_CONSOLE: Final = (
    "Run this command as the console's user, with the console's CONSOLE_PORT, CONSOLE_STATE_DIR and CONSOLE_TLS_CERT.\n"
)
SECRET_NAME: Final = "link-secret"  # noqa: S105 - a file's name


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal comes, or print a link. Exit status: 0; 1 without a link or server; 2 for bad configuration."""
    parser = argparse.ArgumentParser(prog="reachy-console", description="Serve a page with a robot and a fleet view.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    link = commands.add_parser("link", help="print a link to the running console; it works once, within ten minutes")
    link.add_argument("--viewer", action="store_true", help="a link for a viewer, who may only look")
    given = parser.parse_args(argv)
    settings = load(ConsoleSettings)
    if given.command == "link":
        return _link(settings, "viewer" if given.viewer else "operator")
    logs.set_up("console", settings.log_level)
    tell_suspects()
    identities = _identities(settings)
    operator, gateway_public = _operator(settings)
    for identity in identities:
        logs.conceal(identity.keys.secret.decode())
    secret = secrets.token_urlsafe(32)
    try:
        _write(settings.state_dir, secret)
    except OSError as error:
        fail([f"CONSOLE_STATE_DIR: {error}"])
    return asyncio.run(_serve(settings, identities, secret, operator, gateway_public))


class _Server(uvicorn.Server):
    """Leaves signals alone. uvicorn raises them again at its end, which ends the process before the log is written."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing: the event loop handles signals."""
        yield


async def _serve(
    settings: ConsoleSettings,
    identities: Sequence[RobotIdentity],
    secret: str,
    operator: KeyPair | None,
    gateway_public: bytes,
) -> int:
    addresses = settings.addresses()
    seats = Seats([Seat(it, addresses, settings.quiet_s, half_duplex=settings.half_duplex) for it in identities])
    logins = Logins(lambda: secrets.token_urlsafe(24))
    secure = settings.tls_cert is not None
    gateways = Gateways(operator, gateway_public, settings.admin_addresses(), lambda: bool(seats.taken))
    console = Console(
        seats,
        logins,
        gateways,
        port=settings.port,
        secret=secret,
        names=split(settings.names),
        secure=secure,
    )
    config = server_config(settings, console)
    try:
        config.load()
        server = _Server(config)
    except ssl.SSLError as error:
        fail([f"CONSOLE_TLS_CERT, CONSOLE_TLS_KEY: they do not fit together, or are no PEM files: {error}"])
    except OSError as error:
        fail([f"CONSOLE_TLS_CERT, CONSOLE_TLS_KEY: {settings.tls_cert} or {settings.tls_key} cannot be read: {error}"])
    health = health_server(settings, lambda: {"ok": server.started, "pages": console.pages, "taken": len(seats.taken)})
    loop = asyncio.get_running_loop()
    logs.calm(loop)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, setattr, server, "should_exit", True)  # noqa: FBT003 - setattr takes no names
    inviting = asyncio.create_task(_invite(settings, logins, server), name="inviting")
    try:
        await server.serve()
    except SystemExit:  # uvicorn has logged why it cannot listen
        fail([f"CONSOLE_HOST, CONSOLE_PORT: cannot listen on {settings.host}, port {settings.port}"])
    finally:
        inviting.cancel()
        if health:
            health.close()
    return 0 if server.started else 1


async def _invite(settings: ConsoleSettings, logins: Logins, server: uvicorn.Server) -> None:
    """Log a link when the server has started, and again while nobody has used one: other log lines may have buried it."""
    while not server.started:  # noqa: ASYNC110 - uvicorn offers nothing to wait for
        await asyncio.sleep(STARTED_S)
    for pause_s in (0.0, *REMIND_S):
        await asyncio.sleep(pause_s)
        if logins.guests:
            return
        link = _url(settings, logins.make_link("operator", time.monotonic()))
        log.info("open the page with this link, which works once, within ten minutes: %s", link)


def server_config(settings: ConsoleSettings, console: Console) -> uvicorn.Config:
    """The configuration of uvicorn for the console."""
    return uvicorn.Config(
        console.app(),
        host=settings.host,
        port=settings.port,
        ws="websockets-sansio",
        ws_max_size=MESSAGE_MAX_BYTES,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS_MAX,
        timeout_graceful_shutdown=2,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )


def _identities(settings: ConsoleSettings) -> list[RobotIdentity]:
    """The keys of the pages' robots: a folder in the keys directory each. Kubernetes' own folders begin with a dot."""
    problems, found = [], []
    try:
        folders = sorted(path for path in settings.keys_dir.iterdir() if path.is_dir() and not path.name.startswith("."))
    except FileNotFoundError:
        folders = []
    except OSError as error:
        fail([f"REACHY_KEYS_DIR: {error}"])
    for folder in folders:
        try:
            found.append(load_robot(folder))
        except KeysError as error:
            problems.append(f"REACHY_KEYS_DIR: {error}")
    if not found and not problems:
        problems.append(
            f"REACHY_KEYS_DIR: no folder with a robot's keys in {settings.keys_dir}; make keys on the gateway's machine "
            "with: reachy-keys console FOLDER console browser-1"
        )
    if problems:
        fail(problems)
    return found


def _operator(settings: ConsoleSettings) -> tuple[KeyPair | None, bytes]:
    """The console's operator keys and the gateways' public key; None and b"" where no admin port is named."""
    if not settings.admin:
        return None, b""
    try:
        operator = load_pair(settings.keys_dir, "reachy-keys console, on the gateway's machine")
        gateway_public = load_gateway_public(settings.keys_dir)
    except KeysError as error:
        fail([f"CONSOLE_ADMIN, REACHY_KEYS_DIR: {error}"])
    logs.conceal(operator.secret.decode())
    return operator, gateway_public


def _url(settings: ConsoleSettings, code: str) -> str:
    scheme = "https" if settings.tls_cert else "http"
    names = split(settings.names)
    host = names[0] if names and settings.tls_cert else _here(settings)
    return f"{scheme}://{host}:{settings.port}/#{code}"


def _here(settings: ConsoleSettings) -> str:
    """The host name by which this machine reaches the page."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "localhost") else settings.host
    return f"[{host}]" if ":" in host else host


def _write(folder: Path, secret: str) -> None:
    """Write the secret to a file that only this user can read."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user")
    folder.chmod(0o700)
    file = folder / SECRET_NAME
    file.unlink(missing_ok=True)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(secret)


def _link(settings: ConsoleSettings, role: str) -> int:
    """Ask the console that runs on this machine for a link, and print the link."""
    until = time.monotonic() + LINK_WAIT_S
    while True:
        try:
            status, code = _asked(settings, role)
            break
        except OSError as error:
            if isinstance(error, FileNotFoundError | ConnectionRefusedError) and time.monotonic() < until:
                time.sleep(0.1)  # it may be starting
                continue
            tell(sys.stderr, f"reachy-console: no answer from a console on port {settings.port}: {error}\n{AS_THE_CONSOLE}")
            return 1
    if status != http.HTTPStatus.OK:
        tell(sys.stderr, f"reachy-console: the program on port {settings.port} makes no link: HTTP {status}\n{AS_THE_CONSOLE}")
        return 1
    tell(sys.stdout, _url(settings, code) + "\n")
    return 0


def _asked(settings: ConsoleSettings, role: str) -> tuple[int, str]:
    """The HTTP status and the text with which the console on this machine answers.

    Raises:
        OSError: If none answers.
    """
    secret = (settings.state_dir / SECRET_NAME).read_text(encoding="ascii")
    if settings.tls_cert:
        context = ssl._create_unverified_context()  # noqa: S323, SLF001 - this machine, by a name not in the certificate
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            _here(settings), settings.port, timeout=5, context=context
        )
    else:
        connection = http.client.HTTPConnection(_here(settings), settings.port, timeout=5)
    connection.request("POST", "/link", role, {"Authorization": f"Bearer {secret}"})
    response = connection.getresponse()
    return response.status, response.read(200).decode()


if __name__ == "__main__":
    sys.exit(main())
