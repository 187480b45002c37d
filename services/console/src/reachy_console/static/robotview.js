// Robot view: one robot in full, and the commands of an operator.

import { Conversation } from "/static/conversation.js";
import { around, diff } from "/static/diff.js";
import { Level, at, make, mark, order, put } from "/static/dom.js";
import { VIEWER, isOld, makeMoney, showMoney } from "/static/fleet.js";
import { Player } from "/static/player.js";
import { Robot } from "/static/robot.js";
import { Strip, TurnBar, legend } from "/static/turnbar.js";
import { clock, day, lasting, minutes, ms, size, standing } from "/static/words.js";
import { askFrom, door } from "/static/wire.js";

const MOVE_MS = 120;        // poses arrive every 100 ms
const LEVELS_OLD_S = 2;
const UPRIGHT = [0, 0, 0, 0, 0, 0, 0, 12, -12];  // for a robot that reports no pose
const DANCE_S = 8;
const FACTS = { since: "In this state", mic: "Microphone", speaker: "Speaker", gateway: "Gateway", money: "Cost today", rtt: "Round trip", median: "Median time", turns: "Turns", underruns: "Underruns", drops: "Drops", software: "Software", keys: "Keys" };

const calm = matchMedia("(prefers-reduced-motion: reduce)");

// Moves a picture smoothly from pose to pose.
class Mover {
  constructor(picture) {
    this.picture = picture;
    this.pose = null;
  }

  to(pose) {
    if (!this.pose || calm.matches) return this.set(pose);
    this.from = this.pose;
    this.aim = pose;
    this.began = performance.now();
    if (!this.frame) this.frame = requestAnimationFrame(() => this.step());
  }

  step() {
    this.frame = 0;
    const part = Math.min(1, (performance.now() - this.began) / MOVE_MS);
    this.set(this.from.map((from, n) => from + (this.aim[n] - from) * part));
    if (part < 1) this.frame = requestAnimationFrame(() => this.step());
  }

  set(pose) {
    this.pose = pose;
    this.picture.pose(pose);
  }
}

export class RobotView {
  constructor(state) {
    this.state = state;
    this.robot = null;
    this.row = null;
    this.picture = new Robot(at("robot-view-picture"), calm.matches);
    this.mover = new Mover(this.picture);
    this.levels = { mic: new Level("microphone"), speaker: new Level("speaker") };
    this.facts = {};
    for (const [name, words] of Object.entries(FACTS)) {
      this.facts[name] = make("dd", { class: name });
      at("robot-view-facts").append(make("dt", {}, words), this.facts[name]);
    }
    for (const name of ["mic", "speaker"]) this.facts[name].append(this.levels[name].element);
    this.money = makeMoney(this.facts.money);
    this.strip = new Strip(at("strip"), at("strip-words"));
    at("strip").before(legend());
    this.player = new Player();
    this.hands();
    this.forget();
  }

  // --- choosing the robot ----------------------------------------------------------------------------------------------

  look(robot, isShown) {
    if (!robot) put(at("robot-none-words"), "Choose a robot in the Fleet view.");
    if (!isShown || robot === this.robot) return;
    this.robot = robot;
    this.forget();
  }

  forget() {
    this.conversation = new Conversation();
    this.levelsAt = -Infinity;
    this.posed = false;
    this.persona = null;
    this.paragraphs = new Map();
    this.notes = new Map();
    this.recordings = new Map();
    this.mover.set(UPRIGHT);
    this.mover.aim = UPRIGHT;  // a movement that still runs ends there
    for (const id of ["turns", "notes", "recordings"]) at(id).replaceChildren();
    for (const id of ["say-text", "persona-text", "revoke-name"]) at(id).value = "";
    for (const id of ["say-words", "act-words", "persona-words", "record-words", "revoke-words"]) at(id).textContent = "";
    at("persona-change").hidden = true;
    this.showPersona();
  }

  // --- the gateways' messages ------------------------------------------------------------------------------------------

  hearDetail(message) {
    if (message.it.robot === this.robot) this.conversation.hearDetail(message);
  }

  hearEvent(message) {
    if (message.it.robot === this.robot) this.conversation.hearEvent(message);
  }

  // Called ten times a second, so only the moving parts are changed.
  hearLevels({ gateway, it }) {
    if (it.robot !== this.robot || document.hidden || at("view-robot").hidden || !this.row || gateway !== this.row.gateway) return;
    this.levelsAt = performance.now() / 1000;
    this.showLevels(it.mic_db, it.speaker_db);
    this.posed = it.pose !== null;
    if (it.pose) this.mover.to(it.pose);
  }

  showLevels(mic_db, speaker_db) {
    this.levels.mic.show(mic_db);
    this.levels.speaker.show(speaker_db);
    this.picture.level(speaker_db === null ? 0 : 10 ** (speaker_db / 20));
  }

  // --- showing ---------------------------------------------------------------------------------------------------------

  show(now) {
    this.row = this.state.rows(now).find((each) => each.robot === this.robot) || null;
    const { row } = this;
    at("robot-none").hidden = row !== null;
    at("robot-all").hidden = row === null;
    if (this.robot && !row) put(at("robot-none-words"), this.state.gateways === null ? "Waiting for this robot's data …" : `No gateway admits a robot called ${this.robot}.`);
    if (!row) return;
    put(at("robot-view-name"), this.robot);
    mark(at("robot-view-state"), "state", row.state);
    put(at("robot-view-words"), standing(row));
    put(at("robot-view-reason"), row.reason);
    put(at("robot-view-old"), isOld(row));
    put(at("robot-view-recorded"), row.recording ? "recorded" : "");
    const isLive = row.standing === "here" && now - this.levelsAt < LEVELS_OLD_S;
    if (!isLive) this.showLevels(row.standing === "here" ? row.mic_db : null, row.standing === "here" ? row.speaker_db : null);
    put(at("robot-view-pose"), isLive && !this.posed ? "This robot reports no pose." : "");
    this.showFacts(row);
    const told = this.conversation.told.get(row.gateway);
    this.showTurns(told);
    this.showNotes(row);
    this.showCommands(row, told);
    this.showRecordings(row, told);
  }

  showFacts(row) {
    const words = {
      since: row.for_s === null ? "unknown" : lasting(row.for_s),
      gateway: row.gateway,
      rtt: row.rtt_ms === null ? "unknown" : ms(row.rtt_ms),
      median: row.p50_ms === null ? "unknown" : ms(row.p50_ms),
      turns: `${row.turns}, ${row.cut} of them cut short`,
      underruns: String(row.underruns),
      drops: String(row.drops),
      software: row.software || "unknown",
      keys: row.keys.length ? row.keys.map((each) => `${each}…`).join(" ") : "none",
    };
    for (const [name, each] of Object.entries(words)) put(this.facts[name], each);
    showMoney(this.money, row);
  }

  showTurns(told) {
    at("not-shown").hidden = !told || told.may_show;
    this.strip.show(this.conversation.turns());
    const list = at("turns");
    const follows = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    const paragraphs = this.conversation.paragraphs();
    order(list, paragraphs.map((each) => this.paragraph(each)));
    const keys = new Set(paragraphs.map((each) => each.key));
    for (const key of this.paragraphs.keys()) if (!keys.has(key)) this.paragraphs.delete(key);
    if (follows) list.scrollTop = list.scrollHeight;
  }

  paragraph({ key, who, at: when, text, turn, over }) {
    if (!this.paragraphs.has(key)) {
      const [name, words] = [make("span", { class: "who" }, who === "person" ? "Person" : "Robot"), make("span", { class: "text" })];
      const made = { element: make("li", {}, make("time", {}, clock(when)), name, words), words, over: null };
      made.element.dataset.who = who;
      this.paragraphs.set(key, made);
    }
    const it = this.paragraphs.get(key);
    put(it.words, text);
    if (over && JSON.stringify(over) !== it.over) {
      it.over = JSON.stringify(over);
      if (it.facts) it.facts.remove();
      it.facts = turnFacts(over);
      it.element.append(it.facts);
      it.element.classList.add("turn");
      it.element.dataset.turn = String(turn);
      it.element.dataset.complete = String(over.complete);
    }
    return it.element;
  }

  showNotes(row) {
    put(at("faults"), row.faults === 0 ? "" : `${row.faults === 1 ? "1 bug" : `${row.faults} bugs`} of the gateway: please report what its log says.`);
    at("faults").classList.toggle("bad", row.faults > 0);
    const notes = this.conversation.notes().reverse();
    const keys = new Set();
    order(at("notes"), notes.map((note, n) => {
      const key = `${note.from} ${note.at} ${note.words}${notes.slice(0, n).filter((each) => each.at === note.at && each.words === note.words).length || ""}`;
      keys.add(key);
      if (!this.notes.has(key)) {
        const words = make("span", { class: "text" });
        words.textContent = note.words;
        const element = make("li", note.is_trouble ? { class: "trouble" } : {}, make("time", {}, clock(note.at)), words);
        if (note.is_trouble) words.prepend(make("b", {}, "Trouble: "));
        this.notes.set(key, element);
      }
      return this.notes.get(key);
    }));
    for (const key of this.notes.keys()) if (!keys.has(key)) this.notes.delete(key);
  }

  showCommands(row, told) {
    const may = door.role === "operator" && row.role === "operator";
    const why = may ? "" : door.role !== "operator" ? VIEWER : `The gateway ${row.gateway} allows this console only to look. To command, make its key an operator's key: docs/admin.md says how.`;
    put(at("robot-why-not"), why);
    for (const each of document.querySelectorAll("#view-robot .command")) each.disabled = !may;
    const body = told ? told.body : null;
    at("act").hidden = !body;
    at("no-body").hidden = !told || body !== null;
    put(at("no-body"), row.told === "absent" ? "The robot is not connected: it cannot move now." : "This robot has no moving body.");
    for (const [id, names] of [["act-gesture", body ? body.gestures : []], ["act-dance", body ? body.dances : []]]) {
      choices(at(id), names);
      at(id).disabled = at(`${id}-go`).disabled = !names.length;
    }
    at("revoke").disabled = at("revoke-name").value.trim() !== this.robot;
    mark(at("record"), "on", row.recording ? "yes" : "no");
    at("record").setAttribute("aria-pressed", String(row.recording));
    put(at("record"), row.recording ? "Stop recording" : "Record");
    const mayRecord = row.recording || (told && told.may_record);
    at("record").disabled = !mayRecord;
    put(at("record-why-not"), !told || mayRecord ? "" : "This robot may not be recorded. To allow recordings, set recordings = true in the robots file.");
  }

  showRecordings() {
    const found = this.state.recordings(this.robot);
    const keys = new Set();
    order(at("recordings"), found.map((each) => {
      const key = `${each.gateway} ${each.id}`;
      keys.add(key);
      if (!this.recordings.has(key)) this.recordings.set(key, this.recording(each));
      const it = this.recordings.get(key);
      put(it.about, `${day(each.at)}, ${minutes(each.seconds)} min, ${size(each.size_bytes)}`);
      return it.element;
    }));
    for (const key of this.recordings.keys()) if (!keys.has(key)) this.recordings.delete(key);
  }

  recording(each) {
    const about = make("span", { class: "figures" });
    const href = `/recording?gateway=${encodeURIComponent(each.gateway)}&id=${encodeURIComponent(each.id)}`;
    const play = make("button", { class: "play", type: "button", "aria-label": `Play the recording of ${day(each.at)}` }, "Play");
    const download = make("a", { class: "download", href, download: `${each.id}.zip`, "aria-label": `Download the recording of ${day(each.at)}` }, "Download");
    play.onclick = () => this.player.playFrom(href, `${this.robot}, ${day(each.at)}`);
    const element = make("li", {}, about, play, download);
    element.dataset.recording = each.id;
    return { element, about };
  }

  // --- buttons ---------------------------------------------------------------------------------------------------------

  hands() {
    at("say").onclick = () => this.say();
    const act = (button, name, args = () => ({})) => { at(button).onclick = () => this.command(at(button), at("act-words"), { kind: "act", name, args: args() }); };
    act("act-gesture-go", "gesture", () => ({ name: at("act-gesture").value }));
    act("act-dance-go", "dance", () => ({ name: at("act-dance").value, seconds: DANCE_S }));
    act("act-look-go", "look", () => ({ direction: at("act-look").value }));
    for (const name of ["stop", "rest", "wake"]) act(`act-${name}`, name);
    at("record").onclick = () => this.command(at("record"), at("record-words"), { kind: "record", on: !this.row.recording });
    at("revoke-name").oninput = () => { at("revoke").disabled = at("revoke-name").value.trim() !== this.robot; };
    at("revoke").onclick = () => this.revoke();
    at("play-file").onchange = () => {
      const [file] = at("play-file").files;
      if (file) this.player.playFile(file);
      at("play-file").value = "";
    };
    at("persona-read").onclick = () => this.read();
    at("persona-check").onclick = () => this.save(at("persona-check"), true);
    at("persona-save").onclick = () => this.compare();
    at("persona-confirm").onclick = () => this.save(at("persona-confirm"), false);
    at("persona-not").onclick = () => { at("persona-change").hidden = true; };
    at("persona-text").oninput = () => this.showPersona();
    at("persona-copy").onclick = () => this.copy();
    at("persona-discard").onclick = () => {
      at("persona-text").value = this.persona.text;
      this.showPersona();
    };
  }

  // Send a command to the gateway that serves the robot, or to the given gateway. An answer that arrives after the choice of
  // another robot is not shown.
  async command(button, words, to_do, gateway = this.row.gateway) {
    const { robot } = this;
    const answers = await askFrom(button, words, gateway, { robot, ...to_do });
    if (robot === this.robot) return answers;
    words.textContent = "";
    return [];
  }

  async say() {
    const text = at("say-text").value.trim();
    if (!text) return put(at("say-words"), "Type the text for the robot first.");
    const [answer] = await this.command(at("say"), at("say-words"), { kind: "say", text });
    if (answer && answer.ok && at("say-text").value.trim() === text) at("say-text").value = "";
  }

  async revoke() {
    const answers = await this.command(at("revoke"), at("revoke-words"), { kind: "revoke" }, this.state.gateways.map((each) => each.name));
    if (answers.length && answers.every((each) => each.ok)) {
      at("revoke-name").value = "";
      at("revoke").disabled = true;
    }
  }

  // --- the persona -----------------------------------------------------------------------------------------------------

  // Read the file's text and its digest. Text that the user typed stays.
  async read() {
    const typed = at("persona-text").value;
    const wasEdited = this.persona && typed !== this.persona.text;
    const { gateway } = this.row;
    const [answer] = await this.command(at("persona-read"), at("persona-words"), { kind: "read_persona" }, gateway);
    if (!answer || !answer.ok || answer.text === null) return;
    const keeps = wasEdited || at("persona-text").value !== typed;
    this.persona = { text: answer.text, was: answer.was, may_save: answer.may_save, gateway };
    if (!keeps) at("persona-text").value = answer.text;
    else at("persona-words").textContent += "\nYour text is kept. Save shows how your text differs from the file's current text.";
    this.showPersona();
  }

  showPersona() {
    const { persona } = this;
    const edited = persona && at("persona-text").value !== persona.text;
    at("persona-text").disabled = !persona;
    at("persona-check").disabled = !persona;
    at("persona-save").disabled = !edited;
    at("persona-save").hidden = Boolean(persona) && !persona.may_save;
    at("persona-copy").hidden = !persona || persona.may_save;
    at("persona-discard").hidden = !edited;
    put(at("persona-read"), persona ? "Read again" : "Read");
    at("persona-change").hidden = true;  // the shown difference no longer matches the typed text
  }

  compare() {
    const lines = around(diff(this.persona.text, at("persona-text").value));
    at("persona-diff").replaceChildren(...lines.map((line) => {
      const [sign, text] = line || ["…", ""];
      const name = { "+": "added", "-": "removed", " ": "same" }[sign] || "left-out";
      const words = make(sign === "+" ? "ins" : sign === "-" ? "del" : "span");
      words.textContent = text || " ";
      return make("div", { class: name }, make("span", { class: "mark" }, sign === "-" ? "−" : sign), words);
    }));
    at("persona-change").hidden = false;
    at("persona-confirm").focus();
  }

  async save(button, only_check) {
    const text = at("persona-text").value;
    const { persona } = this;
    const [answer] = await this.command(button, at("persona-words"), { kind: "save_persona", text, was: persona.was, only_check }, persona.gateway);
    if (!answer || only_check) return;
    at("persona-change").hidden = true;
    if (!answer.ok) {
      at("persona-words").textContent += "\nYour text is kept. If the file has changed in the meantime, press Read again, then Save.";
      return;
    }
    this.persona = { ...persona, text, was: answer.was || persona.was };
    this.showPersona();
    if (!answer.was) {
      const words = at("persona-words").textContent;
      await this.read();
      at("persona-words").textContent = words;
    }
  }

  async copy() {
    try {
      await navigator.clipboard.writeText(at("persona-text").value);
      put(at("persona-words"), "Copied. Paste the text into the gateway's robots file.");
    } catch {
      at("persona-text").select();
      put(at("persona-words"), "The browser does not allow the page to copy. The text is selected: copy the text yourself.");
    }
  }
}

function turnFacts(turn) {
  const bar = new TurnBar("cut short");
  bar.show(turn);
  const more = [];
  for (const { name, outcome, ms: took } of turn.calls) more.push(`tool ${name}: ${outcome}, ${ms(took)}`);
  if (turn.barge_in_ms !== null) more.push(`silent ${ms(turn.barge_in_ms)} after the interruption`);
  if (turn.underruns) more.push(turn.underruns === 1 ? "1 underrun" : `${turn.underruns} underruns`);
  const words = make("span", { class: "more" });
  words.textContent = [`played ${(turn.played_ms / 1000).toFixed(1)} s`, ...more].join(" · ");
  return make("span", { class: "turn-facts" }, bar.element, words);
}

function choices(select, names) {
  if (names.join() === [...select.options].map((each) => each.value).join()) return;
  const chosen = select.value;
  select.replaceChildren(...names.map((name) => {
    const option = make("option", { value: name });
    option.textContent = name.replaceAll("_", " ");
    option.selected = name === chosen;
    return option;
  }));
}
