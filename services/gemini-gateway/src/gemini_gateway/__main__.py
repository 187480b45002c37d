"""gemini-gateway: robots on one side, Gemini Live on the other."""

import sys

from google.genai import types

from gemini_gateway.live import Live
from gemini_gateway.settings import GeminiSettings
from gemini_gateway.voice import GeminiVoice
from reachy_gateway import service
from reachy_gateway.voice import Voice
from reachy_link.config import load


def main() -> int:
    """Serve until a signal comes; exit status 0, or 2 for bad configuration."""
    settings = load(GeminiSettings)
    endpoint = settings.endpoint()
    live = Live(endpoint)
    config = types.LiveConnectConfig(
        response_modalities=[types.Modality.AUDIO],
        system_instruction=settings.instruction,
        speech_config=types.SpeechConfig(
            voice_config=types.VoiceConfig(prebuilt_voice_config=types.PrebuiltVoiceConfig(voice_name=settings.voice))
        ),
    )

    def make_voice(_robot: str) -> Voice:
        return GeminiVoice(live, settings.model, config)

    secrets = [settings.api_key.get_secret_value()] if settings.api_key else []
    return service.main("gemini-gateway", settings, make_voice, f"talking to {endpoint.name}, model {settings.model}", secrets)


if __name__ == "__main__":
    sys.exit(main())
