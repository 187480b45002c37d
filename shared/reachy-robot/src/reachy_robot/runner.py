"""Runs a robot's end of the link: it connects the core with the device, the link and the clock."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from reachy_link.address import Address
from reachy_link.keys import RobotIdentity
from reachy_link.wire import WireError, pack_up, unpack_down
from reachy_robot import resolver
from reachy_robot.body import Body, BodyError
from reachy_robot.core import RobotCore
from reachy_robot.cues import sound
from reachy_robot.decisions import (
    Hush,
    Log,
    LookUp,
    Notice,
    Out,
    Play,
    Profile,
    Redial,
    Remember,
    Resubscribe,
    Said,
    Say,
    Send,
)
from reachy_robot.link import RobotEnd
from reachy_robot.sound import Button, Device, DeviceError
from reachy_robot.trouble import Trouble
from reachy_service import logs

log = logging.getLogger(__name__)

TICK_S = 0.01
DEVICE_PAUSE_S = (1.0, 30.0)
"""The pause between attempts to open a device or a body: it doubles from the first value up to the second."""
POSE_S = 0.02
"""The time between poses, which is also the daemon's; more poses would gain nothing."""


class Runner:
    """Runs one robot.

    Args:
        make_device: Makes the device, and a new one when the device was lost.
        address: The gateway that is dialled first.
        profile: Makes the core's profile; formats and lead are the device's own.
        others: Gateways to try, in this order, when one does not serve.
        look_up: Finds the addresses of a gateway's name.
        make_body: Makes the body, if there is one that moves, and a new one when the body was lost.
        on_said: Called with each piece of the transcript, which is then not logged.
        remembered: The addresses that ``on_remember`` got last at an earlier start.
        on_remember: Called with the addresses of gateways to remember for the next start. May not block.
    """

    def __init__(
        self,
        make_device: Callable[[], Device],
        identity: RobotIdentity,
        address: Address,
        profile: Callable[[Device], Profile],
        others: Sequence[Address] = (),
        look_up: resolver.LookUp = resolver.system_look_up,
        make_body: Callable[[], Body] | None = None,
        on_said: Callable[[Said], None] | None = None,
        remembered: Sequence[Address] = (),
        on_remember: Callable[[Sequence[Address]], None] | None = None,
    ) -> None:
        self._on_said = on_said or self._log_said
        self._make_device = make_device
        self._device = make_device()
        self._now = time.monotonic
        self.core = RobotCore(profile(self._device), self._now(), (address, *others), remembered)
        self._on_remember = on_remember or (lambda _: None)
        self._identity = identity
        self._address = address
        self._ticked = self._now()
        self._look_up = look_up
        self._make_body = make_body
        self._end: RobotEnd | None = None
        self._resolver: resolver.Resolver | None = None

    def report(self) -> dict[str, object]:
        """The robot's state, for health: whether the loop runs, the device is open, and a gateway serves the robot."""
        core, loop = self.core, self._now() - self._ticked < 2.0  # noqa: PLR2004
        told = {"loop": loop, "device": core.has_device, "welcomed": core.welcomed}
        more = {"counts": core.counts, "gateway": str(core.route.place), "log_lines_lost": logs.lost()}
        return {"ok": all(told.values()), **told, **more}

    def push(self, button: Button) -> None:
        """The talk button was pressed or released, on whatever device it is."""
        if self._end:
            self._carry_out(self.core.activity(button.value, self._now()))

    async def run(self) -> None:
        """Run the robot until the microphone ends or the task is cancelled.

        Raises:
            DeviceError: If the device cannot be used, and opening it again cannot help.
        """
        self._resolver = resolver.Resolver(self._on_looked_up, self._look_up)
        self._end = RobotEnd(self._identity, self._address, self._on_parts, self._on_trouble)
        clock = asyncio.create_task(self._tick(), name="clock")
        microphone = asyncio.create_task(self._microphone(), name="microphone")
        body = asyncio.create_task(self._move(self._make_body), name="body") if self._make_body else None
        try:
            done, _ = await asyncio.wait({clock, microphone}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            tasks = {task for task in (clock, microphone, body) if task}
            for task in tasks:
                task.cancel()
            try:  # a second cancellation cuts a wait short, and nothing else
                await asyncio.wait(tasks)
            finally:
                self._resolver.close()
                self._carry_out(self.core.goodbye(self._now()))
                try:
                    await self._device.close()
                    await asyncio.sleep(0.05)  # linger is 0: give the goodbye a moment to leave
                finally:
                    self._end.close()

    async def _microphone(self) -> None:
        """Open the device and pass on its audio; whenever the device is lost, do the same with a new one."""
        pause_s, most_s = DEVICE_PAUSE_S
        while True:
            try:
                await self._device.open()
                log.info("%s: microphone and speaker are open", self._identity.robot)
                self._carry_out(self.core.device(self._now(), there=True))
                pause_s = DEVICE_PAUSE_S[0]
                async for item in self._device.record():
                    if isinstance(item, Button):
                        self.push(item)
                    else:
                        self._carry_out(self.core.mic(item, self._now()))
            except DeviceError as error:
                if error.final:
                    raise
                log.warning("%s; trying again in %.0f s", error, pause_s)
            else:
                return
            self._carry_out(self.core.device(self._now(), there=False))
            await self._device.close()
            await asyncio.sleep(pause_s)
            pause_s = min(most_s, pause_s * 2)
            self._device = self._make_device()

    async def _move(self, make_body: Callable[[], Body]) -> None:
        """Hold the body and move it; whenever the body is lost, do the same with a new one. Speech goes on in any case."""
        pause_s, most_s = DEVICE_PAUSE_S
        while True:
            body = make_body()
            try:
                self._carry_out(self.core.body(self._now(), await body.open()))
                log.info("%s: the body moves", self._identity.robot)
                pause_s = DEVICE_PAUSE_S[0]
                await self._pose(body)
            except BodyError as error:
                log.warning(
                    "%s: %s", error, "the robot talks without a body" if error.final else f"trying again in {pause_s:.0f} s"
                )
                self._carry_out(self.core.body(self._now(), None, str(error)))
                if error.final:
                    return
            except Exception:
                log.exception("a bug in the body's code; the robot talks without a body and tries again in %.0f s", pause_s)
                self._carry_out(self.core.body(self._now(), None, "its body has failed"))
            finally:
                await body.close()
            await asyncio.sleep(pause_s)
            pause_s = min(most_s, pause_s * 2)

    async def _pose(self, body: Body) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            heard_deg = body.heard_deg() if self.core.person_speaks else None
            pose, out = self.core.pose(self._now(), heard_deg)
            self._carry_out(out)
            if pose:
                body.target(pose)
            due = max(due + POSE_S, loop.time())  # missed poses are not made up for
            await asyncio.sleep(due - loop.time())

    async def _tick(self) -> None:
        while True:
            self._ticked = self._now()
            self._carry_out(self.core.tick(self._ticked, self._queued_ms()))
            await asyncio.sleep(TICK_S)

    def _queued_ms(self) -> float:
        return self._device.queued_ms() if self.core.has_device else 0.0

    def _on_parts(self, parts: Sequence[bytes]) -> None:
        try:
            message, payload = unpack_down(parts)
        except WireError as error:
            self._carry_out(self.core.bad(error))
        else:
            self._carry_out(self.core.down(message, payload, self._now(), self._queued_ms()))

    def _on_trouble(self, trouble: Trouble) -> None:
        self._carry_out(self.core.trouble(trouble, self._now()))

    def _on_looked_up(self, name: str, ips: Sequence[str], trouble: Trouble) -> None:
        self._carry_out(self.core.looked_up(name, ips, trouble, self._now()))

    def _carry_out(self, out: list[Out]) -> None:
        for item in out:
            match item:
                case Send(message, payload):
                    self._link.send(pack_up(message, payload))
                case Play(samples):
                    self._device.play(samples)
                case Hush():
                    self._device.hush()
                case Say(name):
                    self._device.play(sound(name, self._device.speaker))
                case Notice(moment):
                    self._device.notice(moment)
                case Resubscribe():
                    self._link.resubscribe()
                case Redial(address):
                    self._link.redial(address)
                case LookUp(name):
                    self._ask(name)
                case Remember(addresses):
                    self._on_remember(addresses)
                case Said():
                    self._on_said(item)
                case Log(words, warning):
                    log.log(logging.WARNING if warning else logging.INFO, "%s: %s", self._identity.robot, words)

    def _ask(self, name: str) -> None:
        if self._resolver:
            self._resolver.ask(name)

    def _log_said(self, said: Said) -> None:
        log.info("%s: %s said: %s", self._identity.robot, "person" if said.who == "person" else "reachy", said.text)

    @property
    def _link(self) -> RobotEnd:
        assert self._end is not None  # noqa: S101 - nothing is carried out before run()
        return self._end
