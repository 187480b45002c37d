"""Settings from the environment: one frozen model per service; all mistakes are reported at once."""

import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, TypeVar
from zoneinfo import available_timezones

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from reachy_link.address import listening
from reachy_link.text import TextError, decoded, mistake, trimmed, unsendable
from reachy_service.environment import of_an_orchestrator, suspects
from reachy_service.health import HealthServer, Page, Report
from reachy_service.logs import conceal, flush, one_line
from reachy_service.spool import tell

log = logging.getLogger(__name__)

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class ConfigError(ValueError):
    """Bad configuration; has one line for each problem."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(self.problems))


class Settings(BaseSettings):
    """The settings of every service. An empty variable counts as not set: compose passes unset variables on as empty ones.

    White space and a byte order mark around a value are removed. In a path, ``~`` is the home directory. A port that an
    orchestrator set to a Service's address counts as not set.
    """

    model_config = SettingsConfigDict(
        frozen=True, env_ignore_empty=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True
    )

    keys_dir: Path = Field(default=Path("~/.config/reachy-link"), validation_alias="REACHY_KEYS_DIR")
    """The directory in which ``reachy-keys`` keeps this machine's keys."""
    log_level: LogLevel = Field(default="INFO", validation_alias="REACHY_LOG_LEVEL")
    health_port: int = Field(default=0, ge=0, le=65535, validation_alias="REACHY_HEALTH_PORT")
    """The port for health requests; 0 is none."""
    health_host: str = Field(default="127.0.0.1", validation_alias="REACHY_HEALTH_HOST")
    """The address for health requests; ``*`` is all addresses, IPv4 and IPv6."""
    health_names: str = Field(default="", validation_alias="REACHY_HEALTH_NAMES")
    """Host names with a dot, with commas, that a health request may use. Any other name with a dot is refused: a web page could
    point its own name at this machine and let a browser ask."""

    @field_validator("health_host")
    @classmethod
    def _can_be_asked(cls, text: str) -> str:
        return listening(text)

    @model_validator(mode="before")
    @classmethod
    def _as_meant(cls, values: dict[str, Any]) -> dict[str, Any]:
        given = {name: trimmed(value) if isinstance(value, str) else value for name, value in values.items()}
        blank = {name for name, value in given.items() if value == "" and not _secret(cls, name)}  # a blank secret is an error
        return {name: value for name, value in given.items() if name not in blank and not _no_port(name, value)}

    @field_validator("*", mode="after")
    @classmethod
    def _at_home(cls, value: Any) -> Any:
        return _expanded(value) if isinstance(value, Path) else value


def _secret(model: type[BaseSettings], name: str) -> bool:
    field = model.model_fields.get(_name(model, (name,)))
    return field is not None and "SecretStr" in str(field.annotation)


def _no_port(name: str, value: object) -> bool:
    return name.lower().endswith("port") and isinstance(value, str) and of_an_orchestrator(f"_{name}", value)


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(f"the ~ in {path} has no home directory: write the whole path") from None


S = TypeVar("S", bound=BaseSettings)


def read(model: type[S]) -> S:
    """Read the settings from the environment and from the files that it names.

    Raises:
        ConfigError: If a variable is wrong.
    """
    try:
        return model()
    except ValidationError as error:
        problems = error.errors(include_url=False)
        raise ConfigError(f"{variable(model, each['loc'])}: {_words(model, each)}" for each in problems) from None


def load(model: type[S]) -> S:
    """Read the settings; if any variable is wrong, end the program with status 2 and a line for each."""
    try:
        return read(model)
    except ConfigError as error:
        fail(error.problems)


def tell_suspects() -> None:
    """Warn of variables that may be misspelt because no setting reads them, and of an unknown time zone."""
    for words in suspects(os.environ):
        log.warning("environment: %s", words)
    if problem := zone_problem(os.environ.get("TZ", "")):
        log.warning("environment: %s", problem)


ZONES: Final = "/usr/share/zoneinfo"
RULE: Final = re.compile(r"(<[+\-\w]{3,}>|[A-Za-z]{3,})[+-]?\d.*")
"""A time zone in POSIX's full form: ``CET-1CEST,M3.5.0,M10.5.0/3``."""


def zone_problem(zone: str, known: Callable[[], set[str]] = available_timezones) -> str | None:
    """What is wrong with ``TZ``, if anything: for a zone that it cannot find, the C library uses UTC and says nothing."""
    name = zone.removeprefix(":")
    if not name or name in ("UTC", "GMT") or RULE.fullmatch(name):
        return None
    if Path(os.environ.get("TZDIR") or ZONES, name).is_file():
        return None
    zones = known()
    near = get_close_matches(name, zones, 1) if zones else []
    advice = f"; is it {near[0]}?" if near else "" if zones else "; no time zones are installed here (Debian: tzdata)"
    return f"TZ={zone} is no known time zone: days begin at midnight UTC{advice}"


def fail(problems: Iterable[str]) -> NoReturn:
    """End the program because of bad configuration; all problems are told at once."""
    flush()
    tell(sys.stderr, "".join(f"{one_line(f'configuration: {problem}')}\n" for problem in problems))
    sys.exit(2)


def health_server(
    settings: Settings, report: Report, pages: Mapping[str, Callable[[], Page]] | None = None
) -> HealthServer | None:
    """Start the health server that the settings ask for, if any; if the port cannot be used, end the program."""
    host, port = settings.health_host, settings.health_port
    if not port:
        return None
    try:
        names = {name.strip().lower() for name in settings.health_names.split(",")}
        return HealthServer(host, port, report, pages, names)
    except (OSError, UnicodeError) as error:
        fail([f"REACHY_HEALTH_HOST, REACHY_HEALTH_PORT: cannot listen on {host}, port {port}: {error}"])


def from_file(values: Mapping[str, Any], name: str) -> str | None:
    """Read a secret from the file that ``NAME_FILE`` points to, as Docker secrets come.

    Raises:
        ValueError: If the file cannot be read, or holds no secret that can be sent.
    """
    path = values.get(f"{name}_FILE") or os.environ.get(f"{name}_FILE")
    if not path:
        return None
    try:
        secret = decoded(_expanded(Path(path)).read_bytes()).strip()
    except (OSError, TextError) as error:
        raise ValueError(f"{name}_FILE={path} cannot be read: {error}") from None
    if not secret:
        raise ValueError(f"{name}_FILE={path} is empty")
    conceal(secret, *(part for part in secret.split() if len(part) >= PART_MIN))  # also a secret that the file gets later
    if why := unsendable(secret):
        raise ValueError(f"{name}_FILE={path} holds no key that can be sent: {why}")
    return secret


PART_MIN: Final = 8
"""In a secret of several words, each word of at least this length is hidden, too. Hiding shorter words would take ordinary
words out of every line."""


def _name(model: type[BaseSettings], where: tuple[int | str, ...]) -> str:
    """The field that a validation error is about; errors name a field by its variable."""
    first = str(where[0]) if where else ""
    return next((name for name, field in model.model_fields.items() if first in (name, field.validation_alias)), "")


def variable(model: type[BaseSettings], where: tuple[int | str, ...]) -> str:
    """The environment variable of a field, or the one that a validation error is about."""
    first = str(where[0]) if where else ""
    field = model.model_fields.get(first)
    if field is None:
        return first.upper() or "settings"
    alias = field.validation_alias
    return alias if isinstance(alias, str) else f"{model.model_config.get('env_prefix', '')}{first}".upper()


def _words(model: type[BaseSettings], problem: Any) -> str:
    given = problem.get("input")
    shown = isinstance(given, str | int | float) and not any(_secret(model, str(name)) for name in problem["loc"][:1])
    words = mistake(problem["type"], problem["msg"])
    return f"{words} (given: {given!r})" if shown else words
