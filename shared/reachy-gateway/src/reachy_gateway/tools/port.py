"""The tools' port: what a model may do. A new tool is one file that implements :class:`Tool`; see ``docs/tools.md``. Pure."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Generic, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from reachy_gateway.provider.money import Money
from reachy_gateway.voice import RobotView, Unseen, Vitals

Mode = Literal["wait", "background"]
"""``wait``: the model waits for the result before it answers. ``background``: the call runs while the robot talks."""
Reply = Literal["speak", "silent"]
"""Whether the model should speak of a result. It always speaks of an error."""

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
DESCRIPTION_MAX: Final = 600
PARAMETERS_MAX: Final = 8
DEADLINE_MAX_S: Final = 60.0
RESULT_MAX_BYTES: Final = 4096
"""The longest result, as JSON. The model is billed for the result again with every later turn."""
WORDS_MAX: Final = 300
"""The longest error message, in characters."""


class Arguments(BaseModel):
    """The arguments of a tool: flat, each with a ``Field(description=...)``. Other arguments that a model adds are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class NoArguments(Arguments):
    """The arguments of a tool that needs none."""


A = TypeVar("A", bound=Arguments)


@dataclass(frozen=True, slots=True)
class Context:
    """What a tool may know of its robot, as of the call."""

    robot: str
    now: datetime
    """The time of the call, in the gateway's time zone."""
    vitals: Vitals | None = None
    """How the robot fares; None if nobody knows."""
    budget_left_usd: Money | None = None
    """What is left of the robot's budget for today, or of all robots' budget if that is less; None without a budget."""
    robot_view: RobotView = field(default_factory=Unseen)
    """The robot itself, for the gateway's own tools. It may be used only on the event loop."""


class ToolError(Exception):
    """A tool could not do what it was asked to do.

    Args:
        words: What was wrong, and what to do. The model reads it, and tells the person.
        retryable: Whether the same call may succeed later.
    """

    def __init__(self, words: str, *, retryable: bool = False) -> None:
        super().__init__(words)
        self.words = words
        self.retryable = retryable


class Tool(ABC, Generic[A]):
    """One thing that the model may do. One object is called for every robot, perhaps at the same time."""

    name: str
    description: str
    """For the model: what the tool does, and when to call it."""
    arguments: type[A]
    mode: Mode = "wait"
    reply: Reply = "speak"
    deadline_s: float = 5.0
    """After this time the model is told that the call took too long."""
    may_be_cut: bool = True
    """Whether a call is cancelled when nobody wants its result any more. Otherwise it runs on for a minute at most, and its
    result is dropped."""

    @abstractmethod
    async def call(self, arguments: A, context: Context) -> Mapping[str, Any]:
        """Run the tool.

        Returns:
            The result, as a JSON object. It should not be empty, because models then call again and again.

        Raises:
            ToolError: If it cannot be done. The model reads the message.
        """


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument, as declared to a model."""

    name: str
    type: Literal["string", "integer", "number", "boolean"]
    description: str
    required: bool
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None


def parameters(arguments: type[Arguments]) -> tuple[Parameter, ...]:
    """The declarations of all arguments, in the form that every model takes.

    Raises:
        ValueError: If an argument is neither a string, a number, a boolean nor a choice of strings.
    """
    schema = arguments.model_json_schema()
    required = set(schema.get("required", ()))
    return tuple(
        _parameter(name, inner, required=name in required, defs=schema.get("$defs", {}))
        for name, inner in schema.get("properties", {}).items()
    )


def _parameter(name: str, schema: Mapping[str, Any], *, required: bool, defs: Mapping[str, Any]) -> Parameter:
    description = str(schema.get("description", ""))
    whole = schema
    if options := [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]:
        if len(options) > 1:
            raise ValueError(f"{name}: a model takes one type for it, not several")
        schema = options[0]
    if "$ref" in schema:
        schema = defs.get(schema["$ref"].rpartition("/")[2], {})
    choices = tuple(schema["enum"]) if "enum" in schema else (schema["const"],) if "const" in schema else ()
    kind = schema.get("type")
    if kind not in ("string", "integer", "number", "boolean") or (choices and kind != "string"):
        raise ValueError(f"{name}: a model takes a string, a number, a boolean or a choice of strings for it")
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    return Parameter(
        name,
        cast("Literal['string', 'integer', 'number', 'boolean']", kind),
        description or str(whole.get("title", "")),
        required,
        tuple(map(str, choices)),
        low,
        high,
    )


def flaws(tool: Tool[Any]) -> list[str]:
    """Everything that is wrong with a tool; empty if it can be offered."""
    found = []
    name = getattr(tool, "name", None)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        found.append(f"name: {name!r} is not a tool's name: small letters, digits and underscores, at most 40")
    description = getattr(tool, "description", None)
    if not isinstance(description, str) or not 0 < len(description.strip()) <= DESCRIPTION_MAX:
        found.append(f"description: a text of at most {DESCRIPTION_MAX} characters is missing")
    arguments = getattr(tool, "arguments", None)
    if not (isinstance(arguments, type) and issubclass(arguments, Arguments)):
        found.append("arguments: it must be a class that is derived from Arguments")
    else:
        try:
            if len(parameters(arguments)) > PARAMETERS_MAX:
                found.append(f"arguments: more than {PARAMETERS_MAX}")
        except Exception as error:  # noqa: BLE001 - pydantic raises many kinds for a model that has no schema
            found.append(f"arguments: {error}")
    for which, allowed in (("mode", ("wait", "background")), ("reply", ("speak", "silent"))):
        if getattr(tool, which) not in allowed:
            found.append(f"{which}: {getattr(tool, which)!r} is not {' or '.join(map(repr, allowed))}")
    if tool.mode == "wait" and tool.reply == "silent":
        found.append("reply: 'silent' needs the mode 'background': a model speaks of what it has waited for")
    if not (isinstance(tool.deadline_s, int | float) and 0 < tool.deadline_s <= DEADLINE_MAX_S):
        found.append(f"deadline_s: {tool.deadline_s!r} is not above 0 and at most {DEADLINE_MAX_S:g}")
    return found


def checked(tool: Tool[A], args: Mapping[str, Any]) -> A:
    """The checked arguments of a call. A null for an argument with a default counts as left out, because models write that.

    Raises:
        ToolError: If the arguments are not as declared. The message names what would be right.
    """
    needed = {name for name, field in tool.arguments.model_fields.items() if field.is_required()}
    try:
        return tool.arguments.model_validate({name: it for name, it in args.items() if it is not None or name in needed})
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, problem['loc'])) or 'arguments'}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False, include_context=False)[:3]
        ]
        raise ToolError(f"invalid_argument: {'; '.join(wrong)}"[:WORDS_MAX], retryable=True) from None


def result(data: object) -> dict[str, Any]:
    """A tool's result, as the model is told it.

    Raises:
        ToolError: If the result is not a JSON object, or is too long.
    """
    if not isinstance(data, Mapping):
        raise ToolError("the tool is broken: its result is no object")
    try:
        text = json.dumps(dict(data) or {"status": "done"}, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ToolError("the tool is broken: its result is no JSON") from None
    if len(text) > RESULT_MAX_BYTES:
        raise ToolError(f"the result is too long: {len(text)} bytes, of at most {RESULT_MAX_BYTES}")
    told: dict[str, Any] = json.loads(text)
    return told


def refusal(words: object, *, retryable: object) -> dict[str, Any]:
    """An error, as the model is told it. The words may be any object that a tool raised."""
    return {"error": str(words)[:WORDS_MAX], "retryable": bool(retryable)}
