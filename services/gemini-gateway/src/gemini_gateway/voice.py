"""A robot's Gemini voice: connects, sends, receives, and connects again."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Final, Literal

from google.genai import types

from gemini_gateway.live import Connection, GoAway, Live, LiveError, Resumable, ToolCall, Unknown
from reachy_gateway.voice import Standing, VoiceEvent

MIC_BUFFER_MS: Final = 2000


class GeminiVoice:
    def __init__(self, live: Live, model: str, config: types.LiveConnectConfig) -> None:
        self._live = live
        self._model = model
        self._config = config
        self._mic: deque[bytes] = deque(maxlen=MIC_BUFFER_MS // 20)
        self._more = asyncio.Event()

    def hear(self, pcm: bytes) -> None:
        self._mic.append(pcm)
        self._more.set()

    def activity(self, event: Literal["start", "end"]) -> None:
        raise NotImplementedError

    async def run(self, emit: Callable[[VoiceEvent], None]) -> None:
        pause_s = 0.1
        while True:
            try:
                async with self._live.connect(self._model, self._config) as connection:
                    emit(Standing("live"))
                    pause_s = 0.1
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._send(connection))
                        group.create_task(self._receive(connection, emit))
            except* LiveError as many:
                error = many.exceptions[0]
                emit(Standing("reconnecting", str(error)))
            await asyncio.sleep(random.uniform(0, pause_s))
            pause_s = min(1.0, pause_s * 2)

    async def _send(self, connection: Connection) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            while self._mic:
                await connection.send_audio(self._mic.popleft())

    async def _receive(self, connection: Connection, emit: Callable[[VoiceEvent], None]) -> None:
        async for event in connection.receive():
            if not isinstance(event, GoAway | Resumable | ToolCall | Unknown | types.UsageMetadata):
                emit(event)
