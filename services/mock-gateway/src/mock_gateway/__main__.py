"""mock-gateway: the gateway that CI runs, with a voice that needs no cloud and no key."""

import sys

from mock_gateway.voice import MockVoice
from reachy_gateway import service
from reachy_gateway.settings import GatewaySettings
from reachy_service import arguments
from reachy_service.config import load


def main() -> int:
    """Serve until a signal comes; exit status 0, or 2 for bad configuration."""
    arguments.check("mock-gateway", "Answers robots with a voice of its own, without a cloud.", GatewaySettings)
    return service.main(
        "mock-gateway", load(GatewaySettings), lambda _robot, _view: MockVoice(), "a deterministic voice, no cloud"
    )


if __name__ == "__main__":
    sys.exit(main())
