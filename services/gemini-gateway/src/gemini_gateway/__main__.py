"""gemini-gateway: connects robots to Gemini Live."""

import sys

from gemini_gateway.settings import GeminiSettings
from reachy_service import arguments, logs
from reachy_service.config import load


def main() -> int:
    """Serve until a signal comes; exit status 0, or 2 for bad configuration."""
    arguments.check("gemini-gateway", "Connects robots to Gemini Live.", GeminiSettings)
    settings = load(GeminiSettings)
    secrets = [settings.api_key.get_secret_value()] if settings.api_key else []
    logs.set_up("gemini-gateway", settings.log_level, secrets)
    from gemini_gateway.program import run  # noqa: PLC0415 - the SDK takes a second to import; a mistake shows before

    return run(settings, secrets)


if __name__ == "__main__":
    sys.exit(main())
