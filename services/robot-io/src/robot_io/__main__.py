"""robot-io: a robot's microphone and speaker, on the link."""

import asyncio
import logging
import secrets
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reachy_link.address import spread
from reachy_link.keys import KeysError, load_robot
from reachy_robot.acts import offer
from reachy_robot.body import Body
from reachy_robot.core import RobotCore
from reachy_robot.decisions import Profile
from reachy_robot.motion.moves import MOVES
from reachy_robot.runner import Runner
from reachy_robot.sound import Button, Device, DeviceError
from reachy_service import arguments, logs
from reachy_service.config import fail, health_server, load, tell_suspects
from reachy_service.release import software
from reachy_service.spool import tell
from robot_io import gateways
from robot_io import moves as recorded
from robot_io.settings import RobotSettings
from robot_io.wav.body import WavBody
from robot_io.wav.sound import WavDevice

if TYPE_CHECKING:
    from robot_io.reachy.sdk import Sdk

log = logging.getLogger(__name__)

REMARKS_MAX: Final = 20


def main() -> int:
    """Run until the microphone ends or a signal comes. Exit status 0, 1 for an unusable device, 2 for bad configuration."""
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # a button that is pressed too early must not end the program
    arguments.check("robot-io", "Puts a robot's microphone, speaker and body on the link.", RobotSettings)
    settings = load(RobotSettings)
    logs.set_up("robot-io", settings.log_level)
    tell_suspects()
    problems = []
    utterances = sorted(settings.utterances.glob("*.wav")) if settings.device == "wav" else []
    if settings.device == "wav" and not utterances:
        problems.append(f"ROBOT_UTTERANCES: no *.wav in {_whole(settings.utterances)}")
    moves = dict(MOVES)
    if settings.moves_dir:
        try:
            more, remarks = recorded.read(settings.moves_dir)
        except OSError as error:
            problems.append(f"ROBOT_MOVES_DIR: {_whole(settings.moves_dir)} cannot be read: {error.strerror}")
        else:
            moves |= more
            _tell(remarks)
    try:
        identity = load_robot(settings.keys_dir)
    except KeysError as error:
        fail([*problems, f"REACHY_KEYS_DIR: {error}"])
    if problems:
        fail(problems)
    logs.conceal(identity.keys.secret.decode())

    connections: list[Sdk] = []
    """The real robot's newest connection."""

    def make_device() -> Device:
        if settings.device == "wav":
            return WavDevice(
                utterances, settings.speaker_wav, patience_s=settings.patience_s, push_to_talk=settings.push_to_talk
            )
        from robot_io.reachy.sdk import Sdk  # noqa: PLC0415 - only the real robot has the SDK
        from robot_io.reachy.sound import ReachyDevice  # noqa: PLC0415

        connections[:] = [Sdk(host=settings.daemon_host, port=settings.daemon_port)]
        return ReachyDevice(connections[0])

    has_body = settings.body == "auto"

    def profile(device: Device) -> Profile:
        tail_ms = settings.half_duplex_tail_ms if settings.half_duplex else None
        return Profile(
            robot=identity.robot,
            boot=secrets.token_hex(8),
            mic=device.mic,
            speaker=device.speaker,
            lead_ms=device.lead_ms,
            software=software("robot-io"),
            half_duplex_tail_ms=tail_ms,
            show_transcripts=settings.show_transcripts,
            body=offer(moves) if has_body else None,
            moves=moves,
        )

    def make_body() -> Body:
        if settings.device == "wav":
            return WavBody(settings.motion_file)
        from robot_io.reachy.body import ReachyBody  # noqa: PLC0415 - only the real robot has the SDK

        return ReachyBody(lambda: connections[0] if connections else None)

    addresses = settings.addresses()
    if settings.gateway_order == "spread":
        addresses = spread(identity.robot, addresses)
    address, *others = addresses
    beside = f"; if it does not serve: {', '.join(map(str, others))}" if others else ""
    log.info("%s: dialling the gateway at %s%s", identity.robot, address, beside)
    runner = Runner(
        make_device,
        identity,
        address,
        profile,
        others,
        make_body=make_body if has_body else None,
        remembered=gateways.read(settings.gateways_file),
        on_remember=gateways.Keeper(settings.gateways_file).keep,
    )
    return asyncio.run(_run(settings, runner))


def _tell(remarks: list[str]) -> None:
    """Log what is wrong with recorded moves; a folder with thousands of mistakes gets only a few lines."""
    for remark in remarks[:REMARKS_MAX]:
        log.warning("ROBOT_MOVES_DIR: %s", remark)
    if len(remarks) > REMARKS_MAX:
        log.warning("ROBOT_MOVES_DIR: %d more like these", len(remarks) - REMARKS_MAX)


def _whole(path: Path) -> Path:
    """The absolute path, if there is one: the current directory may have been removed."""
    with suppress(FileNotFoundError):
        return path.absolute()
    return path


async def _run(settings: RobotSettings, runner: Runner) -> int:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    logs.calm(loop)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel if task else loop.stop)
    for number, button in ((signal.SIGUSR1, Button.PRESSED), (signal.SIGUSR2, Button.RELEASED)):
        loop.add_signal_handler(number, runner.push, button)
    health = health_server(settings, runner.report)
    try:
        await runner.run()
    except asyncio.CancelledError:
        log.info("stopped by a signal")
    except DeviceError as error:
        log.error("%s", error)  # noqa: TRY400 - the message says it all
        return 1
    finally:
        if health:
            health.close()
    _print_summary(runner.core)
    return 0


def _print_summary(core: RobotCore) -> None:
    """Print a table of the conversation's turns."""
    if not core.summary:
        return
    lines = ["turn  answered after  played   underruns  heard to its end"]
    for turn in core.summary:
        latency = f"{turn.latency_ms:>7} ms" if turn.latency_ms is not None else "         -"
        heard = "yes" if turn.complete else "no, cut"
        lines.append(f"{turn.turn:>4}  {latency}      {turn.played_ms / 1000:5.1f} s  {turn.underruns:>6}     {heard}")
    tell(sys.stdout, "\n".join([*lines, ""]))


if __name__ == "__main__":
    sys.exit(main())
