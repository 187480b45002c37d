"""What the gateway is compared with: loops that send and receive for many robots, without a robot link or any conversion.

``baseline_density.py sdk|raw URL ROOT ROBOTS``: a bare google-genai loop, or one of plain WebSockets with JSON by hand.
Chunks of 20 ms in real time, each stamped when it was due; what comes back is parsed and thrown away. Ends when the server
hangs up.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final

import websockets
from google import genai
from google.genai import errors, types

from stamps import stamped

CHUNK_S: Final = 0.02
PATH: Final = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"


async def microphone(robot: int, robots: int, began: float, send: Callable[[bytes], Awaitable[None]]) -> None:
    """Send a chunk every 20 ms, each robot at a moment of its own."""
    for n in itertools.count():
        due = began + CHUNK_S * (n + robot / robots)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        await send(stamped(robot, int(due * 1e6)))


async def sdk(url: str, trust: ssl.SSLContext, robot: int, robots: int, began: float) -> None:
    """One robot on google-genai's own calls."""
    options = types.HttpOptions(base_url=url, api_version="v1beta", async_client_args={"ssl": trust, "compression": None})
    client = genai.Client(api_key="floor", vertexai=False, http_options=options)
    config = types.LiveConnectConfig(response_modalities=[types.Modality.AUDIO])
    async with client.aio.live.connect(model="gemini-3.8-live", config=config) as session:

        async def send(pcm: bytes) -> None:
            await session.send_realtime_input(audio=types.Blob(data=pcm, mime_type="audio/pcm;rate=16000"))

        mic = asyncio.create_task(microphone(robot, robots, began, send))
        with contextlib.suppress(errors.APIError):
            while True:
                async for message in session.receive():
                    _ = message.data
        mic.cancel()


async def raw(url: str, trust: ssl.SSLContext, robot: int, robots: int, began: float) -> None:
    """One robot on a WebSocket, with the least that the wire asks for."""
    address = url.replace("https", "wss") + PATH
    async with websockets.connect(address, ssl=trust, compression=None, max_size=2**22) as socket:
        await socket.send('{"setup":{"model":"models/gemini-3.8-live"}}')

        async def send(pcm: bytes) -> None:
            data = base64.b64encode(pcm).decode()
            await socket.send(f'{{"realtime_input":{{"audio":{{"data":"{data}","mime_type":"audio/pcm;rate=16000"}}}}}}')

        mic = asyncio.create_task(microphone(robot, robots, began, send))
        with contextlib.suppress(websockets.exceptions.ConnectionClosed):
            while True:
                content = json.loads(await socket.recv(decode=False)).get("serverContent", {})
                for part in content.get("modelTurn", {}).get("parts", ()):
                    base64.b64decode(part["inlineData"]["data"])
        mic.cancel()


async def main(kind: str, url: str, root: str, robots: int) -> None:
    """All robots, until the server hangs up."""
    trust = ssl.create_default_context(cafile=root)
    began = time.monotonic() + 2.0 + robots * 0.03
    await asyncio.gather(*({"sdk": sdk, "raw": raw}[kind](url, trust, n, robots, began) for n in range(robots)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
