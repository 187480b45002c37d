"""``gemini-live-sim``: run a server until a signal; ``gemini-live-sim health``: check a running server."""

import os
import sys
from collections.abc import Sequence

from gemini_live_sim import health

USAGE = "usage: gemini-live-sim [health]"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code: 1 if the server is not well, 2 if the settings are wrong."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if list(arguments) == ["health"]:
        return health.main(os.environ)
    if arguments:
        sys.stderr.write(USAGE + "\n")
        return 2
    from gemini_live_sim.process import run  # noqa: PLC0415 - a health check comes every 2 s and needs none of it

    return run()


if __name__ == "__main__":
    sys.exit(main())
