"""Each model's rules and habits, as reported from the real server or read in Google's pages, up to 2026-11-29.

The rules are those of API version v1beta unless a comment says otherwise. A model that is not listed accepts anything.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from gemini_live_sim.setup import SessionSetup
from gemini_live_sim.wire import INVALID_ARGUMENT, Json, WireError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")


@dataclass(frozen=True, slots=True)
class Model:
    """The rules of a family of models. The defaults allow most."""

    listed: bool = True
    """Whether a setup is checked at all."""
    levels: frozenset[str] | None = None
    """Accepted thinking levels; None: any."""
    needs_level: bool = False
    affective_dialog: bool = True
    proactive_audio: frozenset[bool] = frozenset({True, False})
    """Values of ``proactiveAudio`` that v1alpha accepts; v1beta does not know the field."""
    refused_tools: frozenset[str] = frozenset()
    blocking: bool = True
    """Whether a function may be BLOCKING."""
    blocks: bool = True
    """Whether a function without a stated behavior is BLOCKING."""
    speaks_non_blocking: bool = True
    """Whether the model ever speaks of a NON_BLOCKING function's result."""
    json_schema: bool = True
    """Whether the model calls functions that are declared by a JSON Schema."""
    lost_calls_bind: bool = False
    """Whether the next input gets no answer after calls were lost with a connection, unless a lost call gets its response
    first."""
    repeats_empty: bool = False
    """Whether the model calls again when a result is empty."""
    mic_cancels_after_s: float | None = None
    """Age at which a blocking call is cancelled and made again when microphone audio arrives; None: never."""
    scheduling: bool = True
    """Whether a function's response may say when the model speaks of it."""
    pdf: bool = True
    """Whether a function's response may carry a PDF."""
    history_only: bool = False
    """Whether client content is accepted only as history that the setup announced."""
    hears_stream_end: bool = True
    """Whether ``audioStreamEnd`` ends an utterance."""
    writes_unasked: bool = False
    """Whether the model sends the input's transcription although the setup did not ask for it."""


MODELS: Final[dict[str, Model]] = {
    "gemini-2.5-flash-native-audio": Model(refused_tools=frozenset({"codeExecution", "urlContext"})),
    "gemini-3.1-flash-live": Model(
        affective_dialog=False,
        proactive_audio=frozenset(),
        history_only=True,
        speaks_non_blocking=False,
        mic_cancels_after_s=12.0,
        writes_unasked=True,
    ),
    "gemini-3.8-live": Model(
        levels=frozenset(),
        affective_dialog=False,
        proactive_audio=frozenset({True}),  # always on
        blocks=False,
        lost_calls_bind=True,
        repeats_empty=True,
        pdf=False,
        hears_stream_end=False,
        writes_unasked=True,
    ),
    "gemini-3.8-live-extended-thinking": Model(
        levels=frozenset({"LOW", "MEDIUM", "HIGH"}),
        needs_level=True,
        affective_dialog=False,
        proactive_audio=frozenset({True}),
        blocking=False,
        blocks=False,
        json_schema=False,
        lost_calls_bind=True,
        repeats_empty=True,
        scheduling=False,
        pdf=False,
        hears_stream_end=False,
        writes_unasked=True,
    ),
}
"""Beginning of a model's name -> its rules. The longest matching beginning counts."""


def find_model(name: str) -> Model:
    """Find the rules of a model, by its name with or without ``models/`` in front."""
    fitting = [known for known in MODELS if name.removeprefix("models/").startswith(known)]
    return MODELS[max(fitting, key=len)] if fitting else Model(listed=False)


def check_setup(setup: SessionSetup, api_version: str) -> None:
    """Check a setup by its model's rules.

    Raises:
        WireError: If the model refuses the setup.
    """
    model = find_model(setup.model)
    if not model.listed:
        return
    if setup.proactivity is not None and api_version != "v1alpha":
        raise WireError("Invalid JSON payload received. Unknown name \"proactivity\" at 'setup': Cannot find field.")
    proactive = (setup.proactivity or {}).get("proactiveAudio")
    if proactive is not None and proactive not in model.proactive_audio:
        raise WireError(INVALID_ARGUMENT)
    if setup.generation_config.enable_affective_dialog is not None and not model.affective_dialog:
        raise WireError(INVALID_ARGUMENT)
    _check_level(model, setup.generation_config.thinking_config.thinking_level)
    _check_tools(model, setup.tools)


def functions(tools: list[Any]) -> Iterator[Json]:
    """The functions that a setup declares."""
    for tool in _objects(tools):
        yield from _objects(tool.get("functionDeclarations"))


def check_responses(model: Model, responses: tuple[Json, ...]) -> None:
    """Check the responses of functions by the model's rules.

    Raises:
        WireError: If the model refuses a response.
    """
    for response in responses:
        if "scheduling" in response and not model.scheduling:
            raise WireError(INVALID_ARGUMENT)
        pictures = [part.get("inlineData") for part in _objects(response.get("parts"))]
        if not model.pdf and any(isinstance(one, dict) and one.get("mimeType") == "application/pdf" for one in pictures):
            raise WireError(INVALID_ARGUMENT)


def _check_level(model: Model, level: str) -> None:
    if model.needs_level and level not in (model.levels or ()):
        raise WireError("Thinking level must be specified.")
    if level and model.levels is not None and level not in model.levels:
        raise WireError(INVALID_ARGUMENT)


def _check_tools(model: Model, tools: list[Any]) -> None:
    names: Counter[str] = Counter()
    for number, tool in enumerate(_objects(tools)):
        if model.refused_tools & tool.keys():
            raise WireError(INVALID_ARGUMENT)
        for index, function in enumerate(_objects(tool.get("functionDeclarations"))):
            name = function.get("name")
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise WireError(f"Invalid function name {str(name)[:40]!r}: it must begin with a letter or an underscore.")
            names[name] += 1
            if names[name] > 1:
                raise WireError(f"Duplicate function declaration found: {name}")
            if function.get("behavior") == "BLOCKING" and not model.blocking:
                raise WireError(INVALID_ARGUMENT)
            if any(_is_open(schema) for schema in _schemas(function.get("parameters"))):
                where = f"setup.tools[{number}].function_declarations[{index}].parameters"
                raise WireError(f"Unknown name \"additionalProperties\" at '{where}': Cannot find field.")


def _is_open(schema: Json) -> bool:
    return not schema.keys().isdisjoint({"additionalProperties", "additional_properties"})


def _schemas(schema: object) -> Iterator[Json]:
    """A schema and all schemas inside it. A property's name is not a keyword of the schema."""
    if isinstance(schema, dict):
        yield schema
        for name, value in schema.items():
            inside = value.values() if name in ("properties", "defs", "$defs") and isinstance(value, dict) else [value]
            for one in inside:
                yield from _schemas(one)
    elif isinstance(schema, list):
        for one in schema:
            yield from _schemas(one)


def _objects(value: object) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
