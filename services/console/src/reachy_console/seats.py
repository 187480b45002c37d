"""The robots for pages. Each page that talks gets one, run by the ordinary robot runner."""

import asyncio
import logging
import secrets
import time
from collections.abc import Sequence
from itertools import takewhile
from typing import Final

from reachy_console.browser import BrowserBody, BrowserDevice, Page
from reachy_console.messages import Answered, Ended, Said, Seated, Standing, Start
from reachy_link.address import Address
from reachy_link.keys import RobotIdentity
from reachy_robot import decisions
from reachy_robot.acts import OFFER
from reachy_robot.decisions import Profile, TurnSummary
from reachy_robot.runner import Runner
from reachy_robot.sound import Device
from reachy_service.release import software

log = logging.getLogger(__name__)

LOOK_S: Final = 0.1
"""Time between two looks at a robot's state."""
GOODBYE_S: Final = 1.0
HIDDEN_S: Final = 10.0
"""The robot of a hidden page says goodbye after this long."""
UNBILLED_OR_BUSY: Final = frozenset({"alone", "thinking", "speaking"})
"""States in which a silent person does not count as quiet: without a gateway, silence costs nothing; otherwise the voice is
busy."""


class Seat:
    """A robot, and the page that has it.

    Args:
        identity: The robot's keys.
        addresses: The gateways' addresses.
        quiet_s: The robot says goodbye after this long without speech.
        half_duplex: Whether the gateway hears silence while the robot speaks.
    """

    def __init__(self, identity: RobotIdentity, addresses: Sequence[Address], quiet_s: float, *, half_duplex: bool) -> None:
        self.robot = identity.robot
        self.guest = self.tab = ""
        """The guest and the tab of the page that has the robot, or had it last."""
        self._n = 0
        self.device: BrowserDevice | None = None
        """The page's device. It stays for a while after the page has gone; None while the robot is free."""
        self._identity = identity
        self._addresses = addresses
        self._quiet_s = quiet_s
        self._half_duplex = half_duplex
        self._tasks: set[asyncio.Task[None]] = set()
        self._hidden_at: float | None = None
        self._why = ""

    @property
    def is_free(self) -> bool:
        """Whether no page has the robot."""
        return self.device is None

    def begin(self, guest: str, start: Start, page: Page) -> None:
        """Give the robot to this page. The robot starts asleep."""
        self.guest, self.tab, self._n, self.device = guest, start.tab, start.n, BrowserDevice(start.rate_hz)
        self.visible(visible=start.visible)
        self._why = "the robot said goodbye"
        self.device.attach(page)
        runner = self._make_runner(self.device)
        self._tell_seated(page)
        task = asyncio.create_task(self._run(runner), name=f"seat of {self.robot}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def is_at(self, guest: str, start: Start) -> bool:
        """Whether this tab has the robot. The tab's page may have been reloaded, or its socket may be lost unnoticed."""
        device = self.device
        if device is None or device.ended:
            return False
        return (self.guest, self.tab, device.mic.rate_hz) == (guest, start.tab, start.rate_hz)

    def go_on(self, start: Start, page: Page) -> None:
        """Continue with a page that has come back."""
        assert self.device  # noqa: S101 - the caller has checked that the tab has the robot
        if self.device.page:
            self.device.page.hang_up("another tab talks with this robot now", taken=True)
        self._n = start.n
        self.device.attach(page)
        self.visible(visible=start.visible)
        self._tell_seated(page)

    def leave(self, page: Page) -> None:
        """Note that the page has gone, perhaps only for a moment."""
        if self.device and self.device.page is page:
            self.device.attach(None)

    def end(self, why: str) -> None:
        """Say goodbye."""
        if self.device:
            self._why = why
            self.device.end()

    def visible(self, *, visible: bool) -> None:
        """Note whether the browser shows the page."""
        self._hidden_at = None if visible else self._hidden_at or time.monotonic()

    async def settled(self) -> None:
        """Wait until a goodbye in progress has been said, for ``GOODBYE_S`` at most."""
        if self.device and self.device.ended and self._tasks:
            await asyncio.wait(self._tasks, timeout=GOODBYE_S)

    async def close(self) -> None:
        """End the conversation with a goodbye."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _make_runner(self, device: BrowserDevice) -> Runner:
        def profile(it: Device) -> Profile:
            return Profile(
                robot=self.robot,
                boot=secrets.token_hex(8),
                mic=it.mic,
                speaker=it.speaker,
                lead_ms=it.lead_ms,
                software=software("reachy-console"),
                half_duplex_tail_ms=300 if self._half_duplex else None,
                show_transcripts=True,
                body=OFFER.model_copy(update={"turns": False}),
            )

        first, *others = self._addresses
        return Runner(
            lambda: device,
            self._identity,
            first,
            profile,
            others,
            make_body=lambda: BrowserBody(device),
            on_said=self._said,
        )

    async def _run(self, runner: Runner) -> None:
        watch = asyncio.create_task(self._watch(runner), name=f"watch over {self.robot}")
        try:
            await runner.run()
        except Exception:  # the fault ends this page's robot only
            log.exception("%s: a fault of the console ended a page's conversation", self.robot)
            self._why = "a fault of the console; see the console's log"
        finally:
            watch.cancel()
            device, self.device = self.device, None
            if device and device.page:
                device.page.tell(Ended(n=self._n, why=self._why))
            log.info("%s: the page's conversation has ended: %s", self.robot, self._why)

    async def _watch(self, runner: Runner) -> None:
        """Tell the page its robot's state, and end a conversation that nobody uses."""
        core = runner.core
        told: tuple[Standing, Page] | None = None
        newest: TurnSummary | None = None
        spoke_at = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_S)
            state, reason = core.standing
            now, page = time.monotonic(), self.device.page if self.device else None
            if core.person_speaks or state in UNBILLED_OR_BUSY:
                spoke_at = now
            if now - spoke_at > self._quiet_s:
                self.end(f"nobody has spoken for {self._quiet_s:.0f} s")
            elif self._hidden_at is not None and now - self._hidden_at > HIDDEN_S:
                self.end("the page was hidden")
            standing = Standing(state=state, reason=reason, person_speaks=core.person_speaks, recorded=core.recorded)
            if page and (standing, page) != told:
                page.tell(standing)
                told = standing, page
            for turn in reversed(list(takewhile(lambda it, last=newest: it is not last, reversed(core.summary)))):  # type: ignore[misc]
                newest = turn
                if page:
                    page.tell(Answered(latency_ms=turn.latency_ms, played_ms=turn.played_ms, complete=turn.complete))

    def _said(self, said: decisions.Said) -> None:
        if self.device and self.device.page:
            self.device.page.tell(Said(who=said.who, text=said.text))

    def _tell_seated(self, page: Page) -> None:
        page.tell(Seated(robot=self.robot, gateway=", ".join(map(str, self._addresses))))


class Seats:
    """All robots for pages.

    Args:
        seats: The robots.
    """

    def __init__(self, seats: Sequence[Seat]) -> None:
        self._seats = seats

    def __len__(self) -> int:
        return len(self._seats)

    @property
    def taken(self) -> list[Seat]:
        """The robots that pages have."""
        return [seat for seat in self._seats if not seat.is_free]

    async def take(self, guest: str, start: Start, page: Page) -> Seat | None:
        """Take a robot for this page: the robot that the tab already has, or a free one; None if all are taken."""
        for seat in self._seats:
            await seat.settled()
        for seat in self._seats:
            if seat.is_at(guest, start):
                seat.go_on(start, page)
                return seat
        free = next((seat for seat in self._seats if seat.is_free), None)
        if free:
            free.begin(guest, start, page)
        return free

    async def close(self) -> None:
        """End all conversations."""
        await asyncio.gather(*(seat.close() for seat in self._seats))
