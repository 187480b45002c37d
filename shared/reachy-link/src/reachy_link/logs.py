"""Logging for people who watch: one line a moment, and never a secret in it."""

import logging
import sys
from collections.abc import Iterable


class Redacted(logging.Formatter):
    """Replaces secrets wherever they would show, tracebacks included: the last resort, not the first."""

    def __init__(self, program: str, secrets: Iterable[str]) -> None:
        super().__init__(f"%(asctime)s.%(msecs)03d {program:14} %(levelname)-7s %(message)s", "%H:%M:%S")
        self._secrets = sorted((secret for secret in secrets if secret), key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """The line, without secrets."""
        line = super().format(record)
        for secret in self._secrets:
            line = line.replace(secret, "[secret]")
        return line


def set_up(program: str, level: str, secrets: Iterable[str] = ()) -> None:
    """Log to standard error. Libraries speak up from WARNING on only: at DEBUG some print the headers that carry a key."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Redacted(program, secrets))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for ours in ("reachy_link", "reachy_gateway", "robot_io", "gemini_gateway", "mock_gateway", "__main__"):
        logging.getLogger(ours).setLevel(level)
