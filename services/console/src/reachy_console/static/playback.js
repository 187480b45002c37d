// The speaker: plays PCM (signed 16 bit) that arrives through the port given at the start, LEAD_S after its arrival.
// Running dry is normal: a turn has ended, or the network is late. After a stall all delayed audio arrives at once. More than
// BEHIND_S of queued audio drops the oldest, because the console believes that the person has already heard the oldest.

const RING_S = 4;
const BEHIND_S = 0.5;
const DECAY = 0.97;         // per sample after running dry, so that no click is heard
const LEAD_S = 0.03;
const FADE_S = 0.003;
const LEVEL_S = 0.1;

class Playback extends AudioWorkletProcessor {
  constructor(options) {
    super();
    this.ring = new Float32Array(Math.round(sampleRate * RING_S));
    this.head = 0;          // index of the next sample to read
    this.size = 0;
    this.lead = Math.round(sampleRate * LEAD_S);
    this.waits = true;      // whether playback waits for the lead to fill
    this.since = 0;         // frames of that wait, counted while there is something to play
    this.fade = 0;          // remaining frames of the fade that a flush began
    this.fadeFrames = Math.max(1, Math.round(sampleRate * FADE_S));
    this.dropped = 0;
    this.most = Math.round(sampleRate * BEHIND_S);
    this.tail = 0;
    this.sum = 0;
    this.counted = 0;
    const take = ({ data }) => {
      if (data instanceof ArrayBuffer) this.push(new Int16Array(data));
      else if (data === "flush") this.flush();
      else if (data.port) {
        data.port.onmessage = take;
        this.from = data.port;
      } else if ("ping" in data) this.port.postMessage({ pong: data.ping });
    };
    this.port.onmessage = take;
  }

  push(samples) {
    for (let i = 0; i < samples.length; i++) {
      if (this.size === this.most) {
        this.head = (this.head + 1) % this.ring.length;
        this.size--;
        if (this.fade) this.fade--;
        this.dropped++;
      }
      this.ring[(this.head + this.size++) % this.ring.length] = samples[i] / 32768;
    }
  }

  flush() {
    if (this.waits || !this.size) this.forget();
    else {
      this.fade = Math.min(this.size, this.fadeFrames);
      this.size = this.fade;
    }
    this.port.postMessage({ flushed: currentFrame, dropped: this.dropped });
  }

  forget() {
    this.size = this.fade = this.since = 0;
    this.waits = true;
  }

  process(_, [[out]]) {
    if (this.waits && this.size) {
      this.since += out.length;
      if (this.size >= this.lead || this.since >= this.lead) this.waits = false;
    }
    for (let i = 0; i < out.length; i++) {
      if (this.waits || !this.size) {
        this.tail = Math.abs(this.tail) > 1e-4 ? this.tail * DECAY : 0;
        out[i] = this.tail;
        continue;
      }
      let sample = this.ring[this.head];
      this.head = (this.head + 1) % this.ring.length;
      this.size--;
      this.tail = this.fade ? 0 : sample;
      if (this.fade) sample *= this.fade-- / this.fadeFrames;
      out[i] = sample;
      this.sum += sample * sample;
      if (!this.size) this.forget();
    }
    this.counted += out.length;
    if (this.counted >= sampleRate * LEVEL_S) {
      this.port.postMessage({ level: Math.sqrt(this.sum / this.counted) });
      this.sum = this.counted = 0;
    }
    return true;
  }
}

registerProcessor("playback", Playback);
