"""Settings from the environment: one frozen model per service, and everything that is wrong with it at once."""

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
from reachy_link.text import TextError, decoded, trimmed, unsendable
from reachy_service.environment import of_an_orchestrator, suspects
from reachy_service.health import HealthServer, Page, Report
from reachy_service.logs import conceal, flush, one_line
from reachy_service.spool import tell

log = logging.getLogger(__name__)

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class ConfigError(ValueError):
    """Bad configuration, in a line for each problem."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(self.problems))


class Settings(BaseSettings):
    """What every service has. An empty variable counts as one that is not set, as compose passes them on.

    Around a value, white space and a byte order mark are taken off; in a path, ``~`` is the home directory. A port that an
    orchestrator has set to the address of a Service counts as not set.
    """

    model_config = SettingsConfigDict(
        frozen=True, env_ignore_empty=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True
    )

    keys_dir: Path = Field(default=Path("~/.config/reachy-link"), validation_alias="REACHY_KEYS_DIR")
    """Where ``reachy-keys`` keeps this machine's keys."""
    log_level: LogLevel = Field(default="INFO", validation_alias="REACHY_LOG_LEVEL")
    health_port: int = Field(default=0, ge=0, le=65535, validation_alias="REACHY_HEALTH_PORT")
    """Where health is asked for; 0 is nowhere."""
    health_host: str = Field(default="127.0.0.1", validation_alias="REACHY_HEALTH_HOST")
    """The address where; ``*`` is all of both families."""
    health_names: str = Field(default="", validation_alias="REACHY_HEALTH_NAMES")
    """Names with a dot by which it may be asked, with commas: else a web page could have a browser ask by a name of its own."""

    @field_validator("health_host")
    @classmethod
    def _can_be_asked(cls, text: str) -> str:
        return listening(text)

    @model_validator(mode="before")
    @classmethod
    def _as_meant(cls, values: dict[str, Any]) -> dict[str, Any]:
        given = {name: trimmed(value) if isinstance(value, str) else value for name, value in values.items()}
        blank = {name for name, value in given.items() if value == "" and not _secret(cls, name)}  # a secret must not be lost
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
        raise ValueError(f"nobody knows whose home the ~ in {path} is: write the whole path") from None


S = TypeVar("S", bound=BaseSettings)


def read(model: type[S]) -> S:
    """The settings, as the environment and the files that it names hold them now.

    Raises:
        ConfigError: If a variable is wrong.
    """
    try:
        return model()
    except ValidationError as error:
        problems = error.errors(include_url=False)
        raise ConfigError(f"{_variable(model, each['loc'])}: {_words(model, each)}" for each in problems) from None


def load(model: type[S]) -> S:
    """The settings, or the end of the program with status 2 and a line for every variable that is wrong."""
    try:
        return read(model)
    except ConfigError as error:
        fail(error.problems)


def tell_suspects() -> None:
    """Warn of what somebody may have meant for us, and nothing reads: misspelt variables, a time zone that is none."""
    for words in suspects(os.environ):
        log.warning("environment: %s", words)
    if problem := zone_problem(os.environ.get("TZ", "")):
        log.warning("environment: %s", problem)


ZONES: Final = "/usr/share/zoneinfo"
RULE: Final = re.compile(r"(<[+\-\w]{3,}>|[A-Za-z]{3,})[+-]?\d.*")
"""A zone in full, as POSIX has it: ``CET-1CEST,M3.5.0,M10.5.0/3``."""


def zone_problem(zone: str, known: Callable[[], set[str]] = available_timezones) -> str | None:
    """What is wrong with ``TZ``, if anything: the C library takes UTC for a zone that it does not find, and says nothing."""
    name = zone.removeprefix(":")
    if not name or name in ("UTC", "GMT") or RULE.fullmatch(name):
        return None
    if Path(os.environ.get("TZDIR") or ZONES, name).is_file():
        return None
    zones = known()
    near = get_close_matches(name, zones, 1) if zones else []
    advice = f"; is it {near[0]}?" if near else "" if zones else "; no time zones are installed here (Debian: tzdata)"
    return f"TZ={zone} is no time zone that is known here: days begin at midnight UTC{advice}"


def fail(problems: Iterable[str]) -> NoReturn:
    """End the program: bad configuration, all problems at once."""
    flush()
    tell(sys.stderr, "".join(f"{one_line(f'configuration: {problem}')}\n" for problem in problems))
    sys.exit(2)


def health_server(
    settings: Settings, report: Report, pages: Mapping[str, Callable[[], Page]] | None = None
) -> HealthServer | None:
    """What answers where the settings want it, None for nowhere; or the end of the program, if nobody can listen there."""
    host, port = settings.health_host, settings.health_port
    if not port:
        return None
    try:
        names = {name.strip().lower() for name in settings.health_names.split(",")}
        return HealthServer(host, port, report, pages, names)
    except (OSError, UnicodeError) as error:
        fail([f"REACHY_HEALTH_HOST, REACHY_HEALTH_PORT: cannot listen on {host}, port {port}: {error}"])


def from_file(values: Mapping[str, Any], name: str) -> str | None:
    """A secret from the file that ``NAME_FILE`` points to, as Docker secrets come.

    Raises:
        ValueError: If the file cannot be read, or holds nothing that can be sent.
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
    conceal(secret, *(part for part in secret.split() if len(part) >= PART_MIN))  # also one that a file holds from now on
    if why := unsendable(secret):
        raise ValueError(f"{name}_FILE={path} holds no key that can be sent: {why}")
    return secret


PART_MIN: Final = 8
"""Of a secret of several words, these are hidden each: shorter ones would take words out of every line."""


def _name(model: type[BaseSettings], where: tuple[int | str, ...]) -> str:
    """The field that a validation error is about; errors name fields by their variables."""
    first = str(where[0]) if where else ""
    return next((name for name, field in model.model_fields.items() if first in (name, field.validation_alias)), "")


def _variable(model: type[BaseSettings], where: tuple[int | str, ...]) -> str:
    """The environment variable that a validation error is about."""
    first = str(where[0]) if where else ""
    field = model.model_fields.get(first)
    if field is None:
        return first.upper() or "settings"
    alias = field.validation_alias
    return alias if isinstance(alias, str) else f"{model.model_config.get('env_prefix', '')}{first}".upper()


def _words(model: type[BaseSettings], problem: Any) -> str:
    given = problem.get("input")
    shown = isinstance(given, str | int | float) and not any(_secret(model, str(name)) for name in problem["loc"][:1])
    words = str(problem["msg"]).removeprefix("Value error, ")
    return f"{words} (given: {given!r})" if shown else words
