// Talk view: checks, one big button, and the robot. The conversation goes on while another view is shown.

import { at } from "/static/dom.js";
import { Robot } from "/static/robot.js";
import { door, worker } from "/static/wire.js";

const RATE_MAX_HZ = 48000;
const SAID_MAX = 100;
const HEARD_S = 4;          // a microphone that delivers only zeros for this long is reported as mute
const MUTE_S = 60;          // the same for a microphone that delivered sound before: noise suppression may turn a quiet room into zeros
const RESUME_MS = 2000;
const STOPPED = "The browser stopped the sound. Touch or click the page to continue.";
const SLOW = "The network is too slow. Some of your words are lost.";
const SLOW_MS = 5000;       // the page takes this back when no more words were lost for this long
const LONELY_MS = 3000;     // the page reports a gateway that does not answer for this long
const WORDS = {
  alone: "waiting for the gateway",
  gone: "waiting for the console",
  listening: "listening",
  thinking: "thinking",
  speaking: "speaking",
  waiting: "connecting to the voice service",
  refused: "cannot talk now",
};

const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
const robot = new Robot(at("picture"), calm);

let sound = null;           // the audio context, its nodes and the microphone, during a conversation
let talking = false;
let begins = false;
let pushToTalk = false;
let spaceIsDown = false;
let lastSaid = null;
let lonely = 0;             // timer
let slow = 0;               // timer
let conversation = 0;       // number of the page's current conversation

// The tab's name stays the same after a reload, so that the console gives the tab the same robot again.
let tab = sessionStorage.getItem("tab") || "";
if (!tab) rename();

export function rename() {
  tab = Array.from(crypto.getRandomValues(new Uint8Array(12)), (it) => it.toString(16)).join("-");
  sessionStorage.setItem("tab", tab);
}

// --- checks ------------------------------------------------------------------------------------------------------------

const CHECKS = {
  secure: "This page may use the microphone",
  door: "You are signed in",
  console: "The console answers",
  microphone: "A microphone is connected and allowed",
  level: "The microphone picks up sound",
  gateway: "The gateway answers",
  admitted: "The gateway serves this page's robot",
};
export const REMEDIES = {
  secure: "Browsers give the microphone to secure pages only. On the console's own computer, open http://127.0.0.1:PORT. On another computer, run ssh -L PORT:127.0.0.1:PORT HOST first, or give the console a certificate.".replaceAll("PORT", location.port || "8090"),
  door: "Open the link in the console's log. A link works once, within ten minutes. For a new link: docker compose exec console reachy-console link, or without Docker: reachy-console link",
  console: "The console does not answer. It may be starting. The page tries again by itself.",
  denied: "The browser blocks the microphone. Allow it for this page next to the address bar, then press Talk again. If it is allowed there, allow the browser the microphone in the system's settings.",
  missing: "No microphone found. Plug one in, then press Talk again.",
  busy: "The microphone cannot be opened. Another program may be using it: close that program, then press Talk again.",
  rate: "The page and the microphone have different sample rates. In Firefox, privacy.resistFingerprinting causes this: turn it off.",
  unplugged: "The microphone is gone. Plug it in or allow it, then press Talk again.",
  muted: "The microphone is muted by a switch, by the system or by another program. Switch it on, or choose another microphone below.",
  level: "No sound has come yet. Say something. If this stays, the microphone may be switched off, or another program may be using it: choose another microphone below.",
  gateway: "No gateway answers. Is the gateway running? The console's log says what is wrong.",
};

for (const [id, words] of Object.entries(CHECKS)) {
  const item = document.createElement("li");
  item.id = `check-${id}`;
  item.textContent = words;
  at("checks").append(item);
}

export function check(id, ok, remedy = "") {
  const item = at(`check-${id}`);
  const words = ok === false ? `${CHECKS[id]}: no. ${remedy.charAt(0).toUpperCase()}${remedy.slice(1)}` : CHECKS[id];
  if (item.textContent !== words) item.textContent = words;
  item.dataset.ok = ok === undefined ? "" : ok ? "yes" : "no";
}

export function complain(words) {
  at("words").textContent = words;
}

export function readiness() {
  at("talk").disabled = begins || !door.isOpen || !isSecureContext || door.role !== "operator";
  at("talk").textContent = begins ? "One moment" : talking ? "Stop" : "Talk";
  at("talk").dataset.on = talking ? "yes" : "no";
  at("mute").hidden = !talking;
  at("hold").hidden = !talking || !pushToTalk;
}

// --- the console's messages --------------------------------------------------------------------------------------------

export const HEAR = {
  seated({ robot: name }) {
    at("robot-name").textContent = name;
    complain(sound && sound.stream.getAudioTracks()[0].muted ? REMEDIES.muted : "");
  },
  standing({ state, reason, person_speaks, recorded }) {
    stand(state, reason, person_speaks);
    at("recorded").hidden = !recorded;
    clearTimeout(lonely);
    check("gateway", state !== "alone" || reason ? true : undefined);
    if (state === "alone" && !reason) lonely = setTimeout(() => check("gateway", false, REMEDIES.gateway), LONELY_MS);
    check("admitted", state === "alone" ? (reason ? false : undefined) : true, reason);
  },
  pose({ pose }) {
    robot.pose(pose);
  },
  said({ who, text }) {
    if (lastSaid && lastSaid.dataset.who === who) lastSaid.lastChild.textContent += text;
    else lastSaid = line(who, text);
    at("said").scrollTop = at("said").scrollHeight;
  },
  answered({ latency_ms, complete }) {
    lastSaid = null;
    const words = latency_ms === null ? "" : `answered after ${(latency_ms / 1000).toFixed(2)} s`;
    const item = line("", [words, complete ? "" : "cut short"].filter(Boolean).join(", "));
    item.className = "timing";
    if (!item.textContent) item.remove();
  },
  spent({ dollars, budget }) {
    at("spent").hidden = false;
    at("spent").textContent = `today $${dollars.toFixed(4)}${budget === null ? "" : ` of $${budget.toFixed(2)}`}`;
  },
  ended({ n, why, began }) {
    if (n !== conversation || !(talking || begins)) return;  // the page ended this conversation itself, or another one has begun since
    stop();
    stand("alone", "");
    complain(`${began ? "The conversation has ended" : "You cannot talk now"}: ${why}.`);
  },
  behind() {
    complain(SLOW);
    clearTimeout(slow);
    slow = setTimeout(() => { if (at("words").textContent === SLOW) complain(""); }, SLOW_MS);
  },
};

// The console is gone, so nothing is known of the gateway.
export function lost() {
  clearTimeout(lonely);
  for (const id of ["gateway", "admitted"]) check(id, undefined);
  at("recorded").hidden = true;
  stand("gone", "");
}

export function stand(state, reason, personSpeaks = false) {
  at("state").dataset.state = state === "gone" ? "alone" : state;
  const words = state === "listening" && personSpeaks ? "hears you" : WORDS[state];
  at("state-words").textContent = talking || begins ? words : "not talking";  // a message of a conversation that has ended may arrive late
  at("reason").textContent = reason;
}

function line(who, text) {
  const item = document.createElement("li");
  item.dataset.who = who;
  if (who) {
    const name = document.createElement("span");
    name.className = "who";
    name.textContent = who === "person" ? "You: " : "Reachy: ";
    item.append(name);
  }
  item.append(document.createTextNode(text));
  at("said").append(item);
  while (at("said").children.length > SAID_MAX) at("said").firstChild.remove();
  return item;
}

// --- sound -------------------------------------------------------------------------------------------------------------

// The context is made and started within the tap's event handler. Otherwise a phone plays no sound.
function makeContext() {
  let context = new AudioContext({ latencyHint: "interactive" });
  if (context.sampleRate > RATE_MAX_HZ) {
    context.close();
    context = new AudioContext({ latencyHint: "interactive", sampleRate: RATE_MAX_HZ });
  }
  context.resume();
  return context;
}

async function start() {
  if (begins || talking) return;
  begins = true;
  const context = makeContext();
  complain("");
  readiness();
  try {
    sound = await open(context);
    talking = true;
    worker.postMessage({ kind: "start", rate_hz: context.sampleRate, tab, n: ++conversation, visible: !document.hidden });
  } catch (error) {
    context.close();
    const remedy = { NotAllowedError: "denied", SecurityError: "denied", NotFoundError: "missing", OverconstrainedError: "missing", NotReadableError: "busy", NotSupportedError: "rate" }[error.name];
    if (remedy) check("microphone", false, REMEDIES[remedy]);
    complain(remedy ? REMEDIES[remedy] : `The sound cannot be started: ${error.message || error}`);
  } finally {
    begins = false;
    readiness();
  }
}

async function microphone() {
  const chosen = at("microphone").value;
  const asked = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
  if (!chosen) return navigator.mediaDevices.getUserMedia({ audio: asked });
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: { ...asked, deviceId: { exact: chosen } } });
  } catch (error) {
    if (error.name !== "OverconstrainedError" && error.name !== "NotFoundError") throw error;
    return navigator.mediaDevices.getUserMedia({ audio: asked });  // the chosen microphone is gone
  }
}

async function open(context) {
  const stream = await microphone();
  check("microphone", true);
  try {
    return await connectSound(context, stream);
  } catch (error) {
    for (const track of stream.getTracks()) track.stop();
    throw error;
  }
}

async function connectSound(context, stream) {
  await Promise.all([context.audioWorklet.addModule("/static/capture.js"), context.audioWorklet.addModule("/static/playback.js")]);
  const mono = { channelCount: 1, channelCountMode: "explicit" };
  const capture = new AudioWorkletNode(context, "capture", { ...mono, numberOfOutputs: 0 });
  const playback = new AudioWorkletNode(context, "playback", { ...mono, numberOfInputs: 0, outputChannelCount: [1] });
  const up = new MessageChannel();
  const down = new MessageChannel();
  capture.port.postMessage({ port: up.port1 }, [up.port1]);
  playback.port.postMessage({ port: down.port1 }, [down.port1]);
  worker.postMessage({ kind: "sound", microphone: up.port2, speaker: down.port2 }, [up.port2, down.port2]);
  const source = context.createMediaStreamSource(stream);
  source.connect(capture);
  playback.connect(context.destination);
  let silentSince = performance.now();
  let heard = false;
  capture.port.onmessage = ({ data }) => {
    if (!("level" in data)) return;
    at("level").value = Math.sqrt(data.level);
    if (data.level > 0) {
      silentSince = performance.now();
      heard = true;
    }
    const mute = performance.now() - silentSince > (heard ? MUTE_S : HEARD_S) * 1000;
    check("level", mute ? false : heard || undefined, REMEDIES.level);
  };
  playback.port.onmessage = ({ data }) => {
    if ("level" in data) robot.level(data.level);
    if ("flushed" in data) robot.level(0);
  };
  // A locked phone or a phone call suspends the context. Unplugging the microphone ends its track.
  context.onstatechange = () => {
    if (context.state === "closed") return;
    complain(context.state === "running" ? "" : STOPPED);
    if (context.state !== "running") context.resume().catch(() => null);  // enough after a change of headset; a phone needs a touch
  };
  stream.getAudioTracks()[0].onmute = () => complain(REMEDIES.muted);
  stream.getAudioTracks()[0].onunmute = () => complain("");
  stream.getAudioTracks()[0].onended = () => {
    stop();
    stand("alone", "");
    check("microphone", false, REMEDIES.unplugged);
    complain(REMEDIES.unplugged);
  };
  await Promise.race([context.resume(), new Promise((done) => setTimeout(done, RESUME_MS))]);
  if (context.state !== "running") complain(STOPPED);
  await list(stream.getAudioTracks()[0].getSettings().deviceId);
  capture.port.postMessage({ muted: pushToTalk });
  keepAwake();
  return { context, stream, capture, playback };
}

// Keep the screen on during a conversation. The browser releases the lock whenever the page is hidden.
let lock = null;
async function keepAwake() {
  if (navigator.wakeLock && !document.hidden) lock = await navigator.wakeLock.request("screen").catch(() => null);
}

export function stop() {
  if (!sound) return;
  const { context, stream } = sound;
  sound = null;
  talking = false;
  worker.postMessage({ kind: "stop" });
  for (const track of stream.getTracks()) {
    track.onended = track.onmute = track.onunmute = null;
    track.stop();
  }
  context.onstatechange = null;
  context.close();
  if (lock) lock.release().catch(() => null);
  at("level").value = 0;
  robot.level(0);
  clearTimeout(lonely);
  for (const id of ["level", "gateway", "admitted"]) check(id, undefined);
  at("recorded").hidden = true;
  readiness();
}

async function list(current) {
  const found = (await navigator.mediaDevices.enumerateDevices()).filter((each) => each.kind === "audioinput");
  at("microphone").replaceChildren(
    at("microphone").options[0],  // the browser's default
    ...found.map((each, n) => {
      const option = document.createElement("option");
      option.value = each.deviceId;
      option.textContent = each.label || `microphone ${n + 1}`;
      option.selected = each.deviceId === current;
      return option;
    }),
  );
  at("microphone").disabled = !found.length;
}

if (navigator.mediaDevices) {
  navigator.mediaDevices.ondevicechange = () => list(sound ? sound.stream.getAudioTracks()[0].getSettings().deviceId : "");
}

// --- buttons and keys --------------------------------------------------------------------------------------------------

at("talk").onclick = () => {
  if (talking) {
    stop();
    stand("alone", "");
  } else start();
};

function mute(muted) {
  if (sound) sound.capture.port.postMessage({ muted });
}

at("mute").onclick = () => {
  pushToTalk = !pushToTalk;
  at("mute").setAttribute("aria-pressed", String(pushToTalk));
  mute(pushToTalk);
  readiness();
};

at("hold").onpointerdown = (event) => {
  at("hold").setPointerCapture(event.pointerId);
  mute(false);
};
for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) at("hold").addEventListener(type, () => mute(pushToTalk));

at("microphone").onchange = async () => {
  if (!talking) return;
  stop();
  await start();
};

addEventListener("keydown", (event) => {
  if (event.code !== "Space" || !talking || !pushToTalk || at("view-talk").hidden || event.target instanceof HTMLSelectElement) return;
  event.preventDefault();
  if (!spaceIsDown) mute(false);
  spaceIsDown = true;
});
addEventListener("keyup", (event) => {
  if (event.code !== "Space" || !spaceIsDown) return;
  event.preventDefault();
  spaceIsDown = false;
  mute(pushToTalk);
});
addEventListener("blur", () => {
  if (spaceIsDown) mute(pushToTalk);
  spaceIsDown = false;
});
for (const type of ["click", "keydown", "pointerup"]) {
  addEventListener(type, () => {
    if (sound && sound.context.state !== "running") sound.context.resume();
  });
}
document.addEventListener("visibilitychange", () => {
  if (!talking) return;
  worker.postMessage({ kind: "visible", visible: !document.hidden });
  keepAwake();
});
readiness();
