// Plays a recording: the sound of both sides, the words in step with the sound, and the body's movements.

import { at, make, mark, put } from "/static/dom.js";
import { BYTES_MAX, isPose, poseAt, read } from "/static/recording.js";
import { Robot } from "/static/robot.js";
import { STATES, minutes } from "/static/words.js";

const LINES_MAX = 2000;
const LEVEL_S = 0.05;
const HEIGHT = 96;          // height of the waveform, in px of the page

export class Player {
  constructor() {
    this.dialog = at("player");
    this.picture = new Robot(at("player-picture"), matchMedia("(prefers-reduced-motion: reduce)").matches);
    this.canvas = at("player-wave").querySelector("canvas");
    this.recording = null;
    this.source = null;
    this.from_s = 0;
    this.asked = 0;
    at("player-close").onclick = () => this.dialog.close();
    at("player-play").onclick = () => (this.source ? this.pause() : this.play());
    at("player-seek").oninput = () => this.seek(Number(at("player-seek").value));
    at("player-wave").onclick = (event) => {
      const { left, width } = at("player-wave").getBoundingClientRect();
      if (this.recording) this.seek(((event.clientX - left) / width) * this.recording.seconds);
    };
    this.dialog.onclose = () => this.close();
    addEventListener("resize", () => this.draw());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  // --- loading ---------------------------------------------------------------------------------------------------------

  playFrom(href, title) {
    return this.open(title, async () => {
      const response = await fetch(href);
      if (!response.ok) throw new Error(`The recording cannot be loaded: ${(await response.text()).slice(0, 300) || response.status}`);
      if (Number(response.headers.get("content-length")) > BYTES_MAX) throw new Error("The recording is larger than 80 MB, too large for this page. Download it.");
      const pieces = [];
      let sum = 0;
      for (const reader = response.body.getReader(); ; ) {
        const { done, value } = await reader.read();
        if (done) break;
        sum += value.byteLength;
        if (!this.dialog.open) {
          reader.cancel();
          throw new Error("");
        }
        if (sum > BYTES_MAX) {
          reader.cancel();
          throw new Error("The recording is larger than 80 MB, too large for this page. Download it.");
        }
        pieces.push(value);
      }
      return new Blob(pieces).arrayBuffer();
    });
  }

  playFile(file) {
    return this.open(file.name, () => {
      if (file.size > BYTES_MAX) throw new Error("The file is larger than 80 MB, too large for this page.");
      return file.arrayBuffer();
    });
  }

  async open(title, bytes) {
    const asked = ++this.asked;
    put(at("player-title"), title);
    put(at("player-words"), "Loading the recording …");
    at("player-all").hidden = true;
    if (!this.dialog.open) this.dialog.showModal();
    try {
      const recording = read(await bytes());
      if (asked !== this.asked || !this.dialog.open) return;
      put(at("player-words"), recording.seconds ? "" : "This recording has no sound.");
      this.take(recording);
    } catch (error) {
      if (asked === this.asked) put(at("player-words"), error instanceof TypeError ? "The recording cannot be loaded: the console does not answer." : error.message);
    }
  }

  take(recording) {
    this.recording = recording;
    this.poses = recording.events.filter(isPose);
    this.states = recording.events.filter((each) => each.kind === "state");
    this.lines = lines(recording.events);
    at("player-lines").replaceChildren(...this.lines.map((line) => this.line(line)));
    at("player-seek").max = recording.seconds.toFixed(1);
    at("player-all").hidden = false;
    at("player-picture").hidden = !this.poses.length;
    this.shown = -1;
    this.draw();
    this.seek(0);
    at("player-play").focus();
  }

  line({ t, who, text }) {
    const [jump, words] = [make("button", { type: "button", "aria-label": `Go to ${minutes(t)}` }, minutes(t)), make("span", { class: "text" })];
    words.textContent = text;
    jump.onclick = () => this.seek(t);
    const element = make("li", {}, jump, make("span", { class: "who" }, { person: "Person", robot: "Robot" }[who] || ""), words);
    element.dataset.who = who;
    return element;
  }

  // --- playing ---------------------------------------------------------------------------------------------------------

  now() {
    if (!this.source) return this.from_s;
    return Math.min(this.recording.seconds, this.from_s + Math.max(0, this.context.currentTime - this.began));
  }

  play() {
    const { recording } = this;
    if (!recording || !recording.seconds) return;
    if (this.from_s >= recording.seconds - 0.05) this.from_s = 0;
    this.context = this.context || new AudioContext();
    this.context.resume();
    if (!this.buffer) {
      this.buffer = this.context.createBuffer(2, recording.sides[0].length, recording.rate_hz);
      recording.sides.forEach((side, n) => this.buffer.copyToChannel(side, n));
      recording.sides = [0, 1].map((n) => this.buffer.getChannelData(n));  // a quarter of an hour takes 115 MB, so keep only this copy
    }
    this.source = this.context.createBufferSource();
    this.source.buffer = this.buffer;
    this.source.connect(this.context.destination);
    const { source } = this;
    source.onended = () => {
      if (this.source === source) this.pause();
    };
    source.start(0, this.from_s);
    this.began = this.context.currentTime;
    put(at("player-play"), "Pause");
    this.follow();
  }

  pause() {
    this.from_s = this.now();
    const { source } = this;
    this.source = null;
    if (source) source.stop();
    put(at("player-play"), "Play");
    cancelAnimationFrame(this.frame);
    if (this.recording) this.show(this.from_s);
  }

  seek(t) {
    const goesOn = this.source !== null;
    if (goesOn) this.pause();
    this.from_s = Math.max(0, Math.min(this.recording.seconds, t));
    if (goesOn) this.play();
    else this.show(this.from_s);
  }

  close() {
    this.pause();
    this.asked++;
    if (this.context) this.context.close();
    this.context = this.buffer = this.recording = null;
    this.poses = this.states = this.lines = [];
    at("player-lines").replaceChildren();
  }

  follow() {
    if (!this.source) return;
    this.show(this.now());
    this.frame = requestAnimationFrame(() => this.follow());
  }

  show(t) {
    const { recording } = this;
    put(at("player-time"), `${minutes(t)} / ${minutes(recording.seconds)}`);
    at("player-seek").value = t;
    at("player-seek").setAttribute("aria-valuetext", `${minutes(t)} of ${minutes(recording.seconds)}`);
    at("player-head").style.left = `${recording.seconds ? (100 * t) / recording.seconds : 0}%`;
    const pose = poseAt(this.poses, t);
    if (pose) this.picture.pose(pose);
    this.picture.level(this.source ? loudness(recording, t) : 0);
    const state = last(this.states, t);
    put(at("player-state"), state >= 0 ? STATES[this.states[state].state] || String(this.states[state].state) : "");
    this.highlight(last(this.lines, t));
  }

  highlight(n) {
    if (n === this.shown) return;
    const list = at("player-lines");
    const [old, line] = [list.children[this.shown], list.children[n]];
    if (old) old.removeAttribute("aria-current");
    this.shown = n;
    if (!line) return;
    line.setAttribute("aria-current", "true");
    const [top, bottom] = [line.offsetTop - list.offsetTop, line.offsetTop - list.offsetTop + line.offsetHeight];
    if (top < list.scrollTop || bottom > list.scrollTop + list.clientHeight) list.scrollTop = top - list.clientHeight / 3;
  }

  // --- drawing ---------------------------------------------------------------------------------------------------------

  // The person above, the robot below, and events as marks. Drawn once for each size; the position bar moves over the drawing.
  draw() {
    if (!this.recording) return;
    const { sides, seconds, events, rate_hz } = this.recording;
    const width = Math.max(1, Math.round(at("player-wave").clientWidth));
    const scale = devicePixelRatio || 1;
    this.canvas.width = width * scale;
    this.canvas.height = HEIGHT * scale;
    const pen = this.canvas.getContext("2d");
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
    pen.scale(scale, scale);
    for (const { t, kind, complete } of events) {
      const name = { turn: complete === false ? "--refused" : "--line", flush: "--refused", act: "--waiting", note: "--thinking" }[kind];
      if (!name || !seconds) continue;
      pen.fillStyle = colour(name);
      pen.fillRect(Math.round((t / seconds) * width), 0, 1, HEIGHT);
    }
    sides.forEach((side, n) => {
      pen.fillStyle = colour(n ? "--speaking" : "--listening");
      const middle = HEIGHT * (n ? 0.75 : 0.25);
      const each = side.length / width;
      const step = Math.max(1, Math.floor(each / 200));  // about 200 samples for each column are enough
      for (let x = 0; x < width; x++) {
        let peak = 0;
        for (let at = Math.floor(x * each); at < (x + 1) * each && at < side.length; at += step) peak = Math.max(peak, Math.abs(side[at]));
        const half = Math.max(0.5, Math.sqrt(peak) * HEIGHT * 0.23);
        pen.fillRect(x, middle - half, 1, 2 * half);
      }
    });
    mark(this.canvas, "drawn", `${Math.round(seconds * rate_hz)}`);
  }
}

// Index of the last element with a time up to t; -1 if there is none.
function last(list, t) {
  let [low, high] = [0, list.length];
  while (low < high) {
    const mid = (low + high) >> 1;
    if (list[mid].t <= t) low = mid + 1;
    else high = mid;
  }
  return low - 1;
}

function loudness({ sides, rate_hz }, t) {
  const [from, size] = [Math.floor(t * rate_hz), Math.floor(LEVEL_S * rate_hz)];
  const heard = sides[1].subarray(Math.max(0, from - size), from);
  let sum = 0;
  for (const each of heard) sum += each * each;
  return heard.length ? Math.sqrt(sum / heard.length) : 0;
}

// The recording's lines: spoken words, joined into paragraphs, and events.
function lines(events) {
  const found = [];
  const byTurn = new Map();
  let persons = null;
  for (const it of events) {
    if (found.length >= LINES_MAX) break;
    const words = (value) => String(value ?? "").slice(0, 500);
    if (it.kind === "said" && it.who === "person") {
      if (persons) persons.text += words(it.text);
      else found.push((persons = { t: it.t, who: "person", text: words(it.text) }));
    } else if (it.kind === "said") {
      const known = it.turn === null ? undefined : byTurn.get(it.turn);
      if (known) known.text += words(it.text);
      else {
        const made = { t: it.t, who: "robot", text: words(it.text) };
        byTurn.set(it.turn, made);
        found.push(made);
        persons = null;
      }
    } else if (it.kind === "act") found.push({ t: it.t, who: "", text: `action: ${words(it.name)} ${words(Object.values(it.args && typeof it.args === "object" ? it.args : {}).join(", "))}` });
    else if (it.kind === "note") found.push({ t: it.t, who: "", text: words(it.words) });
    else if (it.kind === "flush") found.push({ t: it.t, who: "", text: "the person interrupts" });
    else if (it.kind === "turn") found.push({ t: it.t, who: "", text: `turn ${words(it.turn)} has ended${Number.isFinite(it.total_ms) ? `; first sound after ${Math.round(it.total_ms)} ms` : ""}${it.complete === false ? ", cut short" : ""}` });
  }
  return found;
}
