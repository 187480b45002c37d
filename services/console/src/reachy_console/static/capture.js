// The microphone: sends chunks of 20 ms of PCM (signed 16 bit) through the port that it is given at the start.

const CHUNK_S = 0.02;
const LEVEL_EVERY = 5;

class Capture extends AudioWorkletProcessor {
  constructor(options) {
    super();
    this.chunk = new Int16Array(Math.round(sampleRate * CHUNK_S));
    this.filled = 0;
    this.chunks = 0;
    this.peak = 0;
    this.muted = false;
    this.out = null;
    this.port.onmessage = ({ data }) => {
      if (data.port) this.out = data.port;
      if ("muted" in data) this.muted = data.muted;
      if ("ping" in data) this.port.postMessage({ pong: data.ping });
    };
  }

  process([[samples]]) {
    if (!samples) return true;  // no input is connected at the moment
    for (let i = 0; i < samples.length; i++) {
      const loud = Math.max(-1, Math.min(1, samples[i] || 0));  // NaN becomes silence
      this.peak = Math.max(this.peak, Math.abs(loud));
      this.chunk[this.filled++] = this.muted ? 0 : Math.max(-32768, Math.min(32767, Math.round(loud * 32768)));
      if (this.filled === this.chunk.length) this.send();
    }
    return true;
  }

  send() {
    const whole = this.chunk.slice().buffer;
    this.filled = 0;
    if (this.out) this.out.postMessage(whole, [whole]);
    if (++this.chunks % LEVEL_EVERY === 0) {
      this.port.postMessage({ level: this.peak });
      this.peak = 0;
    }
  }
}

registerProcessor("capture", Capture);
