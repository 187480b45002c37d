// Fleet view: the gateways' standing, one row for each robot, and the refused keys.

import { Level, at, make, mark, order, put } from "/static/dom.js";
import { ROBOT } from "/static/fleetstate.js";
import { TurnBar, legend } from "/static/turnbar.js";
import { STATES, clock, lasting, money, ms, share, standing } from "/static/words.js";
import { askFrom, door } from "/static/wire.js";

const COLUMNS = {
  name: "Robot",
  state: "State",
  since: "For",
  mic: "Mic",
  speaker: "Speaker",
  "last-turn": "Last turn",
  p50: "Median",
  turns: "Turns (cut)",
  underruns: "Under­runs",
  drops: "Drops",
  faults: "Bugs",
  money: "Cost today",
  gateway: "Gateway",
};
const SILENT = "no report yet: is the gateway running, is GATEWAY_ADMIN_PORT set, and is this console's key an operator's? See docs/admin.md";
const DEAR = 0.8;           // the part of the budget from which on the cost is shown as a warning
const TROUBLE = new Set(["away", "refused", "reconnecting", "stale", "unknown"]);
export const VIEWER = "You may look, but not change anything. To change something, ask for an operator's link.";

export class Fleet {
  constructor(state) {
    this.state = state;
    this.gateways = new Map();
    this.robots = new Map();
    this.strangers = new Map();
    this.told = new Map();  // the last words for screen readers, by gateway and robot
    this.rows = [];
    const cells = Object.entries(COLUMNS).map(([name, words]) => make("th", { class: name, scope: "col", role: "columnheader" }, words));
    at("fleet-head").append(...cells);
    at("fleet").before(legend());
    at("filter").oninput = () => this.showRows();
    at("filter").onkeydown = (event) => {
      if (event.key === "Escape") {
        at("filter").value = "";
        this.showRows();
      }
    };
    at("view-fleet").addEventListener("keydown", (event) => this.move(event));
    at("admit-form").onsubmit = (event) => {
      event.preventDefault();
      this.admit();
    };
  }

  show(now) {
    const gateways = this.state.standings(now);
    const known = this.state.gateways !== null;
    at("no-gateways").hidden = !known || gateways.length > 0;
    at("fleet-waits").hidden = known;
    at("fleet-all").hidden = !gateways.length;
    this.showGateways(gateways);
    this.rows = this.state.rows(now);
    const reported = gateways.some((each) => each.whole);
    this.showRows(reported);
    this.showStrangers(this.state.strangers(now), reported);
    this.speak(gateways);
    const may = door.role === "operator" && gateways.some((each) => !each.whole || each.whole.role === "operator");
    at("admit-fields").disabled = !may;
    put(at("admit-why-not"), may ? "" : door.role === "operator" ? "The gateways allow this console only to look. To admit robots, make its key an operator's key: docs/admin.md says how." : VIEWER);
  }

  // --- gateways --------------------------------------------------------------------------------------------------------

  showGateways(gateways) {
    order(at("gateways"), gateways.map((gateway) => {
      if (!this.gateways.has(gateway.name)) this.gateways.set(gateway.name, makeGateway(gateway.name));
      const { element, sign, age, facts, voice, money: spent } = this.gateways.get(gateway.name);
      const { whole } = gateway;
      mark(element, "standing", gateway.standing);
      put(sign, gateway.standing);
      const ago = gateway.age_s === null ? SILENT : `last report ${lasting(gateway.age_s)} ago`;
      put(age, gateway.standing === "here" || gateway.standing === "asking" ? "" : ago);
      const here = whole ? `${whole.here} of at most ${whole.max_robots} robots connected, ${whole.admitted} admitted` : "no data yet";
      put(facts, whole && whole.faults ? `${here}; ${whole.faults === 1 ? "1 bug" : `${whole.faults} bugs`} of the gateway` : here);
      put(voice, whole ? [whole.voice, whole.software, whole.fleet || "", whole.role === "viewer" ? "this console may only look" : ""].filter(Boolean).join(" · ") : "");
      showMoney(spent, whole);
      return element;
    }));
    for (const name of this.gateways.keys()) if (!gateways.some((each) => each.name === name)) this.gateways.delete(name);
  }

  // --- robots ----------------------------------------------------------------------------------------------------------

  showRows(reported) {
    const filter = at("filter").value.trim().toLowerCase();
    const wanted = this.rows.filter((row) => `${row.robot} ${row.gateway} ${STATES[row.state]}`.toLowerCase().includes(filter));
    order(at("fleet-rows"), wanted.map((row) => this.row(row)));
    const names = new Set(this.rows.map((row) => row.robot));
    for (const name of this.robots.keys()) if (!names.has(name)) this.robots.delete(name);
    const here = this.rows.filter((row) => row.told !== "absent" && row.standing === "here").length;
    put(at("fleet-count"), `${here} of ${this.rows.length} robots connected${wanted.length < this.rows.length ? `; ${wanted.length} shown` : ""}`);
    const none = reported ? "No robot is admitted yet. Start a robot: its key appears below. Then admit the robot." : "No gateway has reported, so its robots are not known.";
    put(at("fleet-none"), this.rows.length ? (wanted.length ? "" : "No robot matches.") : none);
  }

  row(row) {
    if (!this.robots.has(row.robot)) this.robots.set(row.robot, makeRow(row.robot));
    const it = this.robots.get(row.robot);
    const { cells } = it;
    mark(it.element, "state", row.state);
    mark(it.element, "standing", row.standing);
    showState(it, row);
    put(it.recorded, row.recording ? "recorded" : "");
    put(cells.since, row.for_s === null ? "–" : lasting(row.for_s));
    it.mic.show(row.standing === "here" ? row.mic_db : null);
    it.speaker.show(row.standing === "here" ? row.speaker_db : null);
    it.turn.show(row.turn);
    put(cells.p50, row.p50_ms === null ? "–" : ms(row.p50_ms));
    put(cells.turns, `${row.turns} (${row.cut})`);
    for (const name of ["underruns", "drops", "faults"]) {
      put(cells[name], String(row[name]));
      cells[name].classList.toggle(name === "faults" ? "bad" : "some", row[name] > 0);
    }
    showMoney(it.money, row);
    put(cells.gateway, row.gateway);
    return it.element;
  }

  // Up and down move from row to row, and Enter follows the link. The page handles "/".
  move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const row = event.target.closest("[data-robot]");
    if (!step || !(row || event.target === at("filter"))) return;
    const rows = [...at("fleet-rows").children];
    const next = rows.indexOf(row) + step;
    event.preventDefault();
    if (next < 0) at("filter").focus();
    else if (rows[next]) rows[next].querySelector("a").focus();
  }

  focus(robot) {
    const it = this.robots.get(robot);
    if (it) it.element.querySelector("a").focus();
  }

  // --- refused keys ----------------------------------------------------------------------------------------------------

  showStrangers(strangers, reported) {
    put(at("no-strangers"), strangers.length ? "" : reported ? "None." : "Not known.");
    order(at("strangers"), strangers.map((each) => {
      if (!this.strangers.has(each.key)) {
        const start = make("b");
        start.textContent = each.key.slice(0, 6);
        const made = { element: make("li"), about: make("span", { class: "about" }) };
        made.element.dataset.key = each.key;
        made.element.append(make("code", {}, start, each.key.slice(6)), made.about);
        this.strangers.set(each.key, made);
      }
      const it = this.strangers.get(each.key);
      const times = each.times === 1 ? "once" : `${each.times} times`;
      put(it.about, `from ${each.address}, refused ${times}, last at ${clock(each.at)}, by ${each.gateways.join(", ")}`);
      return it.element;
    }));
    for (const key of this.strangers.keys()) if (!strangers.some((each) => each.key === key)) this.strangers.delete(key);
  }

  // The operator types the name and the key, so that one wrong click does not admit a robot.
  async admit() {
    const [robot, key] = [at("admit-name").value.trim(), at("admit-key").value.trim()];
    const wrong = !ROBOT.test(robot) ? "Use only lower-case letters, digits and hyphens in the name, and begin with a letter or digit." : key.length < 6 || key.length > 40 ? "Type at least the first six characters of the key. The whole key has 40." : "";
    put(at("admit-words"), wrong);
    if (wrong) return;
    const gateways = this.state.gateways.map((each) => each.name);
    const answers = await askFrom(at("admit"), at("admit-words"), gateways, { kind: "admit", robot, key });
    if (!answers.length || !answers.every((each) => each.ok)) return;
    if (at("admit-name").value.trim() === robot) at("admit-name").value = "";
    if (at("admit-key").value.trim() === key) at("admit-key").value = "";
  }

  // --- for screen readers ----------------------------------------------------------------------------------------------

  // Announce new trouble, and its end. Values that change with each turn are not announced.
  speak(gateways) {
    const news = [];
    const say = (key, words) => {
      if (this.told.has(key) && this.told.get(key) !== words) news.push(`${key} ${words}`);
      this.told.set(key, words);
    };
    for (const each of gateways) say(`gateway ${each.name}`, `is ${each.standing}`);
    for (const row of this.rows) {
      const told = TROUBLE.has(row.state) || row.state === "absent" ? `is ${STATES[row.state]}` : "works";
      say(row.robot, `${told}${row.faults ? `, ${row.faults} bugs` : ""}`);
    }
    for (const key of this.told.keys()) if (!key.startsWith("gateway ") && !this.robots.has(key)) this.told.delete(key);
    if (news.length) put(at("fleet-news"), `${news.slice(0, 5).join(". ")}.`);
  }
}

// --- elements that are made once and then changed ------------------------------------------------------------------------

function makeGateway(name) {
  const [sign, age, facts, voice, spent] = ["word", "age", "facts", "voice-words", "money"].map((each) => make("span", { class: each }));
  const title = make("b");
  title.textContent = name;
  const element = make("li", {}, make("span", { class: "top" }, title, make("span", { class: "standing" }, make("span", { class: "sign", "aria-hidden": "true" }), sign), age), facts, spent, voice);
  element.dataset.gateway = name;
  return { element, sign, age, facts, voice, money: makeMoney(spent) };
}

function makeRow(name) {
  const cells = {};
  const element = make("tr", { role: "row" });
  element.dataset.robot = name;
  for (const [column, words] of Object.entries(COLUMNS)) {
    cells[column] = make(column === "name" ? "th" : "td", { class: column, role: column === "name" ? "rowheader" : "cell", "data-label": words });
    element.append(cells[column]);
  }
  cells.name.setAttribute("scope", "row");
  const link = make("a", { href: `#/robot/${name}` });
  link.textContent = name;
  const recorded = make("span", { class: "recorded" });
  cells.name.append(link, recorded);
  const it = { element, cells, recorded, ...makeState(cells.state) };
  it.mic = new Level(`microphone of ${name}`);
  it.speaker = new Level(`speaker of ${name}`);
  it.turn = new TurnBar();
  cells.mic.append(it.mic.element);
  cells.speaker.append(it.speaker.element);
  cells["last-turn"].append(it.turn.element);
  it.money = makeMoney(cells.money);
  element.onclick = (event) => {
    if (!event.target.closest("a") && !String(getSelection())) link.click();
  };
  return it;
}

function makeState(place) {
  const [word, reason] = ["word", "reason"].map((each) => make("span", { class: each }));
  place.append(make("span", { class: "sign", "aria-hidden": "true" }), word, reason);
  return { word, reason };
}

// The words that mark a silent gateway's last report as old.
export function isOld({ standing: gateway, told, age_s }) {
  return gateway === "here" ? "" : `was ${STATES[told]}, last report: ${age_s === null ? "never" : `${lasting(age_s)} ago`}`;
}

function showState({ word, reason }, row) {
  put(word, standing(row));
  put(reason, [isOld(row), row.reason].filter(Boolean).join("; "));
}

export function makeMoney(place) {
  const words = make("span", { class: "sum" });
  const fill = make("span");
  const bar = make("span", { class: "budget", "aria-hidden": "true" }, fill);
  place.append(words, bar);
  return { place, words, fill, bar };
}

export function showMoney({ place, words, fill, bar }, it) {
  const part = it ? share(it) : null;
  put(words, it ? money(it) : "");
  bar.hidden = part === null;
  fill.style.width = `${100 * (part || 0)}%`;
  place.classList.toggle("dear", part !== null && part >= DEAR);
}
