"""Fixtures for all tests."""

from collections.abc import Callable

import pytest
from pydantic import SecretStr

from gemini_gateway.configuration import Configuration
from gemini_gateway.endpoint import Endpoint
from gemini_gateway.personas import Gateway, Persona, Personas
from gemini_gateway.voices import Voices
from reachy_gateway.provider.ledger import Ledger


def pytest_terminal_summary(terminalreporter) -> None:
    """Show every measurement, whether its test passed or failed."""
    reports = [report for status in ("passed", "failed") for report in terminalreporter.stats.get(status, [])]
    lines = [words for report in reports for name, words in getattr(report, "user_properties", []) if name == "measured"]
    if lines:
        terminalreporter.section("measured")
        for line in sorted(lines):
            terminalreporter.write_line(line)


@pytest.fixture
def measured(request) -> Callable[[str], None]:
    """Reports a number, which is shown at the end of the run."""
    return lambda words: request.node.user_properties.append(("measured", f"{request.node.name}: {words}"))


@pytest.fixture
def office(tmp_path):
    """Makes what the voices of a gateway share, for a simulator."""
    ledgers = []

    def make(sim, persona: Persona | None = None, gateway: Gateway | None = None, **changes) -> Voices:
        endpoint = Endpoint("the simulator", SecretStr("test-key"), sim.url, sim.root_path)
        ledgers.append(Ledger(tmp_path / "ledger.sqlite"))
        shared = Personas(persona or Persona(), {}, gateway or Gateway(), {})
        return Voices(Configuration(lambda: endpoint, shared), ledgers[-1], **changes)

    yield make
    for ledger in ledgers:
        ledger.close()


@pytest.fixture
def gemini(office):
    """Makes a factory of Gemini voices that talk to a simulator."""
    return lambda sim, **changes: office(sim, **changes).make
