"""``.env.example`` and the settings agree."""

import re
from pathlib import Path

import pytest
import yaml

from gemini_gateway.personas import Gateway, Persona, Vad, read
from gemini_gateway.settings import GeminiSettings
from gemini_live_sim.settings import SimSettings
from reachy_console.settings import ConsoleSettings
from reachy_gateway.provider.usage import PRICES
from reachy_gateway.settings import GatewaySettings
from reachy_gateway.tools.toolbox import Toolbox
from reachy_service.environment import VARIABLES
from robot_io.settings import RobotSettings

ROOT = Path(__file__).parent.parent
MODELS = (GeminiSettings, GatewaySettings, RobotSettings, ConsoleSettings)
IMAGES = {"BASE_IMAGE", "VALKEY_IMAGE", "PROMETHEUS_IMAGE", "GRAFANA_IMAGE"}
OF_COMPOSE = {"TZ", "COMPOSE_FILE", "SIM_SCENARIO"} | IMAGES
"""Variables that Docker Compose itself reads from the file, or passes to another service."""


def variables(model) -> dict[str, object]:
    """A settings model's environment variables, with their defaults."""
    prefix = model.model_config["env_prefix"]
    return {field.validation_alias or f"{prefix}{name}".upper(): field.default for name, field in model.model_fields.items()}


def example() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(found.groups() for line in lines if (found := re.fullmatch(r"#?([A-Z_]+)=(.*)", line)))


def test_every_setting_is_in_the_example_and_nothing_else_is():
    known = {name for model in MODELS for name in variables(model)}
    assert example().keys() == known | OF_COMPOSE


def test_what_compose_sets_itself_is_said_to_count_only_without_docker():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    text = (ROOT / ".env.example").read_text()
    without = re.search(r"# --- the gateway without Docker;.*?# --- ", text, re.DOTALL)
    assert without
    said = set(re.findall(r"^#([A-Z_]+)=", without[0], re.MULTILINE))
    set_there = compose["services"]["gemini-gateway"]["environment"]
    assert said == {name for name, value in set_there.items() if f"${{{name}:-" not in value}, "defaults excepted"


@pytest.mark.parametrize("model", MODELS)
def test_the_example_shows_the_defaults(model):
    shown = example()
    for name, default in variables(model).items():
        expected = "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
        assert shown[name] == expected, name


def test_programs_know_the_names_in_the_example_so_that_they_can_tell_a_misspelt_one():
    assert example().keys() == VARIABLES


def test_the_example_as_it_is_changes_nothing(monkeypatch):
    before = GeminiSettings()
    for line in (ROOT / ".env.example").read_text().splitlines():
        if found := re.fullmatch(r"([A-Z_]+)=(.*)", line):
            monkeypatch.setenv(*found.groups())
    assert GeminiSettings() == before


def test_every_image_from_elsewhere_can_be_pinned_and_the_example_shows_the_default():
    files = [*ROOT.glob("docker-compose*.yml"), *ROOT.glob("deploy/*.yml")]
    texts = "\n".join(path.read_text() for path in files)
    named = dict(re.findall(r"\$\{(\w+_IMAGE):-([^}]+)\}", texts))
    assert named == {name: example()[name] for name in IMAGES}
    own = r"(?:localhost/|\$\{REGISTRY:-localhost/\})?reachy-link/[\w-]+(?::\$\{VERSION:-latest\})?"
    foreign = [image for image in re.findall(r"^ +image: (\S+)", texts, re.MULTILINE) if not re.fullmatch(own, image)]
    assert all(re.fullmatch(r"\$\{\w+_IMAGE:-.*\}", image) for image in foreign), foreign
    builds = [
        service["build"]
        for service in yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"].values()
        if "build" in service
    ]
    assert builds
    assert {build["args"]["BASE"] for build in builds} == {f"${{BASE_IMAGE:-{example()['BASE_IMAGE']}}}"}


def test_a_dockerfile_without_compose_builds_on_the_same_image():
    for path in ROOT.glob("services/**/*Dockerfile"):
        assert re.search(r"^ARG BASE=(.+)$", path.read_text(), re.MULTILINE)[1] == example()["BASE_IMAGE"], path


def test_the_example_of_a_robots_file_is_a_good_one_and_shows_the_defaults():
    personas, problems = read(ROOT / "config" / "robots.example.toml", "a-model", Toolbox().names)
    assert problems == []
    assert personas.default == Persona(model="a-model", instruction=personas.default.instruction)
    assert " ".join(personas.default.instruction.split()) == Persona().instruction
    assert (personas.robots, personas.gateway) == ({}, Gateway())
    assert personas.prices == PRICES


def test_what_the_readme_adds_to_the_example_of_a_robots_file_is_good(tmp_path):
    [block] = re.findall(r"^```toml\n(.*?\n)```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    file = tmp_path / "robots.toml"
    file.write_text((ROOT / "config" / "robots.example.toml").read_text() + block)
    personas, problems = read(file, tools=Toolbox().names)
    assert problems == []
    assert personas.of("reachy-1").voice != personas.default.voice
    assert personas.of("reachy-1").instruction != personas.default.instruction


def test_all_that_can_be_set_is_in_the_example_of_a_robots_file_and_is_good(tmp_path):
    text = (ROOT / "config" / "robots.example.toml").read_text()
    file = tmp_path / "robots.toml"
    file.write_text(
        re.sub(r"^# (?=\w+(\.\w+)? = |\[)", "", text, flags=re.MULTILINE).replace("gemini-3.8-live", "another-model")
    )
    personas, problems = read(file, tools=Toolbox().names)
    assert problems == []
    nowhere = {"proactive_audio", "affective_dialog"}  # no model accepts these on this version of the API
    assert personas.default.model_fields_set | nowhere == Persona.model_fields.keys()
    assert personas.default.vad.model_fields_set == Vad.model_fields.keys()
    assert personas.of("reachy-1").voice == "Puck"
    assert personas.of("reachy-1").vad.silence_duration_ms == 300
    assert personas.gateway.budget_usd_per_day == 20


def test_compose_waits_for_longer_than_a_gateway_takes_to_stop():
    """After the drain come a second for hanging up on Gemini, and the end of the process."""
    compose = (ROOT / "docker-compose.yml").read_text()
    service = compose[compose.index("  gemini-gateway:\n") :]
    grace_s = re.search(r"stop_grace_period: (\d+)s", service)
    drain_s = re.search(r'GATEWAY_DRAIN_S: "(\d+)"', service)
    assert grace_s
    assert drain_s
    assert int(drain_s[1]) == GatewaySettings.model_fields["drain_s"].default
    assert int(grace_s[1]) >= int(drain_s[1]) + 3


def paths(model) -> list[str]:
    prefix = model.model_config["env_prefix"]
    return [
        str(field.validation_alias or f"{prefix}{name}".upper())
        for name, field in model.model_fields.items()
        if "Path" in str(field.annotation)
    ]


def test_a_home_is_found_in_every_path_of_every_program(monkeypatch, tmp_path):
    """No shell expands the values in ``.env`` or a unit file."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x").write_text("rediss://user:password@store.lab:6379", encoding="utf-8")  # it also passes for a key
    found = 0
    for model in (*MODELS, SimSettings):
        for name in paths(model):
            monkeypatch.setenv(name, "~/x")
        given = [value for value in dict(model()).values() if isinstance(value, Path)]
        assert given == [tmp_path / "x"] * len(paths(model))
        found += len(given)
    assert found > 10


def test_the_image_of_a_robot_wants_no_port_that_a_gateway_publishes():
    """A robot on the gateway's own machine is a container on the host's network there."""
    published = set()
    for file in ROOT.glob("docker-compose*.yml"):
        published |= set(re.findall(r"(\d+):\d+\"", file.read_text(encoding="utf-8")))
    assert {"5555", "8080", "8081"} <= published
    image = (ROOT / "services" / "robot-io" / "Dockerfile").read_text(encoding="utf-8")
    port = re.search(r"REACHY_HEALTH_PORT=(\d+)", image)
    assert port
    assert port[1] not in published | {"8000"}, "the daemon's port must not be used either"


def test_the_personas_of_the_demo_are_good():
    personas, problems = read(ROOT / "services" / "gemini-gateway" / "demo.toml", tools=Toolbox().names)
    assert problems == []
    assert personas.of("virtual-1").tools
    assert personas.of("another").tools is None
