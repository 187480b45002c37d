"""Fixtures for all tests."""

from collections.abc import Callable

import pytest
from google.genai import types
from pydantic import SecretStr

from gemini_gateway.live import Endpoint, Live
from gemini_gateway.voice import GeminiVoice


@pytest.fixture
def gemini():
    """Makes Gemini voices that talk to a simulator."""

    def make(sim) -> Callable[[str], GeminiVoice]:
        live = Live(Endpoint("the simulator", SecretStr("test-key"), sim.url, sim.root_path))
        config = types.LiveConnectConfig(response_modalities=[types.Modality.AUDIO])
        return lambda _robot: GeminiVoice(live, "gemini-3.8-live", config)

    return make
