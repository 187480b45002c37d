"""``.env.example`` and the settings say the same."""

import re
from pathlib import Path

import pytest

from gemini_gateway.personas import Persona, read
from gemini_gateway.settings import GeminiSettings
from reachy_gateway.settings import GatewaySettings
from robot_io.settings import RobotSettings

ROOT = Path(__file__).parent.parent
MODELS = (GeminiSettings, GatewaySettings, RobotSettings)


def variables(model) -> dict[str, object]:
    """The environment variables of a settings model, with their defaults."""
    prefix = model.model_config["env_prefix"]
    return {field.validation_alias or f"{prefix}{name}".upper(): field.default for name, field in model.model_fields.items()}


def example() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(found.groups() for line in lines if (found := re.fullmatch(r"#?([A-Z_]+)=(.*)", line)))


def test_every_setting_is_in_the_example_and_nothing_else_is():
    known = {name for model in MODELS for name in variables(model)}
    assert example().keys() == known


@pytest.mark.parametrize("model", MODELS)
def test_the_example_shows_the_defaults(model):
    shown = example()
    for name, default in variables(model).items():
        expected = "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
        assert shown[name] == expected, name


def test_the_example_as_it_is_changes_nothing(monkeypatch):
    for line in (ROOT / ".env.example").read_text().splitlines():
        if found := re.fullmatch(r"([A-Z_]+)=(.*)", line):
            monkeypatch.setenv(*found.groups())
    assert GeminiSettings() == GeminiSettings.model_construct(
        **{name: field.default for name, field in GeminiSettings.model_fields.items()}
    )


def test_the_example_of_a_robots_file_is_a_good_one_and_shows_the_defaults():
    personas, problems = read(ROOT / "config" / "robots.example.toml")
    assert problems == []
    changed = {"budget_usd_per_day": personas.default.budget_usd_per_day}
    changed["instruction"] = personas.default.instruction
    assert personas.default == Persona(**changed)
    assert " ".join(personas.default.instruction.split()) == Persona().instruction
    assert personas.of("reachy-1").voice == "Puck"
    assert personas.of("reachy-1").vad.silence_duration_ms == 300


def test_compose_waits_for_longer_than_a_gateway_takes_to_stop():
    """A second to hang up on Gemini comes after the drain, and the end of the process."""
    compose = (ROOT / "docker-compose.yml").read_text()
    service = compose[compose.index("  gemini-gateway:\n") :]
    grace_s = re.search(r"stop_grace_period: (\d+)s", service)
    drain_s = re.search(r'GATEWAY_DRAIN_S: "(\d+)"', service)
    assert grace_s
    assert drain_s
    assert int(drain_s[1]) == GatewaySettings.model_fields["drain_s"].default
    assert int(grace_s[1]) >= int(drain_s[1]) + 3
