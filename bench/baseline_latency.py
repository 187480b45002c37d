"""A bare google-genai loop: the latency that no gateway on the real SDK can beat. Called by latency.py.

``baseline_latency.py URL ROOT CHUNKS`` sends numbered chunks of 20 ms in real time. It prints, as JSON, when each chunk was
sent and when turns and interruptions were received, in s.
"""

import asyncio
import contextlib
import json
import ssl
import sys
import time

import numpy as np
from google import genai
from google.genai import errors, types


async def main(url: str, root: str, chunks: int) -> None:
    """Send all chunks, and print the times."""
    trust = ssl.create_default_context()
    trust.load_verify_locations(root)
    options = types.HttpOptions(base_url=url, api_version="v1beta", async_client_args={"ssl": trust, "compression": None})
    client = genai.Client(api_key="floor", vertexai=False, http_options=options)
    config = types.LiveConnectConfig(response_modalities=[types.Modality.AUDIO])
    told: dict[str, list[float]] = {"said": [], "turn": [], "cut": []}
    async with client.aio.live.connect(model="gemini-3.8-live", config=config) as session:
        receiver = asyncio.create_task(receive(session, told))
        due = time.monotonic()
        for number in range(1, chunks + 1):
            due += 0.02
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            told["said"].append(time.monotonic())
            pcm = np.full(320, number, "<i2").tobytes()
            await session.send_realtime_input(audio=types.Blob(data=pcm, mime_type="audio/pcm;rate=16000"))
        receiver.cancel()
    print(json.dumps(told))


async def receive(session: "genai.live.AsyncSession", told: dict[str, list[float]]) -> None:
    """Note when the first audio of each turn, and each interruption, arrives."""
    first = True
    with contextlib.suppress(errors.APIError):
        while True:
            async for message in session.receive():
                content = message.server_content
                if content is None:
                    continue
                if content.interrupted:
                    told["cut"].append(time.monotonic())
                if content.model_turn and first:
                    first = False
                    told["turn"].append(time.monotonic())
                if content.turn_complete:
                    first = True


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
