"""What is read anew while a gateway runs: the robots file, and the server with its key. One watcher, two results."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from gemini_gateway import personas
from gemini_gateway.endpoint import Endpoint
from gemini_gateway.loosening import loosened
from gemini_gateway.personas import Personas
from reachy_link.keys import Stamp, stamp
from reachy_link.text import TextError


class Reading(NamedTuple):
    """What was taken of the files; a mistake in one leaves its last good one, and keeps nobody from the other."""

    robots: bool
    key: bool
    mistakes: list[str]


class Configuration:
    """The last good one.

    Args:
        read_endpoint: Reads anew which server to talk to and by which key, as the key's file may have been mended.
        shared: What the robots file says.
        robots_file: Where it is, if there is one.
        model: The model of robots for which it names none.
        tools: Those that there are.

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
        """What the robots file said when it was last taken, and what counts: a fleet's may be newer."""
        self._read_endpoint = read_endpoint
        self._model = model
        self._tools = tools
        self._seen = self._stamps()

    def has_changed(self) -> bool:
        """Whether a file that matters is another than when this was last asked."""
        seen, self._seen = self._seen, self._stamps()
        return self._seen != seen

    def reload(self, *, asked: bool, retarget: Callable[[Endpoint], None]) -> Reading:
        """Read the files anew.

        Args:
            asked: Whether a person asks for it. Only then does a file that takes a limit away count: it may be half written.
            retarget: Told of another server or key; an OSError or ValueError of it is a mistake.
        """
        mistakes: list[str] = []
        fresh = self.robots_file and (self.text == self.own or _text(self.robots_file) != self.own)
        robots = self._reload_robots(mistakes, asked=asked) if fresh else False
        return Reading(robots, self._reload_endpoint(mistakes, retarget), mistakes)

    def _reload_robots(self, mistakes: list[str], *, asked: bool) -> bool:
        read, problems = personas.read(self.robots_file, self._model, self._tools)
        if not problems and not asked and (gone := loosened(self.personas, read)):
            problems = [f"{self.robots_file} takes away {', '.join(gone)}: if that is meant, send SIGHUP or start again"]
        mistakes += problems
        if not problems:
            self.personas = read
            self.own = self.text = read.text
        return not problems

    def overrule(self, text: str, name: str) -> list[str]:
        """Have a text count in place of the robots file; what is wrong with it, if it cannot."""
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
            mistakes.append(f"{error}; mend it, and it is read again")
            return False
        return True

    def _stamps(self) -> tuple[tuple[Path, Stamp | None], ...]:
        files = [path for path in (self.robots_file, self.endpoint.key_file) if path]
        return tuple((path, stamp(path)) for path in files)


def _text(path: Path | None) -> str:
    """What a robots file says; nothing if nobody can read it, which is said elsewhere."""
    try:
        return personas.text_of(path)
    except (OSError, TextError):
        return ""
