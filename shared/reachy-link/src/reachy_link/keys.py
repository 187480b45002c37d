"""Identity: a robot is known by its CURVE key. This module has the key files and the list of admitted keys.

A keys directory holds ``self.key`` (our own secret key, mode 600) and ``self.pub``. A robot's directory also holds
``gateway.pub`` and ``robot-id``. A gateway's also holds ``admitted/<robot>.pub``, one public key a line (several while a key is
being rotated), and for its admin port ``operators/<name>.pub`` and ``viewers/<name>.pub`` in the same form. An operator's also
holds ``gateway.pub``. All keys are in Z85, 40 characters (https://rfc.zeromq.org/spec/32/).

Whoever can write such a file can act as the gateway, a robot or an operator. So a file is refused if its group or others may
write it or its directory. This module is longer than others: the code that writes a file and the code that reads it have to fit
together.
"""

import errno
import fcntl
import os
import stat
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import zmq
from zmq.utils import z85

from reachy_link.lent import lent
from reachy_link.messages import is_robot_id
from reachy_link.text import TextError, decoded

Z85_CHARS: Final = 40
SECRET_NAME: Final = "self.key"  # noqa: S105 - a file name
PUBLIC_NAME: Final = "self.pub"
GATEWAY_NAME: Final = "gateway.pub"
ROBOT_ID_NAME: Final = "robot-id"
ADMITTED_NAME: Final = "admitted"
OPERATORS_NAME: Final = "operators"
VIEWERS_NAME: Final = "viewers"
OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class KeysError(Exception):
    """A key or key file that cannot be used; the message says which, and what to do."""


NOT_NOW: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE))
"""Too many open files, no memory, or a fault of the disk or the file server."""


class NotNowError(KeysError):
    """A file that cannot be read now, for a reason that says nothing about its content."""


@dataclass(frozen=True)
class KeyPair:
    """A CURVE key pair; the secret half never shows in a repr."""

    public: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class RobotIdentity:
    """A robot's name and keys, and the key of the gateway that it trusts."""

    robot: str
    keys: KeyPair
    gateway_public: bytes


@dataclass(frozen=True)
class Kind:
    """Words for the holders of a folder's keys."""

    one: str
    name: str
    """The word for a holder's name."""
    example: str
    revoke: str
    """The command that revokes a holder's key."""


KINDS: Final = {
    ADMITTED_NAME: Kind("robot", "robot id", "reachy-1", "revoke"),
    OPERATORS_NAME: Kind("operator", "operator's name", "anna", "dismiss"),
    VIEWERS_NAME: Kind("viewer", "viewer's name", "anna", "dismiss"),
}
"""The folders of a gateway's keys directory. A key may be in only one of them."""


def checked_public(text: str, where: str) -> bytes:
    """A public key from text.

    Raises:
        KeysError: If it is none.
    """
    key = text.strip()
    try:
        raw = z85.decode(key) if len(key) == Z85_CHARS else b""
    except (ValueError, KeyError, struct.error):
        raw = b""
    if not raw:
        raise KeysError(f"{where}: {key[:60]!r} is not a public key ({Z85_CHARS} characters of Z85, as in a {PUBLIC_NAME})")
    return key.encode()


def checked_robot_id(text: str, where: str) -> str:
    """A robot id from text.

    Raises:
        KeysError: If it is none.
    """
    return checked_name(text, KINDS[ADMITTED_NAME], where)


def checked_name(text: str, kind: Kind, where: str = "") -> str:
    """The name of a robot, an operator or a viewer, from text.

    Raises:
        KeysError: If it is none.
    """
    if not is_robot_id(name := text.strip()):
        words = f"{name[:80]!r} is no {kind.name}: use a-z, 0-9 and hyphens, at most 63, as in {kind.example}"
        raise KeysError(f"{where or kind.name}: {words}")
    return name


def make_pair(directory: Path) -> KeyPair:
    """Make our own key pair in a directory.

    Raises:
        KeysError: If there is one already: no key is overwritten by accident.
    """
    path = directory / SECRET_NAME
    if path.exists():
        raise KeysError(f"{path} exists: to replace it, move it away first")
    make_directory(directory)
    public, secret = zmq.curve_keypair()
    write(path, secret.decode() + "\n", mode=0o600)
    write(directory / PUBLIC_NAME, public.decode() + "\n")
    return KeyPair(public, secret)


def load_pair(directory: Path, command: str) -> KeyPair:
    """Our own key pair; an error names ``command``, which makes one.

    Raises:
        KeysError: If it is missing, damaged or readable by others, or if others could replace it.
    """
    path = directory / SECRET_NAME
    text = _read(path, f"make one with: {command}", secret=True)
    for place in (directory, *(directory / name for name in KINDS)):
        check_directory(place, place.stat().st_mode if place.exists() else 0)
    try:
        public = zmq.curve_public(text.strip().encode())
    except (ValueError, zmq.ZMQError):
        raise KeysError(f"{path} holds no secret key; make a new one with: {command}") from None
    return KeyPair(public, text.strip().encode())


def check_directory(place: Path, mode: int) -> None:
    """Refuse a directory in which others could add or replace keys.

    Raises:
        KeysError: If the directory's mode allows this.
    """
    if mode & OTHERS_WRITE and not mode & stat.S_ISVTX:
        raise KeysError(f"{place} has mode {stat.S_IMODE(mode):03o}, so others can change the keys in it: chmod go-w {place}")


def load_robot(directory: Path) -> RobotIdentity:
    """Everything that a robot needs to dial its gateway.

    Raises:
        KeysError: If a part is missing or damaged.
    """
    make = f"reachy-keys --dir {directory} robot ID"
    keys = load_pair(directory, make)
    id_path = directory / ROBOT_ID_NAME
    robot = checked_robot_id(_read(id_path, f"make it with: {make}"), str(id_path))
    return RobotIdentity(robot, keys, load_gateway_public(directory))


def load_gateway_public(directory: Path) -> bytes:
    """The public key of the gateways that a directory's owner trusts.

    Raises:
        KeysError: If it is missing or damaged.
    """
    path = directory / GATEWAY_NAME
    trust = f"reachy-keys --dir {directory} trust GATEWAY_KEY"
    return checked_public(_read(path, f"make it with: {trust}"), str(path))


def robot_id(directory: Path) -> str | None:
    """The name of the robot that owns this directory; None if the directory is a gateway's.

    Raises:
        KeysError: If the file that names it is damaged.
    """
    path = directory / ROBOT_ID_NAME
    return checked_robot_id(_read(path, "write the robot's name into it"), str(path)) if path.exists() else None


def admitting(robot: str, public: str) -> str:
    """Instructions for admitting a robot's key at the gateway."""
    command = f"admit {robot} '{public}'"
    page = f"on the page that shows the fleet: {robot}, {public[:6]}"
    return f"reachy-keys {command} (with Docker: docker compose run --rm keys {command}; {page})"


def make_directory(directory: Path) -> None:
    """Make a keys directory if there is none, with the same mode under any umask."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file completely or not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(descriptor, mode)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)  # if anything above failed


def _read(path: Path, remedy: str, *, secret: bool = False, links: bool = True) -> str:
    try:
        with open(path, "rb", opener=_opened if links else _opened_itself) as file:
            status = os.fstat(file.fileno())
            attributes = _attributes(file.fileno()) if secret else []
            text = decoded(file.read())
    except FileNotFoundError:
        raise KeysError(f"{path} is missing; {remedy}") from None
    except (OSError, TextError) as error:
        now = isinstance(error, OSError) and error.errno in NOT_NOW
        raise (NotNowError if now else KeysError)(f"{path} cannot be read ({error}); {remedy}") from None
    mode = stat.S_IMODE(status.st_mode)
    if secret and mode & 0o077 and not lent(status, attributes):
        raise KeysError(f"{path} has mode {mode:03o}, so others can read it: chmod 600 {path}")
    if mode & OTHERS_WRITE:
        raise KeysError(f"{path} has mode {mode:03o}, so others can change it: chmod go-w {path}")
    return text


def _attributes(descriptor: int) -> list[str]:
    """A file's extended attributes; none if the system does not support them."""
    try:
        return os.listxattr(descriptor)
    except (OSError, AttributeError):
        return []


def _opened(path: str, flags: int) -> int:
    """Open a file as ``open`` does, but never wait for a pipe's writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def _opened_itself(path: str, flags: int) -> int:
    """Open a file in the same way, and refuse a link."""
    return _opened(path, flags | os.O_NOFOLLOW)


def keys_in(path: Path, one: str = "robot", *, links: bool = True) -> list[str]:
    """The public keys of a file; with ``links=False`` the file must not be a link.

    Raises:
        KeysError: If the file cannot be used, or if anything in it is no key.
    """
    lines = _read(path, f"admit the {one} again", links=links).splitlines()
    return [checked_public(line, f"{path}:{number}").decode() for number, line in enumerate(lines, 1) if line.strip()]


RACY_NS: Final = 2_000_000_000
"""A file that changed this shortly before a reading is read again later: a second change within one tick of the file system's
clock (up to 2 s) would not show."""


class Stamp(NamedTuple):
    """Values that change with a file. An editor can keep a file's size, and a copying tool its time; none keeps all."""

    mtime_ns: int
    ctime_ns: int
    size: int
    inode: int


def stamp(path: "Path | os.DirEntry[str]") -> Stamp | None:
    """A file's stamp; None if there is no such file or we may not see it."""
    try:
        status = path.stat()
    except OSError:
        return None
    return Stamp(status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)


class _KeyFile(NamedTuple):
    """The content of a key file as of its last reading."""

    stamp: Stamp | None
    robot: str
    keys: tuple[str, ...]
    problem: str

    def holds(self, stamp: Stamp | None) -> bool:
        """Whether the file is unchanged, by its stamp."""
        return stamp is not None and stamp == self.stamp


def _key_file(path: Path, kind: Kind, seen: Stamp | None, now_ns: int, known: _KeyFile | None) -> _KeyFile:
    """Read one file of a folder.

    A mistake in one line makes the whole file unusable. While no file can be read at all, the earlier content counts.
    """
    if seen and abs(now_ns - max(seen.mtime_ns, seen.ctime_ns)) < RACY_NS:
        seen = None
    try:
        robot = checked_name(path.stem, kind, str(path))
        keys = tuple(keys_in(path, kind.one))
    except NotNowError as error:
        return _KeyFile(None, known.robot, known.keys, str(error)) if known else _KeyFile(None, "", (), str(error))
    except KeysError as error:
        return _KeyFile(None, "", (), str(error))  # read again next time: a cured problem may leave the stamp as it was
    return _KeyFile(seen, robot, keys, "")


class Keyring:
    """The robots admitted at a gateway, by public key. It follows its directory without a restart.

    Args:
        directory: The gateway's keys directory.
        now_ns: The clock by which the system stamps files.
        folder: Another folder of ``KINDS``, for a gateway's operators or viewers. They are handled as robots are.
    """

    def __init__(self, directory: Path, now_ns: Callable[[], int] = time.time_ns, *, folder: str = ADMITTED_NAME) -> None:
        self._directory = directory
        self._folder = directory / folder
        self._kind = KINDS[folder]
        self._now_ns = now_ns
        self._files: dict[str, _KeyFile] = {}
        self._robot_of: dict[str, str] = {}
        self._names: frozenset[str] = frozenset()
        self._seen_ns = -1
        self.was_read = False
        """Whether the folder could be read at least once. A missing folder counts as an empty one."""
        self.changes = 0
        """Counts the readings that changed the admitted keys or the problems."""
        self.problems: list[str] = []
        """The problems in the files as of the last reading. Keys in such files are not admitted."""
        self.reload()

    def robot_of(self, public: str) -> str | None:
        """The robot that a public key (Z85) stands for; None if the key is not admitted, or no longer."""
        return self._robot_of.get(public)

    def admits(self, robot: str) -> bool:
        """Whether any key of the robot is admitted."""
        return robot in self._names

    @property
    def names(self) -> frozenset[str]:
        """The robots that have an admitted key."""
        return self._names

    @property
    def robots(self) -> dict[str, list[str]]:
        """The admitted public keys by robot."""
        out: dict[str, list[str]] = {}
        for public, robot in sorted(self._robot_of.items(), key=lambda item: item[1]):
            out.setdefault(robot, []).append(public)
        return out

    def refresh(self) -> bool:
        """Read the directory again if a file was added, replaced or removed; true if so."""
        try:
            changed_ns = self._folder.stat().st_mtime_ns
        except OSError:
            changed_ns = -1
        if changed_ns == self._seen_ns:
            return False
        self.reload()
        return True

    def reload(self) -> None:
        """Look at every file again, and read the files that changed.

        While the directory cannot be read, the admitted keys stay as they are.
        """
        try:
            self._seen_ns = self._folder.stat().st_mtime_ns
            with os.scandir(self._folder) as entries:
                found = {entry.name: stamp(entry) for entry in entries if entry.name.endswith(".pub")}
        except FileNotFoundError:
            self._seen_ns, found = -1, {}
        except OSError as error:
            self._found([f"{self._folder} cannot be read ({error}): the keys that were read before stay admitted"])
            return
        self.was_read = True
        now_ns = self._now_ns()
        files: dict[str, _KeyFile] = {}
        for name, seen in found.items():
            known = self._files.get(name)
            if not (known and known.holds(seen)):
                known = _key_file(self._folder / name, self._kind, seen, now_ns, known)
            files[name] = known
        if files != self._files or self.problems:
            self._files = files
            self._judge()

    def _judge(self) -> None:
        """Work out from the files' content which keys are admitted and what is wrong."""
        robot_of: dict[str, str] = {}
        problems = []
        for name, file in sorted(self._files.items()):
            if file.problem:
                problems.append(file.problem)
            for public in file.keys:
                if robot_of.setdefault(public, file.robot) != file.robot:
                    path, one = self._folder / name, self._kind.one
                    problems.append(f"{path}: {public} is already admitted as {robot_of[public]}; one key, one {one}")
        if robot_of != self._robot_of:
            self.changes += 1
        self._robot_of, self._names = robot_of, frozenset(robot_of.values())
        self._found(problems)

    def _found(self, problems: list[str]) -> None:
        if problems != self.problems:
            self.changes += 1
        self.problems = problems

    def admit(self, robot: str, public: str) -> bool:
        """Admit a robot's key in addition to its other keys; false if the key was admitted already.

        Raises:
            KeysError: If it is no key or no robot id, if the key belongs to another robot, operator or viewer, or if the
                robot's file is damaged.
        """
        return self.admit_all(robot, [public]) > 0

    def admit_all(self, robot: str, publics: Sequence[str]) -> int:
        """Admit several keys of a robot, all or none; returns how many were not admitted already.

        Raises:
            KeysError: As for :meth:`admit`.
        """
        checked_name(robot, self._kind)
        keys = dict.fromkeys(checked_public(public, "public key").decode() for public in publics)
        with self.alone():
            new = [key for key in keys if self.robot_of(key) != robot]
            for key in new:
                if owner := self.robot_of(key):
                    raise KeysError(f"this key is admitted as {owner} already; every {self._kind.one} needs a key of its own")
                self._check_elsewhere(key)
            if new:
                self.put(robot, [*self._kept(robot), *new])
        return len(new)

    def _check_elsewhere(self, key: str) -> None:
        """Refuse a key that is in another folder.

        Raises:
            KeysError: If it is; the message says why, and what to do.
        """
        robots = KINDS[ADMITTED_NAME]
        for folder, kind in KINDS.items():
            owner = None if kind == self._kind else Keyring(self._directory, self._now_ns, folder=folder).robot_of(key)
            if not owner:
                continue
            if robots not in (kind, self._kind):
                remedy = f"reachy-keys dismiss {owner} '{key}'"
                raise KeysError(f"this key is admitted as the {kind.one} {owner} already; to change that, first: {remedy}")
            why = "a key that may be stolen with its robot must not watch or command the others"
            raise KeysError(
                f"this key is admitted as the {kind.one} {owner} already; the {self._kind.one} needs a key of its own: {why}"
            )

    def revoke(self, robot: str, public: str | None = None) -> int:
        """Revoke one key of a robot, or all; returns how many.

        Raises:
            KeysError: If there is nothing to revoke, or if one of several keys is to be revoked and the robot's file is
                damaged.
        """
        checked_name(robot, self._kind)
        if not self.holds(robot):
            raise KeysError(f"{robot} has no such key admitted; see: reachy-keys list")
        with self.alone():
            if public is None:
                count = len(self.robots.get(robot, []))
                self.put(robot, [])
                return count
            keys = self._kept(robot)
            kept = [key for key in keys if key != public.strip()]
            if len(kept) == len(keys):
                raise KeysError(f"{robot} has no such key admitted; see: reachy-keys list")
            self.put(robot, kept)
            return len(keys) - len(kept)

    def holds(self, robot: str) -> bool:
        """Whether a robot has a key file, usable or damaged."""
        return self._file(robot).exists()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let only one process at a time change the keys; each starts from the files as the previous one left them."""
        if not self._folder.exists():
            make_directory(self._folder.parent)
        self._folder.mkdir(mode=0o755, exist_ok=True)
        directory = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            self.reload()
            yield
        finally:
            os.close(directory)

    def _file(self, robot: str) -> Path:
        return self._folder / f"{robot}.pub"

    def _kept(self, robot: str) -> list[str]:
        """The keys in a robot's file, which will be rewritten. An unreadable file raises, so that no key is lost."""
        path = self._file(robot)
        try:
            return keys_in(path, self._kind.one) if path.exists() else []
        except KeysError as error:
            shut_out = f"shut the {self._kind.one} out with: reachy-keys {self._kind.revoke} {robot}"
            raise KeysError(f"{error}: mend the file, or {shut_out}") from None

    def put(self, robot: str, keys: list[str]) -> None:
        """Write these keys to a robot's file. Call this method only within :meth:`alone`."""
        if keys:
            write(self._file(robot), "".join(f"{key}\n" for key in keys))
        else:
            self._file(robot).unlink(missing_ok=True)
        self.reload()
