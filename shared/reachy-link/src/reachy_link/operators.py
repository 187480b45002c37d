"""The people who may use a gateway's admin port: operators may change things, viewers may only look."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from reachy_link.admin import Role
from reachy_link.keys import OPERATORS_NAME, VIEWERS_NAME, Keyring, KeysError

FOLDERS: Final[dict[Role, str]] = {"operator": OPERATORS_NAME, "viewer": VIEWERS_NAME}


class Operators:
    """The operators and viewers of a gateway, by public key. It follows its directory without a restart, as a ``Keyring`` does.

    A key in both folders counts as a viewer's: fewer rights are safer.

    Args:
        directory: The gateway's keys directory.
        now_ns: The clock by which the system stamps files.
    """

    def __init__(self, directory: Path, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._directory = directory
        self._rings = {role: Keyring(directory, now_ns, folder=folder) for role, folder in FOLDERS.items()}

    def refresh(self) -> bool:
        """Read the files that were added, replaced or removed; true if there were any."""
        return any([ring.refresh() for ring in self._rings.values()])  # noqa: C419 - refresh both, whatever the first says

    def reload(self) -> None:
        """Look at every file again, and read the files that changed."""
        for ring in self._rings.values():
            ring.reload()

    @property
    def changes(self) -> int:
        """Counts the readings that changed anybody's rights, or the list of problems."""
        return sum(ring.changes for ring in self._rings.values())

    @property
    def problems(self) -> list[str]:
        """What is wrong with the files, as of the last reading."""
        told = [problem for ring in self._rings.values() for problem in ring.problems]
        for name, publics in self._rings["operator"].robots.items():
            for public in publics:
                if self.role_of(public) == "viewer":
                    path = self._directory / OPERATORS_NAME / f"{name}.pub"
                    viewer = self._rings["viewer"].robot_of(public)
                    told.append(f"{path}: {public} is the viewer {viewer}'s, too, so it may only watch; one key, one folder")
        return told

    @property
    def names(self) -> frozenset[str]:
        """The operators and viewers who have an admitted key."""
        return frozenset(name for _, name, _ in self.entries())

    def robot_of(self, public: str) -> str | None:
        """The operator or viewer that a public key (Z85) stands for; None if it is not admitted. Named as a ``Keyring``'s."""
        return self._rings["viewer"].robot_of(public) or self._rings["operator"].robot_of(public)

    def role_of(self, public: str) -> Role | None:
        """What the holder of a public key (Z85) may do; None if the key is not admitted, or no longer."""
        for role in ("viewer", "operator"):
            if self._rings[role].robot_of(public):
                return role
        return None

    def entries(self) -> Iterator[tuple[Role, str, str]]:
        """Role, name and public key of each admitted key, operators first."""
        for role, ring in self._rings.items():
            for name, publics in ring.robots.items():
                yield from ((role, name, public) for public in publics if self.role_of(public) == role)

    def admit(self, role: Role, name: str, public: str) -> bool:
        """Admit a key in addition to its holder's other keys; false if the key had this role already.

        Raises:
            KeysError: If it is no key or no name, or if the key is another holder's or a robot's, or has the other role.
        """
        return self._rings[role].admit(name, public)

    def dismiss(self, name: str, public: str | None = None) -> int:
        """Revoke one key of an operator or viewer, or all; returns how many.

        Raises:
            KeysError: If there is nothing to revoke, or if one of several keys is to be revoked and the file is damaged.
        """
        count, refusals = 0, []
        holders = [ring for ring in self._rings.values() if ring.holds(name)] or [self._rings["operator"]]
        for ring in holders:
            try:
                count += ring.revoke(name, public)
            except KeysError as error:
                refusals.append(error)
        if len(refusals) == len(holders):
            raise refusals[0]
        return count
