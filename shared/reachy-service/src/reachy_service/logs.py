"""Logging for people: one line an event, without secrets, and without characters that control a terminal."""

import asyncio
import logging
import re
import socket
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any, Final

from reachy_service import spool
from reachy_service.spool import Spool

LOOKS_SECRET: Final = re.compile(r"\b(?:AIza[\w-]{30,}|AQ\.[\w-]{30,})")
"""Google's API keys, wherever somebody has put one by mistake."""
CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Control characters, and characters that change the direction of writing; without tab and line feed."""
FAULT_PAUSE_S: Final = 1.0

log = logging.getLogger(__name__)
_secrets: set[str] = set()
_spool = Spool(None)


def conceal(*secrets: str) -> None:
    """Hide these secrets in all later lines, as a last resort. Also for a key that is read again later."""
    _secrets.update(secret for secret in secrets if secret)


def redacted(text: str) -> str:
    """The text without secrets."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, "[secret]")
    return LOOKS_SECRET.sub("[secret]", text)


class Redacted(logging.Formatter):
    """Replaces secrets in every line, tracebacks included, and control characters, which a peer may have sent."""

    def __init__(self, program: str) -> None:
        super().__init__(f"%(asctime)s.%(msecs)03d {program:14} %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """The line, without secrets."""
        return _escaped(redacted(super().format(record)))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """The line without its traceback. A message is always one line: line feeds in it are escaped."""
        record.message = record.message.replace("\n", "\\n")
        return super().formatMessage(record)


def one_line(text: str) -> str:
    """The text without secrets, as one line without control characters."""
    return _escaped(redacted(text).replace("\n", "\\n"))


def _escaped(text: str) -> str:
    return CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


class _Handler(logging.Handler):
    """Hands lines to the spool.

    The program never waits for the log's reader. A line that cannot be formatted does no harm.
    """

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except RecursionError:
            raise
        except Exception as error:  # noqa: BLE001 - a value's own __str__ may raise anything
            words = "a log line cannot be made: %s at %s:%d"
            line = self.format(_record(logging.ERROR, words, type(error).__name__, record.pathname, record.lineno))
        _spool.put(line + "\n")

    def flush(self) -> None:
        """Write the waiting lines, within :data:`~reachy_service.spool.EXIT_S`; also called at the program's end."""
        _spool.flush()


def _record(level: int, words: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord(__name__, level, "", 0, words, args, None)


def lost() -> int:
    """How many log lines could not be written so far."""
    return _spool.lost


def flush() -> bool:
    """Wait until all lines are written, within :data:`~reachy_service.spool.EXIT_S`; returns whether they are."""
    return _spool.flush()


def set_up(program: str, level: str, secrets: Iterable[str] = ()) -> None:
    """Log to standard error, and let nothing else write there; log also an exception that ends the program or a thread.

    A thread writes, so that a standard error that is closed, or that nobody reads, does not silence a robot; see
    :class:`~reachy_service.spool.Spool` for the bound. Libraries log from WARNING on only: at DEBUG some print the headers that
    carry a key.
    """
    global _spool  # noqa: PLW0603 - a process has one standard error
    conceal(*secrets)
    spool.hold_standard_streams()
    form = Redacted(program)
    if _spool.stream is not sys.stderr:
        _spool.close()
        words = "%d log lines are lost: standard error could not be written"
        _spool = Spool(sys.stderr, redacted, lambda n: form.format(_record(logging.WARNING, words, n)) + "\n")
    handler = _Handler()
    handler.setFormatter(form)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    for ours in (
        "reachy_link",
        "reachy_service",
        "reachy_gateway",
        "reachy_robot",
        "robot_io",
        "gemini_gateway",
        "mock_gateway",
        "reachy_console",
        "__main__",
    ):
        logging.getLogger(ours).setLevel(level)
    sys.excepthook = lambda kind, error, trace: log.critical("the program ends", exc_info=(kind, error, trace))
    threading.excepthook = lambda args: log.critical("a thread ends", exc_info=args.exc_value)
    sys.unraisablehook = lambda args: log.error("%s", args.err_msg or "ignored", exc_info=args.exc_value)


def calm(loop: asyncio.AbstractEventLoop) -> None:
    """Log exceptions in a loop's callbacks at most once a second, however often a peer causes them."""
    said_at, unsaid = float("-inf"), 0

    def told(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal said_at, unsaid
        if isinstance(context.get("exception"), socket.gaierror) and isinstance(context.get("future"), asyncio.Future):
            return  # a look-up failed after the caller had given up and logged why
        if isinstance(context.get("exception"), RuntimeError) and "the handler is closed" in str(context["exception"]):
            return  # uvloop's TLS wants to answer on a connection that this program has just ended
        if time.monotonic() - said_at < FAULT_PAUSE_S:
            unsaid += 1
            return
        if unsaid:
            log.error("%d more faults like this in the last second or so", unsaid)
        said_at, unsaid = time.monotonic(), 0
        loop.default_exception_handler(context)

    loop.set_exception_handler(told)
