"""Loops without a framework: ``bare.py URL ROOT ROBOTS MODE KIND``. A kind is ``sdk``, ``sdk+conversion`` or ``raw``.

``sdk`` is a bare google-genai loop for each robot. ``sdk+conversion`` also converts audio as a robot needs it: from stereo
float32, and to 16 kHz. ``raw`` uses plain WebSockets, with JSON by hand.
"""

import asyncio
import base64
import json
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import soxr
import websockets
from common import Ears, Push, Speaker, run
from google import genai
from google.genai import types

URL, ROOT, ROBOTS, MODE, KIND = sys.argv[1:6]
PATH = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
TRUST = ssl.create_default_context(cafile=ROOT)
KEEP: list[Any] = []


def converter() -> Callable[[bytes], bytes]:
    """A resampler from 24 to 16 kHz for one robot. It does the work but returns its input, because a mark would not survive."""
    stream = soxr.ResampleStream(24000, 16000, 1, dtype="int16")

    def convert(pcm: bytes) -> bytes:
        stream.resample_chunk(np.frombuffer(pcm, "<i2")).repeat(2).tobytes()
        return pcm

    return convert


def mono(pcm: bytes) -> bytes:
    """PCM16 mono from a robot's stereo float32."""
    floats = np.repeat(np.frombuffer(pcm, "<i2").astype(np.float32)[:, None] / 32768, 2, axis=1)
    pcm16: bytes = np.rint(floats.mean(axis=1) * 32768).clip(-32768, 32767).astype("<i2").tobytes()
    return pcm16


async def sdk_events(session: Any) -> AsyncIterator[bytes | None]:
    """Yield audio, and None for an interruption."""
    while True:
        async for message in session.receive():
            content = message.server_content
            if content and content.interrupted:
                yield None
            for part in (content and content.model_turn and content.model_turn.parts) or ():
                yield part.inline_data.data


async def raw_events(socket: Any) -> AsyncIterator[bytes | None]:
    """Yield audio, and None for an interruption."""
    while True:
        content = json.loads(await socket.recv(decode=False)).get("serverContent", {})
        if content.get("interrupted"):
            yield None
        for part in content.get("modelTurn", {}).get("parts", ()):
            yield base64.b64decode(part["inlineData"]["data"])


async def hear(robot: int, ears: Ears, events: AsyncIterator[bytes | None]) -> None:
    """Play what arrives: at once, or at the speaker's pace if it arrives in bursts."""
    speaker = Speaker(ears) if MODE == "bursts" else None
    convert = converter() if KIND == "sdk+conversion" else bytes
    async for pcm in events:
        if pcm is None:
            ears.flush(robot)
            if speaker:
                speaker.clear()
        elif speaker:
            speaker.put(convert(pcm))
        else:
            ears.hear(convert(pcm))


async def connect(robot: int, ears: Ears) -> Push:
    """Connect one robot."""
    if KIND == "raw":
        socket = await websockets.connect(URL.replace("https", "wss") + PATH, ssl=TRUST, compression=None, max_size=2**22)
        KEEP.append(socket)
        await socket.send('{"setup":{"model":"models/gemini-3.8-live"}}')
        KEEP.append(asyncio.create_task(hear(robot, ears, raw_events(socket))))

        async def send(pcm: bytes) -> None:
            data = base64.b64encode(pcm).decode()
            await socket.send(f'{{"realtime_input":{{"audio":{{"data":"{data}","mime_type":"audio/pcm;rate=16000"}}}}}}')

        return send
    options = types.HttpOptions(base_url=URL, api_version="v1beta", async_client_args={"ssl": TRUST, "compression": None})
    client = genai.Client(api_key="none", vertexai=False, http_options=options)
    config = types.LiveConnectConfig(response_modalities=[types.Modality.AUDIO])
    manager = client.aio.live.connect(model="gemini-3.8-live", config=config)
    session = await manager.__aenter__()
    KEEP.extend((client, manager, asyncio.create_task(hear(robot, ears, sdk_events(session)))))
    stereo = KIND == "sdk+conversion"

    async def push(pcm: bytes) -> None:
        pcm = mono(pcm) if stereo else pcm
        await session.send_realtime_input(audio=types.Blob(data=pcm, mime_type="audio/pcm;rate=16000"))

    return push


asyncio.run(run(connect, int(ROBOTS)))
