"""What each model of Gemini Live takes, and what it does unasked: data, of 2026-11-29.

A setup is built from it, and personas are checked by it. Read in Google's migration notes, and in what others saw of the real
server; ``docs/sessions.md`` has the table.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

ThinkingLevel = Literal["minimal", "low", "medium", "high"]
LEVELS: Final[tuple[ThinkingLevel, ...]] = get_args(ThinkingLevel)

Behavior = Literal["blocking", "non_blocking"]
"""Of a function: whether the model says nothing before it has the response."""
Scheduling = Literal["INTERRUPT", "SILENT"]

API_VERSION: Final = "v1beta"
"""google-genai 3 asks for v1 by default; every page on Live shows v1beta."""
FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "v1beta": frozenset(),
    "v1alpha": frozenset(("proactive_audio", "affective_dialog")),
}
"""What a version of the API knows of the settings that not every version does: the others close the setup with 1007, whatever
the model ("Unknown name")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What a model takes beside what all do, and what it does unasked."""

    thinking_levels: frozenset[ThinkingLevel] = frozenset(LEVELS)
    thinking_default: ThinkingLevel | None = None
    """Sent where a persona names none: the model closes a setup without a level with 1007."""
    proactive: bool | None = None
    """Whether it speaks up, and stays silent, by its own choice; None: nobody knows."""
    affective_dialog: bool = True
    transcripts_unasked: bool = True
    """Whether transcripts come that nobody asked for."""
    stream_end_counts: bool = False
    """Whether ``audioStreamEnd`` ends the person's turn. Where it does not the model waits for silence that it can hear."""
    content: Literal["any", "history"] = "any"
    """What client content may be sent once a session has begun: any, or none after the announced history."""
    calls: frozenset[Behavior] = frozenset(("blocking",))
    """How a function may be declared to behave, so that the model still speaks of its response."""
    calls_default: Behavior = "blocking"
    """How a function behaves that declares nothing."""
    scheduling: bool = False
    """Whether a function's response may say when it is to be spoken of."""


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
"""A model that is not listed is sent whatever its persona says, and is trusted with the least."""


def of(name: str) -> Model:
    """The model's entry, by its name with or without ``models/``: the longest that it begins with."""
    known = longest(name, MODELS)
    return MODELS[known] if known else UNKNOWN


def longest(name: str, known: Iterable[str]) -> str | None:
    """The longest of some names that a model's name begins with: previews have dates behind it."""
    bare = name.removeprefix("models/") + "-"
    return max((each for each in known if bare.startswith(each + "-")), key=len, default=None)


def takes(name: str, field: str) -> bool:
    """Whether the setup of a model may hold a field that not every version of the API knows."""
    return field in FIELDS[API_VERSION] and not (field == "affective_dialog" and not of(name).affective_dialog)


def behavior(name: str, *, waits: bool) -> Behavior:
    """How a function behaves on a model that is to wait for it, or is not, as far as the model lets one choose."""
    wanted: Behavior = "blocking" if waits else "non_blocking"
    model = of(name)
    return wanted if wanted in model.calls else model.calls_default


def scheduling(name: str, *, background: bool, speaks: bool) -> Scheduling | None:
    """When a model is to speak of a response; None leaves it to the model.

    What the person waits for is told at once, but gemini-3.8 waits with that while the person speaks. By its own default it has
    often gone on by itself when a response comes, and contradicts what it said.
    """
    if not (background and of(name).scheduling):
        return None
    return "INTERRUPT" if speaks else "SILENT"
