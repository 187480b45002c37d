"""The page's worklets, sample by sample, in a browser that renders without real time."""

import pytest
from browsing import browser

pytestmark = pytest.mark.timeout(60)

UP = """async ({rate}) => {
  const context = new OfflineAudioContext({ numberOfChannels: 1, length: rate * 2, sampleRate: rate });
  await context.audioWorklet.addModule("/static/capture.js");
  const said = new Int16Array(rate);
  let seed = 7;
  for (let i = 0; i < said.length; i++) said[i] = ((seed = (seed * 1103515245 + 12345) & 0x7fffffff) >> 8) & 0xffff;
  const buffer = context.createBuffer(1, said.length, rate);
  buffer.copyToChannel(Float32Array.from(said, (x) => x / 32768), 0);
  const source = context.createBufferSource();
  source.buffer = buffer;
  const mono = { channelCount: 1, channelCountMode: "explicit", numberOfOutputs: 0 };
  const capture = new AudioWorkletNode(context, "capture", mono);
  const channel = new MessageChannel();
  const heard = [];
  const lengths = new Set();
  channel.port2.onmessage = ({ data }) => { heard.push(...new Int16Array(data)); lengths.add(data.byteLength); };
  capture.port.postMessage({ port: channel.port1 }, [channel.port1]);
  const answered = new Promise((done) => { capture.port.onmessage = ({ data }) => { if (data.pong === 1) done(); }; });
  capture.port.postMessage({ ping: 1 });
  await answered;
  source.connect(capture);
  source.start();
  await context.startRendering();
  const again = new Promise((done) => { capture.port.onmessage = ({ data }) => { if (data.pong === 2) done(); }; });
  capture.port.postMessage({ ping: 2 });
  await again;
  await new Promise((done) => setTimeout(done, 50));
  let differ = 0;
  for (let i = 0; i < said.length; i++) differ += said[i] !== heard[i];
  return { differ, heard: heard.length, lengths: [...lengths] };
}"""

DOWN = """async ({rate, flushAt}) => {
  const context = new OfflineAudioContext({ numberOfChannels: 1, length: rate, sampleRate: rate });
  await context.audioWorklet.addModule("/static/playback.js");
  const playback = new AudioWorkletNode(context, "playback", { numberOfInputs: 0, outputChannelCount: [1] });
  const channel = new MessageChannel();
  playback.port.postMessage({ port: channel.port1 }, [channel.port1]);
  playback.connect(context.destination);
  const chunk = rate / 50;
  const said = new Float32Array(chunk * 30);
  for (let i = 0; i < said.length; i++) said[i] = Math.round(20000 * Math.sin(i / 9) + 5000 * Math.sin(i / 2.3)) / 32768;
  let flushed = null;
  let pong = null;
  playback.port.onmessage = ({ data }) => {
    if ("flushed" in data) flushed = data.flushed;
    if ("pong" in data) pong();
  };
  const arrive = async () => {  // what was posted on the other port comes first, as messages of one thread do
    await new Promise((done) => setTimeout(done, 5));
    const there = new Promise((done) => { pong = done; });
    playback.port.postMessage({ ping: 1 });
    await there;
  };
  const at = (frame, what) => context.suspend(frame / rate).then(async () => { what(); await arrive(); context.resume(); });
  const began = 128 * 20;
  const moments = [];
  for (let n = 0; n < 30; n++) {
    const pcm = Int16Array.from(said.subarray(n * chunk, (n + 1) * chunk), (x) => x * 32768).buffer;
    moments.push([began + Math.floor((n * chunk) / 128) * 128, () => channel.port2.postMessage(pcm, [pcm])]);
  }
  moments.push([flushAt, () => channel.port2.postMessage("flush")]);
  const grouped = new Map();
  for (const [frame, what] of moments) if (frame <= flushAt) grouped.set(frame, [...(grouped.get(frame) || []), what]);
  for (const [frame, whats] of grouped) at(frame, () => whats.forEach((what) => what()));
  const out = (await context.startRendering()).getChannelData(0);
  const first = out.findIndex((x) => x !== 0) - said.findIndex((x) => x !== 0);
  let error = 0;
  for (let i = first; i < flushAt; i++) error = Math.max(error, Math.abs(out[i] - said[i - first]));
  let last = out.length - 1;
  while (last > 0 && out[last] === 0) last--;
  return { error, flushed, leadMs: ((first - began) / rate) * 1000, fadeMs: ((last + 1 - flushAt) / rate) * 1000 };
}"""


@pytest.mark.parametrize("rate", [44100, 48000])
async def test_what_the_page_says_and_plays_is_exact(everything, rate, measured):
    _, _, console = everything
    async with browser() as chromium:
        page = await chromium.new_page()
        await page.goto(console.url)
        up = await page.evaluate(UP, {"rate": rate})
        assert up["differ"] == 0
        assert up["lengths"] == [rate // 50 * 2]
        assert up["heard"] >= rate
        down = await page.evaluate(DOWN, {"rate": rate, "flushAt": 128 * 150})
        measured(f"playback at {rate} Hz: {down}")
        assert down["error"] == 0
        assert down["flushed"] == 128 * 150
        assert 0 < down["fadeMs"] <= 3.1
        assert 10 <= down["leadMs"] <= 45
