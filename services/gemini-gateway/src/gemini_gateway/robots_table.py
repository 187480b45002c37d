"""One robot's table in a robots file: read, and put in the place of another. All around it stays, comments too. Pure."""

import tomllib
from hashlib import sha256

import tomlkit
from tomlkit.exceptions import TOMLKitError


class TableError(ValueError):
    """A text that is no such table; the message says why, for the person who wrote it."""


def table_of(file: str, robot: str) -> str:
    """A robot's table as it stands in a file, with its header and comments; one with nothing in it, if there is none.

    Raises:
        TableError: If the file is no TOML.
    """
    try:
        robots = tomlkit.parse(file).get("robots", {})
        if robot not in robots:
            return f"[robots.{robot}]\n"
        above = tomlkit.table(is_super_table=True)
        above[robot] = robots[robot]
        out = tomlkit.document()
        out["robots"] = above
        return tomlkit.dumps(out).strip("\n") + "\n"
    except TOMLKitError as error:
        raise TableError(f"the robots file is no TOML: {error}") from None


def digest(table: str) -> str:
    """Tells one table from another."""
    return sha256(table.encode(errors="surrogatepass")).hexdigest()


def with_table(file: str, robot: str, table: str) -> str:
    """A file with another table in place of the robot's.

    Raises:
        TableError: If the text is not that table and nothing else, or the file is such that its place cannot be told.
    """
    try:
        given = tomllib.loads(table)
    except tomllib.TOMLDecodeError as error:
        raise TableError(f"no TOML: {error}") from None
    own = given.get("robots", {}).get(robot) if isinstance(given.get("robots", {}), dict) else None
    if given != {"robots": {robot: own}} or not isinstance(own, dict):
        raise TableError(f"write the table [robots.{robot}], and nothing beside it; tables within are [robots.{robot}.vad]")
    try:
        document, item = tomlkit.parse(file), tomlkit.parse(table)["robots"][robot]
        if "robots" not in document:
            document.append("robots", tomlkit.table(is_super_table=True))
        document["robots"][robot] = item
        text = tomlkit.dumps(document)
        before, after = tomllib.loads(file), tomllib.loads(text)
    except (TOMLKitError, tomllib.TOMLDecodeError) as error:
        raise TableError(f"the robots file cannot be changed from here: {error}") from None
    before.setdefault("robots", {})[robot] = own
    if before != after:
        raise TableError("the robots file is written in a way that cannot be changed from here: change it with an editor")
    return text
