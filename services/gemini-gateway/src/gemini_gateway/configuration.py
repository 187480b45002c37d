"""Files that are read again while a gateway runs: the robots file, and the server with its key. One watcher, two results."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, NamedTuple

from gemini_gateway import personas
from gemini_gateway.endpoint import Endpoint
from gemini_gateway.loosening import loosened
from gemini_gateway.personas import Personas
from reachy_link.keys import Stamp, stamp
from reachy_link.text import TextError

IF_INTENDED: Final = (
    "if that is intended: docker compose exec gemini-gateway sh -c 'kill -HUP 1' (without Docker: kill -HUP), "
    "or start the gateway again"
)


class Reading(NamedTuple):
    """Which files were accepted. If one has a mistake, its last good version stays in use; the other is read all the same."""

    robots: bool
    key: bool
    retargeted: bool
    """Whether the server or its key is another one now."""
    mistakes: list[str]


class Configuration:
    """The last good configuration.

    Args:
        read_endpoint: Reads again the server and its key, because the key's file may have changed.
        shared: The content of the robots file.
        robots_file: The path of the robots file, if there is one.
        model: The model of robots for which the robots file names none.
        tools: The names of all tools.

    Raises:
        ValueError: If the endpoint cannot be read.
    """

    def __init__(
        self,
        read_endpoint: Callable[[], Endpoint],
        shared: Personas,
        robots_file: Path | None = None,
        model: str | None = None,
        tools: Collection[str] = (),
    ) -> None:
        self.endpoint = read_endpoint()
        self.personas = shared
        self.robots_file = robots_file
        self.own = self.text = shared.text
        """``own``: the robots file's text as last accepted. ``text``: the text in use, which may be the fleet's newer one."""
        self._read_endpoint = read_endpoint
        self._model = model
        self._tools = tools
        self._seen = self._stamps()

    def has_changed(self) -> bool:
        """Whether the robots file or the key's file has changed since the last call."""
        seen, self._seen = self._seen, self._stamps()
        return self._seen != seen

    def reload(self, *, asked: bool, retarget: Callable[[Endpoint], None]) -> Reading:
        """Read the files again.

        Args:
            asked: Whether a person asks for this. Only then may a file remove a limit: else it may be half written.
            retarget: Called with a changed server or key. If it raises an OSError or ValueError, this is a mistake.
        """
        mistakes: list[str] = []
        fresh = self.robots_file and (self.text == self.own or _text(self.robots_file) != self.own)
        robots = self._reload_robots(mistakes, asked=asked) if fresh else False
        before = self.endpoint
        key = self._reload_endpoint(mistakes, retarget)
        return Reading(robots, key, self.endpoint != before, mistakes)

    def _reload_robots(self, mistakes: list[str], *, asked: bool) -> bool:
        read, problems = personas.read(self.robots_file, self._model, self._tools)
        if not problems and not asked and (gone := loosened(self.personas, read)):
            problems = [f"{self.robots_file} removes or lowers {', '.join(gone)}: {IF_INTENDED}"]
        mistakes += problems
        if not problems:
            self.personas = read
            self.own = self.text = read.text
        return not problems

    def overrule(self, text: str, name: str) -> list[str]:
        """Use a text in place of the robots file. Returns the mistakes in it; with any, nothing changes."""
        read, problems = personas.of_text(text, name, self._model, self._tools)
        if not problems:
            self.personas, self.text = read, text
        return problems

    def _reload_endpoint(self, mistakes: list[str], retarget: Callable[[Endpoint], None]) -> bool:
        try:
            if (endpoint := self._read_endpoint()) != self.endpoint:
                retarget(endpoint)
                self.endpoint = endpoint
        except (OSError, ValueError) as error:
            mistakes.append(f"{error}; a corrected file is read again, a corrected variable after a restart")
            return False
        return True

    def _stamps(self) -> tuple[tuple[Path, Stamp | None], ...]:
        files = [path for path in (self.robots_file, self.endpoint.key_file) if path]
        return tuple((path, stamp(path)) for path in files)


def _text(path: Path | None) -> str:
    """The text of a robots file; empty if it cannot be read, which is reported elsewhere."""
    try:
        return personas.text_of(path)
    except (OSError, TextError):
        return ""
