from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from gemini_gateway.endpoint import Endpoint
from gemini_gateway.settings import GeminiSettings
from reachy_service.config import load

KEY = "AIza-very-secret-0123456789"
VARIABLES = ("GEMINI_API_KEY", "GEMINI_API_KEY_FILE", "GOOGLE_GEMINI_BASE_URL", "GEMINI_ROOT_CERT", "GEMINI_MODEL")


@pytest.fixture
def env(monkeypatch):
    """Settings from these variables alone."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def under(**variables) -> GeminiSettings:
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        return GeminiSettings()

    return under


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    return path


# --- which server -----------------------------------------------------------------------------------------------------


def test_nothing_is_the_simulator(env):
    endpoint = env().endpoint()
    assert endpoint.base_url == "https://gemini-live-sim:8765"
    assert endpoint.name == "the simulator at https://gemini-live-sim:8765"
    assert str(endpoint.root) == "/tls/root.pem"
    assert endpoint.key_file is None


def test_an_empty_variable_is_nothing(env):
    assert "simulator" in env(GEMINI_API_KEY="", GOOGLE_GEMINI_BASE_URL="", GEMINI_API_KEY_FILE="").endpoint().name


def test_a_key_is_google(env):
    endpoint = env(GEMINI_API_KEY=KEY).endpoint()
    assert (endpoint.name, endpoint.base_url, endpoint.root) == ("Google", None, None)
    assert endpoint.key.get_secret_value() == KEY


def test_a_key_from_a_file_is_google_and_the_file_is_known(env, key_file):
    settings = env(GEMINI_API_KEY_FILE=key_file)
    endpoint = settings.endpoint()
    assert (endpoint.name, endpoint.key.get_secret_value(), endpoint.key_file) == ("Google", KEY, key_file)
    assert settings.api_key.get_secret_value() == KEY, "so that it can be kept out of logs"


def test_a_key_goes_before_its_file(env, key_file):
    assert env(GEMINI_API_KEY="another", GEMINI_API_KEY_FILE=key_file).endpoint().key.get_secret_value() == "another"


def test_a_key_file_that_is_named_in_code_counts_too(env, key_file):
    env()
    assert GeminiSettings(api_key_file=key_file).endpoint().key.get_secret_value() == KEY
    assert GeminiSettings(api_key="another", api_key_file=key_file).endpoint().key.get_secret_value() == "another"


def test_a_base_url_is_that_server_with_or_without_a_key(env, tmp_path):
    endpoint = env(GOOGLE_GEMINI_BASE_URL="https://proxy.example", GEMINI_ROOT_CERT=tmp_path / "root.pem").endpoint()
    assert (endpoint.name, endpoint.base_url) == ("https://proxy.example", "https://proxy.example")
    assert endpoint.root == tmp_path / "root.pem"
    assert endpoint.key.get_secret_value(), "the SDK wants one"
    endpoint = env(GEMINI_API_KEY=KEY).endpoint()
    assert (endpoint.base_url, endpoint.key.get_secret_value()) == ("https://proxy.example", KEY)


@pytest.mark.parametrize("content", [None, "", "  \n"])
def test_a_key_that_was_meant_to_be_there_never_becomes_the_simulator(env, tmp_path, content):
    path = tmp_path / "key"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValidationError, match="GEMINI_API_KEY_FILE"):
        env(GEMINI_API_KEY_FILE=path)


@pytest.mark.parametrize("key", [" ", "\ufeff", "\r\n"])
def test_a_blank_key_is_a_mistake_and_not_the_simulator(env, key):
    with pytest.raises(ValidationError, match="white space"):
        env(GEMINI_API_KEY=key)


@pytest.mark.parametrize("key", [KEY, "nonsense"])
def test_no_key_at_all_falls_back_to_the_simulator(env, key):
    assert env(GEMINI_API_KEY=key, GATEWAY_SIM_URL="https://sim.example").endpoint().name == "Google"


def test_a_key_file_is_read_anew_for_each_settings(env, key_file):
    env(GEMINI_API_KEY_FILE=key_file)
    key_file.write_text("rotated")
    assert GeminiSettings().endpoint().key.get_secret_value() == "rotated"


@pytest.mark.parametrize("around", ["\ufeff{}", "{}\r\n", " {} "])
def test_what_stands_around_a_key_is_taken_off(env, around):
    assert env(GEMINI_API_KEY=around.format(KEY)).endpoint().key.get_secret_value() == KEY


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (KEY + "\u200b", "character 28 of 28 is an invisible character"),
        (f"\u201c{KEY}\u201d", "character 1 of 29 is a typographic quotation mark"),
        (f"AIza {KEY}", "character 5 of 32 is a space"),
        (f'"{KEY}"', "quotation marks"),
    ],
)
@pytest.mark.parametrize("in_a_file", [False, True])
def test_a_key_that_no_header_carries_is_one_line_that_does_not_show_it(env, tmp_path, capsys, key, why, in_a_file):
    path = tmp_path / "api-key"
    path.write_text(key, encoding="utf-8")
    given = {"GEMINI_API_KEY_FILE": path} if in_a_file else {"GEMINI_API_KEY": key}
    with pytest.raises(ValidationError) as raised:
        env(**given)
    with pytest.raises(SystemExit):
        load(GeminiSettings)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"configuration: {next(iter(given))}: ")
    assert why in line
    assert KEY not in line + str(raised.value)


def test_an_address_with_what_nobody_sees_is_told(env):
    with pytest.raises(ValidationError, match="character 18 of 21 is an invisible character"):
        env(GOOGLE_GEMINI_BASE_URL="https://box.lab:8\u200b765")


def test_a_home_is_found_in_every_path(env, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "key").write_text(KEY)
    names = (
        "GEMINI_ROOT_CERT",
        "GATEWAY_ROBOTS_FILE",
        "GATEWAY_LEDGER",
        "GATEWAY_TRANSCRIPTS_DIR",
        "GATEWAY_SIM_ROOT",
        "REACHY_KEYS_DIR",
    )
    settings = env(GEMINI_API_KEY_FILE="~/key", **dict.fromkeys(names, "~/x"))
    paths = [value for value in settings.model_dump().values() if isinstance(value, Path)]
    assert len(paths) == len(names) + 1
    assert {path.parent for path in paths} == {tmp_path}
    assert settings.endpoint().key_file == tmp_path / "key"


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_the_key_is_never_shown(env, key_file):
    for settings in (env(GEMINI_API_KEY_FILE=key_file), env(GEMINI_API_KEY=KEY)):
        endpoint = settings.endpoint()
        shown = f"{settings} {settings!r} {endpoint} {endpoint!r} {settings.model_dump()} {settings.model_dump_json()}"
        assert KEY not in shown


def test_a_mistake_elsewhere_does_not_show_the_key(env, capsys):
    with pytest.raises(ValidationError) as raised:
        env(GEMINI_API_KEY=KEY, GOOGLE_GEMINI_BASE_URL="http://plain", GATEWAY_UP_PORT="x", GEMINI_API_KEY_FILE="/none")
    assert KEY not in f"{raised.value} {raised.value!r}"
    with pytest.raises(SystemExit):
        load(GeminiSettings)
    assert KEY not in capsys.readouterr().err


def test_endpoints_with_different_keys_differ():
    assert Endpoint("Google", SecretStr("a")) != Endpoint("Google", SecretStr("b"))
    assert Endpoint("Google", SecretStr("a")) == Endpoint("Google", SecretStr("a"))


# --- mistakes ---------------------------------------------------------------------------------------------------------


def test_every_mistake_is_told_at_once(env, capsys):
    with pytest.raises(ValidationError):
        env(
            GEMINI_API_KEY_FILE="/none",
            GOOGLE_GEMINI_BASE_URL="http://plain",
            GATEWAY_SIM_URL="ws://sim",
            GATEWAY_UP_PORT="70000",
            GATEWAY_MAX_ROBOTS="0",
        )
    with pytest.raises(SystemExit) as ended:
        load(GeminiSettings)
    assert ended.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert sorted(line.split(": ")[1] for line in lines) == [
        "GATEWAY_MAX_ROBOTS",
        "GATEWAY_SIM_URL",
        "GATEWAY_UP_PORT",
        "GEMINI_API_KEY_FILE",
        "GOOGLE_GEMINI_BASE_URL",
    ]
    assert any("/none cannot be read" in line for line in lines)


def test_the_rest_has_names_of_the_gateway(env, tmp_path):
    settings = env(
        GATEWAY_ROBOTS_FILE=tmp_path / "robots.toml",
        GATEWAY_LEDGER=tmp_path / "ledger.sqlite",
        GATEWAY_TRANSCRIPTS_DIR=tmp_path / "said",
        GEMINI_MODEL="my-model",
    )
    assert settings.robots_file == tmp_path / "robots.toml"
    assert settings.ledger == tmp_path / "ledger.sqlite"
    assert settings.transcripts_dir == tmp_path / "said"
    assert settings.model == "my-model"
