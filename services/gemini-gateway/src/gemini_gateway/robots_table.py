"""Reads and replaces one robot's table in a robots file. Everything around it stays, with all comments. Pure."""

import tomllib
from hashlib import sha256

import tomlkit
from tomlkit.exceptions import TOMLKitError


class TableError(ValueError):
    """A text is not a robot's table. The message tells its author why."""


def table_of(file: str, robot: str) -> str:
    """A robot's table as the file has it, with its header and comments; an empty table if the file has none.

    Raises:
        TableError: If the file is not TOML.
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
        raise TableError(f"the robots file is not TOML: {error}") from None


def digest(table: str) -> str:
    """A digest of a table, to compare it with another."""
    return sha256(table.encode(errors="surrogatepass")).hexdigest()


def with_table(file: str, robot: str, table: str) -> str:
    """The file's text with a new table in place of the robot's.

    Raises:
        TableError: If the text is not exactly this robot's table, or the table's place in the file cannot be found.
    """
    try:
        given = tomllib.loads(table)
    except tomllib.TOMLDecodeError as error:
        raise TableError(f"not TOML: {error}") from None
    own = given.get("robots", {}).get(robot) if isinstance(given.get("robots", {}), dict) else None
    if given != {"robots": {robot: own}} or not isinstance(own, dict):
        raise TableError(f"write only the table [robots.{robot}]; tables inside it look like [robots.{robot}.vad]")
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
