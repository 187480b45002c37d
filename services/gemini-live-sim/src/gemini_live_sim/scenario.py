"""Scenarios: named behaviours for a server that runs as its own process, and TOML files that describe one."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gemini_live_sim.actions import CREDITS, LOCATION, QUOTA, Abort, Action, Close, GoAway, Silent, Stall, Step
from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.wire import INVALID, INVALID_ARGUMENT


@dataclass(frozen=True, slots=True)
class Scenario:
    """The behaviour of a server's connections."""

    behaviour: Behaviour
    connections: tuple[Behaviour, ...] = ()
    """Other behaviours for the first connections, one each."""


def _step(action: Action, **when: Any) -> dict[str, Any]:
    return {"script": (Step(action=action, **when),)}


SCENARIOS: dict[str, dict[str, Any]] = {
    "steady": {},
    "renewal": {"max_age_s": 60.0, "go_away_left_s": 10.0},
    "go-away": _step(GoAway(time_left_s=50.0), after_s=30.0, every_s=30.0),
    "flaky": _step(Abort(), after_s=20.0),
    "quota": _step(Close(code=1011, reason=QUOTA), on="turn_complete"),
    "mute": _step(Silent(), on="turn_complete"),
    "stall": _step(Stall(), on="turn_complete", after_s=1.0),
    "overloaded": {"handshake_status": 503},
    "chatty": {"parts_per_message": 3, "empty_parts": True, "odd_bytes": True, "unknown_fields": True},
    "credits": _step(Close(code=1011, reason=CREDITS), on="setup"),
    "location": _step(Close(code=INVALID, reason=LOCATION), on="setup"),
    "fluke": {},
    "open-ended": {"end_turns": "every_other"},
    "endless": {"end_turns": "never"},
    "stray": {"stray_interrupted_ms": 250.0, "thinking_ms": 500.0},
    "emoji": {"split_emoji": True},
    "babble": {"silent": True, "babble": "input"},
    "rejected": {"turn_reason": "RESPONSE_REJECTED"},
    "text-only": {"mute": "text"},
    "faint": {"mute": "faint"},
    "uncounted": {"usage": "none"},
    "counted-twice": {"usage_again_ms": 100.0},
    "other-type": {"mime": "audio/L16;codec=pcm;rate={hz}"},
    "unplayable": {"mime": "audio/pcmu;rate=8000"},
    "late-input": {"late_input": True},
}
FIRST: dict[str, tuple[dict[str, Any], ...]] = {
    "fluke": (_step(Close(code=INVALID, reason=INVALID_ARGUMENT), on="ready", after_s=0.3),),
}
"""Scenario -> other behaviours for its first connections, one each."""


class ScenarioError(ValueError):
    """The scenario does not exist, or its file is wrong."""


def load_scenario(name: str, default: Behaviour) -> Scenario:
    """Find a scenario by name, or read it from a TOML file.

    The file has a table ``[behaviour]`` with fields of :class:`Behaviour`, and tables ``[[connection]]`` with other values
    for the first connections, one table each.

    Raises:
        ScenarioError: If there is neither a scenario nor a file of this name, or the file is wrong.
    """
    if name in SCENARIOS:
        behaviour = _changed(default, SCENARIOS[name])
        return Scenario(behaviour, tuple(_changed(behaviour, fields) for fields in FIRST.get(name, ())))
    if not name.endswith(".toml"):
        raise ScenarioError(f"there is no scenario {name!r}: it is one of {', '.join(SCENARIOS)}, or a .toml file")
    try:
        tables = tomllib.loads(Path(name).expanduser().read_text(encoding="utf-8-sig"))
        unknown = tables.keys() - {"behaviour", "connection"}
        if unknown:
            raise ScenarioError(f"unknown tables {', '.join(sorted(unknown))}")
        behaviour = _changed(default, tables.get("behaviour", {}))
        return Scenario(behaviour, tuple(_changed(behaviour, table) for table in tables.get("connection", [])))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_url=False))
        raise ScenarioError(f"cannot use the scenario {name}: {wrong}") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise ScenarioError(f"cannot use the scenario {name}: {error}") from error


def _changed(behaviour: Behaviour, fields: dict[str, Any]) -> Behaviour:
    return Behaviour.model_validate({**dict(behaviour), **fields})
