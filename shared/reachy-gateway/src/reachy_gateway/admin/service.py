"""Puts together a gateway's admin port. It opens once an operator or a viewer has a key."""

import asyncio
import logging
import secrets
import time
from pathlib import Path
from typing import Final

import zmq

from reachy_gateway.admin.commands import Commands, Result
from reachy_gateway.admin.desk import Desk
from reachy_gateway.admin.office import Office
from reachy_gateway.admin.picture import View
from reachy_gateway.admin.port import AdminPort
from reachy_gateway.admin.recordings import Recordings
from reachy_gateway.admin.watcher import Picture
from reachy_gateway.hub import Hub
from reachy_link import admin
from reachy_link.keys import KeyPair, Keyring
from reachy_link.messages import VERSION
from reachy_link.operators import Operators

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
AGAIN_S: Final = 10.0
"""If another program has the port, it is tried again after so long."""


class Admin:
    """What a gateway shows its operators, and does for them.

    Args:
        directory: The gateway's keys directory.
        host: The address to listen on.
        port: The port to listen on; 0 lets the system choose.
        recordings: The folder for recordings; None keeps none.

    Raises:
        zmq.ZMQError: If the port cannot be opened.
    """

    def __init__(
        self,
        hub: Hub,
        keys: KeyPair,
        ring: Keyring,
        office: Office,
        *,
        directory: Path,
        host: str,
        port: int,
        recordings: Path | None,
    ) -> None:
        self._hub = hub
        self._keys = keys
        self._where = host, port
        self._operators = Operators(directory)
        self._boot = secrets.token_hex(8)
        self._desk = Desk(hub.feed, time.time, lambda robot: office.permits(robot).transcripts)
        self._recordings = Recordings(recordings, hub.feed, lambda robot: office.permits(robot).recordings, self._about)
        self._office = office
        self._view = View(hub, ring, self._desk, office, time.time())
        self._commands = Commands(hub, directory, ring, self._desk, office, self._recordings)
        self._desk.on_event = self._happened
        self._recordings.on_lost = self._desk.trouble
        self._open_at = 0.0
        self.port: AdminPort | None = None
        """The open port; None until an operator or a viewer has a key."""
        for problem in self._operators.problems:
            log.warning("%s", problem)
        self._open()

    async def run(self) -> None:
        """Delete old recordings and open the port when it is due, until cancelled."""
        while True:
            await self._recordings.sweep()
            await asyncio.sleep(LOOK_S)
            if self.port is None and time.monotonic() >= self._open_at:
                self._operators.refresh()
                try:
                    self._open()
                except zmq.ZMQError as error:
                    self._open_at = time.monotonic() + AGAIN_S
                    log.warning("GATEWAY_ADMIN_PORT: cannot listen on %d: %s (tried again)", self._where[1], error)

    async def close(self) -> None:
        """Close the port, and finish a recording."""
        if self.port:
            self.port.close()
        await self._recordings.close()

    def _open(self) -> None:
        if not self._operators.names:
            return
        self.port = AdminPort(
            self._hub,
            self._keys,
            self._operators,
            *self._where,
            boot=self._boot,
            picture=self._picture,
            detail=self._view.detail,
            levels=self._view.levels,
            do=self._do,
        )
        names = ", ".join(sorted(self._operators.names))
        log.info("the admin port listens on %d; operators and viewers: %s", self.port.port, names)

    def _picture(self) -> Picture:
        return self._view.picture(time.time(), self._recordings.all, self._recordings.robot)

    def _do(self, command: admin.Command, operator: str) -> "asyncio.Task[Result]":
        return asyncio.get_running_loop().create_task(
            self._commands.do(command, operator), name=f"{command.kind} for {operator}"
        )

    def _happened(self, robot: str, item: admin.Turn | admin.Said | admin.Note) -> None:
        if not isinstance(item, admin.Said):  # a recording gets what was said from the message to the robot
            self._recordings.happened(robot, item)
        if self.port:
            self.port.happened(robot, item)

    def _about(self) -> dict[str, object]:
        return {"gateway_software": self._hub.software, "voice": self._office.service(), "protocol": VERSION}
