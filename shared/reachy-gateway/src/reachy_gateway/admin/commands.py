"""The commands of operators. Each is carried out, answered in words, and logged with the operator's name."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from reachy_gateway.admin.desk import Desk
from reachy_gateway.admin.office import Office, OfficeError
from reachy_gateway.admin.recordings import Recordings
from reachy_gateway.hub import Hub
from reachy_gateway.robot import Robot
from reachy_gateway.voice import ActError
from reachy_link import admin
from reachy_link.keys import Z85_CHARS, Keyring, KeysError

log = logging.getLogger(__name__)

PATIENCE_S: Final = 10.0
WORDS_MAX: Final = 2000
Result = tuple[admin.Answer, bytes]


class Commands:
    """Carries out the commands of a gateway's operators.

    Args:
        directory: The gateway's keys directory.
        ring: The admitted keys, as the link knows them.
    """

    def __init__(self, hub: Hub, directory: Path, ring: Keyring, desk: Desk, office: Office, recordings: Recordings) -> None:
        self._hub = hub
        self._directory = directory
        self._ring = ring
        self._desk = desk
        self._office = office
        self._recordings = recordings

    async def do(self, command: admin.Command, operator: str) -> Result:
        """Carry out a command. It raises only if there is a bug."""
        fields: dict[str, Any] = {}
        payload = b""
        try:
            async with asyncio.timeout(PATIENCE_S):
                if isinstance(command, admin.Fetch):
                    payload, fields["size_bytes"] = await self._recordings.piece(command.recording, command.offset)
                    words = "a piece"
                elif isinstance(command, admin.ReadPersona):
                    table = await self._office.read_persona(command.robot)
                    words, fields = table.words, {"text": table.text, "was": table.digest, "may_save": table.may_save}
                else:
                    words = await self._do(command)
            ok = True
            refused = ""
        except (OfficeError, ActError, KeysError) as error:
            ok, words, refused = False, str(error), "refused: "
        except TimeoutError:
            ok, words, refused = False, f"not finished within {PATIENCE_S:.0f} s; it may still be done", ""
        self._log(command, operator, f"{refused}{words}")
        return admin.Answer(id=command.id, ok=ok, words=words[:WORDS_MAX], **fields), payload

    @staticmethod
    def _log(command: admin.Command, operator: str, words: str) -> None:
        """Log each command in one line, but only the first piece of a recording. The text of ``say`` stays private."""
        about = command.recording if isinstance(command, admin.Fetch) else command.robot
        level = logging.DEBUG if isinstance(command, admin.Fetch) and command.offset else logging.INFO
        first = words.partition("\n")[0]
        log.log(level, "operator %s: %s %s: %s", operator, command.kind, about, first)

    async def _do(self, command: admin.Admit | admin.Revoke | admin.Say | admin.Act | admin.SavePersona | admin.Record) -> str:
        match command:
            case admin.Admit(robot=robot, key=key):
                return await self._admit(robot, key)
            case admin.Revoke(robot=robot):
                count = await self._change(lambda ring: ring.revoke(robot))
                return f"revoked {count} key{'s' if count != 1 else ''} of {robot}"
            case admin.Say(robot=robot, text=text):
                if why := self._here(robot).say(text):
                    raise OfficeError(f"{robot} does not say it: {why}")
                return f"{robot} was asked to say it"
            case admin.Act(robot=robot, name=name, args=args):
                await self._here(robot).act(name, args)
                return f"{robot} has begun"
            case admin.SavePersona(robot=robot, text=text, was=was, only_check=only_check):
                return await self._office.save_persona(robot, text, was, only_check=only_check)
            case admin.Record(robot=robot, on=on):
                return await self._record(robot, on=on)

    async def _record(self, robot: str, *, on: bool) -> str:
        if on:
            await self._recordings.begin(self._here(robot))
            return f"{robot} is recorded, and shows it"
        if not self._recordings.end(robot, "it was ended"):
            raise OfficeError(f"{robot} is not recorded")
        return f"{robot} is no longer recorded"

    def _here(self, name: str) -> Robot:
        if robot := self._hub.robots.get(name):
            return robot
        raise OfficeError(f"{name} is not at this gateway now")

    async def _admit(self, robot: str, key: str) -> str:
        """Admit a whole key as it is. For a key that was refused lately, its first characters are enough."""
        known = [key] if len(key) == Z85_CHARS else self._desk.refused_keys(key)
        if not known:
            raise OfficeError(
                f"no key that was refused lately begins with {key}: does the robot dial this gateway? Else give the whole key"
            )
        if len(known) > 1:
            raise OfficeError(f"{len(known)} keys that were refused begin with {key}: give the whole one")
        if not await self._change(lambda ring: ring.admit(robot, known[0])):
            return f"{robot} was admitted with this key already"
        self._desk.admitted(known[0])
        return f"{robot} is admitted; a robot of this name connects by itself within seconds"

    async def _change(self, change: Callable[[Keyring], Any]) -> Any:
        """Change the admitted keys, as ``reachy-keys`` does. It runs in a thread, because the disk may be slow."""
        try:
            changed = await asyncio.to_thread(lambda: change(Keyring(self._directory)))
        except OSError as error:
            raise OfficeError(
                f"the keys cannot be changed here ({error}): let the gateway write the folder admitted, or use reachy-keys"
            ) from None
        self._ring.refresh()
        return changed


Do = Callable[[admin.Command, str], Awaitable[Result]]
