"""``reachy-keys``: make, admit, list and revoke keys, of robots and of operators."""

import argparse
import hashlib
import io
import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from reachy_link import keys
from reachy_link.adopt import adopt
from reachy_link.operators import Operators
from reachy_link.text import trimmed
from reachy_service.health import configured
from reachy_service.well import ask

OPERATORS_ARE = "operators are admitted and dismissed"
DEFAULT_DIR = "~/.config/reachy-link"
STORE_RIGHTS = (
    "~rl:* &rl:* -@all +evalsha +script|load +ping +time +publish +subscribe +unsubscribe "
    "+select +del +hget +hset +hdel +hlen +hgetall +hincrby +pexpire"
)
"""Everything that a gateway may do in the store: its own keys and channels, and no command that empties or configures the
store."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Exit status 0, or 1 with one line that says what is wrong."""
    parser, commands = _parser()
    words = sys.argv[1:] if argv is None else argv
    if asked := [commands[name] for name, after in pairwise(words) if name in commands and after in ("-h", "--help")]:
        asked[0].print_help()
        return 0
    args = parser.parse_args(words)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a path may hold characters that the terminal's encoding lacks
    try:
        directory = args.dir.expanduser()
    except RuntimeError:
        print(f"reachy-keys: the ~ in {args.dir} has no home directory: write the whole path", file=sys.stderr)
        return 1
    try:
        args.run(directory, args)
        then = getattr(args, "then", None)
    except keys.KeysError as error:
        print(f"reachy-keys: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"reachy-keys: {error.strerror}: {error.filename}", file=sys.stderr)
        return 1
    return main(["--dir", str(directory), *then]) if then else 0


def _parser() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """The parser, and that of each command."""
    parser = argparse.ArgumentParser(prog="reachy-keys", description="Make, admit, list and revoke the keys of the robot link.")
    default = trimmed(os.environ.get("REACHY_KEYS_DIR", "")) or DEFAULT_DIR
    parser.add_argument("--dir", type=Path, default=Path(default), help="keys directory (REACHY_KEYS_DIR; %(default)s)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str, *arguments: str) -> argparse.ArgumentParser:
        # A key may begin with a hyphen, so nothing after the command is taken for an option.
        sub = commands.add_parser(name, help=text, description=text, prefix_chars="\0", add_help=False)
        for argument in arguments:
            sub.add_argument(argument)
        sub.set_defaults(run=run)
        return sub

    command("gateway", _gateway, "on a gateway: make its key pair")
    command("robot", _robot, "on a robot: make its key pair", "id")
    command("show", _show, "show the directory's public key again")
    command("trust", _trust, "on a robot: trust a gateway's public key", "key")
    command("admit", _admit, "on a gateway: admit a robot's public key, beside those it has", "id", "key")
    command("list", _list, "on a gateway: admitted keys, and which are connected if its health (REACHY_HEALTH_PORT) answers")
    command("operator", _operator, "on a gateway: let a key's holder watch and command through its admin port", "name", "key")
    command("viewer", _viewer, "on a gateway: let a key's holder watch through its admin port", "name", "key")
    dismiss = command("dismiss", _dismiss, "on a gateway: revoke a key, or all, of an operator or viewer", "name")
    dismiss.add_argument("key", nargs="?")
    revoke = command("revoke", _revoke, "on a gateway: revoke a robot's key, or all its keys", "id")
    revoke.add_argument("key", nargs="?")
    demo = command("demo", _demo, "fill a gateway's (--dir) and a robot's directory; existing keys stay", "robot_dir")
    demo.add_argument("id")
    words = "fill a console's directory: an operator's key, and a folder for each robot of the page; existing keys stay"
    command("console", _console, f"on a gateway: {words}", "console_dir", "name").add_argument("robots", nargs="+")
    words = (
        "make a fleet store's password: a file of users for the store, and one with the URL for gateways; existing files stay"
    )
    command("store", _store, words, "store_dir", "host")
    words = "on a gateway: move the robots of an older folder of admitted keys into this one; then run the command that follows"
    command("adopt", _adopt, words, "old_dir").add_argument("then", nargs=argparse.REMAINDER)
    return parser, commands.choices


def _gateway(directory: Path, _: argparse.Namespace) -> None:
    keys.make_pair(directory)
    print(f"made the gateway's key in {directory}")
    _show(directory, _)


def _robot(directory: Path, args: argparse.Namespace) -> None:
    robot = keys.checked_robot_id(args.id, "robot id")
    keys.make_pair(directory)
    keys.write(directory / keys.ROBOT_ID_NAME, robot + "\n")
    print(f"made the key of {robot} in {directory}")
    _show(directory, args)


def _show(directory: Path, _: argparse.Namespace) -> None:
    public = keys.load_pair(directory, f"reachy-keys --dir {directory} gateway, or robot ID").public.decode()
    if robot := keys.robot_id(directory):
        command = f"admit {robot} '{public}'"
        print(f"to admit {robot}'s public key, at the gateway:\nreachy-keys {command}")
        print(f"with Docker:\ndocker compose run --rm keys {command}")
        print(f"or on the page that shows the fleet: {robot}, {public[:6]}")
    elif (directory / keys.GATEWAY_NAME).exists():  # a gateway has no such file
        print(f"the public key of an operator, or a viewer; at the gateway:\nreachy-keys operator NAME '{public}'")
    else:
        print(f"the gateway's public key; on each robot:\nreachy-keys trust '{public}'")


def _at_the_gateway(directory: Path, what: str = "robots are admitted and revoked") -> None:
    if robot := keys.robot_id(directory):
        raise keys.KeysError(f"{directory} holds the keys of the robot {robot}: {what} at the gateway")


def _trust(directory: Path, args: argparse.Namespace) -> None:
    public = keys.checked_public(args.key, "gateway's public key")
    keys.make_directory(directory)
    keys.write(directory / keys.GATEWAY_NAME, public.decode() + "\n")
    print("trusted; takes effect when robot-io next starts")


def _admit(directory: Path, args: argparse.Namespace) -> None:
    _at_the_gateway(directory)
    added = keys.Keyring(directory).admit(args.id, args.key)
    print(f"admitted {args.id}; takes effect at once" if added else f"{args.id} was admitted with this key already")


def _list(directory: Path, _: argparse.Namespace) -> None:
    ring = keys.Keyring(directory)
    try:
        host, port = configured(0)
    except ValueError:
        host, port = "", 0
    since = _connected(host, port) if port else None
    for robot, publics in ring.robots.items():
        for public in publics:
            print(f"{robot}\t{public}" + ("" if since is None else f"\t{since.get(public, 'not connected')}"))
    operators = Operators(directory)
    for role, name, public in operators.entries():
        print(f"{role}\t{name}\t{public}")
    if not ring.robots:
        print("no robot is admitted", file=sys.stderr)
    _complain([*ring.problems, *operators.problems])
    if port and since is None:
        print(
            f"reachy-keys: who is connected is not known here: no gateway's health answers on port {port} of {host}; "
            "with Docker ask in the gateway's container: docker compose exec gemini-gateway reachy-keys list",
            file=sys.stderr,
        )


def _complain(problems: Sequence[str]) -> None:
    for problem in problems:
        print(f"reachy-keys: {problem}", file=sys.stderr)


def _connected(host: str, port: int) -> dict[str, str] | None:
    """When each key connected, in words, by the gateway at this address; None if no gateway answers."""
    try:
        connections = json.loads(ask(port, host)[1])["connections"]
        times = {each["key"]: datetime.fromtimestamp(each["since"], UTC) for each in connections}
    except (ValueError, LookupError, TypeError, OverflowError):
        return None
    return {key: f"connected since {at:%Y-%m-%d %H:%M:%S} UTC" for key, at in times.items()}


def _revoke(directory: Path, args: argparse.Namespace) -> None:
    _at_the_gateway(directory)
    count = keys.Keyring(directory).revoke(args.id, args.key)
    what = f"revoked {count} key{'s' if count != 1 else ''} of {args.id}" if count else f"removed the damaged file of {args.id}"
    print(f"{what}; takes effect at once")


def _operator(directory: Path, args: argparse.Namespace) -> None:
    _at_the_gateway(directory, OPERATORS_ARE)
    added = Operators(directory).admit("operator", args.name, args.key)
    print(f"{args.name} may watch and command; takes effect at once" if added else f"{args.name} was an operator already")


def _viewer(directory: Path, args: argparse.Namespace) -> None:
    _at_the_gateway(directory, OPERATORS_ARE)
    added = Operators(directory).admit("viewer", args.name, args.key)
    print(f"{args.name} may watch; takes effect at once" if added else f"{args.name} was a viewer already")


def _dismiss(directory: Path, args: argparse.Namespace) -> None:
    _at_the_gateway(directory, OPERATORS_ARE)
    count = Operators(directory).dismiss(args.name, args.key)
    what = f"dismissed {count} key{'s' if count != 1 else ''} of {args.name}" if count else f"removed the file of {args.name}"
    print(f"{what}; takes effect at once")


def _demo(directory: Path, args: argparse.Namespace) -> None:
    robot_dir = Path(args.robot_dir).expanduser()
    _fill(directory, robot_dir, keys.checked_robot_id(args.id, "robot id"))
    print(f"keys ready: gateway in {directory}, {args.id} in {robot_dir}")


def _fill(directory: Path, robot_dir: Path, robot: str) -> None:
    """Fill a gateway's directory, and the directory of a robot that the gateway admits. Existing keys stay."""
    public = _trusting(directory, robot_dir)
    keys.write(robot_dir / keys.ROBOT_ID_NAME, robot + "\n")
    keys.Keyring(directory).admit(robot, public)


def _trusting(directory: Path, peer_dir: Path) -> str:
    """Make a gateway's key pair and a peer's, where missing; the peer trusts the gateway. Returns the peer's public key."""
    for where in (directory, peer_dir):
        if not (where / keys.SECRET_NAME).exists():
            keys.make_pair(where)
    gateway = keys.load_pair(directory, f"reachy-keys --dir {directory} gateway").public.decode()
    keys.write(peer_dir / keys.GATEWAY_NAME, gateway + "\n")
    return keys.load_pair(peer_dir, f"reachy-keys --dir {peer_dir} robot ID").public.decode()


def _console(directory: Path, args: argparse.Namespace) -> None:
    _at_the_gateway(directory, OPERATORS_ARE)
    console_dir = Path(args.console_dir).expanduser()
    if console_dir.resolve() == directory.resolve():
        raise keys.KeysError(f"{console_dir} is the gateway's own directory: give the console one of its own")
    if robot := keys.robot_id(console_dir):
        raise keys.KeysError(f"{console_dir} holds the keys of the robot {robot}: give the console a directory of its own")
    robots = [keys.checked_robot_id(robot, "robot id") for robot in args.robots]
    operators = Operators(directory)
    keys.checked_name(args.name, keys.KINDS[keys.OPERATORS_NAME])
    public = _trusting(directory, console_dir)
    if not operators.role_of(public):  # else somebody may have made the key a viewer's
        operators.admit("operator", args.name, public)
    for robot in robots:
        _fill(directory, console_dir / robot, robot)
    print(f"keys ready: gateway in {directory}, {args.name} and {len(robots)} robots in {console_dir}")


def _store(_: Path, args: argparse.Namespace) -> None:
    folder = Path(args.store_dir).expanduser()
    keys.make_directory(folder)
    url, users = folder / "url", folder / "users.acl"
    if not (url.exists() and users.exists()):
        password = secrets.token_urlsafe(32)
        digest = hashlib.sha256(password.encode()).hexdigest()
        keys.write(users, f"user default off\nuser reachy on #{digest} {STORE_RIGHTS}\n")
        scheme, _, host = args.host.rpartition("://")
        keys.write(url, f"{scheme or 'redis'}://reachy:{password}@{host}\n", mode=0o600)
    print(f"the store's users are in {users}, and its URL for the gateways is in {url}")


def _adopt(directory: Path, args: argparse.Namespace) -> None:
    _at_the_gateway(directory)
    robots, problems = adopt(directory, Path(args.old_dir).expanduser())
    if robots:
        print(f"adopted {', '.join(robots)} from {args.old_dir}")
    _complain(problems)


if __name__ == "__main__":
    sys.exit(main())
