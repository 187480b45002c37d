// A turn's latency as a bar of five parts, in the order of time; and many turns as a strip of such bars.

import { make, put } from "/static/dom.js";
import { lasting, ms } from "/static/words.js";

export const PARTS = { link_up: "link to gateway", voice: "voice", gateway: "gateway", link_down: "link to robot", playout: "speaker" };
const FULL_MS = 2000;       // the bar's whole width, the same for all bars, so that bars can be compared
const SLOTS = 100;
const SVG = "http://www.w3.org/2000/svg";

export function figures(turn) {
  const said = [`turn ${turn.turn}`];
  if (turn.total_ms === null) said.push("response time unknown");
  else said.push(`${ms(turn.total_ms)} from the end of speech to the first sound`);
  for (const [part, name] of Object.entries(PARTS)) if (part in turn.parts_ms) said.push(`${name} ${ms(turn.parts_ms[part])}`);
  if (!turn.complete) said.push("cut short");
  return said.join(", ");
}

export class TurnBar {
  constructor(cut = "cut") {
    this.words = cut;
    this.bar = make("span", { class: "bar" });
    this.parts = Object.keys(PARTS).map((part) => make("span", { class: `part part-${part}` }));
    this.bar.append(...this.parts);
    this.total = make("span", { class: "total" });
    this.cut = make("span", { class: "cut" });
    this.element = make("span", { class: "turn-bar", role: "img", "aria-label": "no turn yet" }, this.bar, this.total, this.cut);
    this.shown = null;
  }

  show(turn) {
    const words = turn ? figures(turn) : "no turn yet";
    if (this.shown === words) return;
    this.shown = words;
    this.element.setAttribute("aria-label", words);
    this.element.title = turn ? words.replaceAll(", ", "\n") : words;
    const sizes = turn ? Object.keys(PARTS).map((part) => turn.parts_ms[part] || 0) : [0, 0, 0, 0, 0];
    const full = Math.max(FULL_MS, sizes.reduce((sum, each) => sum + each, 0));
    this.parts.forEach((part, n) => { part.style.width = `${(100 * sizes[n]) / full}%`; });
    this.bar.classList.toggle("over", full > FULL_MS);
    put(this.total, turn ? (turn.total_ms === null ? "–" : ms(turn.total_ms)) : "");
    put(this.cut, turn && !turn.complete ? this.words : "");
  }
}

export function legend() {
  return make("p", { class: "legend" }, ...Object.entries(PARTS).map(([part, name]) => make("span", {}, make("span", { class: `part part-${part}` }), name)));
}

// The newest turn is on the right. The arrow keys or the mouse choose a turn; its numbers are shown beneath.
export class Strip {
  constructor(place, words) {
    this.words = words;
    this.turns = [];
    this.chosen = -1;
    this.svg = document.createElementNS(SVG, "svg");
    for (const [name, value] of Object.entries({ viewBox: `0 0 ${SLOTS} 60`, preserveAspectRatio: "none", "aria-hidden": "true" })) this.svg.setAttribute(name, value);
    this.scale = make("span", { class: "scale" });
    this.element = make("div", { class: "strip", role: "slider", tabindex: 0, "aria-label": "response times of the newest turns", "aria-valuemin": 0, "aria-valuenow": 0, "aria-valuemax": 0, "aria-valuetext": "no turn yet" }, this.svg);
    place.append(this.element, this.scale);
    this.element.onpointermove = (event) => {
      const { left, width } = this.element.getBoundingClientRect();
      this.choose(Math.floor(((event.clientX - left) / width) * SLOTS) - (SLOTS - this.turns.length));
    };
    this.element.onpointerleave = () => this.choose(this.turns.length - 1);
    this.element.onkeydown = (event) => {
      const to = { ArrowLeft: this.chosen - 1, ArrowDown: this.chosen - 1, ArrowRight: this.chosen + 1, ArrowUp: this.chosen + 1, Home: 0, End: this.turns.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      this.choose(to);
    };
  }

  show(turns) {
    const key = turns.map((each) => `${each.from} ${each.turn} ${each.at}`).join();
    if (this.shown === key) return;
    this.shown = key;
    const follows = this.chosen < 0 || this.chosen === this.turns.length - 1;
    this.turns = turns.slice(-SLOTS);
    const most = Math.max(1000, ...this.turns.map((each) => each.total_ms || 0));
    const top = Math.ceil(most / 500) * 500;
    put(this.scale, `full height: ${(top / 1000).toFixed(1)} s`);
    this.svg.replaceChildren(...this.turns.map((turn, n) => this.column(turn, SLOTS - this.turns.length + n, 54 / top)));
    this.element.setAttribute("aria-valuemax", Math.max(0, this.turns.length - 1));
    this.choose(follows ? this.turns.length - 1 : this.chosen);
  }

  column(turn, x, scale) {
    const group = document.createElementNS(SVG, "g");
    const rect = (name, y, height) => {
      const made = document.createElementNS(SVG, "rect");
      for (const [key, value] of Object.entries({ class: name, x: x + 0.12, y, width: 0.76, height })) made.setAttribute(key, value);
      group.append(made);
    };
    let y = 54;
    for (const part of Object.keys(PARTS)) {
      const height = (turn.parts_ms[part] || 0) * scale;
      if (height) rect(`part part-${part}`, (y -= height), height);
    }
    if (y === 54) rect("nothing", 53, 1);
    if (!turn.complete) rect("cut-mark", 56, 4);
    return group;
  }

  choose(n) {
    if (!this.turns.length) {
      this.chosen = -1;
      put(this.words, "No turn yet.");
      this.element.setAttribute("aria-valuetext", "no turn yet");
      return;
    }
    this.chosen = Math.max(0, Math.min(this.turns.length - 1, n));
    [...this.svg.children].forEach((each, at) => each.classList.toggle("chosen", at === this.chosen));
    const turn = this.turns[this.chosen];
    const said = `${figures(turn)}, ended ${lasting(Math.max(0, this.turns[this.turns.length - 1].at - turn.at))} before the newest turn`;
    const words = this.chosen === this.turns.length - 1 ? figures(turn) : said;
    put(this.words, words);
    this.element.setAttribute("aria-valuenow", this.chosen);
    this.element.setAttribute("aria-valuetext", words);
  }
}
