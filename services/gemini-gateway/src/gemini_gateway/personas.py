"""Robots and their personas: one TOML file, whose mistakes are all reported at once. Pure except for :func:`read`."""

import tomllib
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from gemini_gateway import models
from reachy_gateway.provider.money import Money
from reachy_gateway.provider.usage import PRICES, Price
from reachy_gateway.tools.port import NAME
from reachy_link.messages import GESTURES_MAX, MoveName, RobotId
from reachy_link.text import TextError, decoded, mistake

Text = Annotated[str, StringConstraints(min_length=1, max_length=20_000)]
ToolName = Annotated[str, StringConstraints(pattern=NAME)]
TOOLS_MAX: Final = 24


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Vad(_Table):
    """Who decides when a turn starts and ends."""

    mode: Literal["auto", "manual"] = "auto"
    """``manual`` is push-to-talk: the robot marks the person's turns."""
    interrupts: bool = True
    """Whether speech cuts an answer."""
    start_sensitivity: Literal["low", "high"] | None = None
    end_sensitivity: Literal["low", "high"] | None = None
    prefix_padding_ms: int | None = Field(default=None, ge=0, le=2000)
    silence_duration_ms: int | None = Field(default=None, ge=0, le=10_000)
    turn_coverage: Literal["only_activity", "all_input", "audio_activity_and_all_video"] | None = None
    """Which mic audio belongs to a turn and is billed. ``all_input`` includes the silence."""


class Manner(_Table):
    """The movements that a robot's body makes by itself."""

    breathing: bool = True
    posture: bool = True
    """Show whether the robot listens, thinks, or has trouble."""
    wobble: bool = True
    """Move with the robot's own speech."""
    turn: bool = False
    """Turn to the person when they have spoken. The robot's microphones cannot tell front from back."""


class Persona(_Table):
    """How a robot talks."""

    model: Text = "gemini-3.8-live"
    voice: Text = "Kore"
    language: str | None = Field(default=None, pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")
    instruction: Text = (
        "You are Reachy Mini, a small friendly robot on a desk. You talk with the person in front of you: "
        "answer in one to three short sentences."
    )
    temperature: float | None = Field(default=None, ge=0, le=2)
    thinking_level: models.ThinkingLevel | None = None
    proactive_audio: bool | None = None
    affective_dialog: bool | None = None
    vad: Vad = Vad()
    transcripts: bool = True
    """Ask Gemini for both sides' transcripts. The robot gets them as events, and a new session is told those of the old one."""
    transcripts_to_file: bool = False
    """Write the transcripts to a JSONL file per robot and day."""
    transcripts_to_console: bool = False
    """Let a console show the transcripts live."""
    recordings: bool = False
    """Let an operator record conversations, with the audio of both sides. The robot shows that it is recorded."""
    budget_usd_per_day: Money | None = Field(default=None, gt=0)
    park_after_s: float | None = Field(default=None, ge=10)
    """Hang up after this long without speech; the first word opens the session again. Off unless set."""
    tools: tuple[ToolName, ...] | None = Field(default=None, max_length=TOOLS_MAX)
    """The tools that the model may call; by default those of the robot's body. Each tool costs tokens with every turn."""
    body: bool = True
    """Whether the robot's body moves at all: by itself, and when the model asks."""
    manner: Manner = Manner()
    gestures: tuple[MoveName, ...] = Field(default=(), max_length=GESTURES_MAX)
    """The gestures that are offered to the model first, if the body knows more than a model is offered."""


class Gateway(_Table):
    """Settings for all robots together."""

    budget_usd_per_day: Money | None = Field(default=None, gt=0)


class RobotsFile(_Table):
    """The content of a robots file: defaults, robots that differ from them, prices."""

    gateway: Gateway = Gateway()
    defaults: dict[str, Any] = {}
    robots: dict[RobotId, dict[str, Any]] = {}
    prices: dict[str, Price] = {}


class Personas:
    """Every robot's persona, and the prices."""

    def __init__(self, default: Persona, robots: Mapping[str, Persona], gateway: Gateway, prices: Mapping[str, Price]) -> None:
        self.text = ""
        """The text from which the personas were read."""
        self.default = default
        self.robots = robots
        self.gateway = gateway
        self.prices = {**PRICES, **prices}

    def of(self, robot: str) -> Persona:
        """The robot's own persona, or the default one."""
        return self.robots.get(robot, self.default)

    def price(self, model: str) -> Price:
        """The model's price."""
        return self.prices[self.priced_as(model)]

    def priced_as(self, model: str) -> str:
        """The listed model whose price counts: the model, else the longest name with which it begins, else the default."""
        return model if model in self.prices else models.longest(model, self.prices) or DEFAULT_MODEL


DEFAULT_MODEL: Final = "gemini-3.8-live"


def read(path: Path | None, model: str | None = None, tools: Collection[str] = ()) -> tuple[Personas, list[str]]:
    """The personas of a file, or the default ones; and all mistakes in the file.

    Args:
        path: The TOML file; None if there is none.
        model: The defaults' model if the file names none.
        tools: The names of all tools.
    """
    try:
        return of_text(text_of(path), str(path), model, tools)
    except (OSError, TextError) as error:
        remedy = "; with Docker: chmod a+rX config config/robots.toml" if isinstance(error, PermissionError) else ""
        return _nothing(), [f"{path}: cannot be read (GATEWAY_ROBOTS_FILE names this file): {error}{remedy}"]


def text_of(path: Path | None) -> str:
    """The text of a robots file; empty if there is no file.

    Raises:
        OSError, TextError: If the file cannot be read.
    """
    return decoded(path.read_bytes()) if path else ""


def of_text(text: str, name: str, model: str | None = None, tools: Collection[str] = ()) -> tuple[Personas, list[str]]:
    """The personas in a robots file's text, and all mistakes in it."""
    base: dict[str, Any] = {"model": model} if model else {}
    try:
        read, problems = parsed(tomllib.loads(text), name, base, tools)
    except tomllib.TOMLDecodeError as error:
        return _nothing(), [f"{name}: not TOML: {error}"]
    except RecursionError:
        return _nothing(), [f"{name}: its tables are nested too deeply"]
    read.text = text
    return read, problems


def parsed(
    tables: Mapping[str, Any], name: str, base: Mapping[str, Any], tools: Collection[str] = ()
) -> tuple[Personas, list[str]]:
    """The personas in a file's tables, and all mistakes in them."""
    problems: list[str] = []
    try:
        file = RobotsFile.model_validate(tables)
    except ValidationError as error:
        problems += _problems(error, name, "")
        file = _what_can_be_read(tables)
    defaults = {**base, **file.defaults}
    default, wrong = _persona(defaults, name, "defaults", problems)
    problems += [f"{name}: defaults.{key}: {why}" for key, why in impossible(default, tools)]
    inherited = {key: value for key, value in defaults.items() if key not in wrong}  # reported once, for the defaults
    robots: dict[str, Persona] = {}
    for robot, table in file.robots.items():
        robots[robot], _ = _persona(_merged(inherited, table), name, f"robots.{robot}", problems)
        common = impossible(default, tools)
        found = [(key, why) for key, why in impossible(robots[robot], tools) if key in table or (key, why) not in common]
        problems += [f"{name}: robots.{robot}.{key}: {why}" for key, why in found]
    return Personas(default, robots, file.gateway, file.prices), problems


def _what_can_be_read(tables: Mapping[str, Any]) -> RobotsFile:
    """The parts of a file that hold personas, so that their mistakes are reported together with the other mistakes."""
    defaults, robots = tables.get("defaults"), tables.get("robots")
    readable = {name: table for name, table in robots.items() if isinstance(table, dict)} if isinstance(robots, dict) else {}
    return RobotsFile.model_construct(defaults=defaults if isinstance(defaults, dict) else {}, robots=readable)


def _persona(table: Mapping[str, Any], name: str, where: str, problems: list[str]) -> tuple[Persona, set[str]]:
    """The persona in a table without its wrong keys, and these keys. Their mistakes are added to ``problems``."""
    try:
        return Persona.model_validate(table), set()
    except ValidationError as error:
        problems += _problems(error, name, where)
        wrong = {str(problem["loc"][0]) for problem in error.errors(include_url=False)}
        return Persona.model_validate({key: value for key, value in table.items() if key not in wrong}), wrong


def impossible(persona: Persona, tools: Collection[str] = ()) -> list[tuple[str, str]]:
    """Settings that the persona's model would refuse, and tools that do not exist: pairs of a key and a reason."""
    name, model = persona.model, models.of(persona.model)
    found: list[tuple[str, str]] = []
    level = persona.thinking_level
    if level is not None and level not in model.thinking_levels:
        levels = ", ".join(known for known in models.LEVELS if known in model.thinking_levels)
        instead = f"'{level}', but {levels}" if levels else "this setting; leave it out"
        found.append(("thinking_level", f"{name} does not take {instead}"))
    api = f"version {models.API_VERSION} of the API does not take this setting; leave it out"
    if persona.proactive_audio is not None and not models.takes(name, "proactive_audio"):
        found.append(("proactive_audio", f"{api}: {PROACTIVE[model.proactive].format(name)}"))
    if persona.affective_dialog is not None and not model.affective_dialog:
        found.append(("affective_dialog", f"{name} does not have this setting; leave it out"))
    elif persona.affective_dialog is not None and not models.takes(name, "affective_dialog"):
        found.append(("affective_dialog", api))
    named = persona.tools or ()
    if twice := sorted({tool for tool in named if named.count(tool) > 1}):
        found.append(("tools", f"{', '.join(twice)}: named twice"))
    if strange := [tool for tool in named if tool not in tools]:
        found.append(("tools", f"there is no tool {', '.join(strange)}; the tools are {', '.join(sorted(tools))}"))
    return found


PROACTIVE: Final = {
    True: "{} itself chooses when to speak and when to stay silent",
    False: "{} speaks only when it is spoken to",
    None: "{} itself chooses whether to speak unasked",
}


def _merged(defaults: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults, overwritten by a robot's table; the tables ``vad`` and ``manner`` are merged key by key."""
    both = {**defaults, **table}
    for name in ("vad", "manner"):
        if isinstance(defaults.get(name), dict) and isinstance(table.get(name), dict):
            both[name] = {**defaults[name], **table[name]}
    return both


def _problems(error: ValidationError, name: str, where: str) -> list[str]:
    """The mistakes, each with its file, its key and the reason."""
    found = []
    for problem in error.errors(include_url=False):
        steps = [step for step in (*where.split("."), *map(str, problem["loc"])) if step]
        given = problem.get("input")
        shown = f" (given: {given!r})" if isinstance(given, str | int | float) else ""
        near = _near(steps) if problem["type"] == "extra_forbidden" else ""
        found.append(f"{name}: {'.'.join(steps)}: {mistake(problem['type'], problem['msg'])}{near}{shown}"[:500])
    return found


def _near(steps: Sequence[str]) -> str:
    """The table to which the setting belongs, or a setting that is spelt almost alike; empty if there is neither."""
    tables: dict[str, type[_Table]] = {"": RobotsFile, "vad": Vad, "manner": Manner, "gateway": Gateway}
    key, table = steps[-1], tables.get(steps[-2] if len(steps) > 1 else "", Persona)
    inner = [f"{name}.{key}" for name in ("vad", "manner") if table is Persona and key in tables[name].model_fields]
    outer = [f"defaults.{key}"] if table is RobotsFile and key in Persona.model_fields else []
    found = inner or outer or get_close_matches(key, table.model_fields, 1)
    return "".join(f": is it {name}?" for name in found[:1])


def _nothing() -> Personas:
    return Personas(Persona(), {}, Gateway(), {})
