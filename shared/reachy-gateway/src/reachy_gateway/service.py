"""A gateway's process: keys, sockets, health page and signals around a :class:`~reachy_gateway.hub.Hub`."""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

import zmq

from reachy_gateway import heap
from reachy_gateway.admin.office import NoOffice, Office
from reachy_gateway.admin.service import Admin
from reachy_gateway.feed import Feed
from reachy_gateway.fleet.join import Fleet, Parts, joined
from reachy_gateway.host import MakeVoice
from reachy_gateway.hub import Hub
from reachy_gateway.loop import run as run_loop
from reachy_gateway.metrics import Metrics, Source
from reachy_gateway.provider.load import Load
from reachy_gateway.robot import STOPPING
from reachy_gateway.settings import GatewaySettings
from reachy_link import mounted
from reachy_link.keys import KeyPair, Keyring, KeysError, load_pair
from reachy_service import logs, release
from reachy_service.config import fail, health_server, tell_suspects

log = logging.getLogger(__name__)

SWITCH_S: Final = 0.001
"""Python's switch interval: how long the metrics thread may hold up the event loop. The default of 5 ms would be audible."""


def keys_of(settings: GatewaySettings) -> tuple[KeyPair, Keyring]:
    """The gateway's own keys, and the keys that it admits.

    Raises:
        ValueError: If the keys cannot be used. The message names the environment variable.
    """
    directory = settings.keys_dir
    if settings.keys_from:
        try:
            mounted.use(settings.keys_from, directory)
        except (KeysError, OSError) as error:
            raise ValueError(f"GATEWAY_KEYS_FROM: {error}") from None
    try:
        return load_pair(directory, f"reachy-keys --dir {directory} gateway"), Keyring(directory)
    except KeysError as error:
        raise ValueError(f"REACHY_KEYS_DIR: {error}") from None


def main(
    name: str,
    settings: GatewaySettings,
    make_voice: MakeVoice,
    banner: str,
    secrets: Iterable[str] = (),
    *,
    feed: Feed | None = None,
    sources: Iterable[Source] = (),
    beside: Callable[[], Coroutine[None, None, None]] | None = None,
    on_hangup: Callable[[], None] | None = None,
    office: Office | None = None,
    parts: Parts | None = None,
    load: Load | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT. Returns exit status 0; ends the program with 2 if the configuration is bad.

    Args:
        name: The name of the package.
        settings: The gateway's settings.
        make_voice: Makes a voice for a robot.
        banner: What this gateway is, for the first line of its log.
        secrets: Texts that must never show in a log.
        feed: Where events are told. The default is a feed of its own, which only the log reads.
        sources: The voice's own metrics.
        beside: A coroutine to run beside the gateway, until the gateway stops.
        on_hangup: Called at SIGHUP.
        office: Answers the admin port's questions about the voices' service. The default knows nothing.
        parts: What the gateways of a fleet share of the voices' service, if there is a store.
        load: How busy the gateway is. The default is a load of its own.
    """
    try:
        keys, ring = keys_of(settings)
    except ValueError as error:
        fail([str(error)])
    place = settings.store()
    concealed = [*secrets, keys.secret.decode(), *([place.password] if place and place.password else [])]
    logs.set_up(name, settings.log_level, concealed)
    software = release.software(name)
    log.info("%s: %s", software, banner)
    tell_suspects()

    async def run() -> int:
        loop = asyncio.get_running_loop()
        logs.calm(loop)
        if on_hangup:
            loop.add_signal_handler(signal.SIGHUP, on_hangup)
        companion = loop.create_task(beside()) if beside else None
        if companion:
            companion.add_done_callback(_tell_fault)
        try:
            return await _serve(
                software, settings, make_voice, keys, ring, sources, feed, office or NoOffice(), parts or Parts(), load
            )
        finally:
            if companion:
                companion.cancel()

    heap.keep_flat()
    heap.keep_out()
    sys.setswitchinterval(SWITCH_S)
    return run_loop(run())


async def _serve(
    software: str,
    settings: GatewaySettings,
    make_voice: MakeVoice,
    keys: KeyPair,
    ring: Keyring,
    sources: Iterable[Source],
    feed: Feed | None,
    office: Office,
    parts: Parts,
    load: Load | None,
) -> int:
    try:
        hub = Hub(
            keys,
            ring,
            settings.bind(),
            make_voice,
            max_robots=settings.max_robots,
            software=software,
            messages_per_s=settings.robot_messages_per_s,
            bytes_per_s=settings.robot_bytes_per_s,
            feed=feed,
            load=load,
        )
    except zmq.ZMQError as error:
        where = f"{settings.host}, ports {settings.up_port} and {settings.down_port}"
        fail([f"GATEWAY_HOST, GATEWAY_UP_PORT, GATEWAY_DOWN_PORT: cannot listen on {where}: {error}"])
    admin = _admin(hub, settings, keys, ring, office)
    try:
        fleet = joined(hub, settings, keys, parts)
    except OSError as error:
        fail([f"GATEWAY_STORE_ROOT_CERT: {error}"])
    metrics = Metrics(hub, sources)
    health = health_server(settings, lambda: _report(hub, ring, fleet), {"/metrics": metrics.page})
    beside = [asyncio.create_task(_give_back()), *([asyncio.create_task(metrics.watch())] if health else [])]
    if admin:
        beside.append(asyncio.create_task(admin.run(), name="admin"))
        beside[-1].add_done_callback(_tell_fault)
    if fleet:
        beside.append(asyncio.create_task(fleet.run(), name="fleet"))
        beside[-1].add_done_callback(_tell_fault)
    admitted = ", ".join(ring.robots) or "none yet (a robot prints the command when it makes its key)"
    log.info("listening on ports %d and %d; public key %s; admitted: %s", *hub.bound[1:], keys.public.decode(), admitted)
    serving = asyncio.create_task(hub.run(), name="hub")
    asked = False

    def stop() -> None:
        nonlocal asked
        if asked:
            serving.cancel()  # only this: what comes after it has its own bounds
            return
        asked = True
        log.info("stopped by a signal: turns may go on for %g s; a second signal ends them at once", settings.drain_s)
        hub.drain(settings.drain_s)

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        await serving
    except asyncio.CancelledError:
        log.info("stopped at once by a second signal")
    finally:
        for companion in beside:
            companion.cancel()
        if fleet:
            await fleet.close()
        if admin:
            await admin.close()
        if health:
            health.close()
    return 0


def _admin(hub: Hub, settings: GatewaySettings, keys: KeyPair, ring: Keyring, office: Office) -> Admin | None:
    """The admin port; None if the settings have no port for it."""
    if settings.admin_port is None:
        return None
    where, folder = (settings.host, settings.admin_port), settings.recordings_dir
    try:
        return Admin(hub, keys, ring, office, directory=settings.keys_dir, host=where[0], port=where[1], recordings=folder)
    except zmq.ZMQError as error:
        fail([f"GATEWAY_HOST, GATEWAY_ADMIN_PORT: cannot listen on {where[0]}, port {where[1]}: {error}"])


async def _give_back() -> None:
    """Return free memory to the system every ``GIVE_BACK_S``, until cancelled."""
    while True:
        await asyncio.sleep(heap.GIVE_BACK_S)
        heap.give_back()


def _tell_fault(companion: "asyncio.Task[None]") -> None:
    """Log a background task's error at once. Otherwise it would show only when the program ends."""
    if not companion.cancelled() and (error := companion.exception()):
        words = "a bug has ended the gateway's task %r, which works again after a restart; the gateway goes on without it"
        log.error(words, companion.get_name(), exc_info=error)


def _unready(hub: Hub, ring: Keyring, fleet: Fleet | None) -> str:
    """Why no robot should be sent here; empty if robots are welcome. A full gateway is ready: it refuses with a reason."""
    if hub.draining:
        return STOPPING
    if not ring.was_read:
        return "; ".join(ring.problems)
    return fleet.unready if fleet else ""


def _report(hub: Hub, ring: Keyring, fleet: Fleet | None) -> dict[str, Any]:
    """The gateway's state for the health page. It asks neither the store nor the voice's service."""
    ok = hub.now() - hub.looked_around < 3.0  # noqa: PLR2004
    counts = {f"{cause} {peer}".strip(): n for (cause, peer), n in dict(hub.tally.counts).items()}
    connections = [{"robot": robot, "key": key, "since": round(since)} for robot, key, since in hub.connected()]
    told = {
        "ok": ok,
        "unready": _unready(hub, ring, fleet),
        "robots": sorted(hub.robots),
        "connections": connections,
        "counts": counts,
    }
    return told | {"tasks": len(asyncio.all_tasks(hub.loop)), "log_lines_lost": logs.lost()}
