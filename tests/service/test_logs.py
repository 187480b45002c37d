import asyncio
import gc
import logging
import socket
import sys
import threading

import pytest
import uvloop

from reachy_service import logs
from reachy_service.logs import Redacted, calm, conceal, set_up

SECRET = "AIzaSyExampleExampleExample"  # noqa: S105 - not one


@pytest.fixture(autouse=True)
def forgotten():
    """Keep each test's secrets from the other tests."""
    known = set(logs._secrets)
    yield
    logs._secrets.clear()
    logs._secrets.update(known)


@pytest.fixture
def restored():
    """Restore logging after the test."""
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    root, levels = logging.getLogger(), {}
    handlers, level = root.handlers[:], root.level
    for name in (
        "reachy_link",
        "reachy_service",
        "reachy_gateway",
        "reachy_robot",
        "robot_io",
        "gemini_gateway",
        "mock_gateway",
        "__main__",
    ):
        levels[name] = logging.getLogger(name).level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, value in levels.items():
        logging.getLogger(name).setLevel(value)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    logging.captureWarnings(capture=False)


def said(capsys) -> str:
    """What is logged so far; a thread writes the log."""
    assert logs.flush()
    return capsys.readouterr().err


def line(message: str, *arguments: object, error: BaseException | None = None, secrets: tuple[str, ...] = (SECRET,)) -> str:
    info = (type(error), error, error.__traceback__) if error else None
    conceal(*secrets)
    return Redacted("robot-io").format(logging.LogRecord("n", logging.WARNING, "f", 1, message, arguments, info))


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
    logging.getLogger("reachy_robot.core").debug("our detail with %s", SECRET)
    logging.getLogger("websockets.client").info("> x-goog-api-key: %s", SECRET)
    logging.getLogger("websockets.client").warning("a warning")
    told = said(capsys)
    assert "our detail with [secret]" in told
    assert "a warning" in told
    assert "x-goog-api-key" not in told


def test_the_level_is_that_of_our_own_lines(restored, capsys):
    set_up("gateway", "WARNING")
    logging.getLogger("reachy_gateway.hub").info("connected")
    logging.getLogger("reachy_gateway.hub").warning("refused")
    told = said(capsys)
    assert "connected" not in told
    assert "WARNING refused" in told


def test_a_secret_that_is_learned_later_is_replaced_from_then_on(restored, capsys):
    set_up("gateway", "INFO", [SECRET])
    conceal("the-rotated-key")
    logging.getLogger("reachy_gateway.hub").warning("%s was %s", "the-rotated-key", SECRET)
    assert said(capsys).endswith("[secret] was [secret]\n")


@pytest.mark.parametrize("key", ["AIza" + "B" * 35, "AQ." + "c" * 50])
def test_what_looks_like_a_google_key_is_replaced_though_nobody_said_that_it_is_one(key):
    assert line("no host %s:5555", key).endswith("no host [secret]:5555")


def test_what_ends_the_program_or_a_thread_is_told_without_its_secrets(restored, capsys):
    set_up("gateway", "INFO", [SECRET])

    def fails():
        raise ConnectionError(f"401 for {SECRET}")

    thread = threading.Thread(target=fails)
    thread.start()
    thread.join()
    try:
        fails()
    except ConnectionError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    told = said(capsys)
    assert SECRET not in told
    assert told.count("ConnectionError: 401 for [secret]") == 2
    assert told.count("Traceback") == 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\n12:00:00 gateway ERROR made up", r"a\n12:00:00 gateway ERROR made up"),
        ("\x1b[2J\x07\x9b", r"\x1b[2J\x07\x9b"),
        ("back\u202edrawkcab", r"back\u202edrawkcab"),
        ("한국어, naïve, 日本語\u3000🤖", "한국어, naïve, 日本語\u3000🤖"),
    ],
)
def test_what_a_peer_wrote_is_one_line_and_commands_no_terminal(text, shown):
    assert line("connected (%s)", text).endswith(f"connected ({shown})")


async def test_faults_of_the_event_loop_are_told_once_a_second_however_many_there_are(restored, capsys):
    set_up("gateway", "INFO", [SECRET])
    loop = asyncio.get_running_loop()
    calm(loop)
    try:
        for _ in range(100):
            loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(None)
    assert said(capsys).count("ZeroDivisionError") == 1


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_that_tls_cannot_write_on_a_connection_that_was_ended_here_is_no_fault(restored, capsys, run):
    """uvloop reports so, with a traceback, if a dial is given up while the server's last bytes arrive."""

    async def end_a_connection() -> None:
        loop = asyncio.get_running_loop()
        calm(loop)
        hung_up = asyncio.Event()

        async def answer(reader, writer) -> None:
            await reader.read()
            writer.close()
            hung_up.set()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        fault = {"message": "Fatal error on SSL protocol", "transport": writer.transport}
        writer.transport.abort()
        words = f"unable to perform operation on {writer.transport!r}; the handler is closed"
        loop.call_exception_handler(fault | {"exception": RuntimeError(words)})
        loop.call_exception_handler(fault | {"exception": ValueError("of another kind")})
        server.close()
        await hung_up.wait()
        await server.wait_closed()
        await asyncio.sleep(0)  # in which uvloop frees the socket

    set_up("gemini_gateway", "INFO", [])
    run(end_a_connection())
    told = said(capsys)
    assert "of another kind" in told
    assert "the handler is closed" not in told


async def test_a_look_up_that_fails_when_nobody_waits_for_it_any_more_is_no_fault(restored, capsys):
    set_up("gemini_gateway", "INFO", [])
    loop = asyncio.get_running_loop()
    calm(loop)
    future = loop.create_future()
    future.set_exception(socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"))
    del future
    gc.collect()
    loop.call_exception_handler({"message": "a fault", "exception": OSError("that is one")})
    logs.flush()
    said = capsys.readouterr().err
    assert "that is one" in said
    assert "name resolution" not in said
