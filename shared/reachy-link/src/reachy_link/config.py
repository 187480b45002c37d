"""Settings from the environment: one frozen model per service, and everything that is wrong with it at once."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from reachy_link.address import listening
from reachy_link.health import HealthServer, Page, Report
from reachy_link.logs import conceal, flush, one_line
from reachy_link.spool import tell

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class Settings(BaseSettings):
    """What every service has. An empty variable counts as one that is not set, as compose passes them on."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, extra="ignore", populate_by_name=True)

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


S = TypeVar("S", bound=BaseSettings)


def load(model: type[S]) -> S:
    """The settings, or the end of the program with status 2 and a line for every variable that is wrong."""
    try:
        return model()
    except ValidationError as error:
        fail(f"{_variable(model, problem['loc'])}: {_words(model, problem)}" for problem in error.errors(include_url=False))


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
        ValueError: If the file cannot be read.
    """
    path = values.get(f"{name}_FILE") or os.environ.get(f"{name}_FILE")
    if not path:
        return None
    try:
        secret = Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{name}_FILE={path} cannot be read: {error}") from None
    if not secret:
        raise ValueError(f"{name}_FILE={path} is empty")
    conceal(secret)  # also one that a file holds from now on
    return secret


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
    field = model.model_fields.get(_name(model, problem["loc"]))
    shown = isinstance(given, str | int | float) and not (field and "SecretStr" in str(field.annotation))
    return f"{problem['msg']} (given: {given!r})" if shown else str(problem["msg"])
