"""livekit-agents as its examples set it up, but without a room: ``livekit_agents.py URL ROOT ROBOTS MODE``.

One AgentSession for each robot with the Google plugin's RealtimeModel, all on one event loop. This program gives and takes
the audio in place of a room's WebRTC. SSL_CERT_FILE names the server's certificate.
"""

import asyncio
import logging
import sys
import time
from typing import Any

from common import Ears, Push, Speaker, run
from google.genai import types
from livekit import rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.voice import io
from livekit.plugins import google

URL, ROBOTS, MODE = sys.argv[1], int(sys.argv[3]), sys.argv[4]
KEEP: list[Any] = []


class Microphone(io.AudioInput):
    """An audio input that returns the pushed frames."""

    def __init__(self) -> None:
        super().__init__(label="microphone")
        self.frames: asyncio.Queue[rtc.AudioFrame] = asyncio.Queue()

    async def __anext__(self) -> rtc.AudioFrame:
        return await self.frames.get()


class Output(io.AudioOutput):
    """An output that takes frames without waiting and plays them at the speaker's pace, as a room's output does."""

    def __init__(self, robot: int, ears: Ears) -> None:
        super().__init__(label="speaker", capabilities=io.AudioOutputCapabilities(pause=False), sample_rate=24000)
        self._robot, self._ears = robot, ears
        self._speaker = Speaker(ears) if MODE == "bursts" else None
        self._began = self._length_s = 0.0
        self._over: asyncio.Task[None] | None = None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:  # noqa: D102 - documented in the base class
        await super().capture_frame(frame)
        if not self._length_s:
            self._began = time.monotonic()
            self.on_playback_started(created_at=time.time())
        self._length_s += frame.duration
        pcm = bytes(frame.data)
        if self._speaker:
            self._speaker.put(pcm)
        else:
            self._ears.hear(pcm)

    def flush(self) -> None:  # noqa: D102
        super().flush()
        if self._length_s:
            self._over = asyncio.create_task(self._end(self._length_s))
            self._length_s = 0.0

    async def _end(self, length_s: float) -> None:
        await asyncio.sleep(max(0.0, self._began + length_s - time.monotonic()))
        self._over = None
        self.on_playback_finished(playback_position=length_s, interrupted=False)

    def clear_buffer(self) -> None:  # noqa: D102
        self._ears.flush(self._robot)
        if self._speaker:
            self._speaker.clear()
        if self._over or self._length_s:
            if self._over:
                self._over.cancel()
                self._over = None
            self._length_s = 0.0
            self.on_playback_finished(playback_position=time.monotonic() - self._began, interrupted=True)


async def connect(robot: int, ears: Ears) -> Push:
    """Connect one robot."""
    options = types.HttpOptions(base_url=URL)
    model = google.realtime.RealtimeModel(model="gemini-3.8-live", api_key="none", instructions="Talk.", http_options=options)
    # By default the session replaces the microphone by silence during the first 3 s in which the agent speaks.
    session: AgentSession[None] = AgentSession(llm=model, vad=None, aec_warmup_duration=None)
    microphone = Microphone()
    session.input.audio, session.output.audio = microphone, Output(robot, ears)
    await session.start(Agent(instructions="Talk."), record=False)
    KEEP.extend((session, model))
    return lambda pcm: microphone.frames.put_nowait(rtc.AudioFrame(pcm, 16000, 1, len(pcm) // 2))


logging.basicConfig(level=logging.ERROR)
asyncio.run(run(connect, ROBOTS))
