import logging

import pytest

from reachy_link.logs import Redacted, set_up

SECRET = "AIzaSyExampleExampleExample"  # noqa: S105 - not one


@pytest.fixture
def restored():
    """Logging as it was before the test."""
    root, levels = logging.getLogger(), {}
    handlers, level = root.handlers[:], root.level
    for name in ("reachy_link", "reachy_gateway", "robot_io", "gemini_gateway", "mock_gateway", "__main__"):
        levels[name] = logging.getLogger(name).level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, value in levels.items():
        logging.getLogger(name).setLevel(value)


def line(message: str, *arguments: object, error: BaseException | None = None, secrets: tuple[str, ...] = (SECRET,)) -> str:
    info = (type(error), error, error.__traceback__) if error else None
    return Redacted("robot-io", secrets).format(logging.LogRecord("n", logging.WARNING, "f", 1, message, arguments, info))


def test_a_secret_in_a_message_is_replaced_wherever_it_stands():
    told = line(f"{SECRET} and again ?key={SECRET}&x")
    assert SECRET not in told
    assert told.endswith("[secret] and again ?key=[secret]&x")


def test_a_secret_among_the_arguments_is_replaced():
    told = line("dialling %s with %r", "wss://host", {"x-goog-api-key": SECRET})
    assert SECRET not in told
    assert "dialling wss://host" in told


def test_a_secret_in_a_traceback_is_replaced():
    def dial(key: str) -> None:
        raise ConnectionError(f"401 for {key}")

    try:
        dial(SECRET)
    except ConnectionError as error:
        told = line("lost", error=error)
    assert SECRET not in told
    assert "ConnectionError: 401 for [secret]" in told


def test_an_empty_secret_replaces_nothing():
    assert line("hello", secrets=("",)).endswith("hello")


def test_a_secret_within_another_leaves_nothing_of_either():
    told = line("with abcdef-ghi and abcdef", secrets=("abcdef", "abcdef-ghi"))
    assert told.endswith("with [secret] and [secret]")


def test_we_are_as_loud_as_asked_and_libraries_only_warn(restored, capsys):
    set_up("robot-io", "DEBUG", [SECRET])
    logging.getLogger("robot_io.core").debug("our detail with %s", SECRET)
    logging.getLogger("websockets.client").info("> x-goog-api-key: %s", SECRET)
    logging.getLogger("websockets.client").warning("a warning")
    told = capsys.readouterr().err
    assert "our detail with [secret]" in told
    assert "a warning" in told
    assert "x-goog-api-key" not in told


def test_the_level_is_that_of_our_own_lines(restored, capsys):
    set_up("gateway", "WARNING")
    logging.getLogger("reachy_gateway.hub").info("connected")
    logging.getLogger("reachy_gateway.hub").warning("refused")
    told = capsys.readouterr().err
    assert "connected" not in told
    assert "WARNING refused" in told
