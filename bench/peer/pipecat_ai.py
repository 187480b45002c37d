"""pipecat as in its Gemini Live example, but without a transport's network: ``pipecat_ai.py URL ROOT ROBOTS MODE``.

One pipeline for each robot, all on one event loop: input, user aggregator, GeminiLiveLLMService, output, assistant aggregator.
SSL_CERT_FILE names the server's certificate.
"""

import asyncio
import sys
import time
from typing import Any

from common import Ears, Push, run
from google.genai.types import HttpOptions
from loguru import logger
from pipecat.frames.frames import InputAudioRawFrame, InterruptionFrame, LLMRunFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.services.google.gemini_live.llm import GeminiLiveLLMService
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

URL, ROBOTS, MODE = sys.argv[1], int(sys.argv[3]), sys.argv[4]


class Input(BaseInputTransport):
    """A microphone."""

    async def start(self, frame: Any) -> None:  # noqa: D102 - documented in the base class
        await super().start(frame)
        await self.set_transport_ready(frame)


class Output(BaseOutputTransport):
    """A speaker with the same pace as pipecat's WebSocket transports."""

    def __init__(self, params: TransportParams, robot: int, ears: Ears) -> None:
        super().__init__(params)
        self._robot, self._ears, self._due = robot, ears, 0.0

    async def start(self, frame: Any) -> None:  # noqa: D102 - documented in the base class
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def process_frame(self, frame: Any, direction: Any) -> None:  # noqa: D102
        await super().process_frame(frame, direction)
        if isinstance(frame, InterruptionFrame):
            self._ears.flush(self._robot)
            self._due = 0.0

    async def write_audio_frame(self, frame: Any) -> bool:  # noqa: D102
        self._ears.hear(frame.audio)
        if MODE == "bursts":
            self._due = max(self._due, time.monotonic()) + len(frame.audio) / 2 / frame.sample_rate
            await asyncio.sleep(max(0.0, self._due - time.monotonic()))
        return True


async def main() -> None:
    """Run all robots."""
    runner = WorkerRunner(handle_sigint=False)
    running = asyncio.create_task(runner.run(auto_end=False))

    async def connect(robot: int, ears: Ears) -> Push:
        params = TransportParams(
            audio_in_enabled=True, audio_in_sample_rate=16000, audio_out_enabled=True, audio_out_sample_rate=24000
        )
        microphone, speaker = Input(params), Output(params, robot, ears)
        llm = GeminiLiveLLMService(
            api_key="none",
            system_instruction="Talk.",
            http_options=HttpOptions(base_url=URL),
            inference_on_context_initialization=False,
        )
        person, assistant = LLMContextAggregatorPair(LLMContext())
        stages = Pipeline([microphone, person, llm, speaker, assistant])
        settings = PipelineParams(audio_in_sample_rate=16000, audio_out_sample_rate=24000, enable_metrics=True)
        worker = PipelineWorker(stages, params=settings, idle_timeout_secs=None)
        await runner.add_workers(worker)
        while not microphone._audio_task:  # noqa: SLF001 - pipecat has no public flag for this
            await asyncio.sleep(0.05)
        await worker.queue_frames([LLMRunFrame()])
        while not llm._ready_for_realtime_input:  # noqa: SLF001 - no public flag either
            await asyncio.sleep(0.05)

        async def push(pcm: bytes) -> None:
            await microphone.push_audio_frame(InputAudioRawFrame(audio=pcm, sample_rate=16000, num_channels=1))

        return push

    await run(connect, ROBOTS)
    await running


logger.remove()
asyncio.run(main())
