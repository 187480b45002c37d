"""A table of what each model of Gemini Live accepts, and what it does unasked; as of 2026-11-29.

Setups are built from this table, and personas are checked against it. The sources are Google's migration notes, and reports of
people who used the real server. ``docs/sessions.md`` has the table.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

ThinkingLevel = Literal["minimal", "low", "medium", "high"]
LEVELS: Final[tuple[ThinkingLevel, ...]] = get_args(ThinkingLevel)

Behavior = Literal["blocking", "non_blocking"]
"""A function's behavior. ``blocking``: the model says nothing before it has the response."""
Scheduling = Literal["INTERRUPT", "SILENT"]

API_VERSION: Final = "v1beta"
"""google-genai 3 asks for v1 by default; every page on Live shows v1beta."""
FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "v1beta": frozenset(),
    "v1alpha": frozenset(("proactive_audio", "affective_dialog")),
}
"""The settings that only some versions of the API accept, by version. The other versions close such a setup with 1007 ("Unknown
name"), whatever the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """How a model differs from other models: what it accepts, and what it does unasked."""

    thinking_levels: frozenset[ThinkingLevel] = frozenset(LEVELS)
    thinking_default: ThinkingLevel | None = None
    """The level that is sent if a persona names none: the model closes a setup without a level with 1007."""
    proactive: bool | None = None
    """Whether the model itself chooses when to speak and when to stay silent; None: unknown."""
    affective_dialog: bool = True
    transcripts_unasked: bool = True
    """Whether the model sends transcripts that the setup does not ask for."""
    stream_end_counts: bool = False
    """Whether ``audioStreamEnd`` ends the person's turn. If it does not, the model waits until it receives silence."""
    content: Literal["any", "history"] = "any"
    """Which client content may be sent once a session has begun: any, or none after the announced history."""
    calls: frozenset[Behavior] = frozenset(("blocking",))
    """The behaviors that a function may declare without the model failing to speak of its response."""
    calls_default: Behavior = "blocking"
    """The behavior of a function that declares none."""
    scheduling: bool = False
    """Whether a function's response may say when the model should speak of it."""


MODELS: Final[Mapping[str, Model]] = {
    "gemini-3.8-live": Model(
        thinking_levels=frozenset(),
        proactive=True,
        affective_dialog=False,
        calls=frozenset(("blocking", "non_blocking")),
        calls_default="non_blocking",
        scheduling=True,
    ),
    "gemini-3.8-live-extended-thinking": Model(
        thinking_levels=frozenset(("low", "medium", "high")),
        thinking_default="low",
        proactive=True,
        affective_dialog=False,
        calls=frozenset(("non_blocking",)),
        calls_default="non_blocking",
    ),
    "gemini-3.1-flash-live": Model(proactive=False, affective_dialog=False, stream_end_counts=True, content="history"),
    "gemini-2.5-flash-native-audio": Model(
        thinking_levels=frozenset(),
        transcripts_unasked=False,
        stream_end_counts=True,
        calls=frozenset(("blocking", "non_blocking")),
        scheduling=True,
    ),
}
UNKNOWN: Final = Model()
"""The entry of a model that is not listed: it is sent whatever its persona says, and counts as able to do the least."""


def of(name: str) -> Model:
    """The model's entry: the longest listed name with which the model's name begins, with or without ``models/``."""
    known = longest(name, MODELS)
    return MODELS[known] if known else UNKNOWN


def longest(name: str, known: Iterable[str]) -> str | None:
    """The longest of the known names with which a model's name begins. Names of previews end with a date."""
    bare = name.removeprefix("models/") + "-"
    return max((each for each in known if bare.startswith(each + "-")), key=len, default=None)


def takes(name: str, field: str) -> bool:
    """Whether a model's setup may contain a field that only some versions of the API accept."""
    return field in FIELDS[API_VERSION] and not (field == "affective_dialog" and not of(name).affective_dialog)


def behavior(name: str, *, waits: bool) -> Behavior:
    """A function's behavior: the wanted one if the model allows it, else the model's default."""
    wanted: Behavior = "blocking" if waits else "non_blocking"
    model = of(name)
    return wanted if wanted in model.calls else model.calls_default


def scheduling(name: str, *, background: bool, speaks: bool) -> Scheduling | None:
    """When a model should speak of a response; None leaves this to the model.

    A response that the person waits for is told at once; gemini-3.8 still waits while the person speaks. By its own default
    gemini-3.8 has often already gone on when a response comes, and then contradicts itself.
    """
    if not (background and of(name).scheduling):
        return None
    return "INTERRUPT" if speaks else "SILENT"
