"""Fixtures for all tests."""

import pytest
from pydantic import SecretStr

from gemini_gateway.ledger import Ledger
from gemini_gateway.live import Endpoint
from gemini_gateway.personas import Gateway, Persona, Personas
from gemini_gateway.voices import Voices


@pytest.fixture
def office(tmp_path):
    """Makes what the voices of a gateway share, for a simulator."""
    ledgers = []

    def make(sim, persona: Persona | None = None, gateway: Gateway | None = None, **changes) -> Voices:
        endpoint = Endpoint("the simulator", SecretStr("test-key"), sim.url, sim.root_path)
        ledgers.append(Ledger(tmp_path / "ledger.sqlite"))
        return Voices(lambda: endpoint, Personas(persona or Persona(), {}, gateway or Gateway(), {}), ledgers[-1], **changes)

    yield make
    for ledger in ledgers:
        ledger.close()


@pytest.fixture
def gemini(office):
    """Makes the maker of Gemini voices that talk to a simulator."""
    return lambda sim, **changes: office(sim, **changes).make
