"""``reachy-keys``: make, admit, list and revoke keys."""

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from reachy_link import keys
from reachy_link.text import trimmed
from reachy_service.health import configured
from reachy_service.well import ask

DEFAULT_DIR = "~/.config/reachy-link"


def main(argv: Sequence[str] | None = None) -> int:
    """The command; exit status 0, or 1 with one line that says what is wrong."""
    args = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a path may hold what the terminal's encoding lacks
    try:
        directory = args.dir.expanduser()
    except RuntimeError:
        print(f"reachy-keys: nobody knows whose home the ~ in {args.dir} is: write the whole path", file=sys.stderr)
        return 1
    try:
        args.run(directory, args)
    except keys.KeysError as error:
        print(f"reachy-keys: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"reachy-keys: {error.strerror}: {error.filename}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
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
    command("show", _show, "its public key once more")
    command("trust", _trust, "on a robot: trust a gateway's public key", "key")
    command("admit", _admit, "on a gateway: admit a robot's public key, beside those it has", "id", "key")
    command("list", _list, "on a gateway: who is admitted, and who is connected if its health (REACHY_HEALTH_PORT) answers")
    revoke = command("revoke", _revoke, "on a gateway: revoke a robot's key, or all its keys", "id")
    revoke.add_argument("key", nargs="?")
    demo = command("demo", _demo, "fill a gateway's (--dir) and a robot's directory; what is there already stays", "robot_dir")
    demo.add_argument("id")
    return parser


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
        print(f"{robot}'s public key; to admit it at the gateway:\n{keys.admitting(robot, public)}")
    else:
        print(f"the gateway's public key; on each robot:\nreachy-keys trust '{public}'")


def _at_the_gateway(directory: Path) -> None:
    if robot := keys.robot_id(directory):
        raise keys.KeysError(f"{directory} holds the keys of the robot {robot}: robots are admitted and revoked at the gateway")


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
    for problem in ring.problems:
        print(f"reachy-keys: {problem}", file=sys.stderr)
    if port and since is None:
        print(
            f"reachy-keys: who is connected is not known here: no gateway's health answers on port {port} of {host}; "
            "with Docker ask in the gateway's container: docker compose exec gemini-gateway reachy-keys list",
            file=sys.stderr,
        )


def _connected(host: str, port: int) -> dict[str, str] | None:
    """Since when each key is connected, in words, as the gateway there says; None if there is none."""
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


def _demo(directory: Path, args: argparse.Namespace) -> None:
    robot_dir = Path(args.robot_dir).expanduser()
    for where in (directory, robot_dir):
        if not (where / keys.SECRET_NAME).exists():
            keys.make_pair(where)
    keys.write(robot_dir / keys.ROBOT_ID_NAME, keys.checked_robot_id(args.id, "robot id") + "\n")
    public = keys.load_pair(directory, "reachy-keys gateway").public.decode()
    keys.write(robot_dir / keys.GATEWAY_NAME, public + "\n")
    keys.Keyring(directory).admit(args.id, keys.load_pair(robot_dir, "reachy-keys robot").public.decode())
    print(f"keys ready: gateway in {directory}, {args.id} in {robot_dir}")


if __name__ == "__main__":
    sys.exit(main())
