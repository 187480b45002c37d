from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import SettingsConfigDict

from reachy_service.config import ConfigError, Settings, fail, from_file, load, read, tell_suspects, zone_problem


class Example(Settings):
    """The settings of some service."""

    model_config = SettingsConfigDict(env_prefix="EXAMPLE_")

    port: int = Field(default=5555, ge=1, le=65535)
    name: str = Field(default="reachy", min_length=3)
    folder: Path = Path("here")
    model: str = Field(default="live", validation_alias="GEMINI_MODEL", min_length=1)
    token: SecretStr | None = Field(default=None, min_length=20)
    key: SecretStr | None = Field(default=None, validation_alias="THE_KEY")

    @model_validator(mode="before")
    @classmethod
    def _key_file(cls, values: dict[str, Any]) -> dict[str, Any]:
        if not values.get("THE_KEY") and (key := from_file(values, "THE_KEY")):
            values["THE_KEY"] = key
        return values


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """An environment without any of these variables."""
    for name in ("REACHY_KEYS_DIR", "REACHY_LOG_LEVEL", "REACHY_HEALTH_PORT", "REACHY_HEALTH_HOST", "GEMINI_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def complaints(capsys) -> list[str]:
    """The lines with which loading ends the program, with status 2."""
    with pytest.raises(SystemExit) as caught:
        load(Example)
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()


def test_with_nothing_set_the_defaults_count():
    settings = load(Example)
    assert (settings.port, settings.log_level, settings.health_port, settings.key) == (5555, "INFO", 0, None)


def test_variables_are_read_under_their_prefix_or_their_own_name(monkeypatch):
    monkeypatch.setenv("EXAMPLE_PORT", "6000")
    monkeypatch.setenv("GEMINI_MODEL", "other")
    monkeypatch.setenv("REACHY_KEYS_DIR", "/keys")
    monkeypatch.setenv("REACHY_LOG_LEVEL", "DEBUG")
    settings = load(Example)
    assert (settings.port, settings.model, settings.keys_dir, settings.log_level) == (6000, "other", Path("/keys"), "DEBUG")


def test_an_empty_variable_counts_as_one_that_is_not_set(monkeypatch):
    for name in ("EXAMPLE_PORT", "GEMINI_MODEL", "REACHY_HEALTH_PORT", "THE_KEY"):
        monkeypatch.setenv(name, "")
    assert load(Example) == Example()
    assert load(Example).port == 5555


def test_everything_that_is_wrong_is_told_at_once_by_the_variables_name(monkeypatch, capsys):
    monkeypatch.setenv("EXAMPLE_PORT", "70000")
    monkeypatch.setenv("EXAMPLE_NAME", "r")
    monkeypatch.setenv("REACHY_LOG_LEVEL", "LOUD")
    monkeypatch.setenv("REACHY_HEALTH_PORT", "web")
    lines = complaints(capsys)
    assert sorted(line.split(":")[1].strip() for line in lines) == [
        "EXAMPLE_NAME",
        "EXAMPLE_PORT",
        "REACHY_HEALTH_PORT",
        "REACHY_LOG_LEVEL",
    ]
    assert all(line.startswith("configuration: ") for line in lines)
    assert any("65535" in line and "'70000'" in line for line in lines), "what is allowed, and what was given"


def test_a_wrong_secret_is_named_but_not_shown(monkeypatch, capsys):
    monkeypatch.setenv("EXAMPLE_TOKEN", "hunter2")
    (line,) = complaints(capsys)
    assert "EXAMPLE_TOKEN" in line
    assert "hunter2" not in line


def test_a_secret_may_come_from_a_file(monkeypatch, tmp_path):
    (tmp_path / "secret").write_text("abc123\n")
    monkeypatch.setenv("THE_KEY_FILE", str(tmp_path / "secret"))
    key = load(Example).key
    assert key is not None
    assert key.get_secret_value() == "abc123"
    assert "abc123" not in repr(load(Example))


def test_a_secret_that_is_given_goes_before_its_file(monkeypatch, tmp_path):
    (tmp_path / "secret").write_text("from the file")
    monkeypatch.setenv("THE_KEY_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("THE_KEY", "given")
    key = load(Example).key
    assert key is not None
    assert key.get_secret_value() == "given"


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe"], ids=["missing", "empty", "blank", "not text"])
def test_a_secret_file_that_holds_no_secret_is_told_by_the_variables_name(monkeypatch, tmp_path, capsys, content):
    """A key that was meant to be given must not silently be missing."""
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    monkeypatch.setenv("THE_KEY_FILE", str(tmp_path / "secret"))
    (line,) = complaints(capsys)
    assert "THE_KEY_FILE" in line
    assert str(tmp_path / "secret") in line


def test_without_a_file_there_is_no_secret():
    assert from_file({}, "NO_SUCH_VARIABLE") is None


def test_settings_do_not_change_once_they_are_read():
    with pytest.raises(ValidationError):
        load(Example).port = 1  # type: ignore[misc]


def test_problems_found_later_end_the_program_the_same_way(capsys):
    with pytest.raises(SystemExit) as caught:
        fail(["ROBOT_UTTERANCES: no *.wav", "REACHY_KEYS_DIR: no key"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == "configuration: ROBOT_UTTERANCES: no *.wav\nconfiguration: REACHY_KEYS_DIR: no key\n"


def test_white_space_and_a_byte_order_mark_around_a_value_are_taken_off(monkeypatch):
    monkeypatch.setenv("EXAMPLE_PORT", "\ufeff6000\r")
    monkeypatch.setenv("EXAMPLE_NAME", " \ufeffreachy-2 ")
    monkeypatch.setenv("REACHY_LOG_LEVEL", "DEBUG\r\n")
    settings = load(Example)
    assert (settings.port, settings.name, settings.log_level) == (6000, "reachy-2", "DEBUG")


@pytest.mark.parametrize("blank", [" ", "\t", "\ufeff", "\r"])
def test_a_blank_variable_counts_as_one_that_is_not_set(monkeypatch, blank):
    for name in ("EXAMPLE_PORT", "EXAMPLE_FOLDER", "REACHY_HEALTH_PORT"):
        monkeypatch.setenv(name, blank)
    assert load(Example) == Example()
    assert load(Example).folder == Path("here")


def test_a_home_is_found_in_every_path_and_in_defaults(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EXAMPLE_FOLDER", "~/kept")
    settings = load(Example)
    assert (settings.folder, settings.keys_dir) == (tmp_path / "kept", tmp_path / ".config" / "reachy-link")
    monkeypatch.setenv("REACHY_KEYS_DIR", "~/keys")
    assert load(Example).keys_dir == tmp_path / "keys"


def test_a_home_of_nobody_is_told_by_the_variables_name(monkeypatch, capsys):
    monkeypatch.setenv("EXAMPLE_FOLDER", "~nobody-here/kept")
    (line,) = complaints(capsys)
    assert "EXAMPLE_FOLDER" in line
    assert "write the whole path" in line


def test_a_secret_file_is_found_in_a_home_and_read_without_its_byte_order_mark(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "secret").write_bytes(b"\xef\xbb\xbfabc123\r\n")
    monkeypatch.setenv("THE_KEY_FILE", "~/secret")
    key = load(Example).key
    assert key is not None
    assert key.get_secret_value() == "abc123"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("abc123\u200b", "character 7 of 7 is an invisible character"),
        ("abc\n123", "a line's end"),
        ("\u201cabc123\u201d", "quotation"),
    ],
)
def test_a_secret_in_a_file_that_no_header_carries_is_told_and_not_shown(monkeypatch, tmp_path, capsys, content, why):
    (tmp_path / "secret").write_text(content, encoding="utf-8")
    monkeypatch.setenv("THE_KEY_FILE", str(tmp_path / "secret"))
    (line,) = complaints(capsys)
    assert why in line
    assert "abc" not in line.replace(str(tmp_path), "")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_a_secret_file_in_another_encoding_is_named(monkeypatch, tmp_path, capsys, encoding):
    (tmp_path / "secret").write_text("abc123", encoding=encoding)
    monkeypatch.setenv("THE_KEY_FILE", str(tmp_path / "secret"))
    (line,) = complaints(capsys)
    assert "UTF-" in line
    assert "save it as UTF-8" in line


@pytest.mark.parametrize("value", ["tcp://10.0.0.1:5555", "udp://10.0.0.1:80", "tcp://[fd00::1]:5555"])
def test_a_port_that_kubernetes_has_set_to_a_services_address_is_the_default_and_told(monkeypatch, caplog, value):
    monkeypatch.setenv("EXAMPLE_PORT", value)
    monkeypatch.setenv("REACHY_HEALTH_PORT", value)
    settings = load(Example)
    assert (settings.port, settings.health_port) == (5555, 0)
    tell_suspects()
    assert "REACHY_HEALTH_PORT is the address of a Kubernetes Service" in caplog.text


def test_mistakes_are_told_the_same_way_when_the_settings_are_read_anew(monkeypatch):
    monkeypatch.setenv("EXAMPLE_PORT", "70000")
    monkeypatch.setenv("THE_KEY_FILE", "/none")
    with pytest.raises(ConfigError) as caught:
        read(Example)
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)
    assert [line.partition(":")[0] for line in caught.value.problems] == ["settings"]


@pytest.mark.parametrize(
    "zone",
    ["", "UTC", "Europe/Berlin", ":Europe/Berlin", "/usr/share/zoneinfo/Asia/Seoul", "CET-1CEST,M3.5.0,M10.5.0/3", "<+09>-9"],
)
def test_a_time_zone_that_the_system_knows_is_none_to_warn_of(zone):
    assert zone_problem(zone) is None


@pytest.mark.parametrize(
    ("zone", "near"),
    [("Europe/Berln", "Europe/Berlin"), ("europe/berlin", "Europe/Berlin"), ("Seoul", "Asia/Seoul"), ("MEZ", "")],
)
def test_a_time_zone_that_is_none_is_told_with_what_follows(zone, near):
    told = zone_problem(zone)
    assert told is not None
    assert told.startswith(f"TZ={zone} is no known time zone: days begin at midnight UTC")
    assert f"is it {near}" in told if near else True


def test_where_no_time_zones_are_installed_that_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("TZDIR", str(tmp_path))
    assert "tzdata" in str(zone_problem("Europe/Berlin", set))
